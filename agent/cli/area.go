package cli

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func areaCommand(e *env) *cobra.Command {
	return group("area", "Look at who is where, and forgive", areaListCommand(e), areaShowCommand(e), areaForgiveCommand(e))
}

func areaListCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the areas and how many are in each", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			list := []control.AreaStatus{}
			if err := c.Get(ctx, "/v1/areas", nil, &list); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(list)
			}
			rows := [][]string{{"ID", "NAME", "INSIDE", "ON THE WAY", "LIMIT", "PASSBACK"}}
			for _, a := range list {
				rows = append(rows, []string{string(a.ID), a.Name, strconv.Itoa(a.Count), strconv.Itoa(a.Reserved), areaLimit(a), a.Passback})
			}
			return e.table(rows)
		})}
}

func areaLimit(a control.AreaStatus) string {
	if a.Limit == 0 {
		return "-"
	}
	return strconv.Itoa(a.Limit)
}

func areaShowCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show who is in an area", Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var a control.AreaStatus
			if err := c.Get(ctx, "/v1/areas/"+url.PathEscape(args[0]), nil, &a); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(a)
			}
			rows := [][]string{{"HOLDER", "NAME", "SINCE"}}
			for _, p := range a.Present {
				rows = append(rows, []string{string(p.ID), p.Name, e.showTime(p.Since)})
			}
			return e.table(rows)
		})}
}

func areaForgiveCommand(e *env) *cobra.Command {
	var area string
	var all bool
	c := &cobra.Command{Use: "forgive (HOLDER | --area A | --all)", Short: "Forget where somebody is, so that anti-passback lets him in again",
		Long: `Forgets where a holder is (by id or exact name), or everybody in an area, or
everybody. Anti-passback then refuses none of them, and they are not counted
until they enter again.`,
		Args: cobra.MaximumNArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			f := control.Forgiveness{Area: site.AreaID(area), All: all}
			if len(args) == 1 {
				f.Holder = args[0]
			}
			if n := len(args); n == 1 && (area != "" || all) || area != "" && all || n == 0 && area == "" && !all {
				return usagef("area forgive: name a holder, or give --area or --all")
			}
			var done control.Forgiven
			if err := c.Do(ctx, http.MethodPost, "/v1/areas/forgive", f, &done); err != nil {
				return err
			}
			return e.say(done, "%d forgiven", done.Holders)
		})}
	c.Flags().StringVar(&area, "area", "", "everybody in this area")
	c.Flags().BoolVar(&all, "all", false, "everybody on the site")
	return c
}

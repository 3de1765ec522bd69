package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func holderCommand(e *env) *cobra.Command {
	return group("holder", "Manage the people and things that hold credentials",
		holderAddCommand(e), holderListCommand(e), holderShowCommand(e), holderRenameCommand(e), holderRemoveCommand(e),
		holderEraseCommand(e), holderExportCommand(e))
}

// holderPath is the path of a holder, by its id or its exact name.
func holderPath(id, what string) string { return "/v1/holders/" + url.PathEscape(id) + what }

func holderAddCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "add NAME", Short: "Add a holder", Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var h site.Holder
			if err := c.Do(ctx, http.MethodPost, "/v1/holders", map[string]string{"name": args[0]}, &h); err != nil {
				return err
			}
			return e.say(h, "holder %s is added: %s", h.ID, h.Name)
		})}
}

// say answers a command: v in JSON, or a line for a person.
func (e *env) say(v any, format string, a ...any) error {
	if e.json {
		return e.printJSON(v)
	}
	_, err := fmt.Fprintf(e.out, format+"\n", a...)
	return err
}

// listing streams a listing: one JSON array with --json, else a table of what
// row makes of each line.
func listing[T any](ctx context.Context, e *env, c *control.Client, path string, q url.Values, header []string, row func(T) []string) error {
	t := e.newTable(header)
	before := "["
	err := c.Stream(ctx, http.MethodGet, path, q, nil, func(line []byte) error {
		if e.json {
			_, err := fmt.Fprintf(e.out, "%s%s", before, bytes.TrimSpace(line))
			before = ",\n "
			return err
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return fmt.Errorf("agent: answer: %w", err)
		}
		return t.add(row(v))
	})
	if err != nil {
		return err
	}
	if !e.json {
		return t.flush()
	}
	if before == "[" {
		before = "[]" // nothing came
	} else {
		before = "]"
	}
	_, err = fmt.Fprintln(e.out, before)
	return err
}

// limitFlag adds --limit.
func limitFlag(c *cobra.Command) *uint {
	return c.Flags().UintP("limit", "n", 0, "at most so many (all if absent)")
}

func setLimit(q url.Values, n uint) {
	if n > 0 {
		q.Set("limit", strconv.FormatUint(uint64(n), 10))
	}
}

func holderListCommand(e *env) *cobra.Command {
	var name string
	c := &cobra.Command{Use: "list", Short: "List the holders", Args: cobra.NoArgs}
	limit := limitFlag(c)
	c.Flags().StringVar(&name, "name", "", "only those whose name has this in it")
	c.RunE = e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
		q := url.Values{}
		if name != "" {
			q.Set("name", name)
		}
		setLimit(q, *limit)
		return listing(ctx, e, c, "/v1/holders", q, []string{"ID", "NAME", "SOURCE"}, func(h site.Holder) []string {
			return []string{string(h.ID), h.Name, string(h.Source)}
		})
	})
	return c
}

func holderShowCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "show HOLDER", Short: "Show a holder (id or exact name) and what it holds", Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var h control.HolderView
			if err := c.Get(ctx, holderPath(args[0], ""), nil, &h); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(h)
			}
			fmt.Fprintf(e.out, "%s  %s  (%s)\n", h.ID, h.Name, h.Source)
			rows := [][]string{credentialHeader}
			for _, v := range h.Credentials {
				rows = append(rows, e.credentialRow(v))
			}
			return e.table(rows)
		})}
}

func holderRenameCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "rename HOLDER NAME", Short: "Give a holder another name", Args: cobra.ExactArgs(2),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var h site.Holder
			if err := c.Do(ctx, http.MethodPost, holderPath(args[0], "/rename"), map[string]string{"name": args[1]}, &h); err != nil {
				return err
			}
			return e.say(h, "holder %s is now %s", h.ID, h.Name)
		})}
}

func holderRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "remove HOLDER", Short: "Remove a holder that holds no credential", Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var h site.Holder
			if err := c.Do(ctx, http.MethodDelete, holderPath(args[0], ""), nil, &h); err != nil {
				return err
			}
			return e.say(h, "holder %s is removed", h.ID)
		})}
}

func holderEraseCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "erase HOLDER", Short: "Take a holder's name away, in the past too, and revoke its credentials", Args: cobra.ExactArgs(1),
		Long: `Replaces the name of a holder by a pseudonym, revokes all its credentials and
forgets their PINs. Events keep a holder's id and not its name, so those of the
past show the pseudonym from now on. This cannot be undone. The locks that still
open for one of its cards are named, and until when.

To keep nothing at all, remove the credentials (credential remove) and then the
holder (holder remove).`,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var h control.Erased
			if err := c.Do(ctx, http.MethodPost, holderPath(args[0], "/erase"), nil, &h); err != nil {
				return err
			}
			if err := e.say(h, "holder %s is now %q; its credentials are revoked", h.ID, h.Name); err != nil || e.json {
				return err
			}
			return e.showStillOpens(h.StillOpens, "a card of it")
		})}
}

func holderExportCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "export HOLDER", Short: "Write all that is kept of one person, one JSON object a line", Args: cobra.ExactArgs(1),
		Long: `Writes all that the site keeps of one person, one JSON object a line: first
{"holder":…}, then {"credential":…} for each credential and {"event":…} for each
event of the log. Card numbers and PINs are not among it.`,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			return c.Stream(ctx, http.MethodGet, holderPath(args[0], "/export"), nil, nil, func(line []byte) error {
				_, err := e.out.Write(line)
				return err
			})
		})}
}

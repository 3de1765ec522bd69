package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func rightCommand(e *env) *cobra.Command {
	return group("right", "Manage what a credential opens", rightAddCommand(e), rightRemoveCommand(e), rightListCommand(e))
}

const rightHelp = `
A right is DOOR, which holds always, or DOOR@SCHEDULE.
` + credentialHelp

func rightAddCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "add CREDENTIAL RIGHT...", Short: "Let a credential pass doors", Long: "Lets a credential pass doors.\n" + rightHelp, Args: cobra.MinimumNArgs(2),
		RunE: e.changeRights(func(rights []site.Right) control.RightsChange { return control.RightsChange{Add: rights} })}
}

func rightRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "remove CREDENTIAL RIGHT...", Short: "Take rights away from a credential", Args: cobra.MinimumNArgs(2),
		Long: "Takes rights away that a credential has by itself, not those of its levels. Locks\nkeep their own copy: those that still open by what was taken are named, and until\nwhen (still_opens with --json).\n" + rightHelp,
		RunE: e.changeRights(func(rights []site.Right) control.RightsChange { return control.RightsChange{Remove: rights} })}
}

// changeRights makes a RunE that changes the rights of the first argument's
// credential by those of the others, all or none, and says what it then has.
func (e *env) changeRights(change func([]site.Right) control.RightsChange) func(*cobra.Command, []string) error {
	return e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
		rights, err := parseRights(args[1:])
		if err != nil {
			return err
		}
		if len(rights) == 0 {
			return usagef("name a right: DOOR or DOOR@SCHEDULE")
		}
		var a control.StateAnswer
		if err := c.Do(ctx, http.MethodPost, credentialPath(args[0], "/rights"), change(rights), &a); err != nil {
			return err
		}
		if e.json {
			return e.printJSON(a)
		}
		if err := e.say(nil, "%s has rights: %s", named(a.CredentialView), orDash(control.FormatRights(a.Rights))); err != nil {
			return err
		}
		return e.showStillOpens(a.StillOpens, "it by the rights it had")
	})
}

// heldRight is a right and where it comes from.
type heldRight struct {
	site.Right
	Level site.LevelID `json:"level,omitempty"` // empty: the credential's own
}

func rightListCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "list CREDENTIAL", Short: "List the rights of a credential, its own and those of its levels", Args: cobra.ExactArgs(1),
		Long: "Lists the rights of a credential. For who may pass a door, see\n`gatehouse credential list --door DOOR`.\n" + credentialHelp,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var v control.CredentialView
			if err := c.Get(ctx, credentialPath(args[0], ""), nil, &v); err != nil {
				return err
			}
			var levels []site.Level
			if err := c.Get(ctx, "/v1/levels", nil, &levels); err != nil {
				return err
			}
			held := []heldRight{}
			for _, r := range v.Rights {
				held = append(held, heldRight{r, ""})
			}
			for _, l := range levels {
				if l.Source == v.Source && slices.Contains(v.Levels, l.ID) {
					for _, r := range l.Rights {
						held = append(held, heldRight{r, l.ID})
					}
				}
			}
			if e.json {
				return e.printJSON(held)
			}
			rows := [][]string{{"DOOR", "SCHEDULE", "BY"}}
			for _, h := range held {
				by := "itself"
				if h.Level != "" {
					by = fmt.Sprintf("level %s", h.Level)
				}
				schedule := string(h.Schedule)
				if schedule == "" {
					schedule = "always"
				}
				rows = append(rows, []string{string(h.Door), schedule, by})
			}
			return e.table(rows)
		})}
}

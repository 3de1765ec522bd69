package cli

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
)

func fireCommand(e *env) *cobra.Command {
	return group("fire", "Look at the fire alarm and reset it", fireStatusCommand(e), fireResetCommand(e))
}

func fireStatusCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show the fire alarm, its input and the doors that it releases", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var st control.FireStatus
			if err := c.Get(ctx, "/v1/fire", nil, &st); err != nil {
				return err
			}
			return e.showFire(st)
		})}
}

func (e *env) showFire(st control.FireStatus) error {
	if e.json {
		return e.printJSON(st)
	}
	if !st.Configured {
		_, err := fmt.Fprintln(e.out, "no fire input in the settings")
		return err
	}
	alarm := "no fire"
	if st.On {
		alarm = "FIRE since " + e.showTime(st.Since)
	}
	fmt.Fprintf(e.out, "alarm: %s (%s)\n", alarm, word(st.Latched, "latched: stands until it is reset", "follows the input"))
	fmt.Fprintf(e.out, "input: %s%s\n", st.Input, word(st.Fault == "", "", ", "+st.Fault))
	for _, d := range st.Doors {
		fmt.Fprintf(e.out, "door %s: %s\n", d, word(st.On, "released", "is released by fire"))
	}
	return nil
}

func fireResetCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "reset", Short: "End a latched fire alarm; refused while the input still shows fire", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var st control.FireStatus
			if err := c.Do(ctx, http.MethodPost, "/v1/fire/reset", nil, &st); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(st)
			}
			return e.done("the fire alarm is reset")
		})}
}

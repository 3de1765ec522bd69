package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
)

func doctorCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Say what is wrong and what to do; 1 when something is", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var found []control.Finding
			err := c.Get(ctx, "/v1/doctor", nil, &found)
			if finding, ok := noAnswer(err); ok {
				found, err = []control.Finding{finding}, nil
			}
			if err != nil {
				return err
			}
			wrong := 0
			for _, f := range found {
				if f.Wrong {
					wrong++
				}
			}
			if e.json {
				if err := e.printJSON(found); err != nil {
					return err
				}
			} else {
				e.showFindings(found)
			}
			if wrong > 0 {
				return fmt.Errorf("%s found", counted(wrong, "fault"))
			}
			return nil
		})}
}

// noAnswer is what doctor finds where no agent answers.
func noAnswer(err error) (control.Finding, bool) {
	f := control.Finding{What: "no agent answers", Wrong: true, Do: "look at the settings with `gatehouse check`, then start it: `gatehouse run`, or the service that runs it"}
	switch {
	case !errors.Is(err, control.ErrNoAgent):
		return f, false
	case errors.Is(err, fs.ErrPermission):
		f.Do = "use it as root, or as a member of the group gatehouse"
	}
	f.Cause = err.Error()
	return f, true
}

func (e *env) showFindings(found []control.Finding) {
	if len(found) == 0 {
		fmt.Fprintln(e.out, "nothing is wrong")
	}
	for _, f := range found {
		fmt.Fprintf(e.out, "%s %s\n  cause: %s\n  do:    %s\n", word(f.Wrong, "WRONG", "note "), f.What, f.Cause, f.Do)
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func doorCommand(e *env) *cobra.Command {
	return group("door", "Look at doors and command them",
		doorListCommand(e), doorShowCommand(e), doorUnlockCommand(e), doorLockCommand(e), doorModeCommand(e),
		doorLockdownCommand(e), doorReleaseCommand(e), doorTestCommand(e))
}

func doorListCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the doors and what they are now", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var doors []site.DoorStatus
			if err := c.Get(ctx, "/v1/doors", nil, &doors); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(doors)
			}
			return e.table(e.doorRows(doors))
		})}
}

func (e *env) doorRows(doors []site.DoorStatus) [][]string {
	rows := [][]string{{"ID", "NAME", "MODE", "LOCK", "DOOR", "ALARM", "UNTIL"}}
	for _, d := range doors {
		rows = append(rows, []string{string(d.ID), d.Name, d.Mode.String(), word(d.Locked, "locked", "unlocked"),
			word(d.Open, "open", "closed"), orDash(d.Alarm.String()), e.showTime(d.Until)})
	}
	return rows
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func doorShowCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show one door", Args: cobra.ExactArgs(1),
		Long: "Shows one door.\n" + wifiHelp + "\n`gatehouse lock show ID` shows a lock of any kind.", ValidArgsFunction: e.completeDoors,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			d, err := getDoor(ctx, c, args[0])
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(d)
			}
			return e.table(e.doorRows([]site.DoorStatus{d}))
		})}
}

func getDoor(ctx context.Context, c *control.Client, id string) (site.DoorStatus, error) {
	var doors []site.DoorStatus
	if err := c.Get(ctx, "/v1/doors", nil, &doors); err != nil {
		return site.DoorStatus{}, err
	}
	for _, d := range doors {
		if string(d.ID) == id {
			return d, nil
		}
	}
	l, err := getLock(ctx, c, id)
	switch {
	case err != nil || string(l.ID) != id:
		return site.DoorStatus{}, fmt.Errorf("door %s: not found", id)
	case l.Line != control.LockSerial:
		return site.DoorStatus{}, fmt.Errorf("door %s: a Wi-Fi lock has no live line: see gatehouse lock show %s", id, id)
	}
	return askLock(ctx, c, &l)
}

// askLock asks a lock on a serial line what it is now. Where it does not say in
// which mode, it is as it was heard last, and else as it holds.
func askLock(ctx context.Context, c *control.Client, l *control.LockView) (site.DoorStatus, error) {
	var in control.Inputs
	if err := c.Get(ctx, doorPath(string(l.ID), "inputs"), nil, &in); err != nil {
		return site.DoorStatus{}, err
	}
	d := site.DoorStatus{ID: l.ID, Name: l.Name, Locked: in.Locked, Open: in.Open != nil && *in.Open, Alarm: l.Alarm, Until: in.Until}
	heard, err := site.ParseMode(l.Mode)
	switch {
	case in.Mode != nil:
		d.Mode = *in.Mode
	case err == nil:
		d.Mode = heard
	case !in.Locked:
		d.Mode = site.ModePassage
	}
	return d, nil
}

func doorPath(id, what string) string { return "/v1/doors/" + url.PathEscape(id) + "/" + what }

func doorUnlockCommand(e *env) *cobra.Command {
	var d time.Duration
	c := &cobra.Command{Use: "unlock ID", Short: "Unlock a door for a moment", Args: cobra.ExactArgs(1),
		Long: "Unlocks a door for a moment.\n" + wifiHelp, ValidArgsFunction: e.completeDoors,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			if d < 0 {
				return usagef("--for %s: a time cannot be negative", d)
			}
			if err := c.Do(ctx, http.MethodPost, doorPath(args[0], "unlock"), map[string]any{"for": control.Duration(d)}, nil); err != nil {
				return err
			}
			return e.done("door %s is unlocked for a moment", args[0])
		})}
	c.Flags().DurationVar(&d, "for", 0, "how long (the door's own time if absent)")
	return c
}

func doorLockCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "lock ID", Short: "End a pulse and what holds the door unlocked", Args: cobra.ExactArgs(1),
		Long: "Ends a pulse and what holds the door unlocked.\n" + wifiHelp, ValidArgsFunction: e.completeDoors,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			if err := c.Do(ctx, http.MethodPost, doorPath(args[0], "lock"), struct{}{}, nil); err != nil {
				return err
			}
			d, err := getDoor(ctx, c, args[0])
			if err != nil {
				return err
			}
			return e.done("door %s is %s, mode %s", d.ID, word(d.Locked, "locked", "unlocked"), d.Mode)
		})}
}

func doorModeCommand(e *env) *cobra.Command {
	var end string
	c := &cobra.Command{Use: "mode ID MODE", Short: "Override a door's mode: secured, passage, frozen_secured, frozen_passage, disabled; auto ends it",
		Long: "Overrides a door's mode: secured, passage, frozen_secured, frozen_passage or\ndisabled. The mode auto ends the override and gives the door back to its schedule.\n" + wifiHelp,
		Args: cobra.ExactArgs(2), ValidArgsFunction: e.completeDoorMode,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			if args[1] == "auto" {
				if end != "" {
					return usagef("mode auto has no end")
				}
				if err := c.Do(ctx, http.MethodPost, doorPath(args[0], "mode"), map[string]any{"auto": true}, nil); err != nil {
					return err
				}
				return e.done("door %s follows its schedule", args[0])
			}
			mode, err := site.ParseMode(args[1])
			if err != nil {
				return usagef("mode %q is not known (one of %s)", args[1], strings.Join(doorModes, ", "))
			}
			if mode == site.ModeLockdown {
				return usagef("mode lockdown: use `gatehouse door lockdown %s`", args[0])
			}
			until, err := parseTime(end, e.now())
			if err != nil {
				return err
			}
			in := map[string]any{"mode": mode}
			if !until.IsZero() {
				in["until"] = until
			}
			if err := c.Do(ctx, http.MethodPost, doorPath(args[0], "mode"), in, nil); err != nil {
				return err
			}
			return e.done("door %s is in mode %s%s", args[0], mode, e.untilText(until))
		})}
	c.Flags().StringVar(&end, "end", "", "when the override ends (a time, or a duration from now)")
	return c
}

func (e *env) untilText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + e.showTime(t)
}

// targetFlags are ID, --area and --all: exactly one is wanted.
type targetFlags struct {
	area string
	all  bool
}

func (t *targetFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&t.area, "area", "", "all doors of an area")
	c.Flags().BoolVar(&t.all, "all", false, "all doors of the site")
}

func (t *targetFlags) target(args []string) (control.Target, error) {
	out := control.Target{Area: site.AreaID(t.area), All: t.all}
	if len(args) == 1 {
		out.Door = site.DoorID(args[0])
	}
	n := 0
	for _, set := range []bool{out.Door != "", out.Area != "", out.All} {
		if set {
			n++
		}
	}
	if n != 1 {
		return out, usagef("name one door, or --area, or --all")
	}
	return out, nil
}

func doorLockdownCommand(e *env) *cobra.Command {
	var t targetFlags
	var end string
	c := &cobra.Command{Use: "lockdown [ID]", Short: "Lock down a door, an area or the site at once", Args: cobra.MaximumNArgs(1),
		Long: `Locks down a door, an area or the site at once. It says which doors were reached,
and ends with 1 and their names when some were not. Wi-Fi locks are not reached by
--all and are named: they go on opening for their cards.
` + wifiHelp, ValidArgsFunction: e.completeDoors,
		RunE: func(cmd *cobra.Command, args []string) error {
			until, err := parseTime(end, e.now())
			if err != nil {
				return err
			}
			in := map[string]any{}
			if !until.IsZero() {
				in["until"] = until
			}
			return e.siteWide(cmd.Context(), &t, args, "/v1/lockdown", in, "locked down"+e.untilText(until))
		}}
	t.add(c)
	c.Flags().StringVar(&end, "end", "", "when the lockdown ends (a time, or a duration from now)")
	return c
}

func doorReleaseCommand(e *env) *cobra.Command {
	var t targetFlags
	c := &cobra.Command{Use: "release [ID]", Short: "End a lockdown", Args: cobra.MaximumNArgs(1),
		Long: "Ends a lockdown. It says which doors were reached, and ends with 1 and the names of\nthose that were not.\n" + wifiHelp, ValidArgsFunction: e.completeDoors,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.siteWide(cmd.Context(), &t, args, "/v1/release", map[string]any{}, "released")
		}}
	t.add(c)
	return c
}

// siteWide sends a command to its targets and says which doors it reached.
func (e *env) siteWide(ctx context.Context, t *targetFlags, args []string, path string, in map[string]any, said string) error {
	target, err := t.target(args)
	if err != nil {
		return err
	}
	in["target"] = target
	var reached control.Reached
	err = e.client().Do(ctx, http.MethodPost, path, in, &reached)
	if err != nil {
		refusal, ok := errors.AsType[*control.Refusal](err)
		if !ok || refusal.Reached == nil {
			return err
		}
		reached = *refusal.Reached // some doors: who asked must know which
	}
	return errors.Join(e.showReached(reached, said), err)
}

// showReached says which doors a command reached.
func (e *env) showReached(reached control.Reached, said string) error {
	if e.json {
		return e.printJSON(reached)
	}
	if err := e.done("%s: %s", said, joinDoors(reached.Doors)); err != nil || len(reached.NoLine) == 0 {
		return err
	}
	return e.done("NOT reached, Wi-Fi locks that go on opening for their cards: %s", joinDoors(reached.NoLine))
}

func joinDoors(ids []site.DoorID) string {
	var names []string
	for _, d := range ids {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}

func doorTestCommand(e *env) *cobra.Command {
	var click bool
	var d time.Duration
	c := &cobra.Command{Use: "test ID", Short: "Show live inputs and click the strike", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeDoors,
		Long: `Clicks the strike once (an unlock of one second, recorded as a command) and
then shows each change of the door's contact, exit button and lock until the
time is over or it is interrupted.`,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var in control.Inputs
			if err := c.Get(ctx, doorPath(args[0], "inputs"), nil, &in); err != nil {
				return err
			}
			if click {
				body := map[string]any{"for": control.Duration(time.Second)}
				if err := c.Do(ctx, http.MethodPost, doorPath(args[0], "unlock"), body, nil); err != nil {
					return err
				}
			}
			return e.watchInputs(ctx, c, args[0], d)
		})}
	c.Flags().BoolVar(&click, "click", true, "click the strike")
	c.Flags().DurationVar(&d, "for", 10*time.Second, "how long to show the inputs")
	return c
}

// inputsPoll is how often the inputs are looked at: an installer's finger is
// slower.
const inputsPoll = 50 * time.Millisecond

// watchInputs shows each change for so long, and at least what there is now.
func (e *env) watchInputs(ctx context.Context, c *control.Client, id string, d time.Duration) error {
	tick := time.NewTicker(inputsPoll)
	defer tick.Stop()
	over := time.After(d)
	shown := ""
	for {
		var in control.Inputs
		err := c.Get(ctx, doorPath(id, "inputs"), nil, &in)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		if line := inputsLine(in); line != shown {
			shown = line
			if e.json {
				err = e.printJSON(in)
			} else {
				_, err = fmt.Fprintf(e.out, "%s  %s\n", e.now().Format("15:04:05.000"), line)
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return nil
		case <-tick.C:
		}
	}
}

func inputsLine(in control.Inputs) string {
	contact, exit := "no contact", "no exit button"
	if in.Open != nil {
		contact = "contact " + word(*in.Open, "open", "closed")
	}
	if in.Exit != nil {
		exit = "exit " + word(*in.Exit, "pressed", "released")
	}
	line := word(in.Locked, "locked", "unlocked") + "  " + contact + "  " + exit
	if in.Secure != nil {
		line += "  strike " + word(*in.Secure, "secure", "not secure")
	}
	if in.Tamper != nil {
		line += "  tamper " + word(*in.Tamper, "open", "closed")
	}
	return line
}

package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// planPath is the path of a level, schedule or holiday.
func planPath(kind, id string) string { return "/v1/" + kind + "/" + url.PathEscape(id) }

// plans asks for all of a kind, or for the one whose id is given.
func plans[T any](ctx context.Context, c *control.Client, kind, id string, idOf func(T) string) ([]T, error) {
	all := []T{}
	if err := c.Get(ctx, "/v1/"+kind, nil, &all); err != nil || id == "" {
		return all, err
	}
	one := []T{}
	for _, v := range all {
		if idOf(v) == id {
			one = append(one, v)
		}
	}
	if len(one) == 0 {
		return nil, fmt.Errorf("%s %s: not found", strings.TrimSuffix(kind, "s"), id)
	}
	return one, nil
}

// planCommands makes list and show of a kind.
func planCommands[T any](e *env, kind string, header []string, row func(T) []string) (list, show *cobra.Command) {
	one := strings.TrimSuffix(kind, "s")
	get := func(ctx context.Context, c *control.Client, id string) error {
		all, err := plans(ctx, c, kind, id, func(v T) string { return row(v)[0] })
		if err != nil {
			return err
		}
		if e.json && id != "" {
			return e.printJSON(all[0])
		}
		if e.json {
			return e.printJSON(all)
		}
		rows := [][]string{header}
		for _, v := range all {
			rows = append(rows, row(v))
		}
		return e.table(rows)
	}
	list = &cobra.Command{Use: "list", Short: "List the " + kind, Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error { return get(ctx, c, "") })}
	show = &cobra.Command{Use: "show ID", Short: "Show one " + one, Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error { return get(ctx, c, args[0]) })}
	return list, show
}

func planRemoveCommand(e *env, kind, short string) *cobra.Command {
	return &cobra.Command{Use: "remove ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			if err := c.Do(ctx, http.MethodDelete, planPath(kind, args[0]), nil, nil); err != nil {
				return err
			}
			return e.done("%s %s is removed", strings.TrimSuffix(kind, "s"), args[0])
		})}
}

// putPlan makes or replaces one.
func (e *env) putPlan(cmd *cobra.Command, kind, id string, v any) error {
	if err := site.CheckID(id); err != nil {
		return usageError{err.Error()}
	}
	return e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
		if err := c.Do(ctx, http.MethodPut, planPath(kind, id), v, nil); err != nil {
			return err
		}
		return e.done("%s %s is set", strings.TrimSuffix(kind, "s"), id)
	})(cmd, nil)
}

func levelCommand(e *env) *cobra.Command {
	list, show := planCommands(e, "levels", []string{"ID", "NAME", "RIGHTS", "SOURCE"}, func(l site.Level) []string {
		return []string{string(l.ID), orDash(l.Name), orDash(control.FormatRights(l.Rights)), string(l.Source)}
	})
	return group("level", "Manage levels: sets of rights that many credentials share",
		list, show, levelSetCommand(e), planRemoveCommand(e, "levels", "Remove a level that no credential has"))
}

func levelSetCommand(e *env) *cobra.Command {
	var name string
	var rights []string
	c := &cobra.Command{Use: "set ID", Short: "Make or replace a level", Args: cobra.ExactArgs(1),
		Long: "Makes a level, or replaces all of one. A right is DOOR, which holds always, or\nDOOR@SCHEDULE.",
		RunE: func(cmd *cobra.Command, args []string) error {
			rs, err := parseRights(rights)
			if err != nil {
				return err
			}
			return e.putPlan(cmd, "levels", args[0], site.Level{ID: site.LevelID(args[0]), Name: name, Rights: rs})
		}}
	c.Flags().StringVar(&name, "name", "", "the name for people")
	c.Flags().StringSliceVar(&rights, "right", nil, "a right; may come again")
	return c
}

func scheduleCommand(e *env) *cobra.Command {
	list, show := planCommands(e, "schedules", []string{"ID", "NAME", "INTERVALS", "HOLIDAYS", "SOURCE"}, func(s control.ScheduleView) []string {
		texts := make([]string, len(s.Intervals))
		for i, iv := range s.Intervals {
			texts[i] = iv.String()
		}
		return []string{string(s.ID), orDash(s.Name), orDash(strings.Join(texts, "; ")), holidaysOf(s), string(s.Source)}
	})
	return group("schedule", "Manage schedules: days and times at which rights hold",
		list, show, scheduleSetCommand(e), planRemoveCommand(e, "schedules", "Remove a schedule that no right names"))
}

// holidaysOf says what a schedule does on holidays.
func holidaysOf(s control.ScheduleView) string {
	if s.IgnoreHolidays {
		return "ignored"
	}
	var kinds site.Days
	for _, iv := range s.Intervals {
		kinds |= iv.Days &^ site.AllDays
	}
	if kinds == 0 {
		return "off"
	}
	return control.FormatDays(kinds)
}

func scheduleSetCommand(e *env) *cobra.Command {
	var name, on, from, to string
	var intervals []string
	var ignore bool
	c := &cobra.Command{Use: "set ID", Short: "Make or replace a schedule", Args: cobra.ExactArgs(1),
		Long: `Makes a schedule, or replaces all of one. Times are those of the site's clock.

An interval is days and times, "Mo-Fr 08:00-18:00". Days are names, ranges of
them and lists of both (Mo-We,Fr), or daily. An end of 24:00 is the end of the
day; an end at or before the start is on the next day ("Fr 22:00-06:00"), and
belongs to the day on which it starts.

On a holiday an interval does not hold, unless its days name holidays of that
kind, H1 to H8 ("Mo-Fr,H1 08:00-18:00", "H1-H3 10:00-12:00").`,
		Example: "  gatehouse schedule set office --days mo-fr --from 08:00 --to 18:00\n" +
			"  gatehouse schedule set cafe --days mo-su,h1 --from 10:00 --to 17:00\n" +
			"  gatehouse schedule set shifts --interval \"Mo-Fr 22:00-06:00\" --interval \"Sa 08:00-24:00\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			v := control.ScheduleView{ID: site.ScheduleID(args[0]), Name: name, IgnoreHolidays: ignore}
			var err error
			if v.Intervals, err = parseIntervals(intervals, on, from, to); err != nil {
				return err
			}
			return e.putPlan(cmd, "schedules", args[0], v)
		}}
	c.Flags().StringVar(&name, "name", "", "the name for people")
	c.Flags().StringArrayVar(&intervals, "interval", nil, "days and times; may come again")
	c.Flags().StringVar(&on, "days", "", "the days of one more interval (daily if absent)")
	c.Flags().StringVar(&on, "on", "", "the same as --days")
	c.Flags().StringVar(&from, "from", "", "its beginning, HH:MM")
	c.Flags().StringVar(&to, "to", "", "its end, HH:MM")
	c.Flags().BoolVar(&ignore, "ignore-holidays", false, "hold on holidays too")
	return c
}

// parseIntervals reads the intervals of the flags.
func parseIntervals(texts []string, on, from, to string) ([]control.Interval, error) {
	var out []control.Interval
	if on != "" || from != "" || to != "" {
		if from == "" || to == "" {
			return nil, usagef("--days goes with --from and --to")
		}
		if on == "" {
			on = "daily"
		}
		texts = append(texts, on+" "+from+"-"+to)
	}
	for _, t := range texts {
		iv, err := control.ParseInterval(t)
		if err != nil {
			return nil, usageError{err.Error()}
		}
		out = append(out, control.Interval(iv))
	}
	if len(out) == 0 {
		return nil, usagef("name the times: --interval, or --from and --to")
	}
	return out, nil
}

func holidayCommand(e *env) *cobra.Command {
	list, _ := planCommands(e, "holidays", []string{"ID", "NAME", "KIND", "FIRST", "LAST", "SOURCE"}, func(h site.Holiday) []string {
		return []string{string(h.ID), orDash(h.Name), fmt.Sprintf("H%d", h.HolidayKind()), h.First.String(), h.Last.String(), string(h.Source)}
	})
	return group("holiday", "Manage holidays: days on which only what schedules say of holidays holds",
		list, holidayAddCommand(e), planRemoveCommand(e, "holidays", "Remove a holiday"))
}

func holidayAddCommand(e *env) *cobra.Command {
	var name string
	var kind int
	c := &cobra.Command{Use: "add ID FIRST [LAST]", Short: "Add or replace a holiday of one or more whole days", Args: cobra.RangeArgs(2, 3),
		Long: `Adds a holiday, or replaces all of one. On its days an interval of a schedule
holds only where it names holidays of this kind: kind 2 is H2 there. On a day
with holidays of several kinds, any of them will do.`,
		Example: "  gatehouse holiday add xmas 2026-12-24 2026-12-26 --name Christmas\n" +
			"  gatehouse holiday add stocktaking 2027-01-04 --kind 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind < 1 || kind > site.HolidayKinds {
				return usagef("holiday %s: kind %d: want 1 to %d", args[0], kind, site.HolidayKinds)
			}
			h := site.Holiday{ID: site.HolidayID(args[0]), Name: name, Kind: kind}
			for _, d := range []struct {
				text string
				to   *site.Date
			}{{args[1], &h.First}, {args[len(args)-1], &h.Last}} {
				if err := d.to.UnmarshalText([]byte(d.text)); err != nil {
					return usageError{err.Error()}
				}
			}
			if h.Last.Compare(h.First) < 0 {
				return usagef("holiday %s: the last day is before the first", h.ID)
			}
			return e.putPlan(cmd, "holidays", args[0], h)
		}}
	c.Flags().StringVar(&name, "name", "", "the name for people")
	c.Flags().IntVar(&kind, "kind", 1, fmt.Sprintf("which kind of holiday, 1 to %d", site.HolidayKinds))
	return c
}

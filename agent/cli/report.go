package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func statusCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show how the agent is; 0 when its doors decide, degraded or not", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var st control.Status
			if err := c.Get(ctx, "/v1/status", nil, &st); err != nil {
				return err
			}
			if e.json {
				if err := e.printJSON(st); err != nil {
					return err
				}
			} else if err := e.showStatus(st); err != nil {
				return err
			}
			if !st.Ready {
				return fmt.Errorf("the agent answers, but its doors are not ready")
			}
			return nil
		})}
}

func (e *env) showStatus(st control.Status) error {
	fmt.Fprintf(e.out, "%s (%s), gatehouse %s, up since %s\n", st.Site, st.Serial, st.Version, e.showTime(st.Started))
	fmt.Fprintf(e.out, "doors decide: %s\n", word(st.Ready, "yes", "NO"))
	fmt.Fprintf(e.out, "clock: %s %s, %s (untrusted: %s)\n", st.Clock.Now.Format("2006-01-02 15:04:05"), st.Clock.Zone, word(st.Clock.Trusted, "trusted", "NOT trusted"), st.Clock.Untrusted)
	fmt.Fprintf(e.out, "store: policy version %d, %d credentials, %s; copied %s\n", st.Store.Version, st.Store.Credentials,
		size(uint64(st.Store.Bytes)), e.showTime(st.Store.Copied))
	fmt.Fprintf(e.out, "log %s: events %d to %d, %s of %s; %d queued, %d lost\n", st.Log.ID, st.Log.First, st.Log.Last,
		size(uint64(st.Log.Bytes)), size(uint64(st.Log.Budget)), st.Log.Queued, st.Log.Lost)
	for _, c := range st.Log.Cursors {
		fmt.Fprintf(e.out, "  consumer %s at %d, %d behind\n", c.Name, c.At, c.Behind)
	}
	fmt.Fprintf(e.out, "disk: %s free of %s\n", size(st.Disk.Free), size(st.Disk.Total))
	for _, c := range st.Certs {
		fmt.Fprintf(e.out, "certificate %s: until %s%s\n", c.Name, e.showTime(c.Until), word(c.SelfSigned, ", self-signed", ""))
	}
	for _, name := range slices.Sorted(maps.Keys(st.Listen)) {
		fmt.Fprintf(e.out, "listening: %s %s\n", name, st.Listen[name])
	}
	if len(st.Absent) > 0 {
		fmt.Fprintf(e.out, "not in this build: %s\n", strings.Join(st.Absent, ", "))
	}
	fmt.Fprintln(e.out)
	if err := e.table(e.doorRows(st.Doors)); err != nil {
		return err
	}
	e.showLockLines(st.Locks, st.Pending)
	for _, r := range st.Readers {
		fmt.Fprintf(e.out, "reader %s (%s) at %s: %s\n", r.ID, r.Kind, r.Door, word(r.Fault == "", "ok", r.Fault))
	}
	for _, in := range st.Inputs {
		fmt.Fprintf(e.out, "input %s: %s%s\n", in.ID, word(in.OK, "", "NOT OK, "), in.Text)
	}
	for _, o := range st.Outputs {
		fmt.Fprintf(e.out, "output %s: %s%s\n", o.ID, word(o.On, "on", "off"), word(o.Fault == "", "", ", FAULT "+o.Fault))
	}
	e.showNotify(st.Notify)
	e.showUplink(st.Uplink)
	for _, f := range st.Faults {
		fmt.Fprintf(e.out, "FAULT %s since %s: %s\n", f.ID, e.showTime(f.Since), f.Text)
	}
	for _, w := range st.Warnings {
		fmt.Fprintf(e.out, "warning: %s\n", w)
	}
	return nil
}

// size writes bytes for a person.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

func eventsCommand(e *env) *cobra.Command {
	return group("events", "Look at the event log", eventsTailCommand(e), eventsExportCommand(e))
}

// eventFlags select events.
type eventFlags struct {
	from, to, door, kind, holder string
	last                         uint
	follow, duress               bool
}

func (f *eventFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.from, "from", "", "first time (RFC 3339, a date, or a duration from now as -8h)")
	c.Flags().StringVar(&f.to, "to", "", "last time")
	c.Flags().StringVar(&f.door, "door", "", "only of this door")
	c.Flags().StringVar(&f.kind, "kind", "", "only of this kind (access, door_forced, …)")
	c.Flags().StringVar(&f.holder, "holder", "", "only of this holder (id or name)")
	c.Flags().BoolVar(&f.duress, "duress", false, "show duress events too; mind who sees the screen")
}

func (f *eventFlags) query(now time.Time) (url.Values, error) {
	q := url.Values{}
	if k := site.Kind(f.kind); f.kind != "" && !slices.Contains(site.Kinds(), k) {
		return nil, usagef("kind %q is not known (one of %s)", f.kind, joinKinds())
	}
	for name, text := range map[string]string{"from": f.from, "to": f.to} {
		t, err := parseTime(text, now)
		if err != nil {
			return nil, err
		}
		if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	for name, text := range map[string]string{"door": f.door, "kind": f.kind, "holder": f.holder} {
		if text != "" {
			q.Set(name, text)
		}
	}
	if f.last > 0 {
		q.Set("last", strconv.FormatUint(uint64(f.last), 10))
	}
	if f.follow {
		q.Set("follow", "1")
	}
	if f.duress {
		q.Set("duress", "1")
	}
	return q, nil
}

// joinKinds lists the kinds of events for a message.
func joinKinds() string {
	var names []string
	for _, k := range site.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func eventsTailCommand(e *env) *cobra.Command {
	var f eventFlags
	c := &cobra.Command{Use: "tail", Short: "Show the last events and those to come", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			if f.last == 0 {
				return usagef("events tail: --last 0: want 1 or more")
			}
			return e.streamEvents(ctx, c, &f, e.json)
		})}
	f.add(c)
	c.Flags().UintVarP(&f.last, "last", "n", 20, "how many to begin with (1 or more)")
	c.Flags().BoolVarP(&f.follow, "follow", "f", true, "go on with those to come")
	return c
}

func eventsExportCommand(e *env) *cobra.Command {
	var f eventFlags
	c := &cobra.Command{Use: "export", Short: "Write the events, one JSON object a line", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			return e.streamEvents(ctx, c, &f, true)
		})}
	f.add(c)
	return c
}

func (e *env) streamEvents(ctx context.Context, c *control.Client, f *eventFlags, asJSON bool) error {
	q, err := f.query(e.now())
	if err != nil {
		return err
	}
	err = c.Stream(ctx, http.MethodGet, "/v1/events", q, nil, func(line []byte) error {
		if asJSON {
			_, err := e.out.Write(line)
			return err
		}
		var ev site.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return err
		}
		_, err := fmt.Fprintln(e.out, e.eventLine(ev))
		return err
	})
	if ctx.Err() != nil {
		return nil // interrupted: what a tail is for
	}
	return err
}

// eventLine writes an event for a person.
func (e *env) eventLine(ev site.Event) string {
	words := []string{fmt.Sprintf("%6d", ev.Seq), e.showTime(ev.Time) + word(ev.Trusted, "", "?"), string(ev.Kind)}
	if ev.Cleared {
		words = append(words, "cleared")
	}
	for _, s := range []string{string(ev.Door), string(ev.Reader), string(ev.Device), string(ev.Reason), ev.Holder, ev.Card.String(), ev.Mode, ev.Text} {
		if s != "" {
			words = append(words, s)
		}
	}
	if ev.Count > 0 {
		words = append(words, fmt.Sprintf("count %d", ev.Count))
	}
	if ev.By != "" {
		words = append(words, "by "+ev.By)
	}
	return printable(strings.Join(words, "  "))
}

func alarmsCommand(e *env) *cobra.Command {
	return group("alarms", "Look at alarms and acknowledge them", alarmsListCommand(e), alarmsAckCommand(e))
}

func alarmsListCommand(e *env) *cobra.Command {
	var duress bool
	c := &cobra.Command{Use: "list", Short: "List the alarms that stand or that nobody acknowledged", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			list := []control.Alarm{}
			q := url.Values{}
			if duress {
				q.Set("duress", "1")
			}
			if err := c.Get(ctx, "/v1/alarms", q, &list); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(list)
			}
			rows := [][]string{{"ID", "KIND", "WHERE", "BEGAN", "ENDED", "TIMES", "ACKNOWLEDGED", "TEXT"}}
			for _, a := range list {
				acked := "-"
				if a.AckedBy != "" {
					acked = a.AckedBy + " " + e.showTime(a.Acked)
				}
				where := strings.Join(strings.Fields(string(a.Door)+" "+string(a.Reader)+" "+string(a.Device)), " ")
				rows = append(rows, []string{strconv.FormatUint(uint64(a.ID), 10), string(a.Kind), orDash(where),
					e.showTime(a.Began), e.showTime(a.Ended), strconv.Itoa(a.Times), acked, orDash(a.Text)})
			}
			return e.table(rows)
		})}
	c.Flags().BoolVar(&duress, "duress", false, "list duress alarms too; mind who sees the screen")
	return c
}

func alarmsAckCommand(e *env) *cobra.Command {
	var by string
	c := &cobra.Command{Use: "ack ID...", Short: "Acknowledge alarms by name", Args: cobra.MinimumNArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			if by == "" {
				u, err := user.Current()
				if err != nil {
					return usagef("say who acknowledges with --by NAME")
				}
				by = u.Username
			}
			for _, id := range args {
				if _, err := strconv.ParseUint(id, 10, 64); err != nil {
					return usagef("alarm %q: not a number (see alarms list)", id)
				}
			}
			for _, id := range args {
				if err := c.Do(ctx, http.MethodPost, "/v1/alarms/"+id+"/ack", map[string]string{"by": by}, nil); err != nil {
					return err
				}
				if err := e.done("alarm %s is acknowledged by %s", id, by); err != nil {
					return err
				}
			}
			return nil
		})}
	c.Flags().StringVar(&by, "by", "", "who acknowledges (the user who runs this if absent)")
	return c
}

func whyCommand(e *env) *cobra.Command {
	var door, reader, credential, bits, at string
	c := &cobra.Command{Use: "why --door D [--reader R] (--credential C | --bits LENGTH:HEX) [--at T]", Short: "Explain a decision without opening", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			if door == "" || (credential == "") == (bits == "") {
				return usagef("why: want --door, and one of --credential and --bits")
			}
			q := url.Values{"door": {door}}
			if reader != "" {
				q.Set("reader", reader)
			}
			if credential != "" {
				q.Set("credential", credential)
			} else {
				q.Set("bits", bits)
			}
			t, err := parseTime(at, e.now())
			if err != nil {
				return err
			}
			if !t.IsZero() {
				q.Set("at", t.Format(time.RFC3339))
			}
			var why control.Why
			if err := c.Get(ctx, "/v1/why", q, &why); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(why)
			}
			for _, s := range why.Steps {
				fmt.Fprintf(e.out, "%-18s %-44s %s\n", s.Check, s.Input, s.Result)
			}
			_, err = fmt.Fprintf(e.out, "%s: %s (%s)\n", why.Decision, why.Reason, site.Reason(why.Reason).Text())
			return err
		})}
	c.Flags().StringVar(&door, "door", "", "the door")
	c.Flags().StringVar(&reader, "reader", "", "the reader, where the door has more than one")
	c.Flags().StringVar(&credential, "credential", "", "a credential's id, or its unambiguous beginning")
	c.Flags().StringVar(&bits, "bits", "", "a card's bits as LENGTH:HEX, left-justified")
	c.Flags().StringVar(&at, "at", "", "at this time instead of now (RFC 3339, a date, or a duration from now as -8h)")
	return c
}

func versionCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if e.json {
				return e.printJSON(map[string]string{"version": Version})
			}
			_, err := fmt.Fprintln(e.out, "gatehouse", Version)
			return err
		}}
}

// manCommand writes man pages; a package's build calls it.
func manCommand(*env) *cobra.Command {
	return &cobra.Command{Use: "man DIR", Short: "Write the man pages into a folder", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			root.PersistentFlags().Lookup("config").DefValue = defaultConfig // not who builds the page has set
			return doc.GenManTree(root, &doc.GenManHeader{Title: "GATEHOUSE", Section: "1", Source: "gatehouse " + Version}, args[0])
		}}
}

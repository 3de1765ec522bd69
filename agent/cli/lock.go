package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func lockCommand(e *env) *cobra.Command {
	return group("lock", "Look at the locks: what they have, when they call, what ails them", lockListCommand(e), lockShowCommand(e))
}

// wifiHelp is in the help of commands to doors and of those that show locks.
const wifiHelp = `
A lock on a serial line can be named as a door is. A Wi-Fi lock has no live line:
it calls by itself, most often at night, and takes no commands.`

func lockListCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the locks, and those that call without being named in the settings", Args: cobra.NoArgs,
		Long: `Lists the locks of the settings, and below them those that call and that the
settings do not name: they get nothing until they are named.

A lock opens by the table that it has. BEHIND says how much of the policy that
table lacks; the lock gets it at its next call. STATE is the worst of: offline (a
serial lock that does not answer), refused (its last call was), unseen (it never
called), late (a call did not come), behind, checking (the policy has just changed,
and what it lacks is not known yet: BEHIND may be ?), ok.
` + wifiHelp,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var book control.LockBook
			if err := c.Get(ctx, "/v1/locks", nil, &book); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(book)
			}
			if len(book.Locks) == 0 {
				fmt.Fprintln(e.out, "no lock in the settings")
			} else {
				t := e.newTable([]string{"ID", "NAME", "MODEL", "LINE", "CALLED", "NEXT", "BEHIND", "USERS", "BATTERY", "STATE"})
				for i := range book.Locks {
					if err := t.add(e.lockRow(&book.Locks[i])); err != nil {
						return err
					}
				}
				if err := t.flush(); err != nil {
					return err
				}
			}
			return e.showPending(book)
		})}
}

func (e *env) lockRow(l *control.LockStatus) []string {
	behind := word(l.Unchecked, "?", "-")
	if l.Behind {
		behind = control.LacksText(l.Changes)
	}
	return []string{string(l.ID), l.Name, l.Model, string(l.Line), e.showTime(l.Called), e.showTime(l.Next), behind,
		usersText(l), orDash(batteryText(l)), string(l.State)}
}

func usersText(l *control.LockStatus) string {
	if l.UsersMax == 0 {
		return strconv.Itoa(l.Users)
	}
	return fmt.Sprintf("%d of %d", l.Users, l.UsersMax)
}

// batteryText says what is known of a battery, which may be nothing.
func batteryText(l *control.LockStatus) string {
	if l.Main == 0 {
		return l.Battery
	}
	return strings.TrimSpace(fmt.Sprintf("%s %.2f V", l.Battery, l.Main))
}

// showPending lists the locks that wait for a name, and how to give it to them.
func (e *env) showPending(book control.LockBook) error {
	if len(book.Pending) == 0 {
		return nil
	}
	fmt.Fprintln(e.out, "\nnot named in the settings, and given nothing:")
	t := e.newTable([]string{"SERIAL", "FIRST CALL", "LAST CALL", "CALLS", "FROM"})
	for _, p := range book.Pending {
		if err := t.add([]string{p.Serial, e.showTime(p.First), e.showTime(p.Last), strconv.FormatUint(p.Calls, 10), orDash(p.Address)}); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(e.out, "to name them, put into the settings what is yours, with its model (nde, le, control, cte or rmru), and restart:\nlocks:")
	for _, line := range settingsLines(book) {
		fmt.Fprintln(e.out, line)
	}
	return nil
}

// settingsLines are the entries of locks that name the pending ones. An id is made
// of the end of the serial, and of all of it where others end so.
func settingsLines(book control.LockBook) []string {
	id := func(serial string, digits int) string {
		return "lock-" + strings.ToLower(serial[max(0, len(serial)-digits):])
	}
	used := map[string]int{}
	for _, l := range book.Locks {
		used[string(l.ID)]++
	}
	for _, p := range book.Pending {
		used[id(p.Serial, 4)]++
	}
	var out []string
	for _, p := range book.Pending {
		name := id(p.Serial, 4)
		if used[name] > 1 {
			name = id(p.Serial, len(p.Serial))
		}
		out = append(out, fmt.Sprintf("  - {id: %s, serial: %q, model: nde}", name, printable(p.Serial)))
	}
	return out
}

func lockShowCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "show [ID]", Short: "Show all that is known of one lock, or of each", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeLocks,
		Long: `Shows all that is known of a lock (by its id or serial), or of each lock without
one: when it called and why it was last refused, the versions of the table that it
has and of the newest one, what it cannot hold as the policy says it, its alarms.
` + wifiHelp,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			if len(args) == 1 {
				v, err := getLock(ctx, c, args[0])
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(v)
				}
				return e.showLock(v)
			}
			return e.showLocks(ctx, c)
		})}
}

func getLock(ctx context.Context, c *control.Client, id string) (v control.LockView, err error) {
	return v, c.Get(ctx, "/v1/locks/"+url.PathEscape(id), nil, &v)
}

// showLocks shows each lock.
func (e *env) showLocks(ctx context.Context, c *control.Client) error {
	var book control.LockBook
	if err := c.Get(ctx, "/v1/locks", nil, &book); err != nil {
		return err
	}
	all := []control.LockView{}
	for _, l := range book.Locks {
		v, err := getLock(ctx, c, string(l.ID))
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	if e.json {
		return e.printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(e.out, "no lock in the settings")
	}
	for i, v := range all {
		if i > 0 {
			fmt.Fprintln(e.out)
		}
		if err := e.showLock(v); err != nil {
			return err
		}
	}
	return e.showPending(book)
}

func (e *env) showLock(v control.LockView) error {
	t := e.newTable([]string{"WHAT", "VALUE"})
	for _, row := range e.lockRows(&v) {
		if row[1] == "" {
			continue
		}
		if err := t.add(row); err != nil {
			return err
		}
	}
	return t.flush()
}

// lockRows are the lines of one lock; those without a value are left out.
func (e *env) lockRows(v *control.LockView) [][]string {
	line := "Wi-Fi: it calls by itself and takes no commands"
	if v.Line == control.LockSerial {
		line = fmt.Sprintf("serial, device %s, %s", v.Device, word(v.Online, "online", "OFFLINE"))
	}
	behind := word(v.Unchecked, "not compared yet with the policy as it is now", "no")
	if v.Behind {
		behind = control.LacksText(v.Changes)
		if !v.BehindSince.IsZero() {
			behind += ", since " + e.showTime(v.BehindSince)
		}
	}
	rows := [][]string{
		{"id", string(v.ID)}, {"name", v.Name}, {"serial", v.Serial}, {"model", v.Model}, {"firmware", v.Firmware}, {"line", line},
		{"calls itself", strings.TrimSpace(v.SaysName + " " + v.SaysModel)}, {"state", string(v.State)}, {"called", e.showTime(v.Called)}, {"next call", e.showTime(v.Next) + word(v.Late, ", LATE", "")},
		{"has", e.tableText(v.Has)}, {"newest", word(v.Want == 0, "has no version yet", e.tableText(v.Want))}, {"behind", behind}, {"users", usersText(&v.LockStatus)},
		{"battery", orDash(batteryText(&v.LockStatus))}, {"clock cell", voltText(v.Li)}, {"clock", clockText(time.Duration(v.ClockOff))},
	}
	if v.Mode != "" {
		rows = append(rows, []string{"mode", v.Mode + " (by its last audit)"})
	}
	if v.Alarm != site.AlarmNone {
		rows = append(rows, []string{"its alarm", v.Alarm.String()})
	}
	if v.ConfigWaits {
		rows = append(rows, []string{"settings", "the host's wait for its next call"})
	}
	if v.Refused != "" {
		rows = append(rows, []string{"last refused", strings.TrimPrefix(e.showTime(v.RefusedAt)+": "+v.Refused, "-: ")})
	}
	for _, l := range v.Losses {
		rows = append(rows, []string{"cannot hold", l})
	}
	if more := v.Lost - len(v.Losses); more > 0 {
		rows = append(rows, []string{"cannot hold", fmt.Sprintf("%d more", more)})
	}
	for _, a := range v.Alarms {
		text := fmt.Sprintf("%d %s since %s", a.ID, a.Kind, e.showTime(a.Began))
		if !a.Ended.IsZero() {
			text += ", ended " + e.showTime(a.Ended)
		}
		if a.Text != "" {
			text += ": " + a.Text
		}
		rows = append(rows, []string{"alarm", text})
	}
	return rows
}

// tableText says which table it is and when it was made.
func (e *env) tableText(v control.TableVersion) string {
	made := v.Made()
	switch {
	case v == 0:
		return "no table"
	case made.IsZero():
		return v.String()
	}
	return v.String() + " of " + e.showTime(made)
}

func voltText(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f V", v)
}

func clockText(d time.Duration) string {
	switch {
	case d > 0:
		return d.String() + " ahead"
	case d < 0:
		return (-d).String() + " behind"
	}
	return ""
}

// showLockLines writes a line per lock for status.
func (e *env) showLockLines(locks []control.LockStatus, pending []control.PendingLock) {
	for i := range locks {
		l := &locks[i]
		parts := []string{word(l.State == control.LockOK, string(l.State), strings.ToUpper(string(l.State))),
			"called " + e.showTime(l.Called), "next " + e.showTime(l.Next), word(l.Has == 0, "no table", "table of "+e.showTime(l.HasMade))}
		if l.Behind {
			parts = append(parts, "lacks "+control.LacksText(l.Changes))
		}
		parts = append(parts, "users "+usersText(l))
		if b := batteryText(l); b != "" {
			parts = append(parts, "battery "+b)
		}
		if l.Alarm != site.AlarmNone {
			parts = append(parts, "alarm "+l.Alarm.String())
		}
		fmt.Fprintf(e.out, "lock %s (%s): %s\n", l.ID, l.Line, printable(strings.Join(parts, ", ")))
	}
	for _, p := range pending {
		fmt.Fprintf(e.out, "lock without a name calls: serial %s from %s, last %s: see gatehouse lock list\n", printable(p.Serial), orDash(p.Address), e.showTime(p.Last))
	}
}

// showStillOpens names the locks that open for what until they have called.
func (e *env) showStillOpens(locks []control.StillOpen, what string) error {
	if len(locks) == 0 {
		return nil
	}
	var parts []string
	for i, o := range locks {
		still := word(o.Unsure, " perhaps", "")
		if i == 0 {
			still = word(o.Unsure, " may still open for ", " still opens for ") + what
		}
		parts = append(parts, string(o.Lock)+still+" until "+e.stillUntil(o))
	}
	_, err := fmt.Fprintln(e.out, strings.Join(parts, "; "))
	return err
}

// stillUntil says what ends it, and about when.
func (e *env) stillUntil(o control.StillOpen) string {
	at := o.Until.In(e.zone()).Format("2006-01-02 15:04")
	switch {
	case o.Line == control.LockSerial && o.Until.IsZero():
		return "it is online again"
	case o.Line == control.LockSerial:
		return "it has fetched the change, about " + at
	case o.Until.IsZero():
		return "it calls; nobody knows when"
	case o.Until.Before(e.now()):
		return "it calls: the call of " + at + " did not come"
	}
	return "its next call, about " + at
}

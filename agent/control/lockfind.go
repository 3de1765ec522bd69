package control

import (
	"fmt"
	"strings"
	"time"
)

// behindLimit is how long a lock may lack changes: it calls once a night.
const behindLimit = 24 * time.Hour

// finder collects findings; its times are written in the zone of now.
type finder struct {
	now time.Time
	out []Finding
}

// LockFindings says what is wrong with locks, for doctor. Times in it are written
// in now's zone: give the site's. Where nothing is wrong it is empty.
func LockFindings(locks []LockStatus, now time.Time) []Finding {
	f := finder{now: now}
	for i := range locks {
		f.reach(&locks[i])
		f.table(&locks[i])
		f.battery(&locks[i])
	}
	return f.out
}

func (f *finder) add(wrong bool, what, cause, do string) {
	f.out = append(f.out, Finding{What: what, Cause: cause, Do: do, Wrong: wrong})
}

func (f *finder) at(t time.Time) string {
	return t.In(f.now.Location()).Format("2006-01-02 15:04")
}

// reach tells why a lock does not get what changes: the first cause alone, for
// the others follow from it.
func (f *finder) reach(l *LockStatus) {
	lock := "lock " + string(l.ID)
	switch StateOf(l) {
	case LockOffline:
		cause := fmt.Sprintf("device %s does not answer on its line", l.Device)
		if !l.Called.IsZero() {
			cause += ", and called last at " + f.at(l.Called)
		}
		f.add(true, lock+" is offline", cause+"; "+f.holds(l),
			"look at its power and its wires, then at port, baud and hive_device in the settings; it gets what changed when it is back")
	case LockRefused:
		when := ""
		if !l.RefusedAt.IsZero() {
			when = " at " + f.at(l.RefusedAt)
		}
		f.add(true, lock+" was refused"+when, l.Refused+"; "+f.holds(l),
			"if the cause is the token, commission the lock with this site's key (site.key_file); the log has a line for each refusal")
	case LockUnseen:
		f.add(l.Late, lock+" has never called", "no call of serial "+l.Serial+" was seen; "+f.holds(l),
			"commission it to this agent's address, and compare the serial with the one on the lock; lock list shows who calls without a name")
	case LockLate:
		cause := "its last call was at " + f.at(l.Called)
		if !l.Next.IsZero() {
			cause += " and the one of " + f.at(l.Next) + " did not come"
		}
		f.add(true, lock+" is late", cause+"; "+f.holds(l),
			"look at its batteries, at the Wi-Fi where it hangs, and whether this agent's address has changed")
	}
}

// holds says which table a lock opens by until it calls.
func (f *finder) holds(l *LockStatus) string {
	made := l.Has.Made()
	switch {
	case l.Has == 0:
		return "it has no table of this agent"
	case made.IsZero():
		return "it opens by table " + l.Has.String()
	case l.Behind:
		return "it opens by its table of " + f.at(made) + ", which has changed since"
	}
	return "it opens by its table of " + f.at(made)
}

// table tells of a table that is too old, or that is less than the policy.
func (f *finder) table(l *LockStatus) {
	lock := "lock " + string(l.ID)
	since, cause := l.BehindSince, "it has been behind since "
	if since.IsZero() {
		since, cause = l.Called, "it has not called since "
	}
	if l.Behind && !since.IsZero() && f.now.Sub(since) > behindLimit {
		f.add(true, lock+" lacks "+LacksText(l.Changes)+" for more than a day", cause+f.at(since)+": a card that was revoked meanwhile may still open it",
			"let it call, as its manual says; if it calls and stays behind, the log has why")
	}
	n := max(l.Lost, len(l.Losses))
	if n == 0 {
		return
	}
	cause = fmt.Sprintf("%d differences", n)
	if len(l.Losses) > 0 {
		cause = l.Losses[0]
		if n > 1 {
			cause += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	f.add(false, lock+" does not hold all that the policy says", cause,
		"see them all with: gatehouse lock show "+string(l.ID)+"; what is left out opens nothing there")
}

// lowBatteries are the words of locks for a battery that wants changing.
var lowBatteries = []string{"low", "critical"}

func (f *finder) battery(l *LockStatus) {
	for _, w := range lowBatteries {
		if !strings.EqualFold(l.Battery, w) {
			continue
		}
		cause := "it says so"
		if l.Main > 0 {
			cause = fmt.Sprintf("it says so, with %.2f V", l.Main)
		}
		f.add(true, fmt.Sprintf("the battery of lock %s is %s", l.ID, w), cause, "change it")
	}
}

// LacksText says for a person how many changes a lock lacks (LockStatus.Changes).
func LacksText(changes int) string {
	switch changes {
	case FullFile:
		return "a whole table"
	case 0:
		return "changes"
	case 1:
		return "1 change"
	}
	return fmt.Sprintf("%d changes", changes)
}

// PendingFindings tells of locks that call without being named, for doctor, with
// times in now's zone. It is worth knowing; nothing is broken.
func PendingFindings(pending []PendingLock, now time.Time) []Finding {
	f := finder{now: now}
	for _, p := range pending {
		f.add(false, "a lock calls that the settings do not name: "+p.Serial,
			fmt.Sprintf("%s from %s, the last one at %s; it gets nothing", callsText(p.Calls), p.Address, f.at(p.Last)),
			"if it is yours, name it under locks and restart; gatehouse lock list has the line to add")
	}
	return f.out
}

func callsText(n uint64) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

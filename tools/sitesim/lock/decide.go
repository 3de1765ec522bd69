package lock

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// secondWithin is how long a supervised card waits for a second one.
const secondWithin = 15 * time.Second

// Codes of a lock's own audits (engage.md section 5).
const (
	codeLockdown, codeLockdownEnd = "0500", "0501"
	codeGrant                     = "0502"
	codeOutOfSchedule             = "0508"
	codeTooEarly, codeExpired     = "0509", "050A"
	codeUnknown, codeRestricted   = "050B", "050C"
	codeLockedOut                 = "050D"
	codeFreezePassage, codeFreeze = "0513", "0514"
	codeDenied, codeBlocked       = "0540", "0541"
	codeFileError, codeFileStored = "0600", "0601"
	codeNoJSON                    = "0900"
	codeLowBattery, codeForced    = "0100", "0700"
	codeTamper                    = "0702"
	codeToPassage, codeToSecured  = "0F00", "0F01"
	codeTamperEnd                 = "071B"
	codeOpen, codeClosed          = "0721", "0722"
	codeMomentary                 = "0F02"
	codeToFrozenSecured           = "0F04"
	codeToFrozenPassage           = "0F05"
	codeCardLength                = 0x1300
	noData                        = "0000"
)

// Present holds a card's 16-byte block at the lock and returns whether it opens,
// from the lock's own table and nothing else. It writes an audit: 0502, or why
// not. A toggle, freeze or lockdown card does its work too; a supervised one opens
// with a second supervised one within 15 s.
func (l *Lock) Present(block [16]byte, at time.Time) (opens bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	opens, _ = l.present(block, at)
	return opens
}

// PresentCard holds a card of some bits, left-justified in data, at the lock. A
// card that is unknown leaves its bits in the audits as well (1300 to 1304), as
// some firmware does. It returns the code of the audit.
func (l *Lock) PresentCard(data []byte, bits int, at time.Time) (opens bool, code string, err error) {
	block, err := Block(data, bits)
	if err != nil {
		return false, "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	opens, code = l.present(block, at)
	if code == codeUnknown && bits <= 64 {
		value := binary.BigEndian.Uint64(block[:8]) >> (64 - bits)
		l.note(fmt.Sprintf("%04X%04X", codeCardLength, bits), at)
		for i := range (bits + 15) / 16 {
			l.note(fmt.Sprintf("%04X%04X", codeCardLength+1+i, value>>(16*i)&0xFFFF), at)
		}
	}
	return opens, code, nil
}

// present decides and writes the audit. l.mu is held.
func (l *Lock) present(block [16]byte, at time.Time) (bool, string) {
	if l.bad != nil {
		return false, codeDenied
	}
	l.advance(at)
	u, known := l.byID[l.byCard[block]]
	code := l.judge(u, known, at)
	if code == codeGrant {
		code = l.act(&u, at)
		l.byID[u.id] = u
	}
	l.note(code+noData, at)
	return code == codeGrant || code == codeToPassage || code == codeToSecured, code
}

// judge returns codeGrant or why the card may do nothing. A door that stands in
// passage opens for whoever pushes it; what is asked here is the card.
func (l *Lock) judge(u user, known bool, at time.Time) string {
	if !known {
		return codeUnknown
	}
	now := l.digits(at)
	through := u.function == passesThrough
	switch {
	case u.function == blocked:
		return codeBlocked
	case u.from != "" && now < u.from:
		return codeTooEarly
	case u.until != "" && now >= u.until, u.used:
		return codeExpired
	case l.holidayAt(now) == holidayRestricted:
		return codeRestricted
	case !l.inSchedule(u, at):
		return codeOutOfSchedule
	case (l.mode == Lockdown || l.mode == FrozenSecured) && !through && u.function != freezes && u.function != locksDown:
		return codeLockedOut
	}
	return codeGrant
}

// act does what a card's function says and returns the audit's code.
func (l *Lock) act(u *user, at time.Time) string {
	switch u.function {
	case toggles:
		if l.mode == Passage {
			l.mode = Secured
			return codeToSecured
		}
		l.mode = Passage
		return codeToPassage
	case freezes:
		if l.mode == FrozenSecured || l.mode == FrozenPassage {
			l.mode = Secured
			return codeFreeze
		}
		l.mode = FrozenSecured
		return codeFreeze
	case locksDown:
		if l.mode == Lockdown {
			l.mode = Secured
			return codeLockdownEnd
		}
		l.mode = Lockdown
		return codeLockdown
	case opensOnce:
		u.used = true
	case supervised:
		waits := !l.firstWait.IsZero() && at.Sub(l.firstWait) < secondWithin && !at.Before(l.firstWait) && l.firstCard != u.card
		l.firstWait, l.firstCard = at, u.card
		if !waits {
			return codeDenied
		}
		l.firstWait = time.Time{}
	}
	return codeGrant
}

// inSchedule reports whether one of the user's schedules holds.
func (l *Lock) inSchedule(u user, at time.Time) bool {
	local := at.In(l.cfg.Zone)
	minute := local.Hour()*60 + local.Minute()
	for i, s := range l.schedules {
		if u.schedules&(1<<i) != 0 && s.days&(1<<local.Weekday()) != 0 && s.start <= minute && minute < s.end {
			return true
		}
	}
	return false
}

// holidayAt returns the strictest holiday of a moment; 0: none.
func (l *Lock) holidayAt(now string) (action holidayAction) {
	for _, h := range l.holidays {
		if h.start <= now && now < h.end {
			action = max(action, h.action)
		}
	}
	return action
}

// StateAt returns the mode at a moment: what was ordered, what autoUnlock made of
// it until then, and what a holiday makes of that.
func (l *Lock) StateAt(at time.Time) Mode {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(at)
	if l.mode != Secured && l.mode != Passage {
		return l.mode
	}
	switch l.holidayAt(l.digits(at)) {
	case holidayPassage:
		return Passage
	case holidaySecured, holidayRestricted:
		return Secured
	}
	return l.mode
}

// advance applies the autoUnlock entries that came since the last time. Each
// changes the state once; they change secured and passage only. After more than
// eight days only the last eight count, for all repeat weekly. l.mu is held.
func (l *Lock) advance(at time.Time) {
	from := l.clock
	l.clock = at
	if from.IsZero() || !at.After(from) || len(l.auto) == 0 {
		return
	}
	if week := at.AddDate(0, 0, -8); from.Before(week) {
		from = week
	}
	type event struct {
		at      time.Time
		passage bool
	}
	var events []event
	day := from.In(l.cfg.Zone)
	for ; ; day = day.AddDate(0, 0, 1) {
		y, m, d := day.Date()
		if time.Date(y, m, d, 0, 0, 0, 0, l.cfg.Zone).After(at) {
			break
		}
		for _, a := range l.auto {
			t := time.Date(y, m, d, a.minute/60, a.minute%60, 0, 0, l.cfg.Zone)
			if a.days&(1<<day.Weekday()) != 0 && t.After(from) && !t.After(at) {
				events = append(events, event{t, a.passage})
			}
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for _, e := range events {
		switch {
		case l.mode != Secured && l.mode != Passage:
		case e.passage:
			l.mode = Passage
		default:
			l.mode = Secured
		}
	}
}

// digits writes a time as the lock's clock shows it.
func (l *Lock) digits(at time.Time) string { return at.In(l.cfg.Zone).Format(digits14) }

// note keeps an audit until it is acknowledged. l.mu is held.
func (l *Lock) note(event string, at time.Time) {
	a := Audit{Event: event, Time: l.digits(at)}
	l.sequence++
	if l.auditIDs {
		a.ID = fmt.Sprintf("%08X", l.sequence)
	}
	l.audits = append(l.audits, a)
}

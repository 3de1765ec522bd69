package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
)

// Why makes the decision for a credential at a door without opening it, and
// says each step: now, or at a time in the past or the future. The policy is
// always the one of now; a step says how often it has changed since a time that
// is past.
func (a *App) Why(ctx context.Context, q control.WhyQuery) (control.Why, error) {
	lock := a.lines.find(q.Door)
	d, err := a.doors.door(q.Door)
	if err != nil && lock == nil {
		return control.Why{}, err
	}
	p := door.Presented{Reader: q.Reader}
	if p.Reader, err = a.readerAt(q.Door, q.Reader); err != nil {
		return control.Why{}, err
	}
	if q.Bits != nil {
		p.Bits = *q.Bits
	} else if p.Bits, err = a.bitsOf(q.Credential); err != nil {
		return control.Why{}, err
	}
	m := moment{clock: a.clock.Clock(), areas: a.areas}
	switch {
	case lock != nil:
		m = a.lockMoment(m, q.At)
	case q.At.IsZero():
		m.mode = d.Status().Mode
	default:
		if m, err = a.momentAt(ctx, q.Door, q.At); err != nil {
			return control.Why{}, err
		}
	}
	return a.explain(q.Door, p, m), nil
}

// lockMoment is what a decision for a lock depends on: the policy and the time. It
// decides by itself, by the table that it stored.
func (a *App) lockMoment(m moment, at time.Time) moment {
	if !at.IsZero() {
		m.clock, m.other = site.Clock{Now: at, Trusted: true, Mode: a.cfg.Clock}, true
	}
	m.step("time", m.clock.Now, "what the policy gives the lock; it decides by the table that it last stored: see gatehouse lock show")
	return m
}

// moment is what a decision depends on beside the policy.
type moment struct {
	mode  site.Mode
	clock site.Clock
	areas *areaBook
	other bool              // not now
	steps []control.WhyStep // how it was found out
}

// areaStep is the step of access that what the areas know belongs before.
const areaStep = "area"

// explain decides at a moment.
func (a *App) explain(id site.DoorID, p door.Presented, m moment) control.Why {
	cfg := door.Config{ID: id} // a lock's
	if i := slices.IndexFunc(a.doors.cfg, func(c door.Config) bool { return c.ID == id }); i >= 0 {
		cfg = a.doors.cfg[i]
	}
	d := a.policy.decider(cfg, m.areas)
	d.asks = true
	req := d.request(p, m.mode)
	req.Clock, req.Trace = m.clock, true
	req.Interlocked = req.Interlocked && !m.other // nobody knows what was open then, or will be
	asks := d.readerMode(p.Reader, m.clock)
	d.asking(&req, asks)
	policy, records := d.lookup(&req, nil)
	dec := d.judgeCard(policy, records, &req)
	out := control.Why{Decision: dec.Outcome.String(), Reason: string(dec.Reason), Steps: m.steps}
	out.Steps = append(out.Steps, control.WhyStep{Check: "reader_mode", Input: string(p.Reader), Result: asks.String()})
	for _, s := range dec.Steps {
		if s.Check == areaStep {
			out.Steps = append(out.Steps, m.areas.explain(&dec, &req)...)
		}
		out.Steps = append(out.Steps, control.WhyStep(s))
	}
	return out
}

// readerAt returns the reader that is asked about: the one that is named, or the
// first of the door.
func (a *App) readerAt(id site.DoorID, r site.ReaderID) (site.ReaderID, error) {
	for _, c := range a.cfg.Readers {
		if c.Door == id && (r == "" || c.ID == r) {
			return c.ID, nil
		}
	}
	if r == "" {
		return "", nil // a door for Hive devices and operators
	}
	return "", fmt.Errorf("reader %.64q: not at door %s: %w", string(r), id, control.ErrNotFound)
}

// bitsOf returns the card of a credential given by its id or the beginning of
// it.
func (a *App) bitsOf(prefix site.CredentialID) (card.Bits, error) {
	if a.store == nil {
		return card.Bits{}, fmt.Errorf("%w: %w", control.ErrNotReady, a.storeErr)
	}
	c, err := a.store.FindCredential(string(prefix))
	if err != nil {
		return card.Bits{}, asControl(err)
	}
	bits, err := a.store.Bits(c.ID)
	return bits, asControl(err)
}

// momentAt works out what held, or will hold, at a time. A time that was asked
// for is not in doubt.
func (a *App) momentAt(ctx context.Context, id site.DoorID, at time.Time) (moment, error) {
	m := moment{clock: site.Clock{Now: at, Trusted: true, Mode: a.cfg.Clock}, areas: a.areas, other: true}
	if at.After(a.hw.Clock.Now()) {
		var from string
		m.mode, from = a.modeThen(id, m.clock)
		m.step("time", at, "in the future: the policy and who is where as they are now, and no other door of an interlock open")
		m.steps = append(m.steps, control.WhyStep{Check: "door_mode", Input: from, Result: m.mode.String()})
		return m, nil
	}
	past, err := a.past(ctx, id, at)
	if err != nil {
		return m, err
	}
	m.mode = past.mode
	m.areas = past.areas
	text := "in the past: the policy as it is now"
	switch past.changes {
	case 0:
	case 1:
		text += ", which has changed once since"
	default:
		text += fmt.Sprintf(", which has changed %d times since", past.changes)
	}
	m.step("time", at, text)
	m.steps = append(m.steps, control.WhyStep{Check: "door_mode", Input: past.from, Result: m.mode.String()})
	return m, nil
}

func (m *moment) step(check string, at time.Time, result string) {
	m.steps = append(m.steps, control.WhyStep{Check: check, Input: at.UTC().Format(time.RFC3339), Result: result})
}

// modeThen is the mode of a door at a time to come, if nobody does anything.
func (a *App) modeThen(id site.DoorID, clock site.Clock) (mode site.Mode, from string) {
	var kept site.DoorKept
	if a.store != nil {
		all, err := a.store.DoorKept()
		if err == nil {
			kept = all[id]
		}
	}
	holds := func(o *site.DoorOverride) bool { return o != nil && (o.Until.IsZero() || clock.Now.Before(o.Until)) }
	switch {
	case holds(kept.Override) && kept.Override.Mode == site.ModeDisabled, !holds(kept.Lockdown) && !holds(kept.Freeze) && holds(kept.Override):
		return kept.Override.Mode, "override by " + kept.Override.By
	case holds(kept.Lockdown):
		return site.ModeLockdown, "lockdown by " + kept.Lockdown.By
	case holds(kept.Freeze):
		return kept.Freeze.Mode, "freeze by " + kept.Freeze.By
	}
	auto, ok := a.cfg.AutoUnlock[id]
	if !ok || a.store == nil {
		return site.ModeSecured, "no override"
	}
	from = "schedule " + string(auto.Schedule)
	if on, _ := a.policy.policy().Active(auto.Schedule, clock); !on {
		return site.ModeSecured, from
	}
	if auto.FirstPerson {
		from += ", once the first person is in"
	}
	return site.ModePassage, from
}

// pastState is what the log says of a time.
type pastState struct {
	mode    site.Mode
	from    string
	areas   *areaBook
	changes int // of the policy since then
}

// past reads the log: for the door's last change of mode, for who was where,
// and for what has changed since. Times of the log are those of the clock, which
// may have been set back: what was recorded after at is left out wherever it
// stands.
func (a *App) past(ctx context.Context, id site.DoorID, at time.Time) (pastState, error) {
	out := pastState{from: "no change of mode is kept before it"}
	mode := func(ev site.Event) bool {
		m, err := site.ParseMode(ev.Mode)
		if ev.Kind != site.KindMode || ev.Door != id || err != nil || ev.Time.After(at) {
			return false
		}
		out.mode, out.from = m, fmt.Sprintf("event %d", ev.Seq)
		return true
	}
	var err error
	if out.areas, err = newAreaBook(a.cfg, "", a.sink, a.clock.Clock, &a.doors); err != nil {
		return out, fmt.Errorf("why: %w", err)
	}
	near := max(a.spool.SeekTime(at), a.spool.First()) // at or before the first event after it
	found := false
	later := a.spool.Scan(ctx, near, 0, func(ev site.Event) bool {
		found = mode(ev) || found
		if ev.Kind == site.KindPolicy && ev.Time.After(at) {
			out.changes++
		}
		return true
	})
	earlier := a.spool.ScanBack(ctx, max(near, 1)-1, func(ev site.Event) bool {
		return !found && near > a.spool.First() && !mode(ev)
	})
	folded := a.spool.Scan(ctx, a.spool.First(), 0, func(ev site.Event) bool {
		if ev.Time.After(at) {
			return ev.Seq < near
		}
		out.areas.fold(ev)
		a.foldRight(out.areas, &ev)
		return true
	})
	if err := errors.Join(later, earlier, folded); err != nil {
		return out, fmt.Errorf("why: events before %s: %w", at.Format(time.RFC3339), err)
	}
	return out, nil
}

// foldRight ends the count of wrong PINs where a grant shows that a right one
// came. A start does not: see fold.
func (a *App) foldRight(b *areaBook, ev *site.Event) {
	if ev.Kind != site.KindAccess || !ev.Reason.Grants() {
		return
	}
	switch a.policy.readerMode(ev.Reader, site.Clock{Now: ev.Time, Trusted: ev.Trusted}) {
	case reader.ModeCardPIN:
		b.owner.Right(lockKey(ev.Credential, ev.Reader))
	case reader.ModePIN:
		b.owner.Right(lockKey("", ev.Reader))
	case reader.ModeCard, reader.ModeEither, reader.ModeClosed: // it may have been a card alone
	}
}

// explain says what areas and interlocks know of a decision.
func (b *areaBook) explain(dec *access.Decision, req *access.Request) []control.WhyStep {
	var out []control.WhyStep
	if m := b.moves[req.Reader]; m.From != m.To && dec.Credential != nil && access.Opens(dec.Credential.Function, req.Mode) {
		where := "not known where"
		if a, since, ok := b.owner.Where(dec.Credential.Holder, req.Clock.Now); ok {
			where = "in " + areaName(a) + " since " + since.Format(time.RFC3339)
		}
		m.Holder = dec.Credential.Holder
		result := string(b.owner.Ask(m, req.Clock.Now))
		out = append(out, control.WhyStep{Check: "areas", Result: orNothing(result),
			Input: fmt.Sprintf("from %s to %s, holder %s, %d there", areaName(m.From), areaName(m.To), where, b.owner.Count(m.To, req.Clock.Now))})
	}
	if blockers := b.owner.Blockers(req.Door); len(blockers) > 0 && b.interlocked(req.Door) == req.Interlocked {
		out = append(out, control.WhyStep{Check: "interlock", Input: fmt.Sprintf("not secure: %v", blockers), Result: word(req.Interlocked, "refuses to unlock this door", "this door is unlocked already")})
	}
	return out
}

func areaName(id site.AreaID) string {
	if id == "" {
		return "outside"
	}
	return string(id)
}

func orNothing(s string) string { return word(s == "", "nothing against it", s) }

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

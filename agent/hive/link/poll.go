package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"gatehouse/agent/hive"
)

// How often a device is polled (engage.md section 6): at most every pollGap on a
// bus, every lonePoll on a line of its own, and every offlinePoll when it is
// offline, which it is when it was silent for offlineTime and for two commands:
// on a slow line with many devices a turn may take longer.
const (
	pollGap     = 50 * time.Millisecond
	lonePoll    = time.Second
	offlinePoll = 2 * time.Second
	offlineTime = 8 * time.Second
	offlineMiss = 2
)

// transferPoll is how often a device is polled while it gets a long body, and
// partTries how often a part is sent.
const (
	transferPoll = 2 * time.Second
	partTries    = 4
)

// wants reports whether a turn can be p's: of a poll or a part.
func (s *session) wants(p *peer) bool { return !p.calling && (s.l.polled() || p.out != nil) }

// pick returns whose turn it is, nil for nobody's. It is who is due for longest;
// but what holds up the line, a part or a device that did not answer, does so
// twice in a row only where nobody else is due.
func (s *session) pick(now time.Time) *peer {
	var light, heavy *peer
	for _, p := range s.l.peers {
		if !s.wants(p) || p.due.After(now) {
			continue
		}
		best := &light
		if p.out != nil || p.misses > 0 {
			best = &heavy
		}
		if *best == nil || p.due.Before((*best).due) {
			*best = p
		}
	}
	if light == nil || heavy != nil && !s.heavy && heavy.due.Before(light.due) {
		return heavy
	}
	return light
}

// nextDue returns when there will be something to do; zero: only when something
// comes.
func (s *session) nextDue() (at time.Time) {
	for _, p := range s.l.peers {
		if s.wants(p) && (at.IsZero() || p.due.Before(at)) {
			at = p.due
		}
		if end := p.silent.Add(offlineTime); s.mayEnd(p) && (at.IsZero() || end.Before(at)) {
			at = end
		}
	}
	return at
}

// mayEnd reports whether the device is offline once it was silent for long.
func (s *session) mayEnd(p *peer) bool {
	return s.l.polled() && p.misses >= offlineMiss && !s.l.isOffline(p)
}

// judge finds the devices that have gone offline.
func (s *session) judge(now time.Time) {
	for _, p := range s.l.peers {
		if s.mayEnd(p) && now.Sub(p.silent) >= offlineTime {
			p.drop()
			s.l.s.dropParts(p.dev)
			s.l.setOffline(p, true)
		}
	}
}

// turn polls a device, or sends it the next part of what is on its way.
func (s *session) turn(ctx context.Context, p *peer) error {
	began := time.Now()
	// On a slow line a round takes longer: then polls and parts alternate.
	part := p.out != nil && (!s.l.polled() || p.out.polled || began.Sub(p.asked) < transferPoll)
	var err error
	if part {
		err = s.part(ctx, p)
	} else {
		p.asked = began
		if p.out != nil {
			p.out.polled = true
		}
		err = s.poll(ctx, p)
	}
	s.heavy = part || p.misses > 0
	p.due = s.nextTurn(p, began)
	var not *unsent
	if errors.As(err, &not) {
		if text := not.Error(); text != p.said {
			p.said = text
			s.l.log.Error("nothing can be sent to a hive device", "device", string(p.Device), "err", text)
		}
		p.due = began.Add(offlinePoll)
		return nil
	}
	return err
}

// nextTurn returns when the device is due again after a turn. One that did not
// answer is asked again soon, and then less and less often.
func (s *session) nextTurn(p *peer, began time.Time) time.Time {
	switch {
	case s.l.isOffline(p):
		return began.Add(offlinePoll)
	case p.out != nil:
		return time.Now()
	case !s.bus:
		return began.Add(lonePoll)
	}
	if p.misses == 0 {
		return began.Add(pollGap)
	}
	// By chance, so that no two keep in step and one's late answers always
	// spoil the other's.
	wait := min(pollGap<<min(p.misses, 10), lonePoll)
	return began.Add(wait*3/4 + rand.N(wait/2))
}

// poll asks a device what it wants, and has it answered.
func (s *session) poll(ctx context.Context, p *peer) error {
	var extra []hive.Member
	if due := s.l.s.deps.Due; due != nil && p.Door != "" && p.out == nil && !s.l.s.bodies.many() && due(p.Device) {
		extra = []hive.Member{hive.Field("due", hive.Boolean(true))}
	}
	w, err := s.exchange(ctx, p, opPoll, extra...)
	if err != nil || w == nil {
		return err
	}
	if isReply(w.Data) {
		s.grumble(p, w.Data)
		return nil
	}
	s.call(p, *w)
	return nil
}

// grumble logs that a device refuses polls, once for each text.
func (s *session) grumble(p *peer, data hive.Value) {
	text := ""
	if r := data.Get("response"); r.Present() && !r.Truth() {
		text = refusal(data)
	}
	if text != "" && text != p.said {
		s.l.log.Warn("a hive device refuses polls", "device", string(p.Device), "error", text)
	}
	p.said = text
}

// part sends the next part of what is on its way to the device.
func (s *session) part(ctx context.Context, p *peer) error {
	t := p.out
	t.polled = false
	w, err := s.exchange(ctx, p, opPart, hive.Field("part", hive.Int(int64(t.next+1))),
		hive.Field("parts", hive.Int(int64(len(t.parts)))), hive.Field("text", hive.Text(t.parts[t.next])))
	var not *unsent
	if err != nil && !errors.As(err, &not) {
		return err
	}
	if p.out != t { // a call that came meanwhile ended it
		return nil
	}
	giveUp := func(why string) {
		s.l.log.Warn("a long body was given up", "device", string(p.Device), "part", t.next+1, "parts", len(t.parts), "why", why)
		p.drop()
	}
	t.tries++
	switch {
	case w == nil && t.tries >= partTries:
		giveUp("no answer")
	case w == nil:
	case !w.Data.Get("response").Truth():
		giveUp(refusal(w.Data))
	default:
		t.tries = 0
		if t.next++; t.next == len(t.parts) {
			p.drop()
		}
	}
	return err
}

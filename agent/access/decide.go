package access

import (
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Decide judges one request (door.md, Decision). records are all that the store
// has under the card's block, of any length and source, in any order; they are
// only read, and the decision may point into them.
func Decide(p *Policy, records []site.Credential, req Request) Decision {
	e := eval{p: p, req: req}
	d := e.decide(records)
	d.Steps = e.steps
	return d
}

// eval is one decision in the making.
type eval struct {
	p     *Policy
	req   Request
	steps []Step

	wall   wall // valid when wallOK
	wallOK bool

	// The best right of the record being judged, from checkRight on.
	right   site.Right
	level   site.LevelID
	verdict site.Reason // granted, or why the right does not hold; empty: there is none
}

// refuse makes a decision of a reason that no record names.
func refuse(r site.Reason) Decision { return Decision{Reason: r} }

func (e *eval) decide(records []site.Credential) Decision {
	req := &e.req
	if e.note(checkPolicy, nil, e.policyReason()) {
		return refuse(site.ReasonNoPolicy)
	}
	if e.note(checkFault, nil, e.faultReason()) {
		return refuse(site.ReasonFault)
	}
	if n := req.Bits.Len(); !req.ByPIN && (n == 0 || n > card.MaxBlockBits) {
		e.note(checkFormat, nil, site.ReasonUnknownFormat)
		return refuse(site.ReasonUnknownFormat)
	}
	veto, found := e.match(records)
	if !found && req.ByPIN {
		return e.unknownPIN()
	}
	if !found {
		unknown := site.ReasonUnknownCredential
		if !req.Formats.Accepts(req.Bits) {
			unknown = site.ReasonUnknownFormat
		}
		e.note(checkFormat, nil, unknown)
		return refuse(unknown)
	}
	if veto != nil {
		return e.vetoed(veto)
	}
	var best Decision
	for i := range records {
		c := &records[i]
		if !e.counts(c) {
			continue
		}
		d := e.judge(c)
		if d.Outcome == Granted {
			return d
		}
		if best.Credential == nil || further(d, best) {
			best = d
		}
	}
	return best
}

// further reports whether a got further than b; neither grants.
func further(a, b Decision) bool {
	if a.Outcome != b.Outcome {
		return a.Outcome == Waiting
	}
	return a.Reason.Rank() > b.Reason.Rank()
}

// unknownPIN refuses a PIN alone that found nobody. What would refuse anybody
// still comes first.
func (e *eval) unknownPIN() Decision {
	if e.req.PIN != PINLockedOut {
		e.req.PIN = PINWrong
	}
	var nobody site.Credential
	for _, k := range [...]check{checkMode, checkReader, checkArea, checkPIN} {
		if r := e.check(k, &nobody); e.note(k, &nobody, r) {
			return refuse(r)
		}
	}
	return refuse(site.ReasonPINWrong)
}

// counts reports whether a record is for a card of this length. A PIN alone has
// found the records that count.
func (e *eval) counts(c *site.Credential) bool {
	return e.req.ByPIN || c.Bits == 0 || c.Bits == e.req.Bits.Len()
}

// match reports whether any record counts, and the operator's that refuses over
// all others: revoked before blocked before one whose state cannot be read, which
// may have been either.
func (e *eval) match(records []site.Credential) (veto *site.Credential, found bool) {
	for i := range records {
		c := &records[i]
		if !e.counts(c) {
			if e.req.Trace {
				e.step("length", credentialInput(c), "not for a card of this length")
			}
			continue
		}
		found = true
		if owner(c.Source) != site.SourceOperator || state(c) == "" {
			continue
		}
		if veto == nil || vetoOrder(c) < vetoOrder(veto) {
			veto = c
		}
	}
	return veto, found
}

// vetoOrder sorts the operator's records that refuse over all others.
func vetoOrder(c *site.Credential) int {
	switch state(c) {
	case site.ReasonRevoked:
		return 0
	case site.ReasonBlocked:
		return 1
	}
	return 2
}

// vetoed refuses by the operator's record alone.
func (e *eval) vetoed(c *site.Credential) Decision {
	r := state(c)
	if e.req.Trace {
		e.step("credential", credentialInput(c), "found")
		e.step("operator", stateInput(c), "refused: "+string(r)+" by the operator, over all other records")
	}
	return Decision{Reason: r, Credential: c}
}

// judge makes the decision of one record.
func (e *eval) judge(c *site.Credential) Decision {
	if e.req.Trace {
		e.step("credential", credentialInput(c), "found")
	}
	e.right, e.level, e.verdict = site.Right{}, "", ""
	for k := checkState; k < checkEnd; k++ {
		r := e.check(k, c)
		if !e.note(k, c, r) {
			continue
		}
		d := Decision{Reason: r, Credential: c}
		if waits(r) {
			d.Outcome = Waiting
		}
		if e.verdict == site.ReasonGranted {
			d.Right, d.Level = e.right, e.level
		}
		return d
	}
	d := Decision{Outcome: Granted, Reason: site.ReasonGranted, Credential: c, Right: e.right, Level: e.level}
	if e.req.Area == site.ReasonGrantedPassback {
		d.Reason = site.ReasonGrantedPassback
	}
	return d
}

// waits reports whether a reason may yet become a grant.
func waits(r site.Reason) bool {
	return r == site.ReasonPINRequired || r == site.ReasonSecondPersonRequired
}

// bestRight finds the record's right at the door that holds, or else the one that
// got furthest.
func (e *eval) bestRight(c *site.Credential) {
	for level, r := range e.p.rights(c, e.req.Door) {
		if e.offer(c, r.id, r.schedule, level) {
			return
		}
	}
}

// offer judges one right and keeps it if it is the best so far. It is true when
// none can be better. A nil schedule is always.
func (e *eval) offer(c *site.Credential, id site.ScheduleID, s *schedule, level site.LevelID) bool {
	v := e.rightHolds(c, s)
	if e.req.Trace {
		e.rightStep(id, level, v)
	}
	if e.verdict == "" || v == site.ReasonGranted || v.Rank() > e.verdict.Rank() {
		e.right, e.level, e.verdict = site.Right{Door: e.req.Door, Schedule: id}, level, v
	}
	return v == site.ReasonGranted
}

// rightHolds judges one right by the clock (door.md, Untrusted clock).
func (e *eval) rightHolds(c *site.Credential, s *schedule) site.Reason {
	k := &e.req.Clock
	if !k.Trusted {
		switch k.Mode {
		case site.ClockIgnore:
		case site.ClockAlwaysOnly:
			if s != nil {
				return site.ReasonClockUntrusted
			}
		default: // ClockDeny, and what is not known
			if s != nil || !c.Until.IsZero() {
				return site.ReasonClockUntrusted
			}
		}
	}
	if s == nil {
		return site.ReasonGranted
	}
	if !e.wallOK {
		e.wall, e.wallOK = e.p.wallAt(k.Now), true
	}
	return e.p.holds(s, e.wall)
}

// endTime is the time against which Until is judged: the clock, or while it is
// not trusted the later of it and the last trusted time.
func endTime(k *site.Clock) time.Time {
	if !k.Trusted && k.LastTrusted.After(k.Now) {
		return k.LastTrusted
	}
	return k.Now
}

package app

import (
	"errors"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/door"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// doorDecider decides at one door. It is called on the door's goroutine only,
// so it may reuse its records.
type doorDecider struct {
	*policyHolder
	door      site.DoorID
	twoPerson bool
	areas     *areaBook
	records   []site.Credential
	asks      bool // for why, at any time: nothing that is known may change
}

func (h *policyHolder) decider(cfg door.Config, areas *areaBook) *doorDecider {
	return &doorDecider{policyHolder: h, door: cfg.ID, twoPerson: cfg.TwoPerson, areas: areas}
}

// readerMode is what a reader asks for now: its mode, or that of the first of
// its schedules that holds. A reader that nobody named asks for a card: a Hive
// device without a place of its own.
func (h *policyHolder) readerMode(id site.ReaderID, clock site.Clock) reader.Mode {
	for _, r := range h.cfg.ReaderModes[id] {
		if r.Schedule == "" {
			return r.Mode
		}
		if h.store == nil {
			continue
		}
		if on, _ := h.policy().Active(r.Schedule, clock); on {
			return r.Mode
		}
	}
	for i := range h.cfg.Readers {
		if h.cfg.Readers[i].ID == id {
			return h.cfg.Readers[i].Mode
		}
	}
	return reader.ModeCard
}

// request says what is asked at the door.
func (d *doorDecider) request(p door.Presented, mode site.Mode) access.Request {
	return access.Request{Door: d.door, Reader: p.Reader, Bits: p.Bits, Clock: d.clock.Clock(), Mode: mode, TwoPerson: d.twoPerson,
		Interlocked: d.areas.interlocked(d.door)}
}

// Decide judges what was presented: a card, the PIN of a card that waits, or a
// PIN alone.
func (d *doorDecider) Decide(p door.Presented, w *door.Pending, mode site.Mode) door.Decision {
	req := d.request(p, mode)
	asks := d.readerMode(p.Reader, req.Clock)
	switch {
	case p.PIN == "" || p.Bits.Len() > 0: // a PIN beside a card is asked for by itself
		return d.card(p, w, req, asks)
	case w != nil && w.Decision.Reason == site.ReasonPINRequired && w.Presented.Reader == p.Reader:
		return d.pinOfCard(p, w, req, asks)
	}
	return d.pinAlone(p, w, req, asks)
}

// card judges a card. One at a reader that takes PINs only, or nothing, finds it
// closed.
func (d *doorDecider) card(p door.Presented, w *door.Pending, req access.Request, asks reader.Mode) door.Decision {
	d.asking(&req, asks)
	policy, records := d.lookup(&req, d.records[:0])
	d.records = records
	first := d.with(w, &req)
	return d.settle(d.judgeCard(policy, records, &req), &req, p, first)
}

// asking says what the reader asks of one who shows a card.
func (*doorDecider) asking(req *access.Request, asks reader.Mode) {
	req.ReaderClosed = asks == reader.ModeClosed || asks == reader.ModePIN
	if asks == reader.ModeCardPIN {
		req.PIN = access.PINAsked
	}
}

// judgeCard decides on a card. A PIN is not asked of one that is locked out.
func (d *doorDecider) judgeCard(policy *access.Policy, records []site.Credential, req *access.Request) access.Decision {
	dec := d.judge(policy, records, req)
	if dec.Outcome == access.Waiting && dec.Reason == site.ReasonPINRequired && d.lockedOut(dec.Credential.ID, req) {
		req.PINs = []access.PINOf{{Credential: dec.Credential.ID, PIN: access.PINLockedOut}}
		return d.judge(policy, records, req)
	}
	return dec
}

// pinOfCard judges a card that waits, with the PIN that was typed for it. Right
// or wrong, the card waits no longer.
func (d *doorDecider) pinOfCard(p door.Presented, w *door.Pending, req access.Request, asks reader.Mode) door.Decision {
	d.asking(&req, asks) // it may have closed meanwhile
	req.Bits, req.PIN = w.Presented.Bits, access.PINAsked
	id := w.Decision.Credential.ID
	policy, records := d.lookup(&req, d.records[:0])
	d.records = records
	verdict, duress := d.checkPIN(id, p.PIN, &req)
	req.PINs = []access.PINOf{{Credential: id, PIN: verdict}}
	first := d.with(w.First, &req)
	out := d.settle(d.judge(policy, records, &req), &req, w.Presented, first)
	out.Completes = true
	out.Duress = duress // whatever comes of it: it is his cry for help
	return out
}

// pinAlone judges a PIN without a card, where the reader takes one.
func (d *doorDecider) pinAlone(p door.Presented, w *door.Pending, req access.Request, asks reader.Mode) door.Decision {
	req.ByPIN, req.Bits = true, card.Bits{}
	req.ReaderClosed = !takesPINOnly(asks)
	policy, _ := d.lookup(&req, nil)
	var records []site.Credential
	var duress bool
	if !req.ReaderClosed { // else it is not looked at
		records, duress = d.findPIN(p.PIN, &req)
		d.records = records
	}
	first := d.with(w, &req)
	out := d.settle(d.judge(policy, records, &req), &req, p, first)
	out.Duress = duress // whatever comes of it: it is his cry for help
	return out
}

// lockedOut reports whether too many PINs of a credential were wrong; without
// one, at the reader.
func (d *doorDecider) lockedOut(id site.CredentialID, req *access.Request) bool {
	key := lockKey(id, req.Reader)
	if d.asks {
		return d.areas.owner.Locked(key, req.Clock.Now)
	}
	return d.areas.owner.LockedOut(key, req.Clock.Now)
}

// checkPIN compares a PIN, unless too many were wrong. Each that is wrong counts,
// whatever the decision comes to.
func (d *doorDecider) checkPIN(id site.CredentialID, pin site.PIN, req *access.Request) (verdict access.PIN, duress bool) {
	if d.lockedOut(id, req) {
		return access.PINLockedOut, false
	}
	if d.store == nil {
		return access.PINAsked, false // the fault stands in the request
	}
	ok, duress, err := d.store.CheckPIN(id, string(pin))
	if err != nil {
		req.Fault = err
		return access.PINAsked, false
	}
	d.areas.tried(lockKey(id, req.Reader), ok, req.Reader, req.Clock.Now)
	if !ok {
		return access.PINWrong, false
	}
	return access.PINRight, duress
}

// findPIN finds the credential of a PIN alone.
func (d *doorDecider) findPIN(pin site.PIN, req *access.Request) (records []site.Credential, duress bool) {
	if d.lockedOut("", req) {
		req.PIN = access.PINLockedOut
		return nil, false
	}
	if d.store == nil {
		return nil, false
	}
	records, duress, err := d.store.LookupPIN(pin, d.records[:0])
	if err != nil {
		req.Fault = err
		return nil, false
	}
	d.areas.tried(lockKey("", req.Reader), len(records) > 0, req.Reader, req.Clock.Now)
	req.PIN = access.PINWrong
	for _, c := range records {
		req.PIN = access.PINRight
		if d.lockedOut(c.ID, req) {
			req.PINs = append(req.PINs, access.PINOf{Credential: c.ID, PIN: access.PINLockedOut})
		}
	}
	return records, duress
}

// with makes the request that of a second person where one is waited for, and
// returns the first one. Who may not pass any more does not wait any more.
func (d *doorDecider) with(w *door.Pending, req *access.Request) *door.Pending {
	if w == nil || w.Decision.Reason != site.ReasonSecondPersonRequired {
		return nil
	}
	again := *req
	again.Reader, again.Bits, again.PIN, again.PINs, again.ByPIN = w.Presented.Reader, w.Presented.Bits, access.PINNotAsked, nil, false
	policy, records := d.lookup(&again, nil)
	if w.Presented.Bits.Len() == 0 { // he came by a PIN alone
		again.ByPIN, again.PIN = true, access.PINRight
		records = []site.Credential{*w.Decision.Credential}
		if d.store != nil {
			if c, err := d.store.FindCredential(string(w.Decision.Credential.ID)); err == nil {
				records[0] = c
			}
		}
	}
	if dec := access.Decide(policy, records, again); dec.Outcome != access.Waiting || dec.Credential.Holder != w.Decision.Credential.Holder {
		return nil
	}
	req.With = w.Decision.Credential.Holder
	return w
}

// judge decides: first without the areas, then with what they say of the holder
// that would pass.
func (d *doorDecider) judge(policy *access.Policy, records []site.Credential, req *access.Request) access.Decision {
	req.Area = ""
	dec := access.Decide(policy, records, *req)
	if v := d.areas.verdict(&dec, req, req.Clock.Now); v != "" {
		req.Area = v
		dec = access.Decide(policy, records, *req)
	}
	return dec
}

// settle takes what a grant takes: places in the area, a counted use (in memory
// at once, on disk with the next group commit).
func (d *doorDecider) settle(dec access.Decision, req *access.Request, p door.Presented, first *door.Pending) door.Decision {
	persons := []passing{{dec.Credential, req.Reader}}
	if c := dec.Credential; c != nil && !access.Opens(c.Function, req.Mode) {
		first = nil // who waits for a second person goes on waiting: this one opens nothing
	}
	if first != nil {
		persons = append(persons, passing{first.Decision.Credential, first.Presented.Reader})
	}
	if dec.Outcome == access.Granted {
		if r := d.takeAll(persons, req); r != "" {
			dec.Outcome, dec.Reason = access.Refused, r
		}
	}
	out := door.Decision{Decision: dec, Out: d.areas.leadsOut(p.Reader), Alone: first == nil}
	if dec.Outcome == access.Granted && first != nil {
		out.Completes = true
	}
	if c := dec.Credential; c == nil {
		if p.Bits.Len() > 0 {
			out.Card = d.cardRef(p.Bits)
		}
	} else if dec.Outcome == access.Waiting {
		kept := *c // the records are reused, and this one waits
		out.Credential = &kept
	}
	return out
}

// passing is one person of a grant.
type passing struct {
	credential *site.Credential
	reader     site.ReaderID
}

// takeAll takes for all persons or for none, and says what refuses. Uses come
// last: they cannot be given back.
func (d *doorDecider) takeAll(persons []passing, req *access.Request) site.Reason {
	opens := access.Opens(persons[0].credential.Function, req.Mode)
	if opens && !d.areas.lock(d.door) {
		return site.ReasonInterlock
	}
	for i, p := range persons {
		if !opens {
			break // nobody comes in
		}
		if r := d.areas.reserve(p.reader, p.credential.Holder, req.Clock.Now); r != "" {
			d.cancel(persons[:i])
			return r
		}
	}
	for _, p := range persons {
		if !countsUses(p.credential) {
			continue
		}
		if r := d.countUse(p.credential.ID); r != "" {
			d.cancel(persons)
			return r
		}
	}
	return ""
}

func (d *doorDecider) cancel(persons []passing) {
	for _, p := range persons {
		d.areas.cancel(p.reader, p.credential.Holder)
	}
}

func countsUses(c *site.Credential) bool {
	return c.Uses > 0 || c.Function == site.FunctionOneTime
}

func (d *doorDecider) countUse(id site.CredentialID) site.Reason {
	_, err := d.store.CountUse(id)
	switch {
	case errors.Is(err, store.ErrUsedUp):
		return site.ReasonUsedUp
	case err != nil:
		return site.ReasonFault
	}
	return ""
}

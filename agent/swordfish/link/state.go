package link

import (
	"bytes"
	"time"

	"gatehouse/agent/site"
)

// stateMagic begins the file of a state. Its last byte is the version of the form.
var stateMagic = []byte("GHLOCK\x00\x01")

// state is what is kept of a lock beside its tables. Copies may share its lists:
// those are replaced, never written into.
type state struct {
	ident   string        // which hardware it is of
	seq     site.EventSeq // the history is complete up to this event
	unsure  bool          // what the lock holds is not known: its tables were damaged
	token   token
	called  time.Time
	callIn  time.Time // its last call for a door file
	next    time.Time
	late    bool
	refused string // why it was last refused, since when it was not let in
	since   time.Time

	name, model, firmware, battery string
	main, li                       float64
	drift                          time.Duration
	driftKnown                     bool
	mode                           string
	alarms                         uint8
	lastTime                       time.Time // of the last audit whose time was plausible

	history history
}

// token is the last one that was good.
type token struct {
	at     time.Time // that it says
	first  time.Time // when it was first used
	addr   string
	cipher [32]byte
}

// Alarms that a lock's audits left standing.
const (
	alarmForced = 1 << iota
	alarmHeld
	alarmTamper
)

// The sizes of records in a state, and how long its texts are at most.
const (
	sizeSent  = 9
	sizeStart = 5
	sizeNamed = 17
	sizeAlert = 8
	maxText   = 512
)

// cut shortens a text that is kept to maxText bytes, at the start of a character.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

func (s *state) encode() []byte {
	h := &s.history
	p := make(putter, 0, 512+len(h.sent)*sizeSent+len(h.ids)*sizeNamed+len(h.alerts)*sizeAlert)
	p.raw(stateMagic)
	p.str(s.ident)
	p.u64(uint64(s.seq))
	p.bool(s.unsure)
	p.time(s.token.at)
	p.time(s.token.first)
	p.str(s.token.addr)
	p.raw(s.token.cipher[:])
	p.time(s.called)
	p.time(s.callIn)
	p.time(s.next)
	p.bool(s.late)
	p.str(s.refused)
	p.time(s.since)
	p.str(s.name)
	p.str(s.model)
	p.str(s.firmware)
	p.str(s.battery)
	p.f64(s.main)
	p.f64(s.li)
	p.u64(uint64(s.drift))
	p.bool(s.driftKnown)
	p.str(s.mode)
	p.u8(s.alarms)
	p.time(s.lastTime)
	h.encode(&p)
	p.seal()
	return p
}

func (h *history) encode(p *putter) {
	p.u32(uint32(len(h.sent)))
	for _, v := range h.sent {
		p.raw(v.what[:])
		p.bool(v.paired)
	}
	p.u32(uint32(len(h.starts)))
	for _, v := range h.starts {
		p.u32(uint32(v.at))
		p.bool(v.strong)
	}
	p.u32(uint32(len(h.ids)))
	for _, v := range h.ids {
		p.raw(v.key[:])
		p.raw(v.what[:])
		p.bool(v.paired)
	}
	p.u32(uint32(len(h.alerts)))
	for _, v := range h.alerts {
		p.raw(v[:])
	}
	var first digest
	if len(h.last) > 0 {
		first = h.last[0]
	}
	p.raw(first[:])
	p.time(h.lastAt)
	if len(h.last) > 1 { // a file that ends here is as before calls were kept whole
		p.u32(uint32(len(h.last) - 1))
		for _, v := range h.last[1:] {
			p.raw(v[:])
		}
	}
}

// decodeState reads what encode wrote, and nothing else: any file that it takes is
// written again with the same bytes.
func decodeState(b []byte) (s state, err error) {
	body, err := unseal(b)
	if err != nil || !bytes.HasPrefix(body, stateMagic) {
		return state{}, errState
	}
	t := &taker{b: body[len(stateMagic):]}
	s.ident, s.seq, s.unsure = t.str(), site.EventSeq(t.u64()), t.bool()
	s.token.at, s.token.first, s.token.addr = t.time(), t.time(), t.str()
	copy(s.token.cipher[:], t.raw(len(s.token.cipher)))
	s.called, s.callIn, s.next, s.late = t.time(), t.time(), t.time(), t.bool()
	s.refused, s.since = t.str(), t.time()
	s.name, s.model, s.firmware, s.battery = t.str(), t.str(), t.str(), t.str()
	s.main, s.li = t.f64(), t.f64()
	s.drift, s.driftKnown = time.Duration(t.u64()), t.bool()
	s.mode, s.alarms, s.lastTime = t.str(), t.u8(), t.time()
	s.history.decode(t)
	if err := t.end(); err != nil {
		return state{}, err
	}
	return s, nil
}

func (h *history) decode(t *taker) {
	h.sent = make([]sent, t.count(sizeSent, maxSent))
	for i := range h.sent {
		h.sent[i] = sent{digest(t.digest()), t.bool()}
	}
	h.starts = make([]start, t.count(sizeStart, maxStarts))
	for i := range h.starts {
		at := int(t.u32())
		h.starts[i] = start{at, t.bool()}
		if at >= len(h.sent) || i > 0 && at <= h.starts[i-1].at {
			t.bad = true
		}
	}
	h.ids = make([]named, t.count(sizeNamed, maxIDs))
	for i := range h.ids {
		h.ids[i] = named{t.digest(), t.digest(), t.bool()}
	}
	h.alerts = make([]digest, t.count(sizeAlert, maxAlerts))
	for i := range h.alerts {
		h.alerts[i] = t.digest()
	}
	first := t.digest()
	if h.lastAt = t.time(); first != (digest{}) || !h.lastAt.IsZero() {
		h.last = []digest{first}
	}
	if len(t.b) == 0 {
		return
	}
	n := t.count(sizeAlert, maxAlerts-1)
	t.bad = t.bad || n == 0 || h.last == nil
	for range n {
		h.last = append(h.last, t.digest())
	}
}

func (t *taker) digest() (d digest) {
	copy(d[:], t.raw(len(d)))
	return d
}

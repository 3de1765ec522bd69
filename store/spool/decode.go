package spool

import (
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/agent/site"
)

// maxPlain is the longest payload that is read by hand: the texts of such an
// event share one copy of it.
const maxPlain = 2 << 10

// decodeEvent reads a payload. What appendEvent writes in most cases is read by
// hand, since decoding was most of what reading an event cost; anything else is
// left to encoding/json: longer ones, sealed ones, those with escapes or in
// another form. Both read the same, which a fuzz target compares.
func decodeEvent(b []byte) (site.Event, error) {
	if len(b) <= maxPlain {
		d := decoder{rest: string(b)}
		if ev := d.event(); !d.bad && d.rest == "" {
			return ev, nil
		}
	}
	var ev site.Event
	err := json.Unmarshal(b, &ev)
	return ev, err
}

// decoder reads the form that appendEvent writes: each member at its place. It
// is bad after anything else.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) event() site.Event {
	var ev site.Event
	ev.Log = site.LogID(d.text(`{"log":`))
	ev.Seq = site.EventSeq(d.count(`,"seq":`))
	ev.Time = d.time(`,"time":`)
	ev.Trusted = d.truth(`,"trusted":`)
	ev.Kind = site.Kind(d.text(`,"kind":`))
	ev.Door = site.DoorID(d.text(`,"door":`))
	ev.Reader = site.ReaderID(d.text(`,"reader":`))
	ev.Reason = site.Reason(d.text(`,"reason":`))
	ev.Holder = d.text(`,"holder":`)
	ev.Card = d.card(`,"card":`)
	ev.By = d.text(`,"by":`)
	ev.Source = site.Source(d.text(`,"source":`))
	ev.Cleared = d.has(`,"cleared":`) && d.truth(`,"cleared":`)
	ev.HolderID = site.HolderID(d.optional(`,"holder_id":`))
	ev.Credential = site.CredentialID(d.optional(`,"credential":`))
	ev.Device = site.DeviceName(d.optional(`,"device":`))
	ev.Item = d.optional(`,"item":`)
	ev.Area = site.AreaID(d.optional(`,"area":`))
	ev.Mode = d.optional(`,"mode":`)
	if d.has(`,"until":`) {
		ev.Until = d.time(`,"until":`)
	}
	ev.Count = d.optionalCount(`,"count":`)
	ev.Text = d.optional(`,"text":`)
	ev.Code = d.optional(`,"code":`)
	ev.Data = d.optional(`,"data":`)
	ev.LockTime = d.optional(`,"lock_time":`)
	ev.As = site.Kind(d.optional(`,"as":`))
	ev.Change = d.optionalCount(`,"change":`)
	d.skip("}")
	return ev
}

func (d *decoder) has(name string) bool { return strings.HasPrefix(d.rest, name) }

func (d *decoder) skip(s string) {
	rest, ok := strings.CutPrefix(d.rest, s)
	d.rest, d.bad = rest, d.bad || !ok
}

// text reads a text that holds no escape.
func (d *decoder) text(name string) string {
	d.skip(name)
	d.skip(`"`)
	ascii := true
	for i := range len(d.rest) {
		switch c := d.rest[i]; {
		case c == '"':
			s := d.rest[:i]
			d.rest, d.bad = d.rest[i+1:], d.bad || !ascii && !utf8.ValidString(s)
			return s
		case c < ' ' || c == '\\':
			d.bad = true
			return ""
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	d.bad = true
	return ""
}

func (d *decoder) optional(name string) string {
	if !d.has(name) {
		return ""
	}
	return d.text(name)
}

func (d *decoder) truth(name string) bool {
	d.skip(name)
	if d.has("true") {
		d.skip("true")
		return true
	}
	d.skip("false")
	return false
}

// count reads a number without sign, fraction and leading zeros.
func (d *decoder) count(name string) uint64 {
	d.skip(name)
	var n uint64
	i := 0
	for ; i < len(d.rest) && '0' <= d.rest[i] && d.rest[i] <= '9'; i++ {
		digit := uint64(d.rest[i] - '0')
		if n > (math.MaxUint64-digit)/10 {
			d.bad = true
		}
		n = n*10 + digit
	}
	if i == 0 || i > 1 && d.rest[0] == '0' {
		d.bad = true
	}
	d.rest = d.rest[i:]
	return n
}

func (d *decoder) optionalCount(name string) uint64 {
	if !d.has(name) {
		return 0
	}
	return d.count(name)
}

// time reads one in UTC. Its own method says what RFC 3339 allows.
func (d *decoder) time(name string) time.Time {
	var t time.Time
	s := d.text(name)
	if !strings.HasSuffix(s, "Z") || t.UnmarshalText([]byte(s)) != nil {
		d.bad = true
	}
	return t
}

func (d *decoder) card(name string) site.CardRef {
	var c site.CardRef
	if c.UnmarshalText([]byte(d.text(name))) != nil {
		d.bad = true
	}
	return c
}

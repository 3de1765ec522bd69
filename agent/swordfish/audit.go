package swordfish

// # What a lock says
//
// A lock sends its log to audit and what is urgent to alert, in one of the shapes of
// ReadUpload (engage.md section 5). Nothing is dropped for being unknown: a code is
// kept raw, and an entry that is no audit is kept as its text, masked. Hide must be called
// before anything of it is stored, shown or sent on: unknown cards are in it. All of
// it is pure and safe for concurrent use.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Limits of what a lock sends.
const (
	MaxUpload = 1 << 20 // bytes of one upload or alert
	MaxAudits = 4096    // audits in it; a lock holds 2,000 (engage.md section 3)
	MaxConfig = 1 << 20 // bytes of a Config

	maxAuditID  = 64
	maxAuditRaw = 200
	maxLockText = 64
)

// ErrOverLimit is the cause where a lock's message is larger than MaxUpload,
// MaxAudits or MaxConfig.
var ErrOverLimit = errors.New("over the limit")

// Audit is one entry of a lock's log. One that is no audit has only Raw.
//
// Until Hide has seen it, Data may be part of a card: printing and logging hide that,
// encoding/json does not.
type Audit struct {
	Code string // 4 upper-case hex digits
	Data string // 4 upper-case hex digits
	Time string // the 14 digits as they came; anything else is cut to 64 bytes, and LockTime refuses it
	ID   string // auditId, at most 64 bytes; empty: none, or it identifies nothing
	Raw  string // of one that is no audit: the start of its text, its values masked (see ReadUpload)
}

// String shows an audit without what may be part of a card.
func (a Audit) String() string {
	data := a.Data
	switch {
	case a.Code == "":
		return "no audit: " + a.Raw
	case cardWord(a.Code) >= 0:
		data = "(card)"
	}
	return a.Code + " " + data + " at " + a.Time
}

// GoString is String.
func (a Audit) GoString() string { return a.String() }

// Format writes String whatever the verb is.
func (a Audit) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// LogValue is String.
func (a Audit) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Upload is what a lock sent to audit or alert.
type Upload struct {
	Audits  []Audit // in the order of the body
	Version string  // nxtDbVerTS as it came, at most 64 bytes; empty: none
	LockID  string  // so too
	Bad     int     // how many of Audits are none
}

// ReadUpload reads the body of a lock's audit or alert call (engage.md section 5):
// an object with audits, asyncEvents or asyncEvent, each a list or one entry, or one
// entry by itself. event and time are text or numbers; a number is its digits, for an
// event with the zero in front that a number cannot have. Members that are not known are
// skipped, null is absent.
//
// An entry without an event of 8 hex digits, or with a member twice, is kept as Raw
// and counted in Bad. Of its values Raw has plain words, times of 14 digits and numbers
// of up to 4 digits, the last only where nothing in it looks like a card's code; for
// all others a * stands for each byte, or *(N) for N of them, and so it does for names
// that may hold a card. One whose time is missing or no time is an audit. The auditIds
// of an upload in which one of them stands for two different audits identify nothing
// and are left out.
//
// The error is a *Fault, or has ErrOverLimit for more than MaxUpload bytes or
// MaxAudits entries; nothing of the upload counts then. It never holds an entry.
func ReadUpload(b []byte) (Upload, error) {
	if len(b) > MaxUpload {
		return Upload{}, fmt.Errorf("upload: %d bytes: %w of %d", len(b), ErrOverLimit, MaxUpload)
	}
	r := uploadReader{fileReader: fileReader{lex: newLexer(bytes.NewReader(b))}, body: b}
	if err := r.read(); err != nil {
		return Upload{}, fmt.Errorf("upload: %w", err)
	}
	r.up.dropIDs()
	return r.up, nil
}

// dropIDs leaves all auditIds out where one of them stands for different audits: by
// such an id a real audit would be taken for a repeat.
func (u *Upload) dropIDs() {
	seen := map[string]Audit{}
	for _, a := range u.Audits {
		first, ok := seen[a.ID]
		switch {
		case a.ID == "":
		case !ok:
			seen[a.ID] = a
		case first != a:
			for i := range u.Audits {
				u.Audits[i].ID = ""
			}
			return
		}
	}
}

// uploadReader reads one upload with the means of a door file's reader.
type uploadReader struct {
	fileReader
	body []byte
	up   Upload
}

func (r *uploadReader) read() error {
	var seen []string
	var bare entry
	lists := 0
	absent, err := r.members(func(name string) error {
		switch name {
		case "event", "time", "auditId":
			return bare.member(r, name)
		case "audits", "asyncEvents", "asyncEvent", "nxtDbVerTS", "lockId":
			if err := r.once(&seen, name); err != nil {
				return err
			}
		default:
			return r.skip()
		}
		switch name {
		case "nxtDbVerTS":
			return r.label(&r.up.Version)
		case "lockId":
			return r.label(&r.up.LockID)
		}
		lists++
		r.list, r.n = name, 0
		err := r.entries()
		r.list, r.n = "", 0
		return err
	})
	switch {
	case err != nil:
		return err
	case absent:
		return r.fault("want an object")
	}
	if _, err := r.lex.next(); !errors.Is(err, io.EOF) {
		return r.fault("goes on after its end")
	}
	if bare.hasEvent {
		lists++
		if err := r.add(&bare, r.body); err != nil {
			return err
		}
	}
	if lists == 0 {
		return r.fault("has none of audits, asyncEvents, asyncEvent and event")
	}
	return nil
}

// label reads a text or number that is only kept.
func (r *uploadReader) label(to *string) error {
	v, err := r.scalar()
	*to = clip(v.text, maxLockText)
	return err
}

// scalar is a value that was read.
type scalar struct {
	text   string // empty where it is neither text nor a number
	number bool
	null   bool
}

// scalar reads a value. What is neither text nor a number is skipped.
func (f *fileReader) scalar() (scalar, error) {
	t, err := f.next()
	if err != nil {
		return scalar{}, err
	}
	switch t := t.(type) {
	case nil:
		return scalar{null: true}, nil
	case string:
		return scalar{text: t}, nil
	case json.Number:
		return scalar{text: t.String(), number: true}, nil
	}
	return scalar{}, f.skipRest(t)
}

// entries reads a list of entries, one entry, or null.
func (r *uploadReader) entries() error {
	before := r.lex.at
	t, err := r.next()
	switch {
	case err != nil || t == nil:
		return err
	case t == json.Delim('{'):
		return r.entry(t, before)
	case t != json.Delim('['):
		return r.fault("want a list")
	}
	for {
		before := r.lex.at
		t, err := r.next()
		if err != nil || t == json.Delim(']') {
			return err
		}
		if err := r.entry(t, before); err != nil {
			return err
		}
	}
}

// entry reads one entry whose first token was read. Its text begins after before.
func (r *uploadReader) entry(t json.Token, before int64) error {
	r.n++
	var e entry
	var err error
	if t == json.Delim('{') {
		err = r.rest(func(name string) error {
			switch name {
			case "event", "time", "auditId":
				return e.member(r, name)
			}
			return r.skip()
		})
	} else {
		err = r.skipRest(t)
	}
	if err != nil {
		return err
	}
	return r.add(&e, bytes.TrimLeft(r.body[before:r.lex.at], ",: \t\r\n"))
}

// entry is what was read of one entry.
type entry struct {
	audit                    Audit
	hasEvent, hasTime, hasID bool
	twice                    bool
}

// member reads the value of a member. null is absent.
func (e *entry) member(r *uploadReader, name string) error {
	v, err := r.scalar()
	if err != nil || v.null {
		return err
	}
	has := &e.hasEvent
	switch name {
	case "event":
		e.audit.Code, e.audit.Data = splitEvent(v)
	case "time":
		has = &e.hasTime
		e.audit.Time = clip(v.text, maxLockText)
	case "auditId":
		has = &e.hasID
		if len(v.text) <= maxAuditID && clip(v.text, maxAuditID) == v.text {
			e.audit.ID = v.text
		}
	}
	e.twice = e.twice || *has
	*has = true
	return nil
}

// splitEvent takes an event apart; both are empty when it is none.
func splitEvent(v scalar) (code, data string) {
	s := v.text
	if v.number && len(s) == 7 {
		s = "0" + s // all codes that are known are above 00FF
	}
	if len(s) != 8 || strings.Trim(s, "0123456789ABCDEFabcdef") != "" || v.number && !digits(s) {
		return "", ""
	}
	s = strings.ToUpper(s)
	return s[:4], s[4:]
}

// digits reports whether a text has decimal digits only.
func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// add appends an entry; raw is its text.
func (r *uploadReader) add(e *entry, raw []byte) error {
	if len(r.up.Audits) == MaxAudits {
		return r.fault("entries: %w of %d", ErrOverLimit, MaxAudits)
	}
	if e.twice || e.audit.Code == "" {
		r.up.Bad++
		e.audit = Audit{Raw: rawText(raw)}
	}
	r.up.Audits = append(r.up.Audits, e.audit)
	return nil
}

// clip makes a text of a lock fit to be kept and shown: at most n bytes of UTF-8
// without control characters.
func clip(s string, n int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), n)], ""))
}

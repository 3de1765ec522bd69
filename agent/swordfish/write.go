package swordfish

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Numbered is an entry with its usrID.
type Numbered struct {
	ID uint16
	Entry
}

// Card is a user that a lock is to forget.
type Card struct {
	ID    uint16
	Block card.Block
}

// File is a door file as a lock gets it (engage.md section 5).
type File struct {
	Full       bool       // deleteAll 1; all users are in Add, Delete and Update are empty
	Delete     []Card     // all three ascending by Block, no two equal
	Update     []Numbered // carries all members: a time that it has not is none
	Add        []Numbered
	Schedules  []site.Interval // written whole each time, like the lists below
	Holidays   []Holiday       // must be empty for a model that takes none
	Auto       []Auto          // must be empty for a model that takes none
	Config     json.RawMessage // the object of config; nil: none
	DownloadAt time.Time       // dbDwnLdTm, written as a wall clock in the zone shows it; zero: none
	Version    uint64          // nxtDbVerTS; not 0
}

// WriteOptions say how a file is written. All are required.
type WriteOptions struct {
	Cards   *Cards
	Profile *Profile
	Zone    *time.Location
}

// Write writes the file, minified, members in the document's order; the same bytes
// each time. An error that is not the writer's is a *Fault and names no card; what
// was written before it must be forgotten.
func (f *File) Write(w io.Writer, o WriteOptions) error {
	_, err := f.write(w, o)
	return err
}

// Size returns how many bytes Write writes, for Content-Length, and the same faults.
func (f *File) Size(o WriteOptions) (int64, error) { return f.write(nil, o) }

// writeBuffer is how much is gathered before it is written.
const writeBuffer = 4 << 10

// write writes the file, or only counts where there is no w.
func (f *File) write(w io.Writer, o WriteOptions) (int64, error) {
	if o.Cards == nil || o.Profile == nil || o.Zone == nil {
		return 0, &Fault{Err: errors.New("no site key, profile or zone")}
	}
	e := fileWriter{f: f, o: o, w: w, buf: make([]byte, 0, writeBuffer+writeBuffer/4)}
	e.file()
	e.flush()
	return e.n, e.err
}

// fileWriter writes one file. After an error it goes on to no effect.
type fileWriter struct {
	f    *File
	o    WriteOptions
	w    io.Writer // nil: count only
	buf  []byte
	n    int64
	err  error
	last card.Block

	clear, prm card.Block // here, for on the stack they would not stay

	sch  []byte // what crSch was last, and for which slots
	mask uint16
}

// fault stops the writing. n counts in the list from 1.
func (e *fileWriter) fault(list string, n int, field, format string, args ...any) {
	if e.err == nil {
		e.err = &Fault{List: list, Record: n, Field: field, Err: fmt.Errorf(format, args...)}
	}
}

func (e *fileWriter) text(s string) { e.buf = append(e.buf, s...) }
func (e *fileWriter) int(n int)     { e.buf = strconv.AppendInt(e.buf, int64(n), 10) }

// next begins element i, from 0, of a list.
func (e *fileWriter) next(i int) {
	if i > 0 {
		e.text(",")
	}
	if len(e.buf) >= writeBuffer {
		e.flush()
	}
}

func (e *fileWriter) flush() {
	e.n += int64(len(e.buf))
	if e.w != nil && e.err == nil {
		if _, err := e.w.Write(e.buf); err != nil {
			e.err = fmt.Errorf("door file: %w", err)
		}
	}
	e.buf = e.buf[:0]
}

func (e *fileWriter) file() {
	f := e.f
	if f.Full && len(f.Delete)+len(f.Update) > 0 {
		e.fault("", 0, "deleteAll", "a full file deletes and updates nobody else")
	}
	e.text(`{"db":{"usrRcrd":{"deleteAll":`)
	if f.Full {
		e.text("1")
	} else {
		e.text("0")
	}
	e.text(`,"delete":[`)
	e.deletes()
	e.text(`],"update":[`)
	e.users("update", f.Update)
	e.text(`],"add":[`)
	e.users("add", f.Add)
	e.text(`]},"schedules":[`)
	e.schedules()
	e.text("]")
	if e.o.Profile.Holidays || len(f.Holidays) > 0 {
		e.text(`,"holidays":[`)
		e.holidays()
		e.text("]")
	}
	if e.o.Profile.Auto || len(f.Auto) > 0 {
		e.text(`,"autoUnlock":[`)
		e.auto()
		e.text("]")
	}
	e.text("}")
	e.config()
	if !f.DownloadAt.IsZero() {
		e.text(`,"dbDwnLdTm":`)
		e.time("", 0, "dbDwnLdTm", f.DownloadAt)
	}
	if f.Version == VersionAll {
		e.fault("", 0, "nxtDbVerTS", "0 is no version of a file")
	}
	e.text(`,"nxtDbVerTS":"` + FormatVersion(f.Version) + `"}`)
}

// config writes the object of config without what stands between its tokens.
func (e *fileWriter) config() {
	if e.f.Config == nil {
		return
	}
	var b bytes.Buffer
	if err := json.Compact(&b, e.f.Config); err != nil || !bytes.HasPrefix(b.Bytes(), []byte("{")) {
		e.fault("", 0, "config", "is no object")
		return
	}
	e.text(`,"config":`)
	e.buf = append(e.buf, b.Bytes()...)
}

// record checks what every record has: a usrID, and its place among the others.
func (e *fileWriter) record(list string, i int, id uint16, b card.Block) {
	if id == 0 || id > MaxUserID {
		e.fault(list, i+1, "usrID", "want a number from 1 to %d", MaxUserID)
	}
	if i > 0 && bytes.Compare(e.last[:], b[:]) >= 0 {
		e.fault(list, i+1, "primeCr", "is not after the one before it")
	}
	e.last = b
	e.next(i)
	e.text(`{"usrID":`)
	e.int(int(id))
}

// prime writes primeCr and prCrTyp.
func (e *fileWriter) prime(b card.Block) {
	e.text(`,"primeCr":"`)
	if e.w != nil { // else any digits will do
		e.clear = b
		e.o.Cards.block.Encrypt(e.prm[:], e.clear[:])
	}
	e.buf = hex.AppendEncode(e.buf, e.prm[:])
	e.text(`","prCrTyp":"card"`)
}

func (e *fileWriter) deletes() {
	for i := range e.f.Delete {
		c := &e.f.Delete[i]
		if e.record("delete", i, c.ID, c.Block); e.err != nil {
			return
		}
		e.prime(c.Block)
		e.text("}")
	}
}

func (e *fileWriter) users(list string, users []Numbered) {
	for i := range users {
		u := &users[i]
		if e.record(list, i, u.ID, u.Block); e.err != nil {
			return
		}
		word := e.o.Profile.Functions[u.Function]
		if word == "" {
			e.fault(list, i+1, "fnctn", "the model knows no function %v", u.Function)
		}
		if u.ADA {
			e.text(`,"adaEn":1,"fnctn":`)
		} else {
			e.text(`,"adaEn":0,"fnctn":`)
		}
		e.word(word)
		e.text(`,"crSch":`)
		e.slots(list, i, u.Schedules)
		if !u.From.IsZero() {
			e.text(`,"actDtTm":`)
			e.time(list, i+1, "actDtTm", u.From)
		}
		if !u.Until.IsZero() {
			e.text(`,"expDtTm":`)
			e.time(list, i+1, "expDtTm", u.Until)
		}
		e.prime(u.Block)
		e.text(`,"scndCr":"null","scndCrTyp":"null"}`)
	}
}

// slots writes crSch.
func (e *fileWriter) slots(list string, i int, mask uint16) {
	if mask == e.mask && e.sch != nil {
		e.buf = append(e.buf, e.sch...)
		return
	}
	switch {
	case mask == 0:
		e.fault(list, i+1, "crSch", "is empty")
	case bits.Len16(mask) > len(e.f.Schedules):
		e.fault(list, i+1, "crSch", "names schedule %d of %d", bits.Len16(mask), len(e.f.Schedules))
	case e.o.Profile.SoleSchedule && bits.OnesCount16(mask) > 1:
		e.fault(list, i+1, "crSch", "is more than one: the model takes one")
	}
	at := len(e.buf)
	if !e.o.Profile.SoleSchedule {
		e.text("[")
	}
	for n, some := 1, false; n <= MaxSchedules; n++ {
		if mask&(1<<(n-1)) == 0 {
			continue
		}
		if some {
			e.text(",")
		}
		some = true
		e.int(n)
	}
	if !e.o.Profile.SoleSchedule {
		e.text("]")
	}
	e.mask, e.sch = mask, append(e.sch[:0], e.buf[at:]...)
}

// word writes a text of the profile or the settings.
func (e *fileWriter) word(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string is always written
			e.buf = append(e.buf, b...)
			return
		}
	}
	e.text(`"`)
	e.text(s)
	e.text(`"`)
}

// time writes 14 digits in quotes, as a wall clock in the zone shows them.
func (e *fileWriter) time(list string, n int, field string, t time.Time) {
	t = t.In(e.o.Zone)
	if y := t.Year(); y < 1 || y > 9999 {
		e.fault(list, n, field, "is not in the years 1 to 9999")
	}
	e.text(`"`)
	e.buf = t.AppendFormat(e.buf, timeLayout)
	e.text(`"`)
}

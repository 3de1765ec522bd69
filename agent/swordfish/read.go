package swordfish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options say how a door file is to be read.
type Options struct {
	Cards    *Cards         // required
	Zone     *time.Location // of the times in the file; nil: UTC
	Literals Literals       // zero: DefaultLiterals
}

// ReadFile reads a door file and calls record for each record, in the order of the
// file; n counts in its list, from 1. u is reused. It stops at the first fault, and
// when record returns an error: one that is no *Fault is returned as one that names
// the record.
//
// All errors but those of r are a *Fault. ErrTooLarge is the cause for more than
// MaxFile bytes.
func ReadFile(r io.Reader, opt Options, record func(op Op, n int, u *User) error) (Summary, error) {
	if opt.Cards == nil {
		return Summary{}, errors.New("door file: no site key")
	}
	if opt.Zone == nil {
		opt.Zone = time.UTC
	}
	if opt.Literals.Functions == nil && opt.Literals.Holidays == nil {
		opt.Literals = DefaultLiterals()
	}
	lim := &limited{r: r, left: MaxFile}
	f := &fileReader{opt: opt, lex: newLexer(lim), record: record}
	err := f.file()
	if lim.err != nil {
		return f.sum, fmt.Errorf("door file: %w", lim.err)
	}
	if lim.over {
		err = &Fault{Err: ErrTooLarge}
	}
	if err != nil {
		return f.sum, err
	}
	return f.sum, nil
}

// ErrTooLarge is the cause of a Fault for a file of more than MaxFile bytes.
var ErrTooLarge = fmt.Errorf("more than %d bytes", MaxFile)

// limited reads at most left bytes and tells an end from a limit and both from a
// failure.
type limited struct {
	r    io.Reader
	left int
	over bool
	err  error
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		var one [1]byte
		n, err := io.ReadFull(l.r, one[:])
		l.over = n > 0
		if err == nil {
			err = io.EOF
		}
		return 0, err
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// fileReader reads one file. Its place is what a fault names.
type fileReader struct {
	opt    Options
	lex    *lexer
	record func(Op, int, *User) error
	sum    Summary
	user   User

	list  string
	n     int
	field string
	depth int
}

// fault is at the place where the reader is.
func (f *fileReader) fault(format string, args ...any) error {
	return &Fault{List: f.list, Record: f.n, Field: f.field, Err: fmt.Errorf(format, args...)}
}

// next returns the next token and keeps the depth.
func (f *fileReader) next() (json.Token, error) {
	t, err := f.lex.next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, f.fault("ends early")
	case errors.Is(err, errSyntax):
		return nil, f.fault("%w at byte %d", err, f.lex.at)
	case err != nil:
		return nil, f.fault("%w", err)
	}
	if d, ok := t.(json.Delim); ok {
		if d == '{' || d == '[' {
			if f.depth++; f.depth > maxDepth {
				return nil, f.fault("is nested deeper than %d levels", maxDepth)
			}
		} else {
			f.depth--
		}
	}
	return t, nil
}

// members reads an object whose opening is next, or null, and calls fn for each
// member in place of its value. absent says that it was null.
func (f *fileReader) members(fn func(name string) error) (absent bool, err error) {
	t, err := f.next()
	if err != nil || t == nil {
		return t == nil, err
	}
	if t != json.Delim('{') {
		return false, f.fault("want an object")
	}
	return false, f.rest(fn)
}

// rest reads the members of an object that was opened.
func (f *fileReader) rest(fn func(name string) error) error {
	for {
		t, err := f.next()
		if err != nil {
			return err
		}
		if t == json.Delim('}') {
			return nil
		}
		name, ok := t.(string)
		if !ok {
			return f.fault("want the name of a member")
		}
		if err := fn(name); err != nil {
			return err
		}
	}
}

// elements reads a list, or null, and calls fn with the first token of each
// element.
func (f *fileReader) elements(fn func(t json.Token) error) (absent bool, err error) {
	t, err := f.next()
	if err != nil || t == nil {
		return t == nil, err
	}
	if t != json.Delim('[') {
		return false, f.fault("want a list")
	}
	for {
		t, err := f.next()
		if err != nil {
			return false, err
		}
		if t == json.Delim(']') {
			return false, nil
		}
		if err := fn(t); err != nil {
			return false, err
		}
	}
}

// skip reads past a value.
func (f *fileReader) skip() error {
	t, err := f.next()
	if err != nil {
		return err
	}
	return f.skipRest(t)
}

// skipRest reads past a value whose first token was read.
func (f *fileReader) skipRest(t json.Token) error {
	if d, ok := t.(json.Delim); !ok || d != '{' && d != '[' {
		return nil
	}
	for at := f.depth; f.depth >= at; {
		if _, err := f.next(); err != nil {
			return err
		}
	}
	return nil
}

// maxIgnored and maxIgnoredName bound what is kept of tags that are not known.
const (
	maxIgnored     = 16
	maxIgnoredName = 32
)

// ignore reads past the value of a tag that is not known, and notes the tag.
func (f *fileReader) ignore(name string) error {
	if len(name) > maxIgnoredName {
		name = strings.ToValidUTF8(name[:maxIgnoredName], "") + "…"
	}
	if len(f.sum.Ignored) < maxIgnored && !slices.Contains(f.sum.Ignored, name) {
		f.sum.Ignored = append(f.sum.Ignored, name)
	}
	return f.skip()
}

// once refuses a member that stands twice: what was read of the first is gone.
func (f *fileReader) once(seen *[]string, name string) error {
	if slices.Contains(*seen, name) {
		return f.fault("%q stands twice", name)
	}
	*seen = append(*seen, name)
	return nil
}

func (f *fileReader) file() error {
	var seen []string
	hasDB := false
	absent, err := f.members(func(name string) error {
		switch name {
		case "db", "config", "dbDwnLdTm", "nxtDbVerTS":
			if err := f.once(&seen, name); err != nil {
				return err
			}
		}
		switch name {
		case "db":
			f.list = "db"
			absent, err := f.db()
			f.list, hasDB = "", !absent
			return err
		case "config":
			f.sum.Config = true
			return f.skip()
		case "dbDwnLdTm", "nxtDbVerTS":
			f.field = name
			s, _, err := f.text()
			if f.field = ""; err != nil {
				return err
			}
			if s = s[:min(len(s), maxIgnoredName)]; name == "dbDwnLdTm" {
				f.sum.DownloadAt = s
			} else {
				f.sum.Version = s
			}
			return nil
		}
		return f.ignore(name)
	})
	switch {
	case err != nil:
		return err
	case absent || !hasDB:
		return f.fault("has no db")
	}
	if _, err := f.lex.next(); !errors.Is(err, io.EOF) {
		return f.fault("goes on after its end")
	}
	return nil
}

func (f *fileReader) db() (absent bool, err error) {
	var seen []string
	return f.members(func(name string) (err error) {
		switch name {
		case "usrRcrd", "schedules", "holidays", "autoUnlock":
			if err := f.once(&seen, name); err != nil {
				return err
			}
		default:
			return f.ignore(name)
		}
		f.list = name
		switch name {
		case "usrRcrd":
			err = f.records()
		case "schedules":
			err = f.schedules()
		case "holidays":
			err = f.holidays()
		case "autoUnlock":
			err = f.auto()
		}
		f.list = "db"
		return err
	})
}

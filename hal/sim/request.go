package sim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/hal"
)

// The limits of the protocol.
const (
	// MaxLine is the longest line of the protocol in bytes, without its end.
	MaxLine = 64 << 10
	// MaxBits is the longest Wiegand frame.
	MaxBits = 256

	maxLines = 256
	maxName  = 32
	maxFrame = 30 * time.Second
	minPace  = 100 * time.Microsecond
	maxPace  = 100 * time.Millisecond
	pace     = time.Millisecond      // where the request names none (contract.md)
	pulse    = 50 * time.Microsecond // wiegand.md: 20 to 100 µs
)

// errBad is the code of every request that cannot be understood or is not
// allowed.
var errBad = errors.New("bad request")

// request is one line from a client, after [parse].
type request struct {
	Set     *hal.LineName  `json:"set,omitempty"`
	Get     *hal.LineName  `json:"get,omitempty"`
	Drive   *hal.LineName  `json:"drive,omitempty"`
	Level   *int           `json:"level,omitempty"`
	Watch   []hal.LineName `json:"watch,omitempty"`
	Own     []hal.LineName `json:"own,omitempty"`
	Disown  []hal.LineName `json:"disown,omitempty"`
	Lines   []declaration  `json:"lines,omitempty"`
	Wiegand *frameRequest  `json:"wiegand,omitempty"`
	Clock   *clockRequest  `json:"clock,omitempty"`
	Fault   *faultRequest  `json:"fault,omitempty"`
	List    bool           `json:"list,omitempty"`
}

type declaration struct {
	Line hal.LineName `json:"line"`
	Dir  Dir          `json:"dir"`
	Rest int          `json:"rest"`
}

type frameRequest struct {
	D0   hal.LineName `json:"d0"`
	D1   hal.LineName `json:"d1"`
	Bits int          `json:"bits"`
	Hex  string       `json:"hex"`
	US   *int64       `json:"us,omitempty"`
}

type clockRequest struct {
	Trusted *bool `json:"trusted,omitempty"`
	Watch   bool  `json:"watch,omitempty"`
}

type faultRequest struct {
	Line   hal.LineName `json:"line"`
	Stuck  *int         `json:"stuck,omitempty"`
	Refuse bool         `json:"refuse,omitempty"`
}

// parse reads one request and checks all that can be checked without knowing
// the lines. It is a pure function.
func parse(b []byte) (request, error) {
	var r request
	if len(b) > MaxLine {
		return r, fmt.Errorf("%w: line longer than %d bytes", errBad, MaxLine)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return request{}, fmt.Errorf("%w: %w", errBad, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return request{}, fmt.Errorf("%w: something after the object", errBad)
	}
	if err := r.check(); err != nil {
		return request{}, fmt.Errorf("%w: %w", errBad, err)
	}
	return r, nil
}

// check demands exactly one command, with its own members.
func (r *request) check() error {
	commands := 0
	for _, is := range []bool{r.Set != nil, r.Get != nil, r.Drive != nil, r.Watch != nil, r.Own != nil,
		r.Disown != nil, r.Lines != nil, r.Wiegand != nil, r.Clock != nil, r.Fault != nil, r.List} {
		if is {
			commands++
		}
	}
	if commands != 1 {
		return fmt.Errorf("%d commands in one line, want one", commands)
	}
	needs := r.Set != nil || r.Drive != nil
	switch {
	case needs && r.Level == nil:
		return errors.New("level is missing")
	case r.Level != nil && !needs && r.Own == nil:
		return errors.New("level belongs to set, drive and own")
	case r.Level != nil && *r.Level != 0 && *r.Level != 1:
		return fmt.Errorf("level %d is neither 0 nor 1", *r.Level)
	}
	if err := r.checkNames(); err != nil {
		return err
	}
	switch {
	case r.Wiegand != nil:
		return r.Wiegand.check()
	case r.Lines != nil:
		return checkDeclarations(r.Lines)
	case r.Clock != nil && r.Clock.Trusted == nil && !r.Clock.Watch:
		return errors.New("clock: trusted or watch is missing")
	case r.Fault != nil && r.Fault.Stuck != nil && *r.Fault.Stuck != 0 && *r.Fault.Stuck != 1:
		return fmt.Errorf("stuck %d is neither 0 nor 1", *r.Fault.Stuck)
	}
	return nil
}

func (r *request) checkNames() error {
	var names []hal.LineName
	for _, n := range []*hal.LineName{r.Set, r.Get, r.Drive} {
		if n != nil {
			names = append(names, *n)
		}
	}
	names = append(names, r.Watch...)
	names = append(names, r.Own...)
	names = append(names, r.Disown...)
	for _, l := range r.Lines {
		names = append(names, l.Line)
	}
	if r.Wiegand != nil {
		names = append(names, r.Wiegand.D0, r.Wiegand.D1)
	}
	if r.Fault != nil {
		names = append(names, r.Fault.Line)
	}
	if len(names) > maxLines {
		return fmt.Errorf("%d lines, at most %d", len(names), maxLines)
	}
	for _, n := range names {
		if !validName(n) {
			return fmt.Errorf("line name %.40q is not 1 to %d letters, digits and ._:/-", string(n), maxName)
		}
	}
	for _, list := range [][]hal.LineName{r.Watch, r.Own, r.Disown} {
		if list != nil && len(list) == 0 {
			return errors.New("no line named")
		}
	}
	return unique(r.Own)
}

func unique(names []hal.LineName) error {
	seen := make(map[hal.LineName]bool, len(names))
	for _, n := range names {
		if seen[n] {
			return fmt.Errorf("%s is named twice", n)
		}
		seen[n] = true
	}
	return nil
}

func validName(n hal.LineName) bool {
	if len(n) == 0 || len(n) > maxName {
		return false
	}
	for _, c := range []byte(n) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == ':', c == '/', c == '-':
		default:
			return false
		}
	}
	return true
}

func checkDeclarations(lines []declaration) error {
	if len(lines) == 0 {
		return errors.New("no line declared")
	}
	names := make([]hal.LineName, 0, len(lines))
	for _, l := range lines {
		if l.Dir != In && l.Dir != Out {
			return fmt.Errorf("%s: dir is neither in nor out", l.Line)
		}
		if l.Rest != 0 && l.Rest != 1 {
			return fmt.Errorf("%s: rest %d is neither 0 nor 1", l.Line, l.Rest)
		}
		names = append(names, l.Line)
	}
	return unique(names)
}

func (f *frameRequest) check() error {
	if f.D0 == f.D1 {
		return errors.New("wiegand: d0 and d1 are one line")
	}
	if f.Bits < 1 || f.Bits > MaxBits {
		return fmt.Errorf("wiegand: %d bits, want 1 to %d", f.Bits, MaxBits)
	}
	b, err := hex.DecodeString(f.Hex)
	if err != nil {
		return errors.New("wiegand: hex is not hex digits")
	}
	if len(b) != (f.Bits+7)/8 {
		return fmt.Errorf("wiegand: hex has %d bytes, %d bits want %d", len(b), f.Bits, (f.Bits+7)/8)
	}
	if unused := len(b)*8 - f.Bits; b[len(b)-1]&(1<<unused-1) != 0 {
		return errors.New("wiegand: unused bits of hex are not 0")
	}
	if f.US != nil && (*f.US < int64(minPace/time.Microsecond) || *f.US > int64(maxPace/time.Microsecond)) {
		return fmt.Errorf("wiegand: us is not %d to %d", minPace/time.Microsecond, maxPace/time.Microsecond)
	}
	if f.pace()*time.Duration(f.Bits) > maxFrame {
		return fmt.Errorf("wiegand: longer than %v", maxFrame)
	}
	return nil
}

func (f *frameRequest) pace() time.Duration {
	if f.US == nil {
		return pace
	}
	return time.Duration(*f.US) * time.Microsecond
}

// edges returns the changes of the frame, at times from its start.
func (f *frameRequest) edges() []hal.Edge {
	b, err := hex.DecodeString(f.Hex)
	if err != nil || len(b)*8 < f.Bits {
		return nil // check has refused it
	}
	edges := make([]hal.Edge, 0, 2*f.Bits)
	for i := range f.Bits {
		line := f.D0
		if b[i/8]>>(7-i%8)&1 == 1 {
			line = f.D1
		}
		at := time.Duration(i) * f.pace()
		edges = append(edges, hal.Edge{Line: line, Level: hal.Low, At: at}, hal.Edge{Line: line, Level: hal.High, At: at + pulse})
	}
	return edges
}

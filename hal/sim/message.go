package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/hal"
)

// message is one line from the holder: an answer, or with At an event.
type message struct {
	Line  hal.LineName  `json:"line,omitempty"`
	Level *int          `json:"level,omitempty"`
	Lines []lineState   `json:"lines,omitempty"`
	Bits  int           `json:"bits,omitempty"`
	Clock *clockMessage `json:"clock,omitempty"`
	At    *int64        `json:"at,omitempty"`
	Lost  bool          `json:"lost,omitempty"`
	Error string        `json:"error,omitempty"`
	Code  code          `json:"code,omitempty"`
}

type lineState struct {
	Line  hal.LineName `json:"line"`
	Level int          `json:"level"`
	Dir   Dir          `json:"dir"`
	Owned bool         `json:"owned,omitempty"`
}

type clockMessage struct {
	Trusted bool `json:"trusted"`
}

// code is the kind of a fault, for a program.
type code string

const (
	codeBusy   code = "busy"
	codeNoLine code = "no_line"
	codeClosed code = "closed"
	codeBad    code = "bad"
)

func encode(m message) []byte {
	b, err := json.Marshal(m)
	if err != nil { // cannot happen: message has nothing that JSON refuses
		b = []byte(`{"error":"answer could not be encoded","code":"bad"}`)
	}
	return append(b, '\n')
}

func errorMessage(err error) message {
	m := message{Error: err.Error(), Code: codeBad}
	switch {
	case errors.Is(err, hal.ErrBusy):
		m.Code = codeBusy
	case errors.Is(err, hal.ErrNoLine):
		m.Code = codeNoLine
	case errors.Is(err, hal.ErrClosed):
		m.Code = codeClosed
	}
	return m
}

// remoteError is a fault that the holder answered. It unwraps to the sentinel
// that its code stands for.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func (m message) err() error {
	if m.Error == "" {
		return nil
	}
	e := &remoteError{text: m.Error}
	switch m.Code {
	case codeBusy:
		e.kind = hal.ErrBusy
	case codeNoLine:
		e.kind = hal.ErrNoLine
	case codeClosed:
		e.kind = hal.ErrClosed
	case codeBad:
		e.kind = errBad
	}
	return e
}

func lineMessage(p *pin) message {
	v := p.level().Int()
	return message{Line: p.name, Level: &v}
}

func linesMessage(pins []*pin) message {
	m := message{Lines: make([]lineState, 0, len(pins))}
	for _, p := range pins {
		m.Lines = append(m.Lines, lineState{Line: p.name, Level: p.level().Int(), Dir: p.dir, Owned: p.owner != nil})
	}
	return m
}

func eventMessage(e hal.Edge, lost bool) message {
	v, at := e.Level.Int(), int64(e.At)
	return message{Line: e.Line, Level: &v, At: &at, Lost: lost}
}

func clockEvent(trusted bool, at time.Duration) message {
	ns := int64(at)
	return message{Clock: &clockMessage{Trusted: trusted}, At: &ns}
}

// parseMessage reads one line from the holder.
func parseMessage(b []byte) (message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return message{}, fmt.Errorf("message: %w", err)
	}
	if m.Level != nil && *m.Level != 0 && *m.Level != 1 {
		return message{}, fmt.Errorf("message: level %d", *m.Level)
	}
	if m.At != nil && m.Clock == nil && (m.Level == nil || m.Line == "") {
		return message{}, errors.New("message: event without line and level")
	}
	return m, nil
}

package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"gatehouse/store"
)

// refused is the body of a refusal. Error comes first: by it the last line of a
// stream is told from the others.
type refused struct {
	Error  string  `json:"error"`
	Faults []Wrong `json:"faults,omitempty"` // of an import
	More   int     `json:"more,omitempty"`   // faults that are not listed

	*Reached // of a site-wide command that reached some doors
}

// Wrong is one record of an import that is at fault.
type Wrong struct {
	Record int    `json:"record"` // from 1
	Field  string `json:"field,omitempty"`
	Why    string `json:"why"`
}

func refusalOf(err error) refused {
	out := refused{Error: said(err)}
	if ie, ok := errors.AsType[*store.ImportError](err); ok {
		for _, re := range ie.Records {
			out.Faults = append(out.Faults, Wrong{re.Record, re.Field, re.Err.Error()})
		}
		out.More = ie.More
	}
	if pe, ok := errors.AsType[*partly](err); ok {
		out.Reached = &pe.Reached
	}
	return out
}

// said is the text of an error. A class in front of what says the same is left out:
// "not found: holder "x": not found".
func said(err error) string {
	if list, ok := err.(interface{ Unwrap() []error }); ok { // of this one, not of one in it
		if in := list.Unwrap(); len(in) == 2 && errors.Is(in[0], ErrNotFound) && errors.Is(in[1], store.ErrNotFound) {
			return in[1].Error()
		}
	}
	return err.Error()
}

// Errors that say whose fault a refusal is. Wrap them with %w.
var (
	// ErrNotFound: there is no such door, credential and so on.
	ErrNotFound = errors.New("not found")
	// ErrRefused: it exists, but not in this state.
	ErrRefused = errors.New("refused")
	// ErrInput: the request itself is wrong.
	ErrInput = errors.New("bad input")
	// ErrNotReady: the agent cannot answer now.
	ErrNotReady = errors.New("not ready")
)

// statusOf maps an error to the status of its answer.
func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrRefused):
		return http.StatusConflict
	case errors.Is(err, ErrInput):
		return http.StatusBadRequest
	case errors.Is(err, ErrNotReady), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that went away is no fault of ours.
	_ = json.NewEncoder(w).Encode(v)
}

// ok answers 200 with v.
func ok(w http.ResponseWriter, v any) error {
	reply(w, http.StatusOK, v)
	return nil
}

// stream answers one JSON object a line, each sent at once. An error after the
// first line becomes a last line {"error": TEXT}.
func stream(w http.ResponseWriter, run func(send func(any) error) error) error {
	return lines(w, http.NewResponseController(w).Flush, run)
}

// list is stream for what is long and there already: lines are sent together.
func list(w http.ResponseWriter, run func(send func(any) error) error) error {
	return lines(w, func() error { return nil }, run)
}

func lines(w http.ResponseWriter, flush func() error, run func(send func(any) error) error) error {
	enc := json.NewEncoder(w)
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
		}
	}
	err := run(func(v any) error {
		begin()
		if err := enc.Encode(v); err != nil {
			return err
		}
		return flush()
	})
	if err != nil && begun {
		return enc.Encode(refusalOf(err))
	}
	if err == nil {
		begin()
	}
	return err
}

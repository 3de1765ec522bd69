package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// maxBody bounds a request's body, save an import's.
const maxBody = 1 << 20

// cli is who asks over the socket, in events.
const cli = "cli"

// Parts are what the API stands on. All are wanted, save where nil is told.
type Parts struct {
	Doors   Doors
	Reports Reports
	Why     Deciding
	Events  Events
	Alarms  Alarms
	Areas   Areas
	Fire    Fire
	Notify  Notify
	Uplink  Uplink
	Policy  Policy
	Tokens  Tokens
	Locks   Locks        // nil: the settings have no lock
	Log     *slog.Logger // nil: discard
}

// server holds the handlers.
type server struct {
	Parts
}

// Handler returns the API. It starts nothing.
func Handler(p Parts) http.Handler {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{p}
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, s.wrap(r.handle))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			w = &noRoute{w, r}
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute gives the answers of the mux itself, to a path or a method that it
// does not have, the form of a refusal.
type noRoute struct {
	http.ResponseWriter
	r *http.Request
}

// WriteHeader writes the whole answer.
func (w *noRoute) WriteHeader(status int) {
	text := fmt.Sprintf("%.10s %.200s: %s", w.r.Method, w.r.URL.Path, strings.ToLower(http.StatusText(status)))
	reply(w.ResponseWriter, status, refused{Error: text})
}

// Write drops the mux's own text.
func (w *noRoute) Write(p []byte) (int, error) { return len(p), nil }

type route struct {
	pattern string
	handle  func(w http.ResponseWriter, r *http.Request) error
}

func (s *server) routes() []route {
	return append([]route{
		{"GET /v1/status", s.status},
		{"GET /v1/doctor", s.doctor},
		{"GET /v1/doors", s.doors},
		{"GET /v1/doors/{id}/inputs", s.inputs},
		{"POST /v1/doors/{id}/unlock", s.unlock},
		{"POST /v1/doors/{id}/lock", s.lock},
		{"POST /v1/doors/{id}/mode", s.mode},
		{"POST /v1/lockdown", s.lockdown},
		{"POST /v1/release", s.release},
		{"GET /v1/why", s.why},
		{"GET /v1/events", s.events},
		{"GET /v1/alarms", s.alarms},
		{"POST /v1/alarms/{id}/ack", s.ackAlarm},
	}, slices.Concat(s.areaRoutes(), s.fireRoutes(), s.notifyRoutes(), s.uplinkRoutes(), s.policyRoutes(), s.tokenRoutes(), s.lockRoutes())...)
}

// wrap turns a handler's error into an answer.
func (s *server) wrap(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		status := statusOf(err)
		if status == http.StatusInternalServerError {
			s.Log.Error("control request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		reply(w, status, refusalOf(err))
	}
}

// body reads a bounded JSON body into v and refuses members it does not know.
func body(r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("more than one JSON value")
		}
	}
	return fmt.Errorf("%w: body: %w", ErrInput, err)
}

func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	st, book := s.Reports.Status(r.Context()), s.lockBook()
	st.Locks, st.Pending = book.Locks, book.Pending
	return ok(w, st)
}

func (s *server) doctor(w http.ResponseWriter, r *http.Request) error {
	return ok(w, s.Reports.Doctor(r.Context()))
}

func (s *server) doors(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, s.Doors.DoorList())
}

func (s *server) inputs(w http.ResponseWriter, r *http.Request) error {
	id := site.DoorID(r.PathValue("id"))
	in, err := s.Doors.Inputs(id)
	if err != nil {
		return s.explained(id, err)
	}
	return ok(w, in)
}

// doorCommand is the body of a command to a door.
type doorCommand struct {
	For    Duration  `json:"for,omitempty"`
	Mode   site.Mode `json:"mode,omitempty"`
	Auto   bool      `json:"auto,omitempty"` // instead of a mode: back to the schedule
	Until  time.Time `json:"until,omitzero"`
	Target Target    `json:"target,omitzero"`
}

// Duration is a time.Duration that JSON writes as text ("5s").
type Duration time.Duration

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

func (s *server) unlock(w http.ResponseWriter, r *http.Request) error {
	var c doorCommand
	if err := body(r, &c); err != nil {
		return err
	}
	if c.For < 0 {
		return fmt.Errorf("%w: unlock for %s: a time cannot be negative", ErrInput, time.Duration(c.For))
	}
	id := site.DoorID(r.PathValue("id"))
	if err := s.Doors.UnlockDoor(r.Context(), id, time.Duration(c.For), cli); err != nil {
		return s.explained(id, err)
	}
	return ok(w, struct{}{})
}

func (s *server) lock(w http.ResponseWriter, r *http.Request) error {
	id := site.DoorID(r.PathValue("id"))
	if err := s.Doors.LockDoor(r.Context(), id, cli); err != nil {
		return s.explained(id, err)
	}
	return ok(w, struct{}{})
}

func (s *server) mode(w http.ResponseWriter, r *http.Request) error {
	var c doorCommand
	if err := body(r, &c); err != nil {
		return err
	}
	id := site.DoorID(r.PathValue("id"))
	var err error
	if c.Auto {
		err = s.Doors.AutoDoor(r.Context(), id, cli)
	} else {
		err = s.Doors.SetMode(r.Context(), id, c.Mode, c.Until, cli)
	}
	if err != nil {
		return s.explained(id, err)
	}
	return ok(w, struct{}{})
}

// Reached lists the doors that a site-wide command reached.
type Reached struct {
	Doors []site.DoorID `json:"doors"`
	// NoLine are the Wi-Fi locks of the site, which a lockdown of all doors does
	// not reach: they go on opening for their cards.
	NoLine []site.DoorID `json:"no_line,omitempty"`
}

// partly is the error of a site-wide command that reached some doors and not
// others.
type partly struct {
	Reached
	err error // names those that were not
}

func (e *partly) Error() string { return e.err.Error() }

func (e *partly) Unwrap() error { return e.err }

// answerReached answers a site-wide command. A refusal has the doors that were
// reached all the same.
func answerReached(w http.ResponseWriter, out Reached, err error) error {
	switch {
	case err == nil:
		return ok(w, out)
	case len(out.Doors) > 0:
		return &partly{out, err}
	}
	return err
}

// check wants exactly one member.
func (t Target) check() error {
	n := 0
	for _, set := range []bool{t.Door != "", t.Area != "", t.All} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%w: name one door, one area or all", ErrInput)
	}
	return nil
}

func (s *server) lockdown(w http.ResponseWriter, r *http.Request) error {
	var c doorCommand
	if err := errors.Join(body(r, &c), c.Target.check()); err != nil {
		return err
	}
	if !c.Until.IsZero() && !c.Until.After(time.Now()) {
		return fmt.Errorf("%w: lockdown: its end %s has passed; no door was locked down", ErrInput, c.Until.Format(time.RFC3339))
	}
	doors, err := s.Doors.Lockdown(r.Context(), c.Target, c.Until, cli)
	return answerReached(w, Reached{doors, s.lineless(c.Target)}, s.explained(c.Target.Door, err))
}

func (s *server) release(w http.ResponseWriter, r *http.Request) error {
	var c doorCommand
	if err := errors.Join(body(r, &c), c.Target.check()); err != nil {
		return err
	}
	doors, err := s.Doors.Release(r.Context(), c.Target, cli)
	return answerReached(w, Reached{Doors: doors}, s.explained(c.Target.Door, err))
}

func (s *server) why(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := WhyQuery{Door: site.DoorID(v.Get("door")), Reader: site.ReaderID(v.Get("reader")), Credential: site.CredentialID(v.Get("credential"))}
	if text := v.Get("bits"); text != "" {
		b, err := card.ParseBits(text)
		if err != nil {
			return fmt.Errorf("%w: bits: %w", ErrInput, err)
		}
		q.Bits = &b
	}
	if (q.Bits == nil) == (q.Credential == "") || q.Door == "" {
		return fmt.Errorf("%w: name a door, and a credential or its bits", ErrInput)
	}
	var err error
	if q.At, err = queryTime(v.Get("at")); err != nil {
		return err
	}
	answer, err := s.Why.Why(r.Context(), q)
	if err != nil {
		return err
	}
	return ok(w, answer)
}

func queryTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%w: time %q: want RFC 3339, as 2026-11-21T18:04:05Z", ErrInput, text)
	}
	return t, nil
}

func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := EventQuery{Door: site.DoorID(v.Get("door")), Kind: site.Kind(v.Get("kind")), Holder: v.Get("holder"),
		Follow: v.Get("follow") == "1", Duress: v.Get("duress") == "1"}
	if q.Kind == site.KindDuress && !q.Duress {
		return fmt.Errorf("%w: duress events are shown only where duress is asked for (duress=1, --duress)", ErrInput)
	}
	var errs [4]error
	q.From, errs[0] = queryTime(v.Get("from"))
	q.To, errs[1] = queryTime(v.Get("to"))
	var after, last uint64
	after, errs[2] = queryNumber(v.Get("after"))
	last, errs[3] = queryNumber(v.Get("last"))
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	q.After, q.Last = site.EventSeq(after), int(min(last, 10_000))
	return stream(w, func(send func(any) error) error {
		return s.Events.Tail(r.Context(), q, func(ev site.Event) error { return send(ev) })
	})
}

func queryNumber(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a number", ErrInput, text)
	}
	return n, nil
}

func (s *server) alarms(w http.ResponseWriter, r *http.Request) error {
	return ok(w, s.Alarms.AlarmList(r.URL.Query().Get("duress") == "1"))
}

func (s *server) ackAlarm(w http.ResponseWriter, r *http.Request) error {
	id, err := queryNumber(r.PathValue("id"))
	if err != nil {
		return err
	}
	var who struct {
		By string `json:"by"`
	}
	if err := body(r, &who); err != nil {
		return err
	}
	if who.By == "" || len(who.By) > 100 {
		return fmt.Errorf("%w: say who acknowledges (1 to 100 characters)", ErrInput)
	}
	if strings.ContainsFunc(who.By, unicode.IsControl) {
		return fmt.Errorf("%w: who acknowledges: holds a control character", ErrInput)
	}
	if err := s.Alarms.AckAlarm(r.Context(), site.EventSeq(id), who.By); err != nil {
		return err
	}
	return ok(w, struct{}{})
}

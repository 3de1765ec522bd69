package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// house is a site that works in memory over a real store. Its members may be
// set before the first request.
type house struct {
	store    *store.Store
	log      *storetest.Log
	storeErr error
	fire     firePanel

	mu      sync.Mutex // guards the following
	doors   []site.DoorStatus
	did     []string              // commands, as text
	fail    error                 // of every command to a door
	stuck   map[site.DoorID]error // doors that a site-wide command does not reach
	events  []site.Event
	tailErr error // after the events
	alarms  []control.Alarm
	present []control.Presence // in the area lab
	fetched bool               // the root of the IP host
	cards   map[site.ReaderID]chan card.Bits
}

func newHouse(t testing.TB) *house {
	t.Helper()
	s, l := storetest.New(t)
	return &house{store: s, log: l,
		doors:  []site.DoorStatus{{ID: "front", Name: "Front door", Locked: true}, {ID: "shed", Name: "Shed", Locked: true}},
		alarms: []control.Alarm{{ID: 7, Kind: site.KindDoorForced, Door: "shed", Times: 1}},
		cards:  map[site.ReaderID]chan card.Bits{"front-in": make(chan card.Bits, 1)},
	}
}

func (h *house) parts() control.Parts {
	return control.Parts{Doors: h, Reports: h, Why: h, Events: h, Alarms: h, Areas: h, Fire: &h.fire, Uplink: h, Policy: h}
}

func (h *house) DoorList() []site.DoorStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.doors)
}

// command notes a command to a door, or says why not.
func (h *house) command(id site.DoorID, format string, a ...any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.ContainsFunc(h.doors, func(d site.DoorStatus) bool { return d.ID == id }) {
		return fmt.Errorf("door %s: %w", id, control.ErrNotFound)
	}
	if h.fail != nil {
		return h.fail
	}
	h.did = append(h.did, fmt.Sprintf("%s ", id)+fmt.Sprintf(format, a...))
	return nil
}

func (h *house) UnlockDoor(_ context.Context, id site.DoorID, d time.Duration, by string) error {
	return h.command(id, "unlock %s by %s", d, by)
}

func (h *house) LockDoor(_ context.Context, id site.DoorID, by string) error {
	return h.command(id, "lock by %s", by)
}

func (h *house) SetMode(_ context.Context, id site.DoorID, m site.Mode, until time.Time, by string) error {
	return h.command(id, "mode %s until %s by %s", m, until.Format(time.RFC3339), by)
}

func (h *house) AutoDoor(_ context.Context, id site.DoorID, by string) error {
	return h.command(id, "auto by %s", by)
}

func (h *house) Lockdown(_ context.Context, t control.Target, _ time.Time, by string) ([]site.DoorID, error) {
	return h.each(t, "lockdown by "+by)
}

func (h *house) Release(_ context.Context, t control.Target, by string) ([]site.DoorID, error) {
	return h.each(t, "release by "+by)
}

func (h *house) each(t control.Target, what string) ([]site.DoorID, error) {
	var out []site.DoorID
	var errs []error
	for _, d := range h.DoorList() {
		if t.All || t.Door == d.ID {
			err := h.stuck[d.ID]
			if err == nil {
				err = h.command(d.ID, "%s", what)
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out = append(out, d.ID)
		}
	}
	if len(errs) > 0 {
		return out, errors.Join(errs...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no such door or area", control.ErrNotFound)
	}
	return out, nil
}

func (h *house) Inputs(id site.DoorID) (control.Inputs, error) {
	open := true
	return control.Inputs{Door: id, Open: &open, Locked: true}, h.command(id, "inputs")
}

func (h *house) Status(context.Context) control.Status {
	return control.Status{Version: "test", Site: "Test", Ready: true, Doors: h.DoorList()}
}

func (h *house) Doctor(context.Context) []control.Finding {
	return []control.Finding{{What: "clock", Cause: "no server", Do: "name one", Wrong: true}}
}

func (h *house) Why(_ context.Context, q control.WhyQuery) (control.Why, error) {
	if !h.HasDoor(q.Door) {
		return control.Why{}, fmt.Errorf("door %s: %w", q.Door, control.ErrNotFound)
	}
	input := string(q.Credential)
	if q.Bits != nil {
		input = q.Bits.String()
	}
	return control.Why{Decision: "granted", Reason: "granted", Steps: []control.WhyStep{{Check: "credential", Input: input, Result: q.At.UTC().Format(time.RFC3339)}}}, nil
}

func (h *house) Tail(ctx context.Context, q control.EventQuery, fn func(site.Event) error) error {
	h.mu.Lock()
	events, err := slices.Clone(h.events), h.tailErr
	h.mu.Unlock()
	for _, ev := range events {
		if q.Holder != "" && string(ev.HolderID) != q.Holder || q.Door != "" && ev.Door != q.Door || ev.Seq <= q.After {
			continue
		}
		if err := fn(ev); err != nil {
			return err
		}
	}
	if err == nil && q.Follow {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (h *house) AlarmList(bool) []control.Alarm {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.alarms)
}

func (h *house) AreaList() []control.AreaStatus {
	return []control.AreaStatus{{ID: "lab", Name: "Laboratory", Count: len(h.inside()), Limit: 20, Passback: "soft"}}
}

func (h *house) inside() []control.Presence {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.present)
}

func (h *house) AreaShow(id site.AreaID) (control.AreaStatus, error) {
	a := h.AreaList()[0]
	if id != a.ID {
		return control.AreaStatus{}, fmt.Errorf("area %q: %w", id, control.ErrNotFound)
	}
	a.Present = h.inside()
	return a, nil
}

func (h *house) Forgive(_ context.Context, f control.Forgiveness) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.present)
	h.present = slices.DeleteFunc(h.present, func(p control.Presence) bool {
		return f.All || f.Area == "lab" || f.Holder == p.Name || f.Holder == string(p.ID)
	})
	if f.Holder != "" && before == len(h.present) {
		return 0, fmt.Errorf("holder %q: %w", f.Holder, control.ErrNotFound)
	}
	h.did = append(h.did, "forgive by "+f.By)
	return before - len(h.present), nil
}

func (h *house) AckAlarm(_ context.Context, id site.EventSeq, by string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.alarms {
		if h.alarms[i].ID == id {
			h.alarms[i].AckedBy = by
			return nil
		}
	}
	return fmt.Errorf("alarm %d: %w", id, control.ErrNotFound)
}

func (h *house) Store() (*store.Store, error) { return h.store, h.storeErr }

func (h *house) HasDoor(id site.DoorID) bool {
	return slices.Contains([]site.DoorID{"front", "shed", "room5", "vault"}, id) // the last two are locks
}

func (h *house) Cards() *card.Set { return card.Standard() }

func (h *house) Enrol(ctx context.Context, id site.ReaderID) (card.Bits, error) {
	c := h.cards[id]
	if c == nil {
		return card.Bits{}, fmt.Errorf("reader %s: %w", id, control.ErrNotFound)
	}
	select {
	case b := <-c:
		return b, nil
	case <-ctx.Done():
		return card.Bits{}, ctx.Err()
	}
}

func (h *house) commands() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.did)
}

// api is a handler under test.
type api struct {
	t testing.TB
	h http.Handler
}

func (h *house) api(t testing.TB) *api { return &api{t, control.Handler(h.parts())} }

// ask sends a request and returns the status and the body.
func (a *api) ask(method, path, body string) (int, string) {
	a.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, httptest.NewRequestWithContext(a.t.Context(), method, path, in))
	return w.Code, w.Body.String()
}

// must wants a 200 and reads the answer into a T.
func must[T any](a *api, method, path, body string) T {
	a.t.Helper()
	var v T
	status, text := a.ask(method, path, body)
	if status != http.StatusOK {
		a.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		a.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return v
}

// objects reads a stream of JSON objects.
func objects[T any](a *api, method, path, body string) []T {
	a.t.Helper()
	status, text := a.ask(method, path, body)
	if status != http.StatusOK {
		a.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	out := []T{}
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var v T
		if err := dec.Decode(&v); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
		out = append(out, v)
	}
	return out
}

const ada = `{"holder":"Ada","format":"H10301","facility":77,"card":1568,"rights":"front"}`

// addAda adds Ada's card and returns it.
func (a *api) addAda() control.CredentialView {
	a.t.Helper()
	return must[control.CredentialView](a, "POST", "/v1/credentials", ada)
}

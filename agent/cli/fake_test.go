package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/cli"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

func TestMain(m *testing.M) {
	os.Exit(m.Run())
}

const settings = `version: 1
site: {name: Test site, timezone: UTC}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: .
doors:
  - id: front
    name: Front door
    strike: {line: GPIO24, active: high, unlock: 5s, fail: secure}
    rex: {line: GPIO22, active: low, unlock: true}
readers:
  - {id: front-in, door: front, mode: card, wiegand: {d0: GPIO17, d1: GPIO18}}
`

// agent is a running agent as its commands see it: a site in memory over a real
// store, on the socket of a settings file.
type agent struct {
	t      *testing.T
	dir    string
	config string
	store  *store.Store
	log    *storetest.Log

	fire    firePanel
	until   time.Time // the end of a lock's mode
	locks   lockRack
	inputs  []control.InputStatus // set before the first command
	outputs []control.OutputStatus

	mu     sync.Mutex // guards the following
	doors  []site.DoorStatus
	did    []string
	events []site.Event
	alarms []control.Alarm
	inside []control.Presence // in the area lab
	uplink *control.UplinkStatus
	ready  bool
	wrong  bool
	broken site.DoorID // takes no command
	next   card.Bits   // the card that is presented next
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, l := storetest.New(t)
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	a := &agent{t: t, dir: dir, locks: lockRack{store: s}, config: filepath.Join(dir, "gatehouse.yaml"), store: s, log: l, ready: true,
		doors: []site.DoorStatus{
			{ID: "front", Name: "Front door", Locked: true},
			{ID: "shed", Name: "Shed", Mode: site.ModePassage, Open: true, Alarm: site.AlarmHeld, Until: noon},
		},
		alarms: []control.Alarm{{ID: 7, Kind: site.KindDoorForced, Door: "shed", Began: noon, Times: 2},
			{ID: 9, Kind: site.KindFault, Door: "shed", Reader: "shed-in", Device: "kiosk", Text: "hive: wrong checksum", Began: noon, Times: 1}},
		events: []site.Event{
			{Seq: 1, Time: noon, Trusted: true, Kind: site.KindAccess, Door: "front", Reader: "front-in", Reason: site.ReasonGranted, Holder: "Ada", HolderID: "h1", Card: site.CardRef{Last2: "68", Tag: "a41f0c"}},
			{Seq: 2, Time: noon, Kind: site.KindDoorForced, Door: "shed", Cleared: true},
		},
	}
	if err := os.WriteFile(a.config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	h := control.Handler(control.Parts{Doors: a, Reports: a, Why: a, Events: a, Alarms: a, Areas: a, Fire: &a.fire, Notify: a, Uplink: a, Policy: a, Tokens: &tokenBook{}, Locks: &a.locks})
	server := &httptest.Server{Listener: socket, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	return a
}

// run runs a command with the agent's settings and returns its exit code.
func (a *agent) run(args ...string) (code int, stdout, stderr string) {
	a.t.Helper()
	return run(a.t.Context(), append([]string{"--config", a.config}, args...)...)
}

func run(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = cli.Main(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

// must wants exit code 0 and a silent standard error, and returns the output.
func (a *agent) must(args ...string) string {
	a.t.Helper()
	code, stdout, stderr := a.run(args...)
	if code != 0 || stderr != "" {
		a.t.Fatalf("%q: %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

var (
	ids  = regexp.MustCompile(`[0-9a-f]{16}-[0-9]+`)
	tags = regexp.MustCompile(`…([0-9]{2})? [0-9a-f]{6}`)
)

// plain replaces what differs from run to run by as many characters.
func plain(s string) string {
	s = ids.ReplaceAllStringFunc(s, func(id string) string { return "0123456789abcdef-" + id[17:] })
	return tags.ReplaceAllString(s, "…$1 a41f0c")
}

// stdin gives the commands a standard input.
func stdin(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdin
	os.Stdin = f
	t.Cleanup(func() { os.Stdin = old; f.Close() })
}

func (a *agent) DoorList() []site.DoorStatus { return a.doors }

func (a *agent) command(id site.DoorID, what string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.HasDoor(id) && !a.locks.takes(id) {
		return fmt.Errorf("door %s: %w", id, control.ErrNotFound)
	}
	if id == a.broken {
		return fmt.Errorf("door %s: %w: its line is gone", id, control.ErrNotReady)
	}
	a.did = append(a.did, fmt.Sprintf("%s %s", id, what))
	return nil
}

func (a *agent) UnlockDoor(_ context.Context, id site.DoorID, d time.Duration, _ string) error {
	return a.command(id, "unlock "+d.String())
}

func (a *agent) LockDoor(_ context.Context, id site.DoorID, _ string) error {
	return a.command(id, "lock")
}

func (a *agent) SetMode(_ context.Context, id site.DoorID, m site.Mode, until time.Time, _ string) error {
	return a.command(id, fmt.Sprintf("mode %s %s", m, until.UTC().Format("2006-01-02")))
}

func (a *agent) AutoDoor(_ context.Context, id site.DoorID, _ string) error {
	return a.command(id, "auto")
}

func (a *agent) Lockdown(_ context.Context, t control.Target, _ time.Time, _ string) ([]site.DoorID, error) {
	return a.each(t, "lockdown")
}

func (a *agent) Release(_ context.Context, t control.Target, _ string) ([]site.DoorID, error) {
	return a.each(t, "release")
}

func (a *agent) each(t control.Target, what string) (out []site.DoorID, err error) {
	for _, d := range a.doors {
		if t.All || t.Door == d.ID {
			if e := a.command(d.ID, what); e != nil {
				err = errors.Join(err, e)
				continue
			}
			out = append(out, d.ID)
		}
	}
	if len(out) == 0 && err == nil {
		err = fmt.Errorf("%w: no such door or area", control.ErrNotFound)
	}
	return out, err
}

func (a *agent) Inputs(id site.DoorID) (control.Inputs, error) {
	open := false
	return control.Inputs{Door: id, Open: &open, Locked: true, Until: a.until}, a.command(id, "inputs")
}

func (a *agent) Status(context.Context) control.Status {
	return control.Status{Version: "test", Site: "Test site", Serial: "206", Ready: a.ready, Doors: a.doors, Inputs: a.inputs, Outputs: a.outputs, Listen: map[string]string{"https": "127.0.0.1:8443", "control": "x"},
		Readers: []control.ReaderStatus{{ID: "front-in", Door: "front", Kind: "wiegand"}}, Notify: receivers, Uplink: a.uplink, Faults: []control.Fault{{ID: "f", Text: "a fault"}}, Warnings: []string{"a warning"}}
}

func (a *agent) Doctor(context.Context) []control.Finding {
	return []control.Finding{{What: "the clock", Cause: "no server", Do: "name one", Wrong: a.wrong}}
}

func (a *agent) Why(_ context.Context, q control.WhyQuery) (control.Why, error) {
	return control.Why{Decision: "refused", Reason: "revoked", Steps: []control.WhyStep{{Check: "credential", Input: string(q.Credential), Result: "refused"}}}, nil
}

func (a *agent) Tail(_ context.Context, q control.EventQuery, fn func(site.Event) error) error {
	for _, ev := range a.events {
		if q.Door != "" && ev.Door != q.Door || q.Holder != "" && string(ev.HolderID) != q.Holder {
			continue
		}
		if err := fn(ev); err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) AlarmList(bool) []control.Alarm { return a.alarms }

func (a *agent) AckAlarm(_ context.Context, id site.EventSeq, by string) error {
	if id != 7 {
		return fmt.Errorf("alarm %d: %w", id, control.ErrNotFound)
	}
	a.alarms[0].AckedBy = by
	return nil
}

func (a *agent) Store() (*store.Store, error) { return a.store, nil }

func (a *agent) HasDoor(id site.DoorID) bool {
	return slices.ContainsFunc(a.doors, func(d site.DoorStatus) bool { return d.ID == id })
}

func (a *agent) Cards() *card.Set { return card.Standard() }

func (a *agent) Enrol(ctx context.Context, id site.ReaderID) (card.Bits, error) {
	if id != "front-in" {
		return card.Bits{}, fmt.Errorf("reader %s: %w", id, control.ErrNotFound)
	}
	a.mu.Lock()
	b := a.next
	a.mu.Unlock()
	if b.Len() == 0 {
		<-ctx.Done()
		return b, ctx.Err()
	}
	return b, nil
}

// lines returns the lines of a text without the space at their ends.
func lines(s string) []string {
	var out []string
	for l := range strings.Lines(s) {
		out = append(out, strings.TrimRight(l, " \n"))
	}
	return out
}

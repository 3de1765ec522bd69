package app_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/agent/control"
	"gatehouse/agent/notify"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/store/spool"
)

// hookDesk is a webhook's server at one address, which may be away.
type hookDesk struct {
	t      *testing.T
	addr   string
	mu     sync.Mutex // guards calls
	calls  []hookCall
	server *httptest.Server
}

type hookCall struct {
	path, signature, key string
	raw                  []byte
	notify.Call
}

func newHookDesk(t *testing.T) *hookDesk {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // only its address is wanted
	return &hookDesk{t: t, addr: l.Addr().String()}
}

func (d *hookDesk) open() {
	d.t.Helper()
	l, err := net.Listen("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: d}}
	d.server.Start()
	d.t.Cleanup(d.server.Close)
}

func (d *hookDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	c := hookCall{path: r.URL.Path, signature: r.Header.Get("X-Gatehouse-Signature"), key: r.Header.Get("Idempotency-Key"), raw: raw}
	if err == nil {
		err = json.Unmarshal(raw, &c.Call)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, c)
	w.WriteHeader(http.StatusAccepted)
}

// at are the calls of a path that are no test.
func (d *hookDesk) at(path string) []hookCall {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.calls), func(c hookCall) bool { return c.path != path || c.Test })
}

func (s *testSite) withReceivers(section string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "site.yaml"), []byte(testSettings+section), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// receivers returns what status says of them, by id.
func (r *running) receivers() map[string]control.NotifyStatus {
	r.t.Helper()
	var st control.Status
	r.must(r.client.Get(r.t.Context(), "/v1/status", nil, &st))
	out := map[string]control.NotifyStatus{}
	for _, n := range st.Notify {
		out[n.ID] = n
	}
	return out
}

// TestAlarmAfterOutage: a door is forced while the receiver is away, the agent is
// restarted, the receiver comes back: the alarm arrives, once, then its
// acknowledgement and its end, in order; nothing that was not asked for.
func TestAlarmAfterOutage(t *testing.T) {
	d, s := newHookDesk(t), newTestSite(t)
	if err := os.WriteFile(filepath.Join(s.dir, "hook.secret"), []byte("text:sixteen letters!"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.withReceivers("notify:\n" +
		"  - {id: desk, webhook: \"http://" + d.addr + "/desk/token\", secret_file: hook.secret}\n" +
		"  - {id: people, on: [access], webhook: \"http://" + d.addr + "/people\"}\n")
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.board.Drive("GPIO23", hal.High)
	forced := r.waitEvent("forced", site.KindDoorForced, func(site.Event) bool { return true })
	wait(t, "the queue in status", func() bool {
		n := r.receivers()["desk"]
		return n.Queued > 0 && n.Error != "" && !n.RetryAt.IsZero()
	})
	if n := r.receivers()["desk"]; n.To != "http://"+d.addr || strings.Contains(n.Error, "token") {
		t.Errorf("status %+v", n)
	}
	var found []control.Finding
	r.must(r.client.Get(t.Context(), "/v1/doctor", nil, &found))
	if !slices.ContainsFunc(found, func(f control.Finding) bool {
		return f.Wrong && strings.HasPrefix(f.What, "receiver desk: ") && strings.Contains(f.What, " waiting: ")
	}) {
		t.Errorf("doctor says %+v", found)
	}
	if err := r.ask(http.MethodPost, "/v1/notify/desk/test", nil, nil); !refused(err) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("test of a receiver that is away: %v", err)
	}
	r.stop()

	r = s.start()
	d.open()
	var answer control.NotifyAnswer
	r.must(r.ask(http.MethodPost, "/v1/notify/desk/test", nil, &answer))
	if answer.Answer != "202 Accepted" {
		t.Errorf("answer %+v", answer)
	}
	wait(t, "the alarm", func() bool {
		return slices.ContainsFunc(d.at("/desk/token"), func(c hookCall) bool {
			return c.Event.Seq == forced.Seq && c.Site == "Test" && c.Event.Kind == site.KindDoorForced && c.Event.Door == "front"
		})
	})
	r.must(r.ask(http.MethodPost, "/v1/alarms/"+itoa(forced.Seq)+"/ack", map[string]string{"by": "grace"}, nil))
	wait(t, "the acknowledgement", func() bool {
		calls := d.at("/desk/token")
		return calls[len(calls)-1].Event.Item == "alarm:"+itoa(forced.Seq)
	})
	r.must(r.ask(http.MethodPost, "/v1/notify/people/test", nil, nil))
	r.board.Drive("GPIO23", hal.Low)
	r.card(adaCard)
	wait(t, "the grant with the holder's name", func() bool { return len(d.at("/people")) == 1 })
	if ev := d.at("/people")[0].Event; ev.Holder != "Ada" || ev.Reason != site.ReasonGranted {
		t.Errorf("grant %+v", ev)
	}
	kept := r.events("")
	var last site.EventSeq
	for _, c := range d.at("/desk/token") {
		if c.Event.Seq <= last {
			t.Errorf("event %d after %d", c.Event.Seq, last)
		}
		last = c.Event.Seq
		if want := kept[c.Event.Seq-1]; want.Kind != c.Event.Kind || c.Event.Kind == site.KindAccess || c.Event.Kind == site.KindDuress {
			t.Errorf("sent %+v, kept %+v", c.Event, want)
		}
		if c.signature != notify.Sign([]byte("sixteen letters!"), c.raw) || c.key != "0000000000000000A0B1000000000206/"+string(forced.Log)+"/"+itoa(c.Event.Seq) {
			t.Errorf("signature %q, key %q", c.signature, c.key)
		}
	}
}

// TestReceiversComeAndGo: a receiver that the settings lose is forgotten, one
// that comes back begins then, and a bad id is a clear error.
func TestReceiversComeAndGo(t *testing.T) {
	d, s := newHookDesk(t), newTestSite(t)
	d.open()
	section := "notify:\n  - {id: desk, on: [door_forced], webhook: \"http://" + d.addr + "/\"}\n"
	s.withReceivers(section)
	r := s.start()
	for path, want := range map[string]string{"/v1/notify/nobody/test": `receiver "nobody": not found in the settings`, "/v1/notify/no%20id/test": "bad input: receiver"} {
		if err := r.ask(http.MethodPost, path, nil, nil); !refused(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	r.stop()
	if got := s.cursors(); !slices.Contains(got, "notify:desk") {
		t.Errorf("cursors %q", got)
	}
	s.withReceivers("")
	r = s.start()
	r.board.Drive("GPIO23", hal.High)
	r.waitEvent("forced", site.KindDoorForced, func(site.Event) bool { return true })
	if n := r.receivers(); len(n) != 0 {
		t.Errorf("receivers %+v", n)
	}
	r.stop()
	if got := s.cursors(); slices.Contains(got, "notify:desk") {
		t.Errorf("cursors %q", got)
	}
	s.withReceivers(section)
	r = s.start()
	var st control.Status
	r.must(r.client.Get(t.Context(), "/v1/status", nil, &st))
	if !slices.ContainsFunc(st.Log.Cursors, func(c control.CursorStatus) bool { return c.Name == "notify:desk" }) {
		t.Errorf("cursors %+v", st.Log.Cursors)
	}
	r.must(r.ask(http.MethodPost, "/v1/notify/desk/test", nil, nil))
	r.stop()
	if calls := d.at("/"); len(calls) != 0 {
		t.Errorf("what was before: %+v", calls)
	}
}

// TestLostPlaces: where the receivers' places in the log are damaged, they begin
// at the oldest event, with the keys that the events had.
func TestLostPlaces(t *testing.T) {
	d, s := newHookDesk(t), newTestSite(t)
	d.open()
	s.withReceivers("notify:\n  - {id: desk, on: [door_forced], webhook: \"http://" + d.addr + "/\"}\n")
	r := s.start()
	r.board.Drive("GPIO23", hal.High)
	wait(t, "the alarm", func() bool { return len(d.at("/")) == 1 })
	r.stop()
	if err := os.WriteFile(filepath.Join(s.dir, "events", "cursors"), []byte("{}\n00000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	wait(t, "the alarm again", func() bool { return len(d.at("/")) >= 2 })
	if calls := d.at("/"); calls[0].key != calls[1].key {
		t.Errorf("keys %q and %q", calls[0].key, calls[1].key)
	}
}

// cursors are the consumers that a stopped agent's log knows.
func (s *testSite) cursors() []string {
	s.t.Helper()
	l, _, err := spool.Open(spool.Config{Dir: filepath.Join(s.dir, "events"), Budget: spool.MinBudget}, spool.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	return l.Cursors()
}

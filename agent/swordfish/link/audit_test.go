package link_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
)

// TestRepeats: what of uploads is new, by position and by auditId (engage.md section
// 5). Each step is an upload, or an alert with "!", and the status that it gets; want
// is what is in the log afterwards.
func TestRepeats(t *testing.T) {
	const a, b, c, d = "05020000 20260302110000", "050B0000 20260302110100", "07210000 20260302110200", "07220000 20260302110300"
	id := func(audit, id string) string { return audit + " " + id }
	type step struct {
		audits []string
		want   int
		alert  bool
		after  time.Duration
	}
	up := func(want int, audits ...string) step { return step{audits: audits, want: want} }
	alert := func(after time.Duration, audit string) step { return step{[]string{audit}, 200, true, after} }
	tests := []struct {
		name  string
		steps []step
		want  []string
	}{
		{"the answer was lost", []step{up(201, a, b), up(202, a, b)}, []string{a, b}},
		{"it was lost and more came", []step{up(201, a, b), up(201, a, b, c)}, []string{a, b, c}},
		{"only the first part again", []step{up(201, a, b, c), up(202, a, b), up(202, a)}, []string{a, b, c}},
		{"one audit again", []step{up(201, a), up(202, a)}, []string{a}},
		{"two equal audits in one upload", []step{up(201, a, a)}, []string{a, a}},
		{"two equal audits again", []step{up(201, a, a), up(202, a, a)}, []string{a, a}},
		{"a third equal one", []step{up(201, a, a), up(201, a, a, a)}, []string{a, a, a}},
		{"one equal after another upload", []step{up(201, a), up(201, b), up(201, a)}, []string{a, b, a}},
		{"an equal one behind a new one", []step{up(201, a, b), up(201, c, a)}, []string{a, b, c, a}},
		{"the lock dropped its oldest", []step{up(201, a, b, c), up(201, b, c, d)}, []string{a, b, c, d}},
		{"one equal at the seam is real", []step{up(201, a, b), up(201, b, c)}, []string{a, b, b, c}},
		{"an older upload again", []step{up(201, a, b), up(201, c, d), up(202, a, b), up(202, c, d)}, []string{a, b, c, d}},
		{"all that came so far and more", []step{up(201, a, b), up(201, c), up(201, a, b, c, d)}, []string{a, b, c, d}},
		{"and that once more", []step{up(201, a, b), up(201, c), up(201, a, b, c, d), up(202, a, b, c, d)}, []string{a, b, c, d}},
		{"an empty upload changes nothing", []step{up(201, a), up(202), up(202, a)}, []string{a}},

		{"by auditId", []step{up(201, id(a, "1"), id(b, "2")), up(201, id(b, "2"), id(c, "3")), up(202, id(a, "1"))}, []string{a, b, c}},
		{"one id twice in an upload", []step{up(201, id(a, "1"), id(a, "1"))}, []string{a}},
		{"equal audits of two ids", []step{up(201, id(a, "1"), id(a, "2"))}, []string{a, a}},
		{"a lock that counts anew", []step{up(201, id(a, "1")), up(201, id(b, "1"))}, []string{a, b}},
		{"with and without", []step{up(201, id(a, "1"), b), up(202, id(a, "1"), b), up(201, b, id(c, "2"))}, []string{a, b, c}},

		{"an alert and its audit", []step{alert(0, b), up(201, a, b, c)}, []string{b, a, c}},
		{"and the upload again", []step{alert(0, b), up(201, a, b, c), up(202, a, b, c)}, []string{b, a, c}},
		{"an alert alone in an upload", []step{alert(0, b), up(202, b), up(202, b)}, []string{b}},
		{"an alert matches once", []step{alert(0, b), up(201, b, b)}, []string{b, b}},
		{"an alert with an auditId later", []step{alert(0, b), up(202, id(b, "7")), up(202, id(b, "7"))}, []string{b}},
		{"an alert again at once", []step{alert(0, b), alert(2*time.Minute, b)}, []string{b}},
		{"an alert again later", []step{alert(0, b), alert(2*time.Minute+time.Second, b)}, []string{b, b}},
		{"another alert between", []step{alert(0, b), alert(0, c), alert(0, b)}, []string{b, c, b}},
		{"two alerts, two audits", []step{alert(0, b), alert(time.Hour, b), up(202, b, b)}, []string{b, b}},
		{"an alert after its audit", []step{up(201, a, b), alert(0, b), up(202, a, b)}, []string{a, b}},
		{"an alert after its audit by id", []step{up(201, id(b, "1")), alert(0, b), alert(time.Hour, b)}, []string{b, b}},
	}
	for _, tt := range tests {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%t", tt.name, restart), func(t *testing.T) {
				w := newWorld(t)
				for _, s := range tt.steps {
					w.pass(s.after)
					if s.alert {
						f := strings.Fields(s.audits[0])
						w.alert(s.want, f[0], f[1])
					} else {
						w.upload(s.want, s.audits...)
					}
					if restart {
						w.open()
					}
				}
				if d := cmp.Diff(tt.want, w.kept()); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
			})
		}
	}
}

// TestCutBetween: the agent is cut off at each point between an event, the state and
// the answer; the lock then sends the same again. Nothing is twice, nothing is lost.
func TestCutBetween(t *testing.T) {
	const a, b, c, d, e = "05020000 20260302110000", "050B0000 20260302110100", "07210000 20260302110200", "07220000 20260302110300", "07040000 20260302110400"
	errCut := errors.New("cut")
	tests := []struct {
		name   string
		before []string // an upload before, answered
		alert  string   // an alert before, answered
		upload []string // the one that is cut
		partly int      // how many of its events are on disk
		keep   bool     // all are, and the log said so
		back   bool     // but the state's file is that of before
		want   []string
		status int // of the upload when it comes again
	}{
		{"before the events", nil, "", []string{a, b}, 0, false, false, []string{a, b}, 201},
		{"after the first event", nil, "", []string{a, b}, 1, false, false, []string{a, b}, 201},
		{"after all events", nil, "", []string{a, b}, 2, false, false, []string{a, b}, 202},
		{"after one that is all", []string{a, b}, "", []string{c}, 1, false, false, []string{a, b, c}, 202},
		{"after the events, before the state", nil, "", []string{a, b}, 0, true, true, []string{a, b}, 202},
		{"after the state, before the answer", nil, "", []string{a, b}, 0, true, false, []string{a, b}, 202},
		{"one more than before, state set back", []string{a, b}, "", []string{a, b, c, d}, 0, true, true, []string{a, b, c, d}, 202},
		{"one more than before, half", []string{a, b}, "", []string{a, b, c, d}, 1, false, false, []string{a, b, c, d}, 201},
		{"another one, state set back", []string{a, b}, "", []string{c}, 0, true, true, []string{a, b, c}, 202},
		{"equal ones, state set back", []string{a}, "", []string{a, a, a}, 0, true, true, []string{a, a, a}, 202},
		{"with an alert, state set back", []string{d}, b, []string{a, b, c}, 0, true, true, []string{d, b, a, c}, 202},
		{"with an alert, half", []string{d}, b, []string{a, b, c}, 1, false, false, []string{d, b, a, c}, 201},
		{"by auditId, state set back", []string{a + " 1"}, "", []string{a + " 1", b + " 2", c + " 3"}, 0, true, true, []string{a, b, c}, 202},
		{"by auditId, half", []string{a + " 1"}, "", []string{b + " 2", c + " 3"}, 1, false, false, []string{a, b, c}, 201},
	}
	for _, tt := range tests {
		for _, how := range []string{"cut off", "goes on"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				w := newWorld(t)
				path := filepath.Join(w.cfg.Dir, "room5.lock")
				if tt.back {
					w.get(serial1, &testLock{}, false) // so that there is a file to set back
				}
				if tt.before != nil {
					w.upload(201, tt.before...)
				}
				if tt.alert != "" {
					f := strings.Fields(tt.alert)
					w.alert(200, f[0], f[1])
				}
				var old []byte
				if tt.back {
					old = readFile(t, path)
				}
				if tt.keep {
					w.upload(201, tt.upload...)
				} else {
					w.log.fail, w.log.partly = errCut, tt.partly
					w.upload(503, tt.upload...)
					w.log.fail = nil
				}
				if tt.back {
					writeFile(t, path, old)
				}
				if how == "cut off" || tt.back {
					w.open()
				}
				w.upload(tt.status, tt.upload...)
				w.upload(202, tt.upload...)
				w.upload(201, e)
				if d := cmp.Diff(append(slices.Clone(tt.want), e), w.kept()); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
			})
		}
	}
}

// TestAlertCut: an alert whose event is on disk and whose state is not is not
// recorded again.
func TestAlertCut(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.cfg.Dir, "room5.lock")
	w.get(serial1, &testLock{}, false)
	old := readFile(t, path)
	w.alert(200, "07000000", "20260302120000")
	writeFile(t, path, old)
	w.open()
	w.pass(time.Minute)
	w.alert(200, "07000000", "20260302120000")
	w.upload(202, "07000000 20260302120000")
	if got := w.kept(); len(got) != 1 {
		t.Errorf("kept %v", got)
	}
}

// TestSlowLog: a log that takes long gets the answer 503, and what it then writes
// after all is not recorded again.
func TestSlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const a = "05020000 20260302110000"
		open := make(chan struct{})
		w.log.block = open
		w.upload(503, a)
		var calls sync.WaitGroup
		calls.Go(func() { w.upload(202, a) }) // waits for its turn
		synctest.Wait()
		w.log.mu.Lock()
		w.log.block = nil
		w.log.mu.Unlock()
		close(open)
		calls.Wait()
		if got := w.kept(); len(got) != 1 {
			t.Errorf("kept %v", got)
		}
	})
}

// TestManyAudits: 4,096 audits of one upload are kept in their order, and again they
// are repeats, also over a restart.
func TestManyAudits(t *testing.T) {
	w := newWorld(t)
	var all []string
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 4096 {
		all = append(all, fmt.Sprintf("0502%04X %s", i%5, at.Add(time.Duration(i/3)*time.Second).Format("20060102150405")))
	}
	w.upload(201, all...)
	w.upload(202, all...)
	w.open()
	w.upload(202, all...)
	w.upload(202, all[:100]...)
	if d := cmp.Diff(all, w.kept()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	w.upload(413, append(all, all[0])...)
}

// TestEvents: what the log gets of an audit.
func TestEvents(t *testing.T) {
	berlin := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, newWorld(t).cfg.Zone).UTC()
	}
	now := berlin(time.October, 26, 12, 0)
	tests := []struct {
		name    string
		audits  []string
		want    []time.Time // zero: the time of the call
		text    string      // of the last
		trusted bool
	}{
		{"a plain time", []string{"05020000 20261025120000"}, []time.Time{berlin(10, 25, 12, 0)}, "access granted (or passage)", true},
		{"an unknown code", []string{"ABCD1234 20261025120000"}, []time.Time{berlin(10, 25, 12, 0)}, "code ABCD is not known", true},
		{"1970", []string{"05020000 19700101000000"}, []time.Time{{}}, "access granted (or passage) (the lock's time is long past: the time is that of the call)", true},
		{"2099", []string{"05020000 20990101000000"}, []time.Time{{}}, "access granted (or passage) (the lock's time is ahead of the site's: the time is that of the call)", true},
		{"no time", []string{"05020000 20261399000000"}, []time.Time{{}}, "access granted (or passage) (the lock's time cannot be read: the time is that of the call)", true},
		{"ten minutes ahead", []string{"05020000 20261026121000"}, []time.Time{berlin(10, 26, 12, 10)}, "access granted (or passage)", true},
		{"the repeated hour, earlier", []string{"05020000 20261025023000"}, []time.Time{time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)},
			"access granted (or passage) (the clock showed this time twice that night: it may as well be 2026-10-25T01:30:00Z)", true},
		{"the repeated hour, by the order", []string{"05020000 20261025025000", "05020000 20261025021000", "07210000 20261025030000"},
			[]time.Time{time.Date(2026, 10, 25, 0, 50, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 10, 0, 0, time.UTC), time.Date(2026, 10, 25, 2, 0, 0, 0, time.UTC)},
			"door opened", true},
		{"the hour that is left out", []string{"05020000 20260329023000"}, []time.Time{time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)}, "access granted (or passage) (the clock never showed this time)", true},
		{"a site that does not know the time", []string{"05020000 20261025120000"}, []time.Time{{}}, "access granted (or passage) (the site's clock is not known to be right: the time is that of the call)", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.setTime(now, tt.trusted)
			w.upload(201, tt.audits...)
			got := w.log.audits()
			if len(got) != len(tt.want) {
				t.Fatalf("%d events", len(got))
			}
			for i, e := range got {
				want := tt.want[i]
				if want.IsZero() {
					want = now
				}
				f := strings.Fields(tt.audits[i])
				if !e.Time.Equal(want) || e.LockTime != f[1] || e.Code+e.Data != f[0] || e.Trusted != tt.trusted || e.Door != "room5" || string(e.Device) != serial1 {
					t.Errorf("%+v, want time %s", e, want)
				}
			}
			if last := got[len(got)-1]; last.Text != tt.text {
				t.Errorf("text %q, want %q", last.Text, tt.text)
			}
		})
	}
}

// TestMeanings: what an audit means stands in its event and in the lock's status.
func TestMeanings(t *testing.T) {
	w := newWorld(t)
	w.upload(201, "01011356 20260302110000", "07000000 20260302110001", "0F000000 20260302110002", "05080000 20260302110003 17")
	got := w.log.audits()
	if e := got[3]; e.As != site.KindAccess || e.Reason != site.ReasonOutOfSchedule || e.Item != "17" || e.By != "" {
		t.Errorf("%+v", e)
	}
	if e := got[0]; e.As != site.KindBattery || !strings.Contains(e.Text, "4950 mV") {
		t.Errorf("%+v", e)
	}
	for range 2 {
		if s := w.status("room5"); s.Battery != "critical" || s.Main != 4.95 || s.Alarm != site.AlarmForced || s.Mode != "passage" {
			t.Errorf("%+v", s)
		}
		w.open()
	}
	w.alert(200, "07220000", "20260302130010") // ten seconds ahead of 13:00 in Berlin
	if s := w.status("room5"); s.Alarm != site.AlarmNone || !s.DriftKnown || s.Drift != 10*time.Second {
		t.Errorf("%+v", s)
	}
	if e := w.log.audits()[4]; e.By != "alert" {
		t.Errorf("%+v", e)
	}
}

// TestHiddenCards: a card's bits are in no event and in no file; its tag is.
func TestHiddenCards(t *testing.T) {
	w := newWorld(t)
	group := []string{"13000025 20260302110000", "13010628 20260302110000", "13025E31 20260302110000", "13030081 20260302110000"}
	w.upload(201, group...)
	w.upload(202, group...)
	got := w.log.audits()
	if len(got) != 4 || got[3].Card.Tag == "" || got[0].Card.Tag != "" {
		t.Fatalf("%+v", got)
	}
	for _, e := range got {
		if e.Data != "0000" || strings.Contains(fmt.Sprintf("%+v", e), "5E31") {
			t.Errorf("%+v", e)
		}
	}
	if b := string(readFile(t, filepath.Join(w.cfg.Dir, "room5.lock"))); strings.Contains(b, "5E31") {
		t.Error("the state has a card")
	}
}

// TestNoAudits: an entry that is none is kept, and repeats of it are found.
func TestNoAudits(t *testing.T) {
	w := newWorld(t)
	body := `{"audits":[{"event":"nonsense","time":"20260302110000"},{"event":"05020000","time":"20260302110000"}]}`
	for _, want := range []int{201, 202} {
		if a := w.call(serial1, "POST", "/swordfish/lock/audit", body); a.status != want {
			t.Errorf("%d, want %d", a.status, want)
		}
	}
	w.get(serial2, &testLock{}, false)
	old := readFile(t, filepath.Join(w.cfg.Dir, "room6.lock"))
	if a := w.call(serial2, "POST", "/swordfish/lock/audit", body); a.status != 201 {
		t.Error(a.status)
	}
	writeFile(t, filepath.Join(w.cfg.Dir, "room6.lock"), old)
	w.open()
	if a := w.call(serial2, "POST", "/swordfish/lock/audit", body); a.status != 202 {
		t.Error(a.status)
	}
	if got := w.log.audits(); len(got) != 4 || got[0].Code != "" || !strings.Contains(got[0].Text, "nonsense") {
		t.Errorf("%+v", got)
	}
}

// TestNoAuditHasNoCard: of an entry that is none the log has its names, not its values.
func TestNoAuditHasNoCard(t *testing.T) {
	w := newWorld(t)
	const body = `{"audits":[{"ev":"815e310628","door":"cellar"}]}`
	if a := w.call(serial1, "POST", "/swordfish/lock/audit", body); a.status != 201 {
		t.Error(a.status)
	}
	got := w.log.audits()
	if len(got) != 1 || got[0].Text != `no audit: {"ev":"**********","door":"cellar"}` {
		t.Errorf("%+v", got)
	}
}

package link_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// alerts posts one alert call with all of these.
func (w *world) alerts(audits ...string) {
	w.t.Helper()
	body := strings.Replace(uploadOf(audits...), `"audits"`, `"asyncEvents"`, 1)
	if a := w.call(serial1, "POST", "/swordfish/lock/alert", body); a.status != 200 {
		w.t.Errorf("alerts %v: %d", audits, a.status)
	}
}

// TestAlertRepeats: which alerts are repeats, by auditId and by their place in a call
// (engage.md section 5). Each step is a call; one that begins with "up" is an upload.
func TestAlertRepeats(t *testing.T) {
	const a, b = "07000000 20260719120000", "07210000 20260719120000"
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("07210000 202607191200%02d", i%60)
	}
	type step struct {
		after  time.Duration
		audits []string
	}
	at := func(after time.Duration, audits ...string) step { return step{after, audits} }
	tests := []struct {
		name  string
		steps []step
		want  []string
	}{
		{"equal ones of two ids at once", []step{at(0, a+" 1"), at(0, a+" 2")}, []string{a, a}},
		{"of two ids in one call", []step{at(0, a+" 1", a+" 2")}, []string{a, a}},
		{"one id twice in a call", []step{at(0, a+" 1", a+" 1")}, []string{a}},
		{"one id again after hours and others", []step{at(0, a+" 1"), at(0, b+" 2"), at(9*time.Hour, a+" 1")}, []string{a, b}},
		{"one id for something else", []step{at(0, a+" 1"), at(0, b+" 1")}, []string{a, b}},
		{"an id and the upload of it, and the alert again", []step{at(0, a+" 1"), at(0, "up", a+" 1"), at(0, b+" 2"), at(time.Hour, a+" 1")}, []string{a, b}},
		{"an id and the upload of another", []step{at(0, a+" 1"), at(0, "up", a+" 2")}, []string{a, a}},
		{"an id and the upload of both", []step{at(0, a+" 1"), at(0, "up", a+" 1", a+" 2"), at(time.Hour, a+" 2")}, []string{a, a}},
		{"an id, and an upload without ids", []step{at(0, a+" 1"), at(0, "up", a), at(0, "up", a, b)}, []string{a, b}},
		{"an id after an upload without", []step{at(0, "up", a), at(0, a+" 1")}, []string{a, a}},
		{"equal ones in one call", []step{at(0, a, a)}, []string{a, a}},
		{"that call again", []step{at(0, a, a), at(time.Minute, a, a)}, []string{a, a}},
		{"that call again after three minutes", []step{at(0, a, a), at(3*time.Minute, a, a)}, []string{a, a, a, a}},
		{"that call and one more", []step{at(0, a), at(time.Minute, a, a)}, []string{a, a}},
		{"another place", []step{at(0, a, b), at(0, b, a)}, []string{a, b, b, a}},
		{"part of the call, and all of it", []step{at(0, a, b), at(0, a), at(0, a, b)}, []string{a, b}},
		{"an empty call between", []step{at(0, a), at(0), at(0, a)}, []string{a}},
		{"a call of many again", []step{at(0, many[:200]...), at(0, many[:200]...)}, many[:200]},
		{"of more than are kept the first", []step{at(0, many...), at(0, many...)}, append(append([]string(nil), many...), many[256:]...)},
	}
	for _, tt := range tests {
		for _, how := range []string{"goes on", "restart", "from the log"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				w := newWorld(t)
				path := filepath.Join(w.cfg.Dir, "room5.lock")
				w.get(serial1, &testLock{}, false)
				for _, s := range tt.steps {
					w.pass(s.after)
					old := readFile(t, path)
					before := len(w.kept())
					if len(s.audits) > 0 && s.audits[0] == "up" {
						w.call(serial1, "POST", "/swordfish/lock/audit", uploadOf(s.audits[1:]...))
					} else {
						w.alerts(s.audits...)
						// What no event tells of cannot be had from the log.
						if how == "from the log" && len(w.kept())-before == len(s.audits) {
							writeFile(t, path, old)
						}
					}
					if how != "goes on" {
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

// TestAlertCutShort: of a call of several alerts one is on disk when the log fails; it
// comes again, and each is there once.
func TestAlertCutShort(t *testing.T) {
	const a = "07000000 20260719120000"
	for _, ids := range [][2]string{{"", ""}, {" 1", " 2"}} {
		w := newWorld(t)
		w.log.fail, w.log.partly = errors.New("cut"), 1
		body := uploadOf(a+ids[0], a+ids[1])
		if got := w.call(serial1, "POST", "/swordfish/lock/alert", body).status; got != 503 {
			t.Errorf("cut: %d", got)
		}
		w.log.fail = nil
		w.alerts(a+ids[0], a+ids[1])
		w.alerts(a+ids[0], a+ids[1])
		if got := w.kept(); len(got) != 2 {
			t.Errorf("%v", got)
		}
	}
}

// TestUnknownCardsDiffer: two unknown cards of one second are told apart by their tags,
// in uploads and in alerts, also from the log; the same one again is a repeat.
func TestUnknownCardsDiffer(t *testing.T) {
	const at = " 20260302110000"
	one := []string{"1300001A" + at, "13010C40" + at, "1302009A" + at}
	two := []string{"1300001A" + at, "13010C45" + at, "1302009A" + at}
	for _, how := range []string{"goes on", "restart", "from the log"} {
		for _, call := range []string{"audit", "alert"} {
			t.Run(call+"/"+how, func(t *testing.T) {
				w := newWorld(t)
				path := filepath.Join(w.cfg.Dir, "room5.lock")
				w.get(serial1, &testLock{}, false)
				send := func(audits []string, want int) {
					t.Helper()
					old := readFile(t, path)
					before := len(w.kept())
					w.call(serial1, "POST", "/swordfish/lock/"+call, uploadOf(audits...))
					if got := len(w.kept()); got != want {
						t.Errorf("%d events, want %d", got, want)
					}
					if how == "from the log" && len(w.kept()) > before {
						writeFile(t, path, old)
					}
					if how != "goes on" {
						w.open()
					}
				}
				send(one, 3)
				send(one, 3)
				send(two, 6)
				send(two, 6)
				tags := map[string]int{}
				for _, e := range w.log.audits() {
					if e.Data != "0000" {
						t.Errorf("%+v", e)
					}
					tags[e.Card.Tag]++
				}
				if len(tags) != 3 || tags[""] != 4 {
					t.Errorf("tags %v", tags)
				}
			})
		}
	}
}

package lock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gatehouse/tools/sitesim/lock"
)

// Errors that a faultyCaller makes.
var (
	errDropped = errors.New("test: the network lost it")
	errCut     = errors.New("test: the agent has no power")
)

// fault is what goes wrong in one call-in. Calls count from 1.
type fault struct {
	loseRequest int    // the call that does not arrive
	loseAnswer  int    // the call whose answer does not arrive
	stale       int    // the call before which an old one arrives once more
	cutAnswer   int    // the call after which the agent loses its power, before the answer
	oldState    bool   // and before the lock's state got to the disk
	cutAt       string // the place at which it does
}

// auditForm finds the audits of a body.
var auditForm = regexp.MustCompile(`"event":"([0-9A-F]{8})","time":"([0-9]{14})"`)

// faultyCaller carries a lock's calls, or does not.
type faultyCaller struct {
	w   *world
	i   int // of the lock
	web lock.Caller

	fault
	n    int
	cut  string // the folder as it was when the power failed
	past []request
}

type request struct {
	method, path string
	body         []byte
}

// Call makes one call with its faults.
func (c *faultyCaller) Call(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	w, l := c.w, &c.w.locks[c.i]
	w.listAudits(l)
	c.n++
	if c.cut != "" {
		return 0, nil, nil, errCut
	}
	if c.n == c.loseRequest {
		w.step("%s: %s %s does not arrive", l.door, method, path)
		return 0, nil, nil, errDropped
	}
	if c.n == c.stale && len(c.past) > 0 {
		old := c.past[w.r.IntN(len(c.past))]
		for _, m := range auditForm.FindAllStringSubmatch(string(old.body), -1) {
			l.again[m[1]+" at "+m[2]] = true
			w.unanswered(l) // the old one is the last upload now
		}
		w.step("%s: %s %s arrives once more", l.door, old.method, old.path)
		if status, _, _, err := c.send(ctx, old.method, old.path, old.body); err != nil || status >= 500 {
			w.fail(l, "%s %s once more: %d, %v", old.method, old.path, status, err)
		}
	}
	state := filepath.Join(w.agent.dir, "locks", string(l.door)+".lock")
	before, _ := os.ReadFile(state) // there may be none yet
	w.agent.hook = func(where string) {
		if where == c.cutAt && c.cut == "" {
			c.cutNow(where + " of " + path)
		}
	}
	status, answer, header, err := c.send(ctx, method, path, body)
	w.agent.hook = func(string) {}
	if err == nil && c.cut == "" && c.n == c.cutAnswer {
		c.cutNow(fmt.Sprintf("the answer to %s, old state %v", path, c.oldState))
		if c.oldState && before != nil {
			if err := os.WriteFile(filepath.Join(c.cut, "locks", string(l.door)+".lock"), before, 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if c.past = append(c.past, request{method, path, bytes.Clone(body)}); len(c.past) > 12 {
		c.past = slices.Delete(c.past, 0, 4)
	}
	switch {
	case err != nil:
		return 0, nil, nil, err
	case c.cut != "":
		return 0, nil, nil, errCut
	case c.n == c.loseAnswer:
		w.step("%s: the answer to %s %s does not arrive", l.door, method, path)
		return 0, nil, nil, errDropped
	}
	return status, answer, header, nil
}

// cutNow keeps what is on the disk: the agent goes on from that.
func (c *faultyCaller) cutNow(where string) {
	w := c.w
	w.copies++
	c.cut = filepath.Join(w.root, fmt.Sprint(w.copies))
	w.agent.copyTo(w.t, c.cut)
	w.seen["cuts"]++
	w.step("%s: the power fails at %s", w.locks[c.i].door, where)
}

// send makes a call by the lock's own way.
func (c *faultyCaller) send(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	l := &c.w.locks[c.i]
	if l.device != "" {
		status, out, err := c.w.agent.server.Call(ctx, l.device, method, path, body)
		return status, out, http.Header{}, err
	}
	if c.web != nil {
		return c.web.Call(ctx, method, path, body)
	}
	token, err := lock.DeviceToken(l.sim.Serial(), unhex(c.w.t, siteKeyHex), c.w.now())
	if err != nil {
		return 0, nil, nil, err
	}
	r := httptest.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Device "+token)
	rec := httptest.NewRecorder()
	c.w.agent.server.Handler().ServeHTTP(rec, r)
	if got := rec.Header().Get("Content-Length"); got != fmt.Sprint(rec.Body.Len()) {
		return 0, nil, nil, fmt.Errorf("a Content-Length of %q for %d bytes", got, rec.Body.Len())
	}
	return rec.Code, rec.Body.Bytes(), rec.Header(), nil
}

// randomFault arms what goes wrong in the next call-in, half of the times nothing.
func (w *world) randomFault(l *policyLock) {
	f := fault{}
	switch w.r.IntN(20) {
	case 0, 1:
		l.sim.LoseAnswer(lock.LoseBefore)
		w.step("%s: the door file will not arrive", l.door)
	case 2, 3:
		l.sim.LoseAnswer(lock.LoseAfter)
		w.step("%s: the door file will be stored without its version", l.door)
	case 4:
		f.loseRequest = 1 + w.r.IntN(4)
	case 5, 6:
		f.loseAnswer = 1 + w.r.IntN(4)
	case 7:
		f.stale = 1 + w.r.IntN(4)
	case 8:
		f.cutAt = pick(w.r, "table", "before events", "events", "events")
	case 9:
		f.cutAnswer, f.oldState = 1+w.r.IntN(3), w.r.IntN(2) == 0
	case 10:
		l.sim.Duplicate()
		w.step("%s: each call comes twice", l.door)
	}
	l.caller.fault = f
}

// callIn lets a lock call until it went through, and at most so often.
func (w *world) callIn(l *policyLock) {
	for try := 0; ; try++ {
		w.tick()
		l.caller.fault, l.caller.n, l.caller.cut = fault{}, 0, ""
		if try < 3 {
			w.randomFault(l)
		}
		res, err := l.sim.CallIn(w.t.Context(), l.caller, w.now())
		l.sim.LoseAnswer(lock.LoseNothing)
		w.listAudits(l)
		w.seen["calls"]++
		if res.Full {
			w.seen["full"]++
		}
		w.step("%s calls: full %v, %d added, %d updated, %d deleted, %d idle, version %s, %v", l.door, res.Full, res.Added, res.Updated, res.Deleted, res.Idle, l.sim.Version(), err)
		cut := l.caller.cut
		if cut != "" {
			if e := w.agent.end(); e != nil {
				w.t.Error(e)
			}
			w.agent = startAgent(w.t, w, cut)
		}
		switch {
		case err == nil && res.Repeat != nil:
			w.fail(l, "the second of two equal calls: %v", res.Repeat)
		case err == nil && cut == "":
			l.strayed = false
			return
		case err == nil, errors.Is(err, lock.ErrLost), errors.Is(err, errDropped), errors.Is(err, errCut):
			w.seen["lost calls"]++
		default:
			w.fail(l, "call-in: %v", err)
		}
		if try > 0 && w.r.IntN(4) == 0 {
			w.change() // between two tries
		}
		if try < 3 && w.r.IntN(6) == 0 {
			w.stray(l)
		}
	}
}

// alert sends one, which may get lost.
func (w *world) alert(l *policyLock) {
	w.tick()
	l.caller.fault, l.caller.n, l.caller.cut = fault{}, 0, ""
	switch w.r.IntN(5) {
	case 0:
		l.caller.loseAnswer = 1
	case 1:
		l.caller.loseRequest = 1
	case 2:
		l.caller.cutAt = pick(w.r, "before events", "events")
	}
	err := l.sim.Alert(w.t.Context(), l.caller, pick(w.r, "0700", "0721", "0540"), "0000", w.now())
	w.listAudits(l)
	w.step("%s sends an alert: %v", l.door, err)
	if cut := l.caller.cut; cut != "" {
		if e := w.agent.end(); e != nil {
			w.t.Error(e)
		}
		w.agent = startAgent(w.t, w, cut)
	}
	if err != nil && !errors.Is(err, errDropped) && !errors.Is(err, errCut) {
		w.fail(l, "alert: %v", err)
	}
}

// stray does something to what is kept of a lock, or to the lock.
func (w *world) stray(l *policyLock) {
	path := func(name string) string { return filepath.Join(w.agent.dir, "locks", string(l.door)+name) }
	switch n := w.r.IntN(8); {
	case n == 0:
		l.sim.Reset()
		w.seen["resets"]++
		w.step("%s is reset", l.door)
	case n == 1, n <= 3 && l.saved == nil:
		w.save(l)
		return
	case n <= 3:
		// Of a lock that has a newer table than it says nobody knows but those files.
		if l.sim.Torn() {
			return
		}
		only := pick(w.r, "", "", ".lock", ".table")
		for _, name := range lockFiles {
			b, was := l.saved[name]
			if only != "" && only != name || !was {
				continue
			}
			if err := os.WriteFile(path(name), b, 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
		w.lostState(l, only)
		w.seen["set back"]++
		w.step("%s: files set back: %q", l.door, only)
		w.agent.listen(w.t)
	case n <= 5:
		w.damage(l, path(pick(w.r, ".lock", ".table", ".table", ".config")))
	default:
		w.agent.listen(w.t)
		w.step("the device server starts anew")
	}
}

// damage damages or removes a file, under the running server or before a start.
func (w *world) damage(l *policyLock, path string) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return
	}
	what := pick(w.r, "a bit", "the end", "all")
	switch what {
	case "a bit":
		b[w.r.IntN(len(b))] ^= 1 << w.r.IntN(8)
	case "the end":
		b = b[:w.r.IntN(len(b))]
	}
	if what == "all" && !strings.HasSuffix(path, ".lock") { // without that the lock counts as a new one
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.lostState(l, filepath.Ext(path))
	w.seen["damaged"]++
	w.step("%s: %s of %s is lost", l.door, what, filepath.Base(path))
	if w.r.IntN(2) == 0 {
		w.agent.listen(w.t)
	}
}

// lostState notes that a file of a lock is another than it was.
func (w *world) lostState(l *policyLock, name string) {
	l.strayed = true
	if name == "" || name == ".lock" {
		w.unanswered(l)
	}
}

// unanswered notes the audits that the lock may have sent and has no answer to: they
// may be taken for new when they come again.
func (w *world) unanswered(l *policyLock) {
	for _, a := range l.sim.Audits() {
		l.again[fmt.Sprintf("%s at %s", a.Event, a.Time)] = true
	}
}

// listAudits takes in what audits the lock wrote since the last time.
func (w *world) listAudits(l *policyLock) {
	waiting := l.sim.Audits()
	first := int(l.sim.Written()) - len(waiting)
	if len(l.audits) < first {
		w.fail(l, "%d audits were sent unseen", first-len(l.audits))
	}
	for i, a := range waiting {
		if first+i >= len(l.audits) {
			l.audits = append(l.audits, fmt.Sprintf("%s at %s", a.Event, a.Time))
		}
	}
}

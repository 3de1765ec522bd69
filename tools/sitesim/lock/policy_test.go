package lock_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/swordfish/link"
	"gatehouse/tools/sitesim/lock"
)

// seedOf returns GATEHOUSE_SEED, or one from the time, and prints it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("GATEHOUSE_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("GATEHOUSE_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("seed %d (GATEHOUSE_SEED repeats it, -run with the number of the world that one alone)", seed)
	return seed
}

// statesOf is how many changes a world lives through.
const statesOf = 25

// TestPolicies: whatever changes and faults there were, after a call-in each lock
// opens for exactly the cards and at exactly the times that the store and
// access.Decide say, until its next call; a revoked card is gone; the server names
// every lock that has a card; and each audit is in the log once.
//
// Worlds of 25 policies each: 40, or 10 with -short; 100 with GATEHOUSE_FAULTS=short,
// and 400 with GATEHOUSE_FAULTS=full.
func TestPolicies(t *testing.T) {
	worlds := 40
	switch {
	case os.Getenv("GATEHOUSE_FAULTS") == "full":
		worlds = 400
	case os.Getenv("GATEHOUSE_FAULTS") == "short":
		worlds = 100
	case testing.Short():
		worlds = 10
	}
	seed := seedOf(t)
	var mu sync.Mutex
	total := map[string]int{}
	t.Run("world", func(t *testing.T) {
		for i := range worlds {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, rand.New(rand.NewPCG(seed, uint64(i))))
				if i%20 == 7 {
					w.overHTTP()
				}
				for range statesOf {
					w.state()
				}
				mu.Lock()
				defer mu.Unlock()
				for k, n := range w.seen {
					total[k] += n
				}
			})
		}
	})
	t.Log(total)
	if t.Failed() || total["policies"] < worlds*statesOf {
		return // one world alone
	}
	for _, k := range []string{"opens", "shut", "revoked", "changes", "audits", "lost calls"} {
		if total[k] < worlds*10 {
			t.Errorf("%s: too few of them were seen: %d", k, total[k])
		}
	}
	for _, k := range []string{"files", "full", "cuts", "resets", "set back", "damaged", "lost"} {
		if total[k] < worlds/2 {
			t.Errorf("%s: too few of them were seen: %d", k, total[k])
		}
	}
}

// overHTTP makes the Wi-Fi locks call over a real connection, with tokens that are
// judged.
func (w *world) overHTTP() {
	w.auth = link.AuthEnforce
	w.agent.listen(w.t)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.agent.server.Handler().ServeHTTP(rw, r) }))
	w.t.Cleanup(s.Close)
	for i := range w.locks {
		if l := &w.locks[i]; l.device == "" {
			h := lock.HTTP(s.URL, nil, l.sim.Serial(), unhex(w.t, siteKeyHex))
			h.Clock = w.now
			l.caller.web = h
		}
	}
}

// state changes the policy, lets time pass, does harm, lets locks call and checks
// them.
func (w *world) state() {
	for range pick(w.r, 1, 1, 2, 3, 8) {
		w.change()
	}
	w.pass()
	w.seen["policies"]++
	for i := range w.locks {
		l := &w.locks[i]
		w.use(l)
		if w.r.IntN(6) == 0 {
			w.stray(l)
		}
		w.checkHolders(l)
		if w.r.IntN(4) == 0 && w.seen["policies"] != statesOf {
			continue // this one does not call
		}
		w.callIn(l)
		w.check(l)
		if w.seen["policies"]%5 == 0 {
			w.checkAudits(l)
		}
	}
}

// use lets people come to a lock, and the lock send an alert.
func (w *world) use(l *policyLock) {
	for range w.r.IntN(3) {
		w.tick()
		n := w.r.IntN(len(w.cards))
		if l.sim.Opens(w.cards[n].block) { // else the lock is in another mode afterwards
			l.sim.Present(w.cards[n].block, w.now())
		}
	}
	if w.r.IntN(8) == 0 {
		w.alert(l)
	}
}

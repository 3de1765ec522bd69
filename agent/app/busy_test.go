package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
)

// busyLimit is what each small operation may take while a large one runs, or ten
// times the longest of the twenty rounds before, where the machine is that busy with
// other things. A wait for the large one takes longer than either.
const busyLimit = 2 * time.Second

// TestDecisionsGoOn: while a large import and an export run, each of which ends
// or begins with work on the whole file, cards are decided, revocations and
// lockdowns hold, and Hive nonces move.
func TestDecisionsGoOn(t *testing.T) {
	rows := 60_000
	if fullFaults() {
		rows = 1_000_000
	}
	s := newTestSite(t)
	r := s.start()
	r.enrolBadge()
	var few []string
	for i := range 200 {
		few = append(few, fmt.Sprintf("Person %d,H10301,9,%d,front", i, i))
	}
	r.enrol(few...)
	ids := r.credentialIDs()
	b := newBusy(r, ids)
	for range 20 {
		b.round("alone")
	}
	t.Logf("alone: the longest took %v", b.longest)
	b.limit = max(b.limit, 10*b.longest)
	for _, work := range []struct {
		name string
		do   func()
	}{
		{"import", func() { r.importCrowd(t, rows, "front") }}, // it ends with a verified copy
		{"export", func() {
			q := url.Values{"format": {"csv"}, "with_cards": {"1"}}
			if err := r.client.Copy(t.Context(), "/v1/credentials/export", q, io.Discard); err != nil {
				t.Errorf("export: %v", err)
			}
		}},
		{"second import", func() { r.importCrowd(t, rows, "front;shed") }}, // over the same cards
	} {
		done := make(chan struct{})
		go func() { defer close(done); work.do() }()
		rounds := 0
		for end := false; !end; rounds++ {
			b.round(work.name)
			select {
			case <-done:
				end = true
			default:
			}
		}
		t.Logf("%s: %d rounds of decisions, revocations, lockdowns and nonces; the longest took %v", work.name, rounds, b.longest)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "policy.copy.db")); err != nil {
		t.Error(err)
	}
	b.verify()
	r.stop()
	b.r = s.start()
	b.verify()
}

// importCrowd imports rows of one person's cards.
func (r *running) importCrowd(t *testing.T, rows int, rights string) {
	pr, pw := io.Pipe()
	go func() {
		var b strings.Builder
		b.WriteString("holder,format,card,rights\n")
		for i := range rows {
			fmt.Fprintf(&b, "Crowd,H10302,%d,%s\n", 1_000_000+i, rights)
			if b.Len() > 1<<16 {
				if _, err := io.WriteString(pw, b.String()); err != nil {
					return
				}
				b.Reset()
			}
		}
		_, _ = io.WriteString(pw, b.String())
		pw.Close()
	}()
	err := r.client.Stream(t.Context(), http.MethodPost, "/v1/credentials/import", url.Values{"format": {"csv"}}, pr, func([]byte) error { return nil })
	if err != nil {
		t.Errorf("import: %v", err)
	}
}

// busy does what must go on, round after round.
type busy struct {
	r       *running
	ids     map[uint32]site.CredentialID
	next    uint32
	kiosk   *hiveClient
	nonce   string
	longest time.Duration
	limit   time.Duration
}

func newBusy(r *running, ids map[uint32]site.CredentialID) *busy {
	b := &busy{r: r, ids: ids, kiosk: r.hive("kiosk", kioskKey), limit: busyLimit}
	b.nonce = b.kiosk.fetchNonce()
	return b
}

// timed does one operation and holds it to the limit.
func (b *busy) timed(what string, do func()) {
	b.r.t.Helper()
	start := time.Now()
	do()
	took := time.Since(start)
	b.longest = max(b.longest, took)
	if took > b.limit {
		b.r.t.Errorf("%s took %v", what, took)
	}
}

// round is one of each operation.
func (b *busy) round(during string) {
	r := b.r
	r.t.Helper()
	b.timed(during+": a grant with a nonce", func() {
		got := b.kiosk.ask2("front_door", goodBadge, b.nonce)
		if got["access"] != true {
			r.t.Fatalf("%s: %v", during, got)
		}
		next, _ := got["new_nonce"].(string)
		if next == b.nonce {
			r.t.Fatalf("%s: the nonce did not move", during)
		}
		b.nonce = next
	})
	b.timed(during+": lockdown and release", func() {
		target := map[string]any{"target": map[string]any{"door": "shed"}}
		r.must(r.ask(http.MethodPost, "/v1/lockdown", target, nil))
		if got := b.kiosk.ask2("front_door", wrongBadge, b.nonce); got["access"] != false {
			r.t.Errorf("%s: an unknown badge: %v", during, got)
		} else {
			b.nonce, _ = got["new_nonce"].(string)
		}
		r.must(r.ask(http.MethodPost, "/v1/release", target, nil))
	})
	if b.next >= uint32(len(b.ids)) {
		return
	}
	number := b.next
	b.next++
	b.timed(during+": a revocation", func() {
		r.must(r.ask(http.MethodPost, "/v1/credentials/"+string(b.ids[number])+"/state", map[string]string{"state": "revoked"}, nil))
	})
	if got := b.reason(number); got != site.ReasonRevoked {
		r.t.Errorf("%s: card %d right after its revocation: %s", during, number, got)
	}
}

func (b *busy) reason(number uint32) site.Reason {
	return b.r.whyBits("26:" + h10301(9, number))
}

// verify checks that each revocation holds, and no other card is revoked.
func (b *busy) verify() {
	b.r.t.Helper()
	for number := range uint32(len(b.ids)) {
		want := site.ReasonGranted
		if number < b.next {
			want = site.ReasonRevoked
		}
		if got := b.reason(number); got != want {
			b.r.t.Errorf("card %d: %s, want %s", number, got, want)
		}
	}
}

package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// fullFaults reports whether the long fault suites are asked for
// (make test-faults).
func fullFaults() bool { return os.Getenv("GATEHOUSE_FAULTS") == "full" }

// seeded returns a source of chance whose seed is printed; GATEHOUSE_SEED
// repeats a run.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("GATEHOUSE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("GATEHOUSE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// faultSettings has a small event log, so that it has more than one file.
var faultSettings = testSettings + "events: {budget: 1MiB}\n"

// configure replaces the settings of a site whose agent does not run.
func (s *testSite) configure(text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "site.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// cloneState returns a new site, with hardware of its own, whose state folder is
// a copy of dir. The agent of dir may run: what its files hold at this moment is
// what a kill would leave.
func cloneState(t *testing.T, dir string) *testSite {
	t.Helper()
	s := newTestSite(t)
	copyState(t, dir, s.dir)
	return s
}

func copyState(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !d.Type().IsRegular(): // sockets
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// model is what must be decided at the front door, by card number of facility
// 77, kept beside the agent in a plain map.
type model map[uint32]site.Reason

const modelFacility = 77

// h10301 returns the frame of a card in hex, left-justified: even parity over
// the first 12 bits of facility and number, odd over the last 12.
func h10301(facility, number uint32) string {
	data := facility<<16 | number
	even, odd := uint32(0), uint32(1)
	for i := range 12 {
		even ^= data >> (12 + i) & 1
		odd ^= data >> i & 1
	}
	return fmt.Sprintf("%08x", (even<<25|data<<1|odd)<<6)
}

// modelKinds are the rows of an import by what must become of them.
var modelKinds = []struct {
	want                         site.Reason
	function, uses, rights, from string
	until                        string
}{
	{want: site.ReasonGranted, rights: "front"},
	{want: site.ReasonGranted, rights: "front;shed"},
	{want: site.ReasonGranted, rights: "front@always-open"},
	{want: site.ReasonOutOfSchedule, rights: "front@another-day"},
	{want: site.ReasonNoRight, rights: "shed"},
	{want: site.ReasonNoRight},
	{want: site.ReasonExpired, rights: "front", until: "2025-01-01T00:00:00Z"},
	{want: site.ReasonNotActive, rights: "front", from: "2090-01-01T00:00:00Z"},
	{want: site.ReasonBlocked, rights: "front", function: "blocked"},
	{want: site.ReasonGranted, rights: "front", uses: "100"},
}

// usedUp is the card whose one use is spent after the copy.
const usedUp = 40_000

// enrolModel makes schedules and imports n cards of all kinds, which ends with a
// verified copy.
func (r *running) enrolModel(n int) model {
	r.t.Helper()
	day := time.Now().AddDate(0, 0, 3).Weekday().String()[:2]
	r.must(r.ask(http.MethodPut, "/v1/schedules/always-open", map[string]any{"name": "Always", "intervals": []string{"Mo-Su 00:00-24:00"}}, nil))
	r.must(r.ask(http.MethodPut, "/v1/schedules/another-day", map[string]any{"name": "Other", "intervals": []string{day + " 08:00-18:00"}}, nil))
	m := model{}
	var csv strings.Builder
	csv.WriteString("holder,format,facility,card,function,uses,rights,from,until\n")
	for i := range n {
		k := modelKinds[i%len(modelKinds)]
		number := uint32(10_000 + i)
		m[number] = k.want
		fmt.Fprintf(&csv, "Person %d,H10301,%d,%d,%s,%s,%s,%s,%s\n", number, modelFacility, number, k.function, k.uses, k.rights, k.from, k.until)
	}
	fmt.Fprintf(&csv, "Once,H10301,%d,%d,one_time,,front,,\n", modelFacility, usedUp)
	m[usedUp] = site.ReasonGranted
	r.must(r.client.Stream(r.t.Context(), http.MethodPost, "/v1/credentials/import", url.Values{"format": {"csv"}}, strings.NewReader(csv.String()),
		func([]byte) error { return nil }))
	m[50_000] = site.ReasonUnknownCredential
	return m
}

// changeModel makes ordinary changes after the copy: revocations, blocks,
// additions, an end of a right, and the spending of the only use of a card.
func (r *running) changeModel(m model) {
	r.t.Helper()
	ids := r.credentialIDs()
	state := func(number uint32, state string, want site.Reason) {
		r.must(r.ask(http.MethodPost, "/v1/credentials/"+string(ids[number])+"/state", map[string]string{"state": state}, nil))
		m[number] = want
	}
	for i := range uint32(8) {
		state(10_000+i*10, "revoked", site.ReasonRevoked)
		state(10_001+i*10, "blocked", site.ReasonBlocked)
	}
	state(10_001, "active", site.ReasonGranted)
	r.must(r.ask(http.MethodDelete, "/v1/credentials/"+string(ids[10_100])+"/rights?door=front", nil, nil))
	m[10_100] = site.ReasonNoRight
	for i := range uint32(5) {
		r.must(r.ask(http.MethodPost, "/v1/credentials", map[string]any{"holder": fmt.Sprintf("Late %d", i), "format": "H10301",
			"facility": modelFacility, "card": 60_000 + i, "rights": "front"}, nil))
		m[60_000+i] = site.ReasonGranted
	}
	written := r.modified("policy.db")
	r.card(h10301(modelFacility, usedUp))
	r.waitLevel("GPIO24", hal.High)
	wait(r.t, "the use of the one-time card on disk", func() bool { return r.modified("policy.db") != written })
	r.must(r.ask(http.MethodPost, "/v1/doors/front/lock", nil, nil))
	m[usedUp] = site.ReasonUsedUp
	r.must(r.ask(http.MethodPost, "/v1/lockdown", map[string]any{"target": map[string]any{"door": "shed"}}, nil))
}

// modified returns when a file of the state folder was written last.
func (s *testSite) modified(name string) time.Time {
	s.t.Helper()
	fi, err := os.Stat(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return fi.ModTime()
}

// credentialIDs returns the credentials of the import by card number: each has a
// holder named after it.
func (r *running) credentialIDs() map[uint32]site.CredentialID {
	r.t.Helper()
	out := map[uint32]site.CredentialID{}
	r.must(r.client.Stream(r.t.Context(), http.MethodGet, "/v1/credentials", nil, nil, func(line []byte) error {
		var c control.CredentialView
		if err := json.Unmarshal(line, &c); err != nil {
			return err
		}
		var number uint32
		if _, err := fmt.Sscanf(c.HolderName, "Person %d", &number); err == nil {
			out[number] = c.ID
		}
		return nil
	}))
	return out
}

// why returns the reason of the decision at the front door.
func (r *running) why(number uint32) site.Reason {
	r.t.Helper()
	return r.whyBits("26:" + h10301(modelFacility, number))
}

func (r *running) whyBits(bits string) site.Reason {
	r.t.Helper()
	var why control.Why
	r.must(r.client.Get(r.t.Context(), "/v1/why", url.Values{"door": {"front"}, "bits": {bits}}, &why))
	return site.Reason(why.Reason)
}

// checkModel compares every decision with the model, and presents a refused and
// a granted card at the reader.
func (r *running) checkModel(m model) {
	r.t.Helper()
	for number, want := range m {
		if got := r.why(number); got != want {
			r.t.Errorf("card %d: %s, want %s", number, got, want)
		}
	}
	refuse, pass := uint32(10_010), uint32(10_002)
	last := r.lastSeq()
	r.card(h10301(modelFacility, refuse))
	r.waitEvent("the refusal", site.KindAccess, func(ev site.Event) bool { return ev.Seq > last && ev.Reason == m[refuse] })
	if r.board.Level("GPIO24") != hal.Low {
		r.t.Error("a revoked card energised the strike")
	}
	r.card(h10301(modelFacility, pass))
	r.waitLevel("GPIO24", hal.High)
	r.waitEvent("the grant", site.KindAccess, func(ev site.Event) bool { return ev.Seq > last && ev.Reason == site.ReasonGranted })
}

func (r *running) lastSeq() site.EventSeq { return r.status().Log.Last }

func (r *running) status() control.Status {
	r.t.Helper()
	var st control.Status
	r.must(r.client.Get(r.t.Context(), "/v1/status", nil, &st))
	return st
}

// hasFault reports whether a fault stands whose id begins so.
func (r *running) hasFault(prefix string) bool {
	for _, f := range r.status().Faults {
		if strings.HasPrefix(f.ID, prefix) {
			return true
		}
	}
	return false
}

// quarantined reports whether a file with exactly these bytes is kept.
func (s *testSite) quarantined(want []byte) bool {
	found := false
	_ = filepath.WalkDir(filepath.Join(s.dir, "quarantine"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			found = found || err == nil && bytes.Equal(data, want)
		}
		return nil
	})
	return found
}

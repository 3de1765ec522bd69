package link_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

const (
	goodBadge = 1052895 // facility 16, card 4319
	duress    = 7
)

var errStore = errors.New("the store is broken")

// nonceFile is what the fake store keeps on its disk.
type nonceFile struct {
	Nonce map[site.DeviceName][16]byte
	Saw2  map[site.DeviceName]bool
}

// world is a site in memory: it decides, opens, vends, keeps nonces and events.
type world struct {
	mu      sync.Mutex // guards following
	fail    bool       // the store is broken
	disk    []byte     // the nonces as they survive a restart
	opened  []link.Ask
	credits map[card.Bits]int
	events  []site.Event
	uses    int
}

func badge(t testing.TB, n uint64) card.Bits {
	t.Helper()
	b, err := card.HiveBadge(n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mustBadge is badge where there is no test to fail.
func mustBadge(n uint64) card.Bits {
	b, err := card.HiveBadge(n)
	if err != nil {
		panic(err)
	}
	return b
}

func (w *world) load() nonceFile {
	f := nonceFile{Nonce: map[site.DeviceName][16]byte{}, Saw2: map[site.DeviceName]bool{}}
	if w.disk != nil {
		if err := json.Unmarshal(w.disk, &f); err != nil {
			panic(err)
		}
	}
	return f
}

func (w *world) save(f nonceFile) {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	w.disk = b
}

func (w *world) Current(d site.DeviceName) (n [16]byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail {
		return n, errStore
	}
	f := w.load()
	n, ok := f.Nonce[d]
	if !ok {
		_, _ = rand.Read(n[:])
		f.Nonce[d] = n
		w.save(f)
	}
	return n, nil
}

func (w *world) Use(_ context.Context, d site.DeviceName, n [16]byte) (next [16]byte, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail {
		return next, false, errStore
	}
	next, ok = w.use(d, n)
	return next, ok, nil
}

// use replaces the nonce on the disk. The caller holds mu.
func (w *world) use(d site.DeviceName, n [16]byte) (next [16]byte, ok bool) {
	f := w.load()
	if f.Nonce[d] != n {
		return f.Nonce[d], false
	}
	_, _ = rand.Read(next[:])
	f.Nonce[d], f.Saw2[d] = next, true
	w.save(f)
	w.uses++
	return next, true
}

func (w *world) SawVersion2(d site.DeviceName) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail {
		return false, errStore
	}
	return w.load().Saw2[d], nil
}

func (w *world) Access(_ context.Context, a link.Ask) (link.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail {
		return link.Answer{}, errStore
	}
	known := map[card.Bits]site.Reason{
		mustBadge(goodBadge): site.ReasonGranted,
		mustBadge(duress):    site.ReasonGranted,
		mustBadge(1):         site.ReasonOutOfSchedule,
		mustBadge(2):         site.ReasonPINRequired,
	}
	reason, ok := known[a.Bits]
	if !ok {
		reason = site.ReasonUnknownCredential
	}
	if reason.Grants() {
		w.opened = append(w.opened, a)
	}
	w.events = append(w.events, site.Event{Kind: site.KindAccess, Door: a.Door, Device: a.Device, Reason: reason, Text: a.Note, Item: a.Item, Reader: a.Reader})
	return link.Answer{Granted: reason.Grants(), Reason: reason}, nil
}

func (w *world) Vend(_ context.Context, a link.VendAsk) (link.VendAnswer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail {
		return link.VendAnswer{}, errStore
	}
	answer := link.VendAnswer{}
	if a.Nonce != nil {
		if answer.Next, answer.NonceOK = w.use(a.Device, *a.Nonce); !answer.NonceOK {
			return answer, nil
		}
	}
	left, ok := w.credits[a.Bits]
	answer.Known = ok
	if left > 0 {
		w.credits[a.Bits]--
		answer.Vend, answer.Left = true, left-1
	}
	return answer, nil
}

func (w *world) Append(e site.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// state is everything that a refused packet must not move.
type state struct {
	Disk    string
	Opened  int
	Uses    int
	Credits map[card.Bits]int
}

func (w *world) state() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	return state{string(w.disk), len(w.opened), w.uses, maps.Clone(w.credits)}
}

// taken returns the events so far and forgets them.
func (w *world) taken() []site.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.events
	w.events = nil
	return e
}

func newWorld() *world {
	return &world{credits: map[card.Bits]int{mustBadge(goodBadge): 3, mustBadge(1): 0}}
}

var keys = map[site.DeviceName]link.Key{
	"one":  link.Key("key of device one"),
	"two":  link.Key("key of device two"),
	"both": link.Key("key of device both"),
	"shed": link.Key("key of device shed"),
}

// now is the time of the sites in tests: 18:00 in Berlin.
var now = time.Date(2026, 11, 21, 17, 0, 0, 0, time.UTC)

func testConfig() link.Config {
	items := map[string]site.DoorID{"main_door": "front"}
	return link.Config{
		Devices: []link.DeviceConfig{
			{Name: "one", Key: keys["one"], Versions: link.Version1, Items: items},
			{Name: "two", Key: keys["two"], Versions: link.Version2, Items: items},
			{Name: "both", Key: keys["both"], Versions: link.Version1 | link.Version2, Items: items},
			{Name: "shed", Key: keys["shed"], Versions: link.Version1 | link.Version2, Items: map[string]site.DoorID{"shed_door": "shed"}},
		},
		Vend:       link.VendConfig{Alert: 1},
		QuietHours: link.QuietHours{Start: 22*60 + 30, End: 7 * 60, Zone: time.FixedZone("CET", 3600)},
	}
}

func (w *world) deps() link.Deps {
	return link.Deps{Access: w, Nonces: w, Vend: w, Events: w, Clock: func() site.Clock { return site.Clock{Now: now, Trusted: true} }}
}

func newServer(t testing.TB, w *world) *link.Server {
	t.Helper()
	s, err := link.New(testConfig(), w.deps())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sign makes the body of a request as a small client does: sorted, compact.
func sign(t testing.TB, device site.DeviceName, data string) string {
	t.Helper()
	v, err := hive.Parse([]byte(data))
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return `{"device":"` + string(device) + `","data":` + data + `,"checksum":"` + hive.Checksum(keys[device], hive.Canonical(v)) + `"}`
}

// post sends a body and returns status and reply.
func post(t testing.TB, s *link.Server, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, link.Path, strings.NewReader(body))
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// call sends signed data and returns the verified data of the reply, without
// its random numbers.
func call(t testing.TB, s *link.Server, device site.DeviceName, data string) (int, map[string]any) {
	t.Helper()
	status, reply := post(t, s, sign(t, device, data))
	return status, verified(t, device, reply)
}

// signed checks the form and the checksum of a signed reply and returns its data.
func signed(t testing.TB, device site.DeviceName, reply string) hive.Value {
	t.Helper()
	env, err := hive.ParseReply([]byte(reply))
	if err != nil {
		t.Fatalf("%s: %v", reply, err)
	}
	if env.Device != device || !env.VerifyReply(keys[device]) || !hive.Verify(keys[device], env.Data, env.Checksum) {
		t.Fatalf("%s: does not verify", reply)
	}
	random := env.Data.Get("random").Elems()
	if len(random) != 16 || slices.ContainsFunc(random, func(v hive.Value) bool { n, ok := v.Int(); return !ok || n < 0 || n > 255 }) {
		t.Errorf("%s: random is not 16 integers 0 to 255", reply)
	}
	if bytes.ContainsFunc([]byte(reply), func(r rune) bool { return r < 0x20 }) {
		t.Errorf("%q is not one line", reply)
	}
	return env.Data
}

// verified is signed for a reply whose numbers fit; random is left out.
func verified(t testing.TB, device site.DeviceName, reply string) map[string]any {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal([]byte(signed(t, device, reply).Raw()), &data); err != nil {
		t.Fatal(err)
	}
	delete(data, "random")
	return data
}

// nonce asks for the current nonce.
func nonce(t testing.TB, s *link.Server, device site.DeviceName) string {
	t.Helper()
	_, data := call(t, s, device, `{"operation":"get_nonce","version":2}`)
	return newNonce(t, data)
}

// newNonce takes new_nonce out of a reply.
func newNonce(t testing.TB, data map[string]any) string {
	t.Helper()
	n, _ := data["new_nonce"].(string)
	if b, err := hex.DecodeString(n); err != nil || len(b) != 16 || n != strings.ToUpper(n) {
		t.Fatalf("new_nonce %q in %v", n, data)
	}
	return n
}

// granting is a site that grants everything and keeps nothing.
type granting struct{ *world }

func (granting) Access(context.Context, link.Ask) (link.Answer, error) {
	return link.Answer{Granted: true, Reason: site.ReasonGranted}, nil
}

func (granting) Append(site.Event) {}

func newWorldDeps() link.Deps {
	w := newWorld()
	d := w.deps()
	d.Access, d.Events = granting{w}, granting{w}
	return d
}

package link_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
)

const (
	serial1 = "0000000000000000A100000000002479"
	serial2 = "0000000000000000A100000000002480"
	serial3 = "0000000000000000A100000000002481" // of the lock on a line
	keyText = "06fba5258a37eed076532ec47bccc2f7daa92edf5490f722234eec6f5ac7c467"
)

var siteKey = func() link.SiteKey {
	b, err := hex.DecodeString(keyText)
	if err != nil {
		panic(err)
	}
	return b
}()

// sealer is a device key that works: one AES block.
type sealer struct{}

var sealKey, _ = aes.NewCipher([]byte("a device key of thirty-two byte!"))

func (sealer) Seal(b card.Block) (out [16]byte) { sealKey.Encrypt(out[:], b[:]); return out }
func (sealer) Open(in [16]byte) (b card.Block)  { sealKey.Decrypt(b[:], in[:]); return b }
func (s sealer) Tag(b card.Block) string        { v := s.Seal(b); return hex.EncodeToString(v[:3]) }

// eventLog is an event log that works, in memory: it outlives the server.
type eventLog struct {
	mu     sync.Mutex // guards the following
	events []site.Event
	fail   error // of Keep
	partly int   // how many events Keep takes before it fails
	block  chan struct{}
	unread error // of Scan
}

func (l *eventLog) Append(e site.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(e)
}

func (l *eventLog) add(e site.Event) {
	e.Seq = site.EventSeq(len(l.events) + 1)
	l.events = append(l.events, e)
}

func (l *eventLog) Keep(ctx context.Context, evs []site.Event) (site.EventSeq, error) {
	l.mu.Lock()
	block := l.block
	l.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range evs {
		if l.fail != nil && i >= l.partly {
			return 0, l.fail
		}
		l.add(e)
	}
	if l.fail != nil {
		return 0, l.fail
	}
	return site.EventSeq(len(l.events)), nil
}

func (l *eventLog) Scan(ctx context.Context, after site.EventSeq, fn func(site.Event) error) error {
	l.mu.Lock()
	evs, err := slices.Clone(l.events), l.unread
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, e := range evs[min(int(after), len(evs)):] {
		// As the log keeps it: JSON and back.
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		var out site.Event
		if err := json.Unmarshal(b, &out); err != nil {
			return err
		}
		if err := fn(out); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (l *eventLog) Last() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return site.EventSeq(len(l.events))
}

// audits are the locks' audits in the log.
func (l *eventLog) audits() (out []site.Event) { return l.of(site.KindLockAudit) }

func (l *eventLog) of(kind site.Kind) (out []site.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// policy is what locks are to hold.
type policy struct {
	mu      sync.Mutex // guards the following
	version uint64
	tables  map[site.DoorID]swordfish.Table
	err     error
	asked   int
}

func (p *policy) Version() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version
}

func (p *policy) Table(ctx context.Context, door site.DoorID) (swordfish.Table, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	t := p.tables[door]
	t.Entries = slices.Clone(t.Entries)
	return t, p.err
}

// set gives a lock the cards with these numbers, at all hours.
func (p *policy) set(door site.DoorID, numbers ...int) {
	entries := make([]swordfish.Entry, len(numbers))
	for i, n := range numbers {
		entries[i] = swordfish.Entry{Block: blockOf(n), Function: site.FunctionNorm, Schedules: 1}
	}
	p.put(door, swordfish.Table{Entries: entries, Schedules: []site.Interval{{Days: site.AllDays, Start: 0, End: 1440}}})
}

func (p *policy) put(door site.DoorID, t swordfish.Table) {
	slices.SortFunc(t.Entries, func(a, b swordfish.Entry) int { return bytes.Compare(a.Block[:], b.Block[:]) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tables == nil {
		p.tables = map[site.DoorID]swordfish.Table{}
	}
	p.version++
	p.tables[door] = t
}

func blockOf(n int) card.Block {
	b := card.Block{byte(n >> 16), byte(n >> 8), byte(n), 0x40}
	for i := 4; i < len(b); i++ {
		b[i] = 0xFF
	}
	return b
}

// world is a site with a server that can be cut off and opened again.
type world struct {
	t      testing.TB
	cfg    link.Config
	log    *eventLog
	policy *policy
	der    []byte
	srv    *link.Server
	http   *httptest.Server

	mu      sync.Mutex // guards the following
	now     time.Time
	trusted bool
}

var start = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, change ...func(*link.Config)) *world {
	t.Helper()
	w := &world{t: t, log: &eventLog{}, policy: &policy{}, now: start, trusted: true, der: []byte("a certificate")}
	p, ok := swordfish.ProfileOf("nde")
	if !ok {
		t.Fatal("no profile")
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = link.Config{
		Locks: []link.Lock{
			{ID: "room5", Name: "Room 5", Serial: strings.ToLower(serial1), Profile: p},
			{ID: "room6", Name: "Room 6", Serial: serial2, Profile: p},
			{ID: "cellar", Name: "Cellar", Serial: serial3, Profile: p, Device: "line1"},
		},
		Auth: link.AuthNone, Zone: zone, Dir: t.TempDir(), SiteKey: siteKey,
	}
	for _, c := range change {
		c(&w.cfg)
	}
	w.open()
	return w
}

// open opens the server anew over what is there: what was before is cut off.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.srv, err = link.New(w.cfg, link.Deps{
		Tables: w.policy, Cards: sealer{}, Events: w.log, Clock: w.clock,
		Certificate: func() []byte { return w.der },
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) clock() site.Clock {
	w.mu.Lock()
	defer w.mu.Unlock()
	return site.Clock{Now: w.now, Trusted: w.trusted}
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) setTime(at time.Time, trusted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.trusted = at, trusted
}

// answer is what came back, byte by byte.
type answer struct {
	status int
	head   string // with the status line, without the empty line
	header http.Header
	body   string
}

// serve begins the listener of raw calls.
func (w *world) serve() string {
	if w.http == nil {
		w.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.srv.Handler().ServeHTTP(rw, r) }))
		w.t.Cleanup(w.http.Close)
	}
	return w.http.Listener.Addr().String()
}

// raw sends bytes over TCP and returns the bytes that come back.
func (w *world) raw(request string) answer {
	w.t.Helper()
	c, err := net.Dial("tcp", w.serve())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c, request) // the answer may come before all is sent
	}()
	all, err := io.ReadAll(c)
	<-sent
	if err != nil && len(all) == 0 {
		w.t.Fatal(err)
	}
	head, body, ok := strings.Cut(string(all), "\r\n\r\n")
	if !ok {
		w.t.Fatalf("no answer: %q", all)
	}
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head+"\r\n\r\n")), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res.Body.Close()
	return answer{res.StatusCode, head, res.Header, body}
}

func auth(serial string, at time.Time) string {
	s, err := swordfish.MakeToken(serial, siteKey, at)
	if err != nil {
		panic(err)
	}
	return "Device " + s
}

func request(method, path, authorization, body string) string {
	s := method + " " + path + " HTTP/1.1\r\nHost: agent.test:8080\r\nConnection: close\r\n"
	if authorization != "" {
		s += "Authorization: " + authorization + "\r\n"
	}
	if body != "" || method != "GET" {
		s += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return s + "\r\n" + body
}

// call calls as the lock with a serial, without a listener.
func (w *world) call(serial, method, path, body string) answer {
	return w.callAs("192.0.2.7:4000", auth(serial, w.clock().Now), method, path, body)
}

func (w *world) callAs(addr, authorization, method, path, body string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = addr
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	rec := httptest.NewRecorder()
	w.srv.Handler().ServeHTTP(rec, r)
	return answer{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
}

func (w *world) status(id site.DoorID) link.LockStatus {
	w.t.Helper()
	for _, l := range w.srv.Locks() {
		if l.ID == id {
			return l
		}
	}
	w.t.Fatalf("no lock %s", id)
	return link.LockStatus{}
}

// upload posts audits of event and time and wants a status.
func (w *world) upload(want int, audits ...string) {
	w.t.Helper()
	if got := w.call(serial1, "POST", "/swordfish/lock/audit", uploadOf(audits...)).status; got != want {
		w.t.Errorf("upload %v: %d, want %d", audits, got, want)
	}
}

// uploadOf makes a body of "event time" or "event time id".
func uploadOf(audits ...string) string {
	var b strings.Builder
	b.WriteString(`{"audits":[`)
	for i, a := range audits {
		if i > 0 {
			b.WriteByte(',')
		}
		f := strings.Fields(a)
		fmt.Fprintf(&b, `{"event":%q,"time":%q`, f[0], f[1])
		if len(f) > 2 {
			fmt.Fprintf(&b, `,"auditId":%q`, f[2])
		}
		b.WriteByte('}')
	}
	b.WriteString(`],"nxtDbVerTS":"0x0","lockId":"x"}`)
	return b.String()
}

func (w *world) alert(want int, event, at string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"event":%q,"time":%q}`, event, at)
	if got := w.call(serial1, "POST", "/swordfish/lock/alert", body).status; got != want {
		w.t.Errorf("alert %s: %d, want %d", event, got, want)
	}
}

// kept are the audits in the log as "event time".
func (w *world) kept() (out []string) {
	for _, e := range w.log.audits() {
		out = append(out, e.Code+e.Data+" "+e.LockTime)
	}
	return out
}

// lockFile is a door file as this test reads it: not by the agent's codec.
type lockFile struct {
	DB struct {
		Records struct {
			DeleteAll int        `json:"deleteAll"`
			Delete    []lockUser `json:"delete"`
			Update    []lockUser `json:"update"`
			Add       []lockUser `json:"add"`
		} `json:"usrRcrd"`
		Schedules []json.RawMessage `json:"schedules"`
	} `json:"db"`
	Config   json.RawMessage `json:"config"`
	Download string          `json:"dbDwnLdTm"`
	Version  string          `json:"nxtDbVerTS"`
}

type lockUser struct {
	ID   int    `json:"usrID"`
	Card string `json:"primeCr"`
	Sch  any    `json:"crSch"`
}

// testLock is a lock with a table of its own.
type testLock struct {
	version string
	users   map[int]string
	config  string
}

func (l *testLock) store(text string) error {
	var f lockFile
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return err
	}
	users := map[int]string{}
	if f.DB.Records.DeleteAll == 0 {
		for id, c := range l.users {
			users[id] = c
		}
	} else if len(f.DB.Records.Delete)+len(f.DB.Records.Update) > 0 {
		return errors.New("a full file with changes")
	}
	for _, u := range f.DB.Records.Delete {
		if users[u.ID] != u.Card {
			return fmt.Errorf("delete of a user %d that is not there", u.ID)
		}
		delete(users, u.ID)
	}
	for _, u := range f.DB.Records.Update {
		if users[u.ID] != u.Card {
			return fmt.Errorf("update of a user %d that is not there", u.ID)
		}
	}
	for _, u := range f.DB.Records.Add {
		if _, ok := users[u.ID]; ok || u.ID < 1 || u.ID > 65534 {
			return fmt.Errorf("add of a user %d that is there", u.ID)
		}
		users[u.ID] = u.Card
	}
	if f.Config != nil {
		l.config = string(f.Config)
	}
	l.users, l.version = users, f.Version
	return nil
}

// get calls for a door file and stores it, unless the answer is lost.
func (w *world) get(serial string, l *testLock, lost bool) lockFile {
	w.t.Helper()
	version := cmp.Or(l.version, "0")
	a := w.call(serial, "GET", "/swordfish/lock/db/"+version, "")
	if a.status != http.StatusOK {
		w.t.Fatalf("db: %d", a.status)
	}
	if got := a.header.Get("Content-Length"); got != fmt.Sprint(len(a.body)) {
		w.t.Fatalf("Content-Length %s for %d bytes", got, len(a.body))
	}
	var f lockFile
	if err := json.Unmarshal([]byte(a.body), &f); err != nil {
		w.t.Fatal(err)
	}
	if !lost {
		if err := l.store(a.body); err != nil {
			w.t.Fatalf("%v in %s", err, a.body)
		}
	}
	return f
}

var cards = func() *swordfish.Cards {
	c, err := swordfish.NewCards(siteKey)
	if err != nil {
		panic(err)
	}
	return c
}()

// holds are the cards of a lock, ascending.
func (l *testLock) holds() (out []int) {
	for _, c := range l.users {
		b, err := cards.Decrypt(c)
		if err != nil {
			panic(err)
		}
		out = append(out, int(b[0])<<16|int(b[1])<<8|int(b[2]))
	}
	slices.Sort(out)
	return out
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/tools/sitesim/lock"
)

// The public test key of engage.md section 5, and a file for one of its cards.
const (
	siteKey = "06fba5258a37eed076532ec47bccc2f7daa92edf5490f722234eec6f5ac7c467"
	version = "0x08d1707d1ebcb056"
	week    = `"schedules":[{"days":["Su","Mo","Tu","We","Th","Fr","Sa"],"strtHr":0,"strtMn":0,"lngth":1439}],"holidays":[],"autoUnlock":[]}`
	full    = `{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[{"usrID":1,"adaEn":0,"fnctn":"norm","crSch":[1],` +
		`"primeCr":"0d6807e6dbac61481a8ff8b0dce95998","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"}]},` + week
	none = `{"db":{"usrRcrd":{"deleteAll":0,"delete":[],"update":[],"add":[]},` + week
	end  = `,"dbDwnLdTm":"20990719020000","nxtDbVerTS":"` + version + `"}`
)

// deviceServer answers locks as engage.md section 5 says. With fault every file is
// a full one.
type deviceServer struct {
	mu     sync.Mutex // guards following
	calls  map[string]int
	bodies []string
	busy   int
	most   int // calls at the same time
	fault  bool
}

func (d *deviceServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	route := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/swordfish/lock/")
	d.mu.Lock()
	if d.calls == nil {
		d.calls = map[string]int{}
	}
	d.calls[route]++
	d.bodies = append(d.bodies, string(body))
	d.busy++
	d.most = max(d.most, d.busy)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.busy--
	}()
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Device ") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	file := ""
	switch route {
	case "GET db/0":
		file = full + end
	case "GET db/" + version:
		if file = none + end; d.fault {
			file = full + end
		}
	case "POST audit":
		w.WriteHeader(http.StatusCreated)
		return
	case "GET certificates/current":
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(file)))
	_, _ = io.WriteString(w, file)
}

func (d *deviceServer) said(text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.bodies, func(b string) bool { return strings.Contains(b, text) })
}

// TestLockOrders plays a Wi-Fi lock by the command line.
func TestLockOrders(t *testing.T) {
	d := &deviceServer{}
	s := httptest.NewServer(d)
	defer s.Close()
	key := filepath.Join(t.TempDir(), "sitekey")
	if err := os.WriteFile(key, []byte(siteKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	order := playWorld(t, &fakeBoard{levels: map[string]int{"SIREN": 1}}, fmt.Sprintf(
		`, "locks": [{"id": "store", "serial": "0000000000000000A0B1000000000206", "site_key_file": %q, "model": "le", "url": %q}]`, key, s.URL))
	for _, tt := range []struct {
		args, want string // want begins with "error: " where the order is refused
	}{
		{"card store 77 1568", "denied: unknown card (050B)"},
		{"show", "lock   store        secured   wifi, version none, 0 users, 4 audits wait"},
		{"call store", "a full file of 1 users, version " + version + ", 5 audits acknowledged (201)"},
		{"card store 77 1568", "opened"},
		{"card store 77 1570", "denied: unknown card (050B)"},
		{"call store", "no changes, version " + version},
		{"alert store forced", "forced was told"},
		{"alert store low-battery", "low-battery was told"},
		{"alert store flood", `error: alert "flood" is not known: forced, tamper or low-battery`},
		{"call shop", `error: lock "shop" is not in sitesim.json`},
		{"show", "lock   store        secured   wifi, version " + version + ", 1 users, 2 audits wait"},
	} {
		got, err := order(strings.Fields(tt.args)...)
		if err != nil {
			got = "error: " + err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.args, got, tt.want)
		}
	}
	for _, text := range []string{`"asyncEvent":{"event":"07000000"`, `"event":"01001194"`, `"event":"05020000"`, `"baseType":"le"`, `"name":"store"`} {
		if !d.said(text) {
			t.Errorf("the server never heard %s", text)
		}
	}
}

// TestCallTime: a lock calls at its time, and when its time has passed at the same
// time of the next day.
func TestCallTime(t *testing.T) {
	d := &deviceServer{}
	s := httptest.NewServer(d)
	defer s.Close()
	key, err := (&world{}).key(writeKey(t))
	if err != nil {
		t.Fatal(err)
	}
	const serial = "0000000000000000A0B1000000000206"
	l := &siteLock{lock: lock.New(lock.Config{Serial: serial, SiteKey: key, Zone: time.UTC}), called: make(chan struct{}, 1)}
	if l.untilCall(time.Now()) < 1000*time.Hour {
		t.Error("a lock without a file has a call time")
	}
	l.caller = lock.HTTP(s.URL, nil, serial, key)
	if _, err := l.call(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := time.Date(2099, 7, 19, 2, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		now  time.Time
		want time.Duration
	}{{next.Add(-time.Hour), time.Hour}, {next, 24 * time.Hour}, {next.Add(25 * time.Hour), 23 * time.Hour}} {
		if got := l.untilCall(tt.now); got != tt.want {
			t.Errorf("at %s: %s, want %s", tt.now, got, tt.want)
		}
	}
}

func writeKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sitekey")
	if err := os.WriteFile(path, []byte(siteKey), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNight plays a night of 40 locks, all at once and a few at a time, and one
// with a server that answers wrongly.
func TestNight(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		fault  bool
		most   int // calls at the same time
		errors int
	}{
		{"at once", nil, false, 40, 0},
		{"four at a time, spread", []string{"--parallel", "4", "--at", "spread", "--over", "20ms"}, false, 4, 0},
		{"changes where there are none", nil, true, 40, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &deviceServer{fault: tt.fault}
			s := httptest.NewServer(d)
			defer s.Close()
			out, err := night(t, append([]string{"--url", s.URL, "--locks", "40", "--site-key", writeKey(t), "--first-serial", "0000000000000000A0B10000000001FF", "--json"}, tt.args...)...)
			if (err != nil) != (tt.errors > 0) {
				t.Fatal(err)
			}
			var r nightResult
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
			if r.Locks != 40 || r.Calls != 80 || r.Requests != 320 || r.Errors != tt.errors || r.Users != 40 || r.Seconds <= 0 || r.P99 < r.P50 || r.P50 <= 0 || r.RequestP50 > r.P50 || r.Bytes < 40*int64(len(full)) {
				t.Errorf("%s", out)
			}
			if d.most > tt.most || d.calls["GET db/0"] != 40 || d.calls["GET db/"+version] != 40 || d.calls["POST audit"] != 80 {
				t.Errorf("%d at the same time, %v", d.most, d.calls)
			}
			if tt.errors > 0 && (len(r.FirstErrors) != maxNightErrors || !strings.Contains(r.FirstErrors[0], "the second file had changes")) {
				t.Errorf("%q", r.FirstErrors)
			}
		})
	}
}

// TestNightChanges: with --changes all locks call once, then nothing is called until a
// line of input has come; a full file is an error then.
func TestNightChanges(t *testing.T) {
	for _, fault := range []bool{false, true} {
		d := &deviceServer{fault: fault}
		s := httptest.NewServer(d)
		defer s.Close()
		root, out := rootCommand(), make(chan string, 2)
		in, line := io.Pipe()
		root.SetIn(in)
		root.SetOut(lineWriter(out))
		root.SetArgs([]string{"night", "--changes", "--json", "--url", s.URL, "--locks", "3", "--site-key", writeKey(t), "--first-serial", "0000000000000000A0B1000000000206"})
		ended := make(chan error, 1)
		go func() { ended <- root.ExecuteContext(t.Context()) }()
		var first, second nightResult
		if err := json.Unmarshal([]byte(<-out), &first); err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		early := d.calls["GET db/"+version]
		d.mu.Unlock()
		if first.Calls != 3 || first.Full != 3 || first.Added != 3 || first.Errors != 0 || early != 0 {
			t.Errorf("first %+v, %d calls for changes", first, early)
		}
		if _, err := io.WriteString(line, "go\n"); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(<-out), &second); err != nil {
			t.Fatal(err)
		}
		err := <-ended
		if second.Calls != 3 || second.Requests != 12 || (second.Full > 0) != fault || (second.Errors == 3) != fault || (err != nil) != fault {
			t.Errorf("second %+v, %v", second, err)
		}
	}
	root := rootCommand()
	s := httptest.NewServer(new(deviceServer))
	defer s.Close()
	root.SetIn(strings.NewReader(""))
	root.SetOut(io.Discard)
	root.SetArgs([]string{"night", "--changes", "--url", s.URL, "--locks", "1", "--site-key", writeKey(t), "--first-serial", "0000000000000000A0B1000000000206"})
	if err := root.ExecuteContext(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("without a line of input: %v", err)
	}
}

// lineWriter sends what each Write writes.
type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

func night(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{"night"}, args...))
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// TestNightFaults names what is wrong with a command line, and with a server that
// is not there.
func TestNightFaults(t *testing.T) {
	key := writeKey(t)
	for _, tt := range []struct{ args, want string }{
		{"", "required flag"},
		{"--url http://127.0.0.1:1 --first-serial 12 --site-key " + key, "not 32 hex digits"},
		{"--url http://127.0.0.1:1 --first-serial FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF --site-key " + key, "the serials end"},
		{"--url http://127.0.0.1:1 --first-serial 0000000000000000A0B1000000000206 --at dusk --site-key " + key, `--at "dusk"`},
		{"--url http://127.0.0.1:1 --first-serial 0000000000000000A0B1000000000206 --locks 0 --site-key " + key, "--locks"},
		{"--url http://127.0.0.1:1 --first-serial 0000000000000000A0B1000000000206 --locks 2 --site-key " + key, "night: 2 errors, the first: 0000000000000000A0B100000000020"},
	} {
		if _, err := night(t, strings.Fields(tt.args)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
}

// TestWorldLocks: a lock and a reader on one pseudo-terminal are a bus; what is
// wrong with a lock is named; all ends when the site does.
func TestWorldLocks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(siteKey), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{dir: dir, Board: "board.sock",
		Readers: []readerDesc{{ID: "in", Device: "in", KeyFile: "key", PTY: "tty"}},
		Locks:   []lockDesc{{ID: "gate", Serial: "0000000000000000A0B1000000000206", SiteKeyFile: "key", Device: "gate", KeyFile: "key", PTY: "tty"}}}
	defer serveBoard(t, dir, &fakeBoard{levels: map[string]int{}})()
	p, err := newPlayer(w)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.lines) != 1 || p.shared["tty"] != 2 {
		t.Errorf("%d lines, %v", len(p.lines), p.shared)
	}
	ctx, cancel := context.WithCancel(t.Context())
	wait := p.start(ctx)
	cancel()
	p.Close()
	wait() // hangs where a read outlives the site
	for _, tt := range []struct {
		change func(*lockDesc)
		want   string
	}{
		{func(d *lockDesc) { d.Serial = "12" }, "lock gate: lock: the serial"},
		{func(d *lockDesc) { d.SiteKeyFile = "none" }, "lock gate: key: "},
		{func(d *lockDesc) { d.KeyFile = "none" }, "lock gate: key: "},
		{func(d *lockDesc) { d.Timezone = "Mars/Base" }, "lock gate: unknown time zone"},
		{func(d *lockDesc) { d.URL, d.CAFile = "https://x", "none" }, "lock gate: certificate: "},
		{func(d *lockDesc) { d.URL, d.CAFile = "https://x", "key" }, "has none"},
	} {
		bad := *w
		bad.Locks = []lockDesc{w.Locks[0]}
		tt.change(&bad.Locks[0])
		p, err := newPlayer(&bad)
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

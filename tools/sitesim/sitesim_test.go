package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/tools/sitesim/wire"
)

// TestH10301 checks the layout against frames of protocols/wiegand.md.
func TestH10301(t *testing.T) {
	for _, tt := range []struct {
		facility, number uint64
		want             string
	}{
		{77, 1568, "26831000"}, {77, 1570, "26831140"}, {55, 10984, "1b957440"},
		{255, 65535, "7fffffc0"}, {241, 34525, "78c36ec0"}, {45, 18411, "96a3f580"},
	} {
		got, err := h10301(tt.facility, tt.number)
		if err != nil || got != tt.want {
			t.Errorf("%d/%d: %s, %v; want %s", tt.facility, tt.number, got, err, tt.want)
		}
	}
	if _, err := h10301(256, 1); err == nil {
		t.Error("facility 256 was taken")
	}
}

// TestReaderRefusesForgedReplies answers a reader with each forgery.
func TestReaderRefusesForgedReplies(t *testing.T) {
	key := []byte("0123456789abcdef")
	reply := func(data map[string]any, sum string) wire.Exchange {
		return func(_ context.Context, request []byte) ([]byte, error) {
			var req struct {
				Data struct {
					RandomResponse []int `json:"random_response"`
				} `json:"data"`
			}
			if err := json.Unmarshal(request, &req); err != nil {
				return nil, err
			}
			if _, ok := data["random_response"]; !ok {
				data["random_response"] = req.Data.RandomResponse
			}
			b, err := json.Marshal(data)
			if sum == "" {
				sum = wire.Sign(key, b)
			}
			return []byte(`{"data":` + string(b) + `,"checksum":"` + sum + `"}`), err
		}
	}
	for _, tt := range []struct {
		name, want string
		talk       wire.Exchange
	}{
		{"wrong checksum", "wrong checksum", reply(map[string]any{"response": true}, strings.Repeat("0", 128))},
		{"another challenge", "random_response", reply(map[string]any{"random_response": make([]int, 16)}, "")},
		{"unsigned", "unsigned reply", func(context.Context, []byte) ([]byte, error) { return []byte(`{"response":true}`), nil }},
		{"no answer", "cut", func(context.Context, []byte) ([]byte, error) { return nil, errors.New("cut") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &hiveReader{item: "x", agent: &wire.Session{Talk: wire.Over("d", key, tt.talk)}}
			if _, err := r.access(t.Context(), 1, 2); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestOverHTTP posts one line as JSON.
func TestOverHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %q", r.Method, r.Header.Get("Content-Type"))
		}
		w.Write([]byte("{}"))
	}))
	defer s.Close()
	if got, err := overHTTP(s.URL)(t.Context(), []byte("{}")); err != nil || string(got) != "{}" {
		t.Errorf("answer %q, %v", got, err)
	}
}

// TestWorldFaults names what is wrong with a site file.
func TestWorldFaults(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadWorld(dir); err == nil || !strings.Contains(err.Error(), "sitesim.json") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sitesim.json"), []byte(`{"borad":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadWorld(dir); err == nil || !strings.Contains(err.Error(), "borad") {
		t.Errorf("unknown member: %v", err)
	}
}

// TestKeyFrame checks the 4-bit frames of protocols/wiegand.md.
func TestKeyFrame(t *testing.T) {
	var got []string
	for _, key := range "0189*#" {
		frame, err := keyFrame(key)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, frame)
	}
	if want := "00 10 80 90 a0 b0"; strings.Join(got, " ") != want {
		t.Errorf("frames %s, want %s", got, want)
	}
	if _, err := keyFrame('A'); err == nil {
		t.Error("a key A was taken")
	}
}

// fakeBoard is a board that keeps levels and remembers frames. The strike
// unlocks at the frame that opens.
type fakeBoard struct {
	mu     sync.Mutex
	levels map[string]int
	frames []string
	opens  string
}

func (f *fakeBoard) answer(req []byte) any {
	var q struct {
		Set, Get string
		Level    int
		Wiegand  *struct {
			D0, D1, Hex string
			Bits        int
		}
	}
	if err := json.Unmarshal(req, &q); err != nil {
		return boardAnswer{Error: err.Error()}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case q.Set != "":
		f.levels[q.Set] = q.Level
	case q.Wiegand != nil:
		frame := fmt.Sprintf("%d:%s", q.Wiegand.Bits, q.Wiegand.Hex)
		f.frames = append(f.frames, frame)
		if frame == f.opens {
			f.levels["STRIKE"] = 1
		}
	}
	return boardAnswer{Line: q.Get, Level: f.levels[q.Get]}
}

func (f *fakeBoard) serve(c net.Conn) {
	defer c.Close()
	out := json.NewEncoder(c)
	for in := bufio.NewScanner(c); in.Scan(); {
		if out.Encode(f.answer(in.Bytes())) != nil {
			return
		}
	}
}

// serveBoard serves the board in a folder until the returned function is called.
func serveBoard(t *testing.T, dir string, f *fakeBoard) (end func()) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, "board.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return func() { l.Close() }
}

// playWorld plays a small site on a fake board and returns what gives orders.
// more is what the file has besides.
func playWorld(t *testing.T, f *fakeBoard, more string) func(args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file := `{"board": "board.sock",
 "doors": [{"id": "front", "strike": "STRIKE", "unlocked": 1, "contact": "CONTACT", "open": 1, "exit": "REX", "pressed": 0}],
 "readers": [{"id": "in", "door": "front", "d0": "D0", "d1": "D1"}],
 "inputs": [{"id": "fire", "line": "FIRE", "on": 1}, {"id": "panic", "line": "PANIC", "on": 0}],
 "outputs": [{"id": "siren", "line": "SIREN", "on": 0}]` + more + `}`
	if err := os.WriteFile(filepath.Join(dir, "sitesim.json"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(serveBoard(t, dir, f))
	w, err := loadWorld(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlayer(w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	site, err := net.Listen("unix", filepath.Join(dir, "sitesim.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { site.Close() })
	go func() {
		for {
			c, err := site.Accept()
			if err != nil {
				return
			}
			p.attend(t.Context(), c)
		}
	}()
	return func(args ...string) (string, error) {
		root := rootCommand()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(append([]string{"--state", dir}, args...))
		err := root.ExecuteContext(t.Context())
		return strings.TrimRight(out.String(), "\n"), err
	}
}

// TestOrders gives orders by the command line and looks at the board's lines.
func TestOrders(t *testing.T) {
	f := &fakeBoard{levels: map[string]int{"PANIC": 1, "SIREN": 1}, opens: "4:b0"}
	order := playWorld(t, f, "")
	for _, tt := range []struct {
		args, want string // want begins with "error: " where the order is refused
	}{
		{"keys in 12A#", `error: 'A' is not a key: digits, * and #`},
		{"keys out 1", `error: reader "out" is not in sitesim.json`},
		{"input fire yes", `error: "yes" is neither on nor off`},
		{"input flood on", `error: input "flood" is not in sitesim.json`},
		{"show", "door   front        locked    closed\ninput  fire         off\ninput  panic        off\noutput siren        off"},
		{"input fire on", "fire is on"},
		{"input panic on", "panic is on"},
		{"keys in 19* --stay", "the door stayed locked"},
		{"keys in 20# --stay", "the door unlocked"},
		{"show", "door   front        unlocked  closed\ninput  fire         on\ninput  panic        on\noutput siren        off"},
		{"input fire off", "fire is off"},
		{"keys in # ", "the door unlocked, a person walked through"},
	} {
		got, err := order(strings.Fields(tt.args)...)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.args, got, tt.want)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if got, want := strings.Join(f.frames, " "), "4:10 4:90 4:a0 4:20 4:00 4:b0 4:b0"; got != want {
		t.Errorf("frames %s, want %s", got, want)
	}
	if f.levels["FIRE"] != 0 || f.levels["PANIC"] != 0 || f.levels["CONTACT"] != 0 {
		t.Errorf("levels %v", f.levels)
	}
}

// TestRunTwice: a second run on one folder is refused and leaves the first its
// orders and its lines; when the first has ended the folder can be played again.
func TestRunTwice(t *testing.T) {
	dir := t.TempDir()
	const file = `{"board": "board.sock", "doors": [{"id": "shed", "strike": "STRIKE", "unlocked": 1, "contact": "CONTACT", "open": 1}],
 "readers": [{"id": "in", "door": "shed", "device": "shed", "item": "door", "key_file": "key", "pty": "tty"}]}`
	for name, data := range map[string]string{"sitesim.json": file, "key": "00112233445566778899aabbccddeeff"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(serveBoard(t, dir, &fakeBoard{levels: map[string]int{}}))
	for range 2 {
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, dir) }()
		awaitSite(t, dir, ended)
		line, err := os.Readlink(filepath.Join(dir, "tty"))
		if err != nil {
			t.Fatal(err)
		}
		second, giveUp := context.WithTimeout(t.Context(), 5*time.Second) // where it is not refused
		err = serve(second, dir)
		giveUp()
		if err == nil || !strings.Contains(err.Error(), "played already") {
			t.Errorf("a second run: %v", err)
		}
		if said, err := send(t.Context(), dir, order{Do: "show"}); err != nil || !strings.Contains(said, "shed") {
			t.Errorf("the first run: %q, %v", said, err)
		}
		if still, err := os.Readlink(filepath.Join(dir, "tty")); err != nil || still != line {
			t.Errorf("its line is %s (%v), was %s", still, err, line)
		}
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// awaitSite waits until a run takes orders.
func awaitSite(t *testing.T, dir string, ended <-chan error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := send(t.Context(), dir, order{Do: "show"}); err == nil {
			return
		}
		select {
		case err := <-ended:
			t.Fatalf("the first run ended: %v", err)
		case <-tick.C:
		}
	}
}

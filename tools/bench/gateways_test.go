package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"gatehouse/agent/uplink"
)

func TestLoadOptions(t *testing.T) {
	for _, tt := range []struct{ args, wrong string }{
		{"-n 5000", ""},
		{"-nodes 3 -kill", ""},
		{"-host https://a:1,https://b:2/ -site-key-file k -token-file t -root r", ""},
		{"-n 0", "-n 0: want 1"},
		{"-clients 0", "-clients 0: want 1"},
		{"-nodes 2 -kill", "-nodes 3 or more"},
		{"-host https://a:1", "wants -site-key-file"},
		{"-host http://a:1 -site-key-file k -token-file t -root r", "want https://"},
		{"-host https://a:1/path -site-key-file k -token-file t -root r", "want https://"},
		{"-host https://a:1 -kill -site-key-file k -token-file t -root r", "not one of -host"},
		{"more", "not understood"},
	} {
		o, err := parseLoad(strings.Fields(tt.args), io.Discard)
		switch {
		case tt.wrong == "" && err != nil:
			t.Errorf("%s: %v", tt.args, err)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %v, want %q", tt.args, err, tt.wrong)
		case strings.Contains(tt.args, "b:2") && !slices.Equal(o.hosts, []string{"https://a:1", "https://b:2"}):
			t.Errorf("%s: hosts %q", tt.args, o.hosts)
		}
	}
	if code := loadMain(t.Context(), []string{"-n", "16000000"}, io.Discard, io.Discard); code != 2 {
		t.Errorf("more gateways than open files: code %d, want 2", code)
	}
}

func TestCheckFiles(t *testing.T) {
	o := loadOptions{n: 5000, parallel: 64, clients: 16}
	need := o.files()
	if need < 5000+64+16 {
		t.Errorf("5000 gateways want %d files", need)
	}
	if err := checkFiles(need, need, o.n); err != nil {
		t.Error(err)
	}
	err := checkFiles(need, 1024, o.n)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("5000 gateways want %d open files, the limit is 1024", need)) {
		t.Errorf("error %v", err)
	}
}

func TestStoredCount(t *testing.T) {
	s, seen := stored{Want: 3}, make([]bool, 3)
	for _, id := range []uint32{1, 2, 2, 0, 4, 1} {
		s.count(seen, id)
	}
	s.count(nil, 1) // of another load
	if d := cmp.Diff(stored{Want: 3, Found: 2, Again: 2}, s); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestWork(t *testing.T) {
	var mu sync.Mutex
	var done []int
	s, err := work(t.Context(), 50, 7, func(_ context.Context, i int) (time.Duration, error) {
		mu.Lock()
		defer mu.Unlock()
		done = append(done, i)
		return time.Duration(i), nil
	})
	slices.Sort(done)
	if err != nil || len(s) != 50 || s.longest() != 49 || done[0] != 0 || done[49] != 49 {
		t.Errorf("%d samples, jobs %v, %v", len(s), done, err)
	}
	_, err = work(t.Context(), 1000, 3, func(_ context.Context, i int) (time.Duration, error) {
		if i == 5 {
			return 0, errAway
		}
		return 0, nil
	})
	if err != errAway {
		t.Errorf("error %v", err)
	}
}

// TestAgain: it tries until it succeeds, and not for ever.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		if err := again(t.Context(), func(try int) error {
			if tries++; try < 5 {
				return errAway
			}
			return nil
		}); err != nil || tries != 6 {
			t.Errorf("%d tries, %v", tries, err)
		}
		began := time.Now()
		err := again(t.Context(), func(int) error { return errAway })
		if took := time.Since(began); err != errAway || took < settleWait || took > 2*settleWait {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// cuttingHost is an IP host that cuts its first connection instead of answering
// a ping.
type cuttingHost struct {
	key uplink.SiteKey

	mu       sync.Mutex // guards following
	conns    int
	tokens   []string
	events   [][]uint32 // by connection
	refused  string
	answered []string
}

func (h *cuttingHost) handler() http.Handler {
	mux := http.NewServeMux()
	password := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	mux.HandleFunc("POST /engage/newCredentials", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		token, err := uplink.ParseToken(string(body))
		if err == nil {
			_, err = token.Open(h.key, time.UTC)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil || slices.Contains(h.tokens, string(body)) {
			h.refused = fmt.Sprintf("token %q: %v", body, err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.tokens = append(h.tokens, string(body))
		_, _ = io.WriteString(w, password)
	})
	mux.HandleFunc("GET /engage_wss", func(w http.ResponseWriter, r *http.Request) {
		if user, got, _ := r.BasicAuth(); got != password || len(user) != 32 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		up := websocket.Upgrader{Subprotocols: []string{uplink.SubProtocol}}
		if ws, err := up.Upgrade(w, r, nil); err == nil {
			h.serve(ws)
		}
	})
	return mux
}

func (h *cuttingHost) serve(ws *websocket.Conn) {
	defer ws.Close()
	h.mu.Lock()
	h.conns++
	n := h.conns
	h.events = append(h.events, nil)
	h.mu.Unlock()
	ws.SetPingHandler(func(p string) error {
		if n == 1 {
			return errAway
		}
		return ws.WriteControl(websocket.PongMessage, []byte(p), time.Now().Add(time.Second))
	})
	for _, text := range []string{subscribeAll, `{"requestId":9,"request":{"method":"GET","path":"/edgeDevices/linkList","messageBody":""}}`, `{"requestId":10,"request":{"method":"GET","path":"/else","messageBody":""}}`} {
		if ws.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
			return
		}
	}
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			return
		}
		var m struct {
			Event    uint32 `json:"eventId"`
			Request  uint32 `json:"requestId"`
			Response struct {
				Status string `json:"status"`
			} `json:"response"`
		}
		err = json.Unmarshal(b, &m)
		h.mu.Lock()
		switch {
		case err != nil:
			h.refused = string(b)
		case m.Event != 0:
			h.events[n-1] = append(h.events[n-1], m.Event)
		default:
			h.answered = append(h.answered, fmt.Sprint(m.Request, " ", m.Response.Status))
		}
		h.mu.Unlock()
	}
}

// TestGatewayResends: what a host has not answered for is sent again, over a new
// connection with a new token, and requests are answered.
func TestGatewayResends(t *testing.T) {
	h := &cuttingHost{key: bytes.Repeat([]byte{3}, 32)}
	srv, err := serveTLS(h.handler())
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet([]string{"https://" + srv.addr}, drainPath, h.key, srv.pool, 1, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	f.start(ctx)
	g := f.list[0]
	took, err := g.report(ctx, 3)
	if err != nil || took <= 0 || g.acked != 3 {
		t.Errorf("acknowledged %d in %v: %v; %v", g.acked, took, err, f.causes())
	}
	if _, err := g.report(ctx, 1); err != nil || f.connected() != 1 {
		t.Errorf("%d connected, %v", f.connected(), err)
	}
	cancel()
	f.wait.Wait()
	if err := srv.stop(); err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := cmp.Diff([][]uint32{{1, 2, 3}, {1, 2, 3, 4}}, h.events); d != "" {
		t.Errorf("events (-want +got)\n%s", d)
	}
	if d := cmp.Diff([]string{"9 200", "10 404"}, h.answered[len(h.answered)-2:]); d != "" {
		t.Errorf("answers (-want +got)\n%s", d)
	}
	if len(h.tokens) != 2 || h.refused != "" || f.connected() != 0 {
		t.Errorf("%d tokens, refused %q, %d connected", len(h.tokens), h.refused, f.connected())
	}
}

// TestGateways runs a small load against an iphost that it starts, and against one
// that runs.
func TestGateways(t *testing.T) {
	small := []string{"-n", "12", "-events", "30", "-requests", "40", "-clients", "4", "-rest", "10ms", "-limit", "5m"}
	t.Run("started", func(t *testing.T) {
		if res := smallLoad(t, small...); res.Memory.HostMiB <= 0 {
			t.Errorf("memory %+v", res.Memory)
		}
	})
	t.Run("running", func(t *testing.T) {
		dir, err := os.MkdirTemp("", "gh") // a socket's path must be short
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		in, err := startNodes(t.Context(), dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := in.stop(); err != nil {
				t.Error(err)
			}
		}()
		token := filepath.Join(dir, "token")
		if err := os.WriteFile(token, []byte(in.token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		files := []string{"-host", in.hosts[0], "-site-key-file", filepath.Join(dir, "site.key"), "-root", filepath.Join(in.nodes[0].dir, "root.pem"), "-token-file"}
		smallLoad(t, append(small, append(files, token)...)...)
		if err := os.WriteFile(token, []byte("not a token"), 0o600); err != nil {
			t.Fatal(err)
		}
		var progress bytes.Buffer
		if code := loadMain(t.Context(), append(small, append(files, token)...), io.Discard, &progress); code != 1 || !strings.Contains(progress.String(), "401") {
			t.Errorf("a wrong token: code %d\n%s", code, progress.String())
		}
	})
}

// smallLoad runs a load of 12 gateways and checks its result.
func smallLoad(t *testing.T, args ...string) loadResult {
	t.Helper()
	var out, progress bytes.Buffer
	if code := loadMain(t.Context(), args, &out, &progress); code != 0 {
		t.Fatalf("code %d\n%s", code, progress.String())
	}
	var res loadResult
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&stored{Want: 360, Found: 360}, res.Stored); d != "" {
		t.Errorf("stored (-want +got)\n%s", d)
	}
	for name, r := range map[string]*rate{"connect": res.Connect, "events": res.Events, "requests": res.Requests} {
		if r == nil || r.PerSecond <= 0 || r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Longest {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if res.Gateways != 12 || res.Hosts != 1 || res.Connect.Count != 12 || res.Requests.Count != 40 || len(res.Failures) > 0 {
		t.Errorf("%+v", res)
	}
	return res
}

package main

import (
	"crypto/tls"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"gatehouse/agent/swordfish"
	"gatehouse/agent/uplink"
)

// TestDoorFile: an agent takes door files from a host, their cards open, and cards
// of the operator open meanwhile.
func TestDoorFile(t *testing.T) {
	r := short(t, "doorfile")["doorfile_memory"]
	for _, name := range []string{"before_samples", "during_samples", "after_samples", "looks", "events", "rest_mib", "records_per_second"} {
		if r.number(t, name) <= 0 {
			t.Errorf("%s is %v", name, r.Detail[name])
		}
	}
	if n := r.number(t, "large_message_bytes"); n > 1<<20 || n < 1<<20-1<<16 {
		t.Errorf("the large message has %v bytes", n)
	}
	if r.Bar != 64 || r.number(t, "records") != 10_000 || r.number(t, "cards_of_files") != 4 || r.number(t, "peak_mib") <= r.number(t, "rest_mib") {
		t.Errorf("%+v", r)
	}
}

func newFileRun(t *testing.T, each int) *fileRun {
	t.Helper()
	cards, err := swordfish.NewCards(fileKey)
	if err != nil {
		t.Fatal(err)
	}
	return &fileRun{filesTask: filesTask{Doors: 3, Each: each}, cards: cards, host: &fileHost{}}
}

// TestDoorFileText: a file is one that the agent reads, its cards are those that are
// shown, and the large one nearly fills a message.
func TestDoorFileText(t *testing.T) {
	r := newFileRun(t, 10)
	r.Large, r.Dense = r.fits(uplink.MaxMessage), swordfish.MaxUserID
	seen := map[string]bool{}
	for file := range r.files() {
		first, n := r.first(file)
		var text strings.Builder
		r.write(&text, file)
		i := 0
		sum, err := swordfish.ReadFile(strings.NewReader(text.String()), swordfish.Options{Cards: r.cards}, func(_ swordfish.Op, n int, u *swordfish.User) error {
			block, err := cardBits(first + i).Block()
			if err != nil || u.Block != block || int(u.ID) != n || seen[string(block[:])] {
				t.Fatalf("file %d, record %d: user %d, another card or one twice, %v", file, n, u.ID, err)
			}
			seen[string(block[:])] = true
			i++
			return nil
		})
		if err != nil || !sum.DeleteAll || sum.Adds != n || i != n || sum.Implausible+len(sum.Ignored) > 0 || len(*sum.Schedules) != 1 {
			t.Fatalf("file %d: %d of %d, %+v, %v", file, i, n, sum, err)
		}
		if file < r.Doors {
			continue
		}
		frame, err := r.host.request("PUT", "/edgeDevices/dev00000/database", text.String())
		if err != nil || len(frame) > uplink.MaxMessage || file == r.Doors && len(frame) < uplink.MaxMessage*99/100 {
			t.Errorf("file %d: a message of %d bytes, %v", file, len(frame), err)
		}
	}
}

// TestFileHost: what is no success is an error.
func TestFileHost(t *testing.T) {
	for _, tt := range []struct{ name, status, body, want string }{
		{"refused", "400", `{"statusMessage":"add: record 7: crSch: is not known"}`, "record 7"},
		{"failed", "200", `{"downloadStatus":{"status":"failed"},"statusMessage":"user 3 has another card"}`, "user 3"},
		{"no status", "200", `{}`, "dev00000"},
		{"no JSON", "200", `?`, "invalid"},
		{"completed", "200", `{"downloadStatus":{"status":"completed"}}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := startFileHost()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := h.stop(); err != nil {
					t.Error(err)
				}
			}()
			ws := dialHost(t, h)
			defer ws.Close()
			if err := h.linked(t.Context()); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- h.completed(t.Context(), "dev00000") }()
			var req struct{ RequestID uint32 }
			for req.RequestID == 0 { // the subscription comes first
				if err := ws.ReadJSON(&req); err != nil {
					t.Fatal(err)
				}
			}
			a := fileAnswer{RequestID: req.RequestID}
			a.Response.Status, a.Response.Body = tt.status, tt.body
			for _, frame := range []any{json.RawMessage(`{"eventId":1,"event":{}}`), a} {
				if err := ws.WriteJSON(frame); err != nil {
					t.Fatal(err)
				}
			}
			err = <-done
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if n := h.events.Load(); n != 1 {
				t.Errorf("%d events", n)
			}
		})
	}
}

func dialHost(t *testing.T, h *fileHost) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: h.pool}, Subprotocols: []string{uplink.SubProtocol}}
	ws, resp, err := dialer.DialContext(t.Context(), "wss://"+h.addr+drainPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return ws
}

func TestMemoryPart(t *testing.T) {
	var p memoryPart
	for _, n := range []uint64{5, 3, 9, 4} {
		p.take(n)
	}
	if d := cmp.Diff(memoryPart{low: 3, high: 9, last: 4, looks: 4}, p, cmp.AllowUnexported(memoryPart{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

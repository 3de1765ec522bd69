package link_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// Only what is no envelope gets 400 and an unsigned line, and moves nothing.
func TestBadRequests(t *testing.T) {
	good := sign(t, "one", `{"badge":1052895,"item":"main_door"}`)
	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct{ name, body, want string }{
		{"empty", "", "not JSON (at byte 0)"},
		{"not JSON", "badge=1", "not JSON (at byte 0)"},
		{"cut short", good[:len(good)-1], ""},
		{"array", "[]", "not an object"},
		{"65 KiB", `{"device":"one","data":{"x":"` + strings.Repeat("x", 65<<10) + `"},"checksum":"00"}`, "larger than 64 KiB"},
		{"depth 17", `{"device":"one","data":{"x":` + nest(15) + `},"checksum":"00"}`, "deeper than 16 levels (at byte 42)"},
		{"duplicate members", `{"device":"one","device":"one","data":{},"checksum":"00"}`, "duplicate members (at byte 0)"},
		{"duplicate in data", `{"device":"one","data":{"a":1,"a":2},"checksum":"00"}`, "duplicate members (at byte 23)"},
		{"invalid UTF-8", "{\"device\":\"one\xff\",\"data\":{},\"checksum\":\"00\"}", "not UTF-8 (at byte 14)"},
		{"lone surrogate", `{"device":"\ud800","data":{},"checksum":"00"}`, "not UTF-8: a lone surrogate (at byte 11)"},
		{"device as an object", `{"device":{},"data":{},"checksum":"00"}`, "device is not text"},
		{"checksum as a number", `{"device":"one","data":{},"checksum":0}`, "checksum is not text"},
		{"data as text", `{"device":"one","data":"x","checksum":"00"}`, "data is not an object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			status, reply := post(t, newServer(t, w), tt.body)
			var got struct {
				Response *bool
				Data     string
				Version  int
			}
			if err := json.Unmarshal([]byte(reply), &got); err != nil || status != 400 || strings.Count(reply, "\n") != 1 || !strings.HasSuffix(reply, "\n") {
				t.Fatalf("status %d, %q: %v", status, reply, err)
			}
			if got.Response == nil || *got.Response || got.Version != 1 || tt.want != "" && got.Data != tt.want {
				t.Errorf("got %s, want %s", reply, tt.want)
			}
			if len(w.taken()) != 0 || w.state().Opened != 0 {
				t.Error("it left a trace")
			}
		})
	}
	// At the bounds both are an ordinary request.
	body := `{"device":"one","data":{"x":` + nest(14) + `},"checksum":"00"}`
	body += strings.Repeat(" ", hive.MaxBytes-len(body))
	if status, reply := post(t, newServer(t, newWorld()), body); status != 200 || !strings.Contains(reply, "Invalid checksum.") {
		t.Errorf("depth 16 in 64 KiB: %d %s", status, reply)
	}
}

func TestHTTP(t *testing.T) {
	w := newWorld()
	srv := httptest.NewServer(newServer(t, w).Handler())
	defer srv.Close()
	good := sign(t, "one", `{"badge":1052895,"item":"main_door"}`)
	send := func(method, mediaType string, body io.Reader) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+link.Path, body)
		if err != nil {
			t.Fatal(err)
		}
		if mediaType != "" {
			req.Header.Set("Content-Type", mediaType)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ContentLength != int64(len(b)) || resp.Header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("length %d of %d, headers %v", resp.ContentLength, len(b), resp.Header)
		}
		return resp, string(b)
	}
	for _, mediaType := range []string{"", "application/json", "text/plain; charset=x"} {
		resp, reply := send(http.MethodPost, mediaType, strings.NewReader(good))
		if got := verified(t, "one", reply); got["access"] != true || resp.StatusCode != 200 {
			t.Errorf("%q: %d %v", mediaType, resp.StatusCode, got)
		}
	}
	// Without a length (chunked), good and too large.
	if _, reply := send(http.MethodPost, "", io.MultiReader(strings.NewReader(good))); verified(t, "one", reply)["access"] != true {
		t.Errorf("chunked: %s", reply)
	}
	big := io.MultiReader(bytes.NewReader(make([]byte, 65<<10)))
	if resp, reply := send(http.MethodPost, "", big); resp.StatusCode != 400 || !strings.Contains(reply, "64 KiB") {
		t.Errorf("chunked and too large: %d %s", resp.StatusCode, reply)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if resp, _ := send(method, "", nil); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %d, allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
}

// A client that goes away does not leave an operation half done.
func TestClientGone(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := sign(t, "two", `{"badge":1052895,"item":"main_door","version":2,"nonce":"`+nonce(t, s, "two")+`"}`)
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, link.Path, strings.NewReader(body))
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	if got := verified(t, "two", rec.Body.String()); got["access"] != true || w.state().Opened != 1 {
		t.Errorf("got %v", got)
	}
	req = httptest.NewRequest(http.MethodPost, link.Path, io.MultiReader(strings.NewReader(body[:9]), failing{}))
	rec = httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	if rec.Code != 400 {
		t.Errorf("a body that broke off: %d", rec.Code)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// lock is a fake swordfish handler.
type lock struct {
	calls  []link.Call
	answer string
	err    error
	status int // 0: 207
}

func (l *lock) Call(_ context.Context, c link.Call) (int, []byte, error) {
	l.calls = append(l.calls, c)
	status := l.status
	if status == 0 {
		status = 207
	}
	return status, []byte(l.answer), l.err
}

func TestSwordfish(t *testing.T) {
	w := newWorld()
	l := &lock{}
	deps := w.deps()
	deps.Swordfish = l
	s, err := link.New(testConfig(), deps)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, data, answer string
		err                error
		want               obj
		calls              []link.Call
	}{
		{"no path", `{"operation":"swordfish","method":"GET"}`, "", nil,
			with("response", false, "error", "A call needs method, path and body."), nil},
		{"body is text", `{"operation":"swordfish","method":"GET","path":"/","body":"x"}`, "", nil,
			with("response", false, "error", "A call needs method, path and body."), nil},
		{"good", `{"operation":"SwordFish","method":"PUT","path":"/x","body":{"b":1.0}}`, `{"a":[1]}`, nil,
			with("status", 207.0, "body", obj{"a": []any{1.0}}), []link.Call{{Device: "two", Method: "PUT", Path: "/x", Body: []byte(`{"b":1.0}`)}}},
		{"no bodies", `{"operation":"swordfish","method":"GET","path":"/x"}`, "", nil,
			with("status", 207.0, "body", nil), []link.Call{{Device: "two", Method: "GET", Path: "/x"}}},
		{"fails", `{"operation":"swordfish","method":"GET","path":"/x"}`, "", errors.New("x"),
			with("response", false, "error", "Access denied", "reason", "fault"), []link.Call{{Device: "two", Method: "GET", Path: "/x"}}},
		{"answers nonsense", `{"operation":"swordfish","method":"GET","path":"/x"}`, "x", nil,
			with("response", false, "error", "Access denied", "reason", "fault"), []link.Call{{Device: "two", Method: "GET", Path: "/x"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l.calls, l.answer, l.err = nil, tt.answer, tt.err
			_, got := call(t, s, "two", strings.TrimSuffix(tt.data, "}")+`,"version":2,"nonce":"`+nonce(t, s, "two")+`"}`)
			newNonce(t, got)
			delete(got, "new_nonce")
			tt.want["nonce_valid"] = true
			if tt.name == "no bodies" {
				tt.want["body"] = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.calls, l.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSwordfishRefused: a call that its handler refuses, as of a reader that is no lock,
// gets its status in a signed reply; it is one fault event a minute and no error in the
// log. An error without such a status is the agent's own.
func TestSwordfishRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		errors int // lines of the log
		faults int
		want   obj
	}{
		{"not found", 404, 0, 1, with("nonce_valid", true, "response", false, "status", 404.0, "error", "The call was refused.")},
		{"its own failure", 500, 0, 1, with("nonce_valid", true, "response", false, "status", 500.0, "error", "The call was refused.")},
		{"an error of none", 200, 5, 0, with("nonce_valid", true, "response", false, "error", "Access denied", "reason", "fault")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			var out strings.Builder
			deps := w.deps()
			deps.Swordfish = &lock{status: tt.status, err: errors.New("no such lock")}
			deps.Log = slog.New(slog.NewTextHandler(&out, nil))
			s, err := link.New(testConfig(), deps)
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				_, got := call(t, s, "two", `{"operation":"swordfish","method":"GET","path":"/x","version":2,"nonce":"`+nonce(t, s, "two")+`"}`)
				newNonce(t, got)
				delete(got, "new_nonce")
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if n := strings.Count(out.String(), "level=ERROR"); n != tt.errors || tt.errors == 0 && out.Len() > 0 {
				t.Errorf("%d errors, want %d:\n%s", n, tt.errors, out.String())
			}
			var faults []site.Event
			for _, e := range w.taken() {
				if e.Kind == site.KindFault {
					faults = append(faults, e)
				}
			}
			if len(faults) != tt.faults || tt.faults > 0 && (faults[0].Device != "two" || faults[0].Text != "hive: swordfish call refused") {
				t.Errorf("%+v", faults)
			}
		})
	}
}

// TestSwordfishVersion1: the operation is none in version 1, also of a device that may
// speak both, and its handler hears nothing of it.
func TestSwordfishVersion1(t *testing.T) {
	deps := newWorld().deps()
	l := &lock{}
	deps.Swordfish = l
	s, err := link.New(testConfig(), deps)
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range []site.DeviceName{"one", "both"} {
		_, got := call(t, s, device, `{"operation":"swordfish","method":"GET","path":"/x"}`)
		if diff := cmp.Diff(with("operation_valid", false, "response", false, "error", "Invalid operation."), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", device, diff)
		}
	}
	if len(l.calls) > 0 {
		t.Errorf("%+v", l.calls)
	}
}

// FuzzHandler sends anything, as it is and signed as data of a device: never a
// panic, never a status of 500 or above, and nothing opens without the key.
func FuzzHandler(f *testing.F) {
	for _, data := range []string{
		`{"badge":1052895,"item":"main_door"}`, `{"operation":"vend","badge":1,"version":2,"nonce":"00"}`,
		`{"operation":"log","log_data":{"item":"main_door","temperature":71.2}}`,
		`{"option":"log","current_timestamp":9,"messages":[{"absolute_timestamp":5,"text":"x","level":1,"data":{"a":[]}}]}`,
		`{"operation":"soda_status","soda_status":[{"slot":1,"sold_out":1}],"http":true}`,
		`{"operation":"quiet_hours","random_response":{"b":1e400,"a":"\u00e9"}}`, `{"operation":"swordfish","method":"GET","path":"/"}`,
		`{"version":1e999,"badge":-0,"nonce":[],"operation":18446744073709551616}`,
	} {
		f.Add(sign(f, "one", data))
		f.Add(data)
	}
	w := newWorld()
	deps := w.deps()
	deps.Swordfish = &lock{answer: `{}`}
	s, err := link.New(testConfig(), deps)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if status, reply := post(t, s, text); status != 200 && status/100 != 4 || !json.Valid([]byte(reply)) {
			t.Fatalf("%d %s", status, reply)
		}
		v, err := hive.Parse([]byte(text))
		if err != nil || v.Kind() != hive.Object {
			return
		}
		for _, device := range []site.DeviceName{"one", "two", "both"} {
			body := `{"device":"` + string(device) + `","data":` + text + `,"checksum":"` + hive.Checksum(keys[device], hive.Canonical(v)) + `"}`
			status, reply := post(t, s, body)
			if status == 400 && strings.HasSuffix(reply, "\n") {
				continue // one level too deep, or too long
			}
			signed(t, device, reply)
		}
		w.taken()
	})
}

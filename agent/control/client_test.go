package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func nothing([]byte) error { return nil }

func decode[T any](t testing.TB, line []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return v
}

// dial serves a house on a unix socket and returns a client of it.
func dial(t testing.TB, h *house) *control.Client {
	t.Helper()
	return serve(t, control.Handler(h.parts()))
}

func serve(t testing.TB, handler http.Handler) *control.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	s.Start()
	t.Cleanup(s.Close)
	return control.Dial(path)
}

func TestClient(t *testing.T) {
	h := newHouse(t)
	c := dial(t, h)
	ctx := t.Context()
	var holder site.Holder
	if err := c.Do(ctx, http.MethodPost, "/v1/holders", map[string]string{"name": "Ada & Söhne/1?"}, &holder); err != nil {
		t.Fatal(err)
	}
	var view control.HolderView
	if err := c.Get(ctx, "/v1/holders/"+url.PathEscape(holder.Name), nil, &view); err != nil || view.ID != holder.ID {
		t.Errorf("%+v, %v", view, err)
	}
	err := c.Get(ctx, "/v1/holders/nobody", nil, &view)
	if refusal, ok := errors.AsType[*control.Refusal](err); !ok || !strings.Contains(refusal.Text, "nobody") {
		t.Errorf("refusal: %v", err)
	}
	var out strings.Builder
	if err := c.Copy(ctx, "/v1/credentials/export", url.Values{"format": {"csv"}}, &out); err != nil || !strings.HasPrefix(out.String(), "holder,") {
		t.Errorf("%q, %v", out.String(), err)
	}
	stop := errors.New("enough")
	if err := c.Stream(ctx, http.MethodGet, "/v1/holders", nil, nil, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stop: %v", err)
	}
	h.tailErr, h.events = errors.New("broken"), []site.Event{{Seq: 1}}
	lines := 0
	err = c.Stream(ctx, http.MethodGet, "/v1/events", nil, nil, func([]byte) error { lines++; return nil })
	if err == nil || err.Error() != "broken" || lines != 1 {
		t.Errorf("%d lines, %v", lines, err)
	}
}

func TestClientFollow(t *testing.T) {
	h := newHouse(t)
	h.events = []site.Event{{Seq: 1}}
	c := dial(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The first line arrives while the tail goes on.
	err := c.Stream(ctx, http.MethodGet, "/v1/events", url.Values{"follow": {"1"}}, nil, func([]byte) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNoAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	err := control.Dial(path).Get(t.Context(), "/v1/status", nil, nil)
	if !errors.Is(err, control.ErrNoAgent) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

// TestStrangeServer: an answer that is none of ours is an error, not a success.
func TestStrangeServer(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refusal":
			http.Error(w, "no", http.StatusTeapot)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"a":1}`+"\n")
		default:
			_, _ = io.WriteString(w, "hello")
		}
	}))
	var v map[string]any
	for _, path := range []string{"/refusal", "/cut", "/text"} {
		err := c.Get(t.Context(), path, nil, &v)
		if path == "/cut" { // one whole value came: a stream sees the cut
			err = c.Stream(t.Context(), http.MethodGet, path, nil, nil, nothing)
		}
		if err == nil || !strings.HasPrefix(err.Error(), "agent: ") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := c.Copy(t.Context(), "/cut", nil, io.Discard); err == nil {
		t.Error("half a file was taken for whole")
	}
}

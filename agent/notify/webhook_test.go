package notify_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
)

// connected is a place whose receiver uses real connections.
func connected(t *testing.T, cfg notify.Config) *place {
	p := newPlace(t, cfg)
	p.deps.Dial = nil
	return p
}

// trust makes the receivers of a place trust the certificate of a test server.
func (p *place) trust(s *httptest.Server) {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	p.deps.TLS = &tls.Config{RootCAs: pool}
}

// poll waits for goroutines that use real connections.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// A call over TLS, to the letter: the body, its signature and its headers.
func TestCall(t *testing.T) {
	d := &desk{}
	s := httptest.NewTLSServer(d)
	defer s.Close()
	p := connected(t, notify.Config{ID: "desk", Webhook: s.URL + "/hook?k=v", Secret: notify.Secret("sixteen letters!")})
	p.trust(s)
	p.start()
	at := time.Date(2026, 11, 21, 18, 4, 5, 123e6, time.UTC)
	p.log.Append(site.Event{Time: at, Kind: site.KindDoorHeld, Door: "front", Reader: "front-in", HolderID: "h1", Sealed: []byte("x"), Cleared: true})
	poll(t, "the call", func() bool { return len(d.got()) == 1 })
	c := d.tried()[0]
	mac := hmac.New(sha256.New, []byte("sixteen letters!"))
	mac.Write(c.raw)
	got := map[string]string{}
	for _, h := range []string{"Content-Type", "Idempotency-Key", "X-Gatehouse-Signature", "User-Agent"} {
		got[h] = c.header.Get(h)
	}
	want := map[string]string{"Content-Type": "application/json", "Idempotency-Key": serial + "/5f3a9c01/1",
		"X-Gatehouse-Signature": "sha256=" + hex.EncodeToString(mac.Sum(nil)), "User-Agent": "gatehouse"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	const body = `{"site":"Warehouse 7","serial":"` + serial + `","event":{"log":"5f3a9c01","seq":1,` +
		`"time":"2026-11-21T18:04:05.123Z","trusted":true,"kind":"door_held","door":"front","reader":"front-in","reason":"",` +
		`"holder":"Ada","card":"","by":"","source":"","cleared":true,"holder_id":"h1"}}`
	var indented bytes.Buffer
	if err := json.Indent(&indented, c.raw, "", " "); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(body, string(c.raw)); diff != "" {
		t.Errorf("body (-want +got):\n%s\n%s", diff, &indented)
	}
}

// A server whose certificate nobody vouches for gets nothing.
func TestUntrusted(t *testing.T) {
	d := &desk{}
	s := httptest.NewUnstartedServer(d)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	s.StartTLS()
	defer s.Close()
	p := connected(t, notify.Config{ID: "desk", Webhook: s.URL + "/hook/token"})
	r, _ := p.start()
	_, err := r.Test(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "token") {
		t.Errorf("Test = %v", err)
	}
	if len(d.tried()) != 0 {
		t.Error("an untrusted server was called")
	}
}

// Redirects that keep the call are followed on the same server only.
func TestRedirects(t *testing.T) {
	elsewhere := &desk{}
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	d := &desk{}
	mux := http.NewServeMux()
	mux.Handle("/hook", d)
	for path, code := range map[string]int{"301": 301, "302": 302, "303": 303, "307": 307, "308": 308} {
		mux.HandleFunc("/"+path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/hook", code) })
		mux.HandleFunc("/other/"+path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, code) })
	}
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	for path, want := range map[string]bool{"/307": true, "/308": true, "/301": false, "/302": false, "/303": false,
		"/other/301": false, "/other/302": false, "/other/307": false, "/other/308": false, "/loop": false} {
		before := len(d.tried())
		p := connected(t, notify.Config{ID: "desk", Webhook: s.URL + path, Secret: notify.Secret("k")})
		r, err := notify.New(p.cfg, p.deps)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Test(t.Context())
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "not followed") {
			t.Errorf("%s: %v", path, err)
		}
		if n := len(d.tried()) - before; (n == 1) != want {
			t.Errorf("%s: %d calls arrived", path, n)
		}
	}
	if len(elsewhere.tried()) != 0 {
		t.Error("another host was called")
	}
	for _, c := range d.tried() {
		if c.header.Get("X-Gatehouse-Signature") != notify.Sign([]byte("k"), c.raw) {
			t.Error("the call lost its signature on the way")
		}
	}
}

// An answer without end, and one that is only noise, do no harm.
func TestLongAnswer(t *testing.T) {
	wrote := make(chan int64, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/noise" {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, strings.Repeat("\x1b[31m\xff\u202e<b>", 1000))
			return
		}
		n, _ := io.Copy(w, io.LimitReader(zeros{}, 1<<30))
		wrote <- n
	}))
	defer s.Close()
	for path, check := range map[string]func(string, error) bool{
		"/endless": func(a string, err error) bool { return a == "200 OK" && err == nil },
		"/noise": func(_ string, err error) bool {
			return err != nil && len([]rune(err.Error())) < 400 && !strings.ContainsAny(err.Error(), "\x1b\u202e")
		},
	} {
		p := connected(t, notify.Config{ID: "desk", Webhook: s.URL + path})
		r, err := notify.New(p.cfg, p.deps)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := r.Test(t.Context()); !check(answer, err) {
			t.Errorf("%s: %q, %v", path, answer, err)
		}
	}
	if n := <-wrote; n > 64<<20 {
		t.Errorf("%d bytes were read", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Test ends with its context.
func TestCancelled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts and never answers
	for _, cfg := range []notify.Config{
		{ID: "desk", Webhook: "http://" + l.Addr().String()},
		{ID: "desk", Mail: []string{"a@site.example"}, SMTP: l.Addr().String()},
	} {
		p := connected(t, cfg)
		r, err := notify.New(p.cfg, p.deps)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = r.Test(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("Test = %v", err)
		}
	}
}

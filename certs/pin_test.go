package certs_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/certs"
	"gatehouse/certs/certstest"
)

type fixture struct {
	ca  *certstest.CA
	srv *certstest.Server
	cfg certs.Config
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ca := certstest.NewCA(t, "root one")
	srv := certstest.NewServer(t, siteKey(t), ca)
	return &fixture{ca: ca, srv: srv, cfg: certs.Config{
		URL: srv.URL, Key: siteKey(t), File: filepath.Join(t.TempDir(), "tls", "root.der"),
		Serial: [16]byte(unhex(t, "0000000000000000A0B1000000000206")),
	}}
}

func (f *fixture) load(t *testing.T) *certs.Pin {
	t.Helper()
	p, err := certs.Load(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// trusts reports whether the pin trusts a server certificate of the authority.
func trusts(t *testing.T, p *certs.Pin, ca *certstest.CA) bool {
	t.Helper()
	pool, _ := p.Current()
	return pool != nil && pool.Equal(ca.Pool())
}

func TestRefreshPins(t *testing.T) {
	f := newFixture(t)
	p := f.load(t)
	if pool, _ := p.Current(); pool != nil || p.Status().Pinned {
		t.Error("something is pinned before the first fetch")
	}
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := f.srv.Queries(), "serialNumber=AAAAAAAAAACgsQAAAAACBg==&hashType=primary&v=2"; len(got) != 1 || got[0] != want {
		t.Errorf("asked %q, want %s", got, want)
	}
	st, err := os.Stat(f.cfg.File)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("pinned file: %v, %v", st.Mode(), err)
	}
	for name, p := range map[string]*certs.Pin{"fetched": p, "read again": f.load(t)} {
		s := p.Status()
		if !trusts(t, p, f.ca) || !s.Pinned || s.Info.Subject != "CN=root one" || !s.Info.NotAfter.Equal(f.ca.Cert.NotAfter) || s.LastError != "" {
			t.Errorf("%s: %+v", name, s)
		}
		if time.Since(s.Info.Fetched).Abs() > time.Minute {
			t.Errorf("%s: fetched at %v", name, s.Info.Fetched)
		}
	}
	if p.Status().Checked.IsZero() {
		t.Error("no time of the fetch")
	}
}

func TestRefreshReplaces(t *testing.T) {
	f := newFixture(t)
	p := f.load(t)
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := certstest.NewCA(t, "root two")
	f.srv.Set(certstest.Behaviour{File: next.Cert.Raw})
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !trusts(t, p, next) || trusts(t, p, f.ca) || !trusts(t, f.load(t), next) {
		t.Error("the new root is not the only one")
	}
	if left, _ := filepath.Glob(f.cfg.File + "?*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestRefreshKeeps makes each fault of a CA server and wants the pinned root,
// the file and a useful error.
func TestRefreshKeeps(t *testing.T) {
	other := certstest.NewCA(t, "root of a stranger")
	past := certstest.NewCA(t, "old root", certstest.Valid(time.Now().AddDate(-2, 0, 0), time.Now().AddDate(-1, 0, 0)))
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	wrong := certs.Hash(make(certs.Key, 32), other.Cert.Raw)
	for _, tt := range []struct {
		name string
		b    certstest.Behaviour
		want string
		is   error
	}{
		{"wrong hash", certstest.Behaviour{File: other.Cert.Raw, Hash: wrong}, "compare the site key here and on the host", certs.ErrHash},
		{"hash of the example server", certstest.Behaviour{File: other.Cert.Raw, Hash: "0d6807e6dbac61481a8ff8b0dce95998"}, "32 characters", certs.ErrAnswer},
		{"answer is no JSON", certstest.Behaviour{Answer: text(200, "<html>")}, "not understood", certs.ErrAnswer},
		{"answer 404", certstest.Behaviour{Answer: text(404, "")}, "answers 404 Not Found, want 200", nil},
		{"answer huge", certstest.Behaviour{Answer: text(200, strings.Repeat(" ", certs.MaxAnswer+1))}, "more than 16384 bytes", nil},
		{"answer redirects", certstest.Behaviour{Answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		}}, `redirects to "http://elsewhere.example/"`, nil},
		{"file at no web address", certstest.Behaviour{File: other.Cert.Raw, CertURL: "file:///etc/passwd"}, "is not a URL with http:// or https://", certs.ErrAnswer},
		{"file 500", certstest.Behaviour{File: other.Cert.Raw, Deliver: text(500, "")}, "certificate file: ", nil},
		{"file huge", certstest.Behaviour{File: other.Cert.Raw, Deliver: text(200, strings.Repeat("x", certs.MaxFile+1))}, "more than 65536 bytes", nil},
		{"file cut", certstest.Behaviour{File: other.Cert.Raw, Deliver: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(other.Cert.Raw)))
			_, _ = w.Write(other.Cert.Raw[:100])
		}}, "unexpected EOF", nil},
		{"file altered", certstest.Behaviour{File: other.Cert.Raw, Deliver: text(200, "altered")}, "somebody altered the file", certs.ErrHash},
		{"file is no certificate", certstest.Behaviour{File: []byte("hello")}, "not understood", certs.ErrFile},
		{"file is PEM", certstest.Behaviour{File: []byte("-----BEGIN CERTIFICATE-----")}, "it is PEM", certs.ErrFile},
		{"expired, the pinned one is not", certstest.Behaviour{File: past.Cert.Raw}, "the pinned one has not", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			p := f.load(t)
			if err := p.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.srv.Set(tt.b)
			err := p.Refresh(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "the pinned root stays") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if !trusts(t, p, f.ca) || !trusts(t, f.load(t), f.ca) {
				t.Error("the pinned root is gone")
			}
			if s := p.Status(); err == nil || s.LastError != err.Error() || s.FailedAt.IsZero() {
				t.Errorf("status %+v", s)
			}
			f.srv.Set(certstest.Behaviour{File: f.ca.Cert.Raw})
			if err := p.Refresh(t.Context()); err != nil || p.Status().LastError != "" {
				t.Errorf("after the fault: %v, %+v", err, p.Status())
			}
		})
	}
}

func TestRefreshTakesOddForms(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(f *fixture)
	}{
		{"relative cert_url", func(f *fixture) {
			f.srv.Set(certstest.Behaviour{File: f.ca.Cert.Raw, CertURL: "file"})
		}},
		{"chunked file", func(f *fixture) {
			f.srv.Set(certstest.Behaviour{File: f.ca.Cert.Raw, Deliver: func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				_, _ = w.Write(f.ca.Cert.Raw)
			}})
		}},
		{"CA server with a query of its own", func(f *fixture) { f.cfg.URL += "?site=7" }},
		{"an expired first root", func(f *fixture) {
			f.cfg.Now = func() time.Time { return time.Now().AddDate(1, 0, 0) } // or a wrong clock
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			tt.set(f)
			p := f.load(t)
			if err := p.Refresh(t.Context()); err != nil || !trusts(t, p, f.ca) {
				t.Error(err)
			}
		})
	}
}

func TestRefreshGivesUp(t *testing.T) {
	f := newFixture(t)
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	f.srv.Set(certstest.Behaviour{File: f.ca.Cert.Raw, Deliver: hang})
	f.cfg.Timeout = 20 * time.Millisecond
	p := f.load(t)
	if err := p.Refresh(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no root is pinned") {
		t.Errorf("a server that hangs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := p.Status()
	if err := p.Refresh(ctx); !errors.Is(err, context.Canceled) || p.Status().LastError != before.LastError {
		t.Errorf("a caller that gave up: %v, %+v", err, p.Status())
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.cfg.URL = "http://" + nobody.Addr().String()
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.load(t).Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestRefreshByProxy(t *testing.T) {
	f := newFixture(t)
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		out, err := http.Get(r.URL.String())
		if err != nil {
			t.Error(err)
			return
		}
		_ = out.Write(hijack(t, w))
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	f.cfg.Proxy = http.ProxyURL(at)
	p := f.load(t)
	if err := p.Refresh(t.Context()); err != nil || !trusts(t, p, f.ca) {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 2 {
		t.Errorf("by the proxy: %q", asked)
	}
}

func hijack(t *testing.T, w http.ResponseWriter) net.Conn {
	t.Helper()
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRefreshAtTheSameTime(t *testing.T) {
	f := newFixture(t)
	p := f.load(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := p.Refresh(t.Context()); err != nil || !trusts(t, p, f.ca) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestPinCannotBeWritten(t *testing.T) {
	f := newFixture(t)
	p := f.load(t)
	if err := os.MkdirAll(f.cfg.File+".new/x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "pin: ") {
		t.Errorf("error %v", err)
	}
	if pool, _ := p.Current(); pool != nil {
		t.Error("a root that is not on disk is trusted")
	}
}

func TestLoad(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		name string
		set  func(*certs.Config)
		want string
	}{
		{"no URL", func(c *certs.Config) { c.URL = "" }, "want a URL with http://"},
		{"other scheme", func(c *certs.Config) { c.URL = "ftp://x/y" }, "want a URL with http://"},
		{"bad URL", func(c *certs.Config) { c.URL = "http://[" }, "CA server"},
		{"short key", func(c *certs.Config) { c.Key = c.Key[:16] }, "site key of 16 bytes"},
		{"no file", func(c *certs.Config) { c.File = "" }, "no file"},
		{"file is a folder", func(c *certs.Config) { c.File = t.TempDir() }, "pinned root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := f.cfg
			tt.set(&cfg)
			if _, err := certs.Load(cfg); !matches(err, tt.want) || err == nil {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestLoadDamaged(t *testing.T) {
	for name, content := range map[string][]byte{
		"cut": certstest.NewCA(t, "root").Cert.Raw[:99], "empty": {}, "huge": make([]byte, certs.MaxFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if err := os.MkdirAll(filepath.Dir(f.cfg.File), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.cfg.File, content, 0o600); err != nil {
				t.Fatal(err)
			}
			p := f.load(t)
			if pool, _ := p.Current(); pool != nil || !strings.Contains(p.Status().LastError, "damaged") {
				t.Errorf("status %+v", p.Status())
			}
			if b, err := os.ReadFile(f.cfg.File + ".damaged"); err != nil || len(b) != len(content) {
				t.Errorf("set aside: %d bytes, %v", len(b), err)
			}
			if err := p.Refresh(t.Context()); err != nil || !trusts(t, p, f.ca) || p.Status().LastError != "" {
				t.Errorf("fetched again: %v", err)
			}
		})
	}
}

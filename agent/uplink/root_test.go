package uplink_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
	"gatehouse/certs"
	"gatehouse/certs/certstest"
)

// TestRenewsAt401: new credentials at once, with another cipher text.
func TestRenewsAt401(t *testing.T) {
	w := newWorld(t)
	w.cfg.MinDelay, w.cfg.MaxDelay = time.Hour, time.Hour // not by trying again
	w.onUpgrade = func(n int, rw http.ResponseWriter) bool {
		if n == 1 {
			rw.WriteHeader(http.StatusUnauthorized)
		}
		return n == 1
	}
	w.run()
	w.conn(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls != 2 || len(w.tokens) != 2 {
		t.Errorf("%d calls with %d cipher texts", w.calls, len(w.tokens))
	}
}

// TestSameSecond: the clock stands still for a moment; no token repeats.
func TestSameSecond(t *testing.T) {
	w := newWorld(t)
	w.deps.Clock = func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }
	w.onUpgrade = func(n int, rw http.ResponseWriter) bool {
		if n == 1 {
			rw.WriteHeader(http.StatusUnauthorized)
		}
		return n == 1
	}
	w.run()
	w.conn(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls != 2 || len(w.tokens) != 2 {
		t.Errorf("%d calls with %d cipher texts", w.calls, len(w.tokens))
	}
}

// TestRootChanges: the host gets a certificate of another root.
func TestRootChanges(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.conn(0)
	for i, name := range []string{"root two", "root three"} {
		next := certstest.NewCA(t, name)
		w.use(next.Issue(t, []string{"127.0.0.1"}))
		w.caSrv.Set(certstest.Behaviour{File: next.Cert.Raw})
		w.dropAll()
		w.conn(i + 1)
		if _, info := w.pin.Current(); info.Subject != "CN="+name {
			t.Errorf("pinned: %s", info.Subject)
		}
	}
	if n := len(w.caSrv.Queries()); n != 3 {
		t.Errorf("the root was fetched %d times, want 3", n)
	}
}

// TestWrongRootRefused: the host changes, and the CA server offers what the
// site key does not vouch for. The old root stays, and it is asked only once
// however often the connection is tried; a command asks again.
func TestWrongRootRefused(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.conn(0)
	next := certstest.NewCA(t, "stranger")
	w.use(next.Issue(t, []string{"127.0.0.1"}))
	w.caSrv.Set(certstest.Behaviour{File: next.Cert.Raw, Hash: certs.Hash(make(certs.Key, 32), next.Cert.Raw)})
	w.dropAll()
	st := w.untilFailed(uplink.StageRoot)
	contains(t, "cause", st.Cause, "does not match the site key", "the pinned root stays")
	w.until(t, "tried again", func() bool { return w.client.Status().Attempts > 5 })
	if n := len(w.caSrv.Queries()); n != 2 || w.connCount() != 1 {
		t.Errorf("the root was fetched %d times, want 2; %d connections", n, w.connCount())
	}
	if _, info := w.pin.Current(); info.Subject != "CN=root one" {
		t.Errorf("pinned: %s", info.Subject)
	}
	w.caSrv.Set(certstest.Behaviour{File: next.Cert.Raw})
	w.until(t, "a command helps", func() bool { w.client.Kick(); return w.connCount() == 2 })
}

// proxyServer is a proxy that knows CONNECT.
func proxyServer(t *testing.T, want string) (*url.URL, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.Host)
		mu.Unlock()
		if r.Header.Get("Proxy-Authorization") != want {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		in, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(out, bufio.NewReader(buf)); _ = out.Close() }()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), asked...)
	}
}

func TestProxy(t *testing.T) {
	w := newWorld(t)
	at, asked := proxyServer(t, "Basic dXNlcjpwYXNz")
	at.User = url.UserPassword("user", "pass")
	w.cfg.Proxy = http.ProxyURL(at)
	w.run()
	w.conn(0).ask(1, "GET", "/", "")
	want := "CONNECT " + strings.TrimPrefix(w.srv.URL, "https://")
	if got := asked(); len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("the proxy was asked %q, want %q", got, want)
	}
	contains(t, "stage", fmt.Sprint(w.client.Status().Stages), "through proxy "+at.Host)
	if s := fmt.Sprintf("%+v", w.client.Status()); strings.Contains(s, "pass@") || strings.Contains(s, ":pass") {
		t.Errorf("status shows the proxy's password: %s", s)
	}
}

func TestProxyFails(t *testing.T) {
	at, _ := proxyServer(t, "Basic dXNlcjpwYXNz")
	talker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = talker.Close() })
	go func() {
		for {
			c, err := talker.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
		}
	}()
	for _, tt := range []struct {
		name, proxy   string
		stage         uplink.StageName
		cause, advice string
	}{
		{"no user", at.String(), uplink.StageTCP, "answers 407", "user and password"},
		{"not a proxy to us", "socks5://127.0.0.1:1080", uplink.StageDNS, "is not one with http://", "CONNECT"},
		{"nobody there", "http://127.0.0.1:1", uplink.StageTCP, "connection refused", "nothing listens"},
		{"speaks first", "http://" + talker.Addr().String(), uplink.StageTCP, "speaks before", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.proxy)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			w.cfg.Proxy = http.ProxyURL(u)
			w.run()
			st := w.untilFailed(tt.stage)
			contains(t, "cause", st.Cause, tt.cause)
			contains(t, "advice", st.Advice, tt.advice)
		})
	}
	w := newWorld(t)
	w.cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, errInjected }
	w.run()
	contains(t, "cause", w.untilFailed(uplink.StageDNS).Cause, "proxy: injected")
}

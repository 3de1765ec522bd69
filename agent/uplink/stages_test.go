package uplink_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
	"gatehouse/certs"
	"gatehouse/certs/certstest"
	"gatehouse/store/spool"
)

// TestFailures breaks each stage and wants its cause and what to do.
func TestFailures(t *testing.T) {
	answer := func(code int, header ...string) func(int, http.ResponseWriter) bool {
		return func(_ int, w http.ResponseWriter) bool {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	for _, tt := range []struct {
		name          string
		set           func(t *testing.T, w *world)
		stage         uplink.StageName
		cause, advice string
	}{
		{"unknown name", func(_ *testing.T, w *world) {
			w.cfg.ServerURL = "https://nowhere.invalid/engage_wss"
			w.deps.Network = network{look: func(n string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "no such host", Name: n, IsNotFound: true}
			}}
		}, uplink.StageDNS, "lookup nowhere.invalid: no such host", "check the host's name"},
		{"no DNS", func(_ *testing.T, w *world) {
			w.cfg.ServerURL = "https://nowhere.invalid/engage_wss"
			w.deps.Network = network{look: func(string) ([]netip.Addr, error) { return nil, errInjected }}
		}, uplink.StageDNS, "injected", "DNS server of this board"},
		{"no address", func(_ *testing.T, w *world) {
			w.cfg.ServerURL = "https://nowhere.invalid/engage_wss"
			w.deps.Network = network{look: func(string) ([]netip.Addr, error) { return nil, nil }}
		}, uplink.StageDNS, "no address", "check the host's name"},
		{"nobody listens", func(t *testing.T, w *world) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			w.cfg.ServerURL = "https://" + l.Addr().String() + "/engage_wss"
			_ = l.Close()
		}, uplink.StageTCP, "connection refused", "nothing listens there"},
		{"plain HTTP", func(t *testing.T, w *world) {
			s := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(s.Close)
			w.cfg.ServerURL = "https" + strings.TrimPrefix(s.URL, "http") + "/engage_wss"
		}, uplink.StageTLS, "first record does not look like a TLS handshake", "does not speak TLS"},
		{"old TLS", func(_ *testing.T, w *world) {
			w.srv.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{MaxVersion: tls.VersionTLS11, Certificates: []tls.Certificate{*w.cert.Load()}}, nil
			}
		}, uplink.StageTLS, "", "TLS 1.2 or later"},
		{"another's certificate", func(t *testing.T, w *world) {
			w.use(certstest.NewCA(t, "stranger").Issue(t, []string{"127.0.0.1"}))
		}, uplink.StageTLS, "unknown authority", "the pinned root did not sign"},
		{"self-signed", func(t *testing.T, w *world) {
			ca := certstest.NewCA(t, "self")
			w.use(ca.Issue(t, []string{"127.0.0.1"}))
		}, uplink.StageTLS, "unknown authority", "somebody may be in between"},
		{"wrong name", func(t *testing.T, w *world) {
			w.use(w.ca.Issue(t, []string{"iphost.example"}))
		}, uplink.StageTLS, "127.0.0.1", "the certificate is for other names"},
		{"expired", func(t *testing.T, w *world) {
			w.use(w.ca.Issue(t, []string{"127.0.0.1"}, certstest.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))))
		}, uplink.StageTLS, "expired", "check the clock of this board"},
		{"clock not trusted", func(_ *testing.T, w *world) {
			w.deps.Clock = func() site.Clock { return site.Clock{Now: time.Unix(w.ticks.Add(1), 0)} }
		}, uplink.StageTLS, "not yet valid", "clock is not trusted and says 1970-01-01"},
		{"no root", func(_ *testing.T, w *world) {
			w.caSrv.Set(certstest.Behaviour{Answer: func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404) }})
		}, uplink.StageRoot, "answers 404", "check uplink.ca_url"},
		{"wrong site key", func(_ *testing.T, w *world) {
			w.caSrv.Set(certstest.Behaviour{File: w.ca.Cert.Raw, Hash: certs.Hash(make(certs.Key, 32), w.ca.Cert.Raw)})
		}, uplink.StageRoot, "compare the site key", "compare the site key"},
		{"credentials 401", func(_ *testing.T, w *world) {
			w.onCredentials = answer(401, "Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		}, uplink.StageCredentials, "answers 401", "ahead of the host's"},
		{"credentials 403, clock behind", func(_ *testing.T, w *world) {
			w.onCredentials = answer(403, "Date", time.Now().Add(5*time.Hour).UTC().Format(http.TimeFormat))
		}, uplink.StageCredentials, "answers 403", "behind the host's"},
		{"credentials 401, clocks agree", func(_ *testing.T, w *world) {
			w.deps.Clock = nil
			w.onCredentials = answer(401)
		}, uplink.StageCredentials, "answers 401", "has the same site key; the clocks agree"},
		{"credentials 404", func(_ *testing.T, w *world) { w.onCredentials = answer(404) },
			uplink.StageCredentials, "answers 404", "/engage/newCredentials"},
		{"credentials 500", func(_ *testing.T, w *world) { w.onCredentials = answer(500) },
			uplink.StageCredentials, "answers 500", "the gateway tries on"},
		{"credentials 418", func(_ *testing.T, w *world) { w.onCredentials = answer(418) },
			uplink.StageCredentials, "answers 418", "look at the host's log"},
		{"redirect to plain HTTP", func(_ *testing.T, w *world) {
			w.onCredentials = answer(307, "Location", "http://127.0.0.1/engage/newCredentials")
		}, uplink.StageCredentials, `redirects to "http://127.0.0.1/engage/newCredentials", which is not followed`, "https"},
		{"a password that is none", func(_ *testing.T, w *world) {
			w.onCredentials = func(_ int, rw http.ResponseWriter) bool {
				_, _ = io.WriteString(rw, `{"pwd":"secret"}`)
				return true
			}
		}, uplink.StageCredentials, "the password has 16 characters", "does not speak ENGAGE"},
		{"headers without end", func(_ *testing.T, w *world) {
			w.onCredentials = func(_ int, rw http.ResponseWriter) bool {
				rw.Header().Set("X", strings.Repeat("x", 1<<20))
				return true
			}
		}, uplink.StageCredentials, "header", "log"},
		{"hangs up at credentials", func(_ *testing.T, w *world) {
			w.onCredentials = func(int, http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
		}, uplink.StageCredentials, "EOF", "hung up"},
		{"upgrade 404", func(_ *testing.T, w *world) { w.onUpgrade = answer(404) },
			uplink.StageUpgrade, "answers 404", "check the path"},
		{"upgrade 401 for ever", func(_ *testing.T, w *world) { w.onUpgrade = answer(401) },
			uplink.StageUpgrade, "answers 401", "serial number"},
		{"upgrade redirects", func(_ *testing.T, w *world) { w.onUpgrade = answer(301, "Location", "http://x/") },
			uplink.StageUpgrade, `redirects to "http://x/"`, "set that address"},
		{"upgrade headers without end", func(_ *testing.T, w *world) {
			w.onUpgrade = answer(200, "X", strings.Repeat("x", 1<<20))
		}, uplink.StageUpgrade, "more than 65536 bytes of header", "log"},
		{"hangs up at the upgrade", func(_ *testing.T, w *world) {
			w.onUpgrade = func(int, http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
		}, uplink.StageUpgrade, "EOF", "hung up"},
		{"another sub-protocol", func(_ *testing.T, w *world) {
			w.protocols, w.rewrite = []string{"engage.v1.edgedevice.allegion.com"}, true
		}, uplink.StageUpgrade, `"engage.v1.edgedevice.allegion.com"`, "that of gateways"},
		{"hangs up later", func(_ *testing.T, w *world) {
			w.onConn = func(hc *hostConn) { hc.drop() }
		}, uplink.StageUpgrade, "the connection ended", "hung up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(t, w)
			w.run()
			st := w.untilFailed(tt.stage)
			contains(t, "cause", st.Cause, tt.cause)
			contains(t, "advice", st.Advice, tt.advice)
			w.until(t, "tried again", func() bool { return w.client.Status().Attempts > 1 })
			contains(t, "last error", w.client.Status().LastError, tt.cause)
		})
	}
}

func TestNew(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name string
		set  func(*uplink.Config, *uplink.Deps)
		want string
	}{
		{"plain ws", func(c *uplink.Config, _ *uplink.Deps) { c.ServerURL = "ws://h/x" }, "want a URL with https://"},
		{"no URL", func(c *uplink.Config, _ *uplink.Deps) { c.ServerURL = "" }, "want a URL with https://"},
		{"bad URL", func(c *uplink.Config, _ *uplink.Deps) { c.ServerURL = "https://[" }, "server"},
		{"user in URL", func(c *uplink.Config, _ *uplink.Deps) { c.ServerURL = "https://u:secret@h/" }, "no user"},
		{"short key", func(c *uplink.Config, _ *uplink.Deps) { c.Key = c.Key[:31] }, "site key of 31 bytes"},
		{"no handler", func(_ *uplink.Config, d *uplink.Deps) { d.Handler = nil }, "a dependency is missing"},
		{"no cursor", func(_ *uplink.Config, d *uplink.Deps) { d.Events.EdgeDevice = nil }, "a dependency is missing"},
	} {
		cfg, deps := w.cfg, w.deps
		tt.set(&cfg, &deps)
		if _, err := uplink.New(cfg, deps); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestTriesAddressesInOrder: a name with several addresses, the first of which
// is dead; keep-alives as they are set.
func TestTriesAddressesInOrder(t *testing.T) {
	w := newWorld(t)
	w.use(w.ca.Issue(t, []string{"iphost.example"}))
	w.cfg.ServerURL = strings.Replace(w.url(), "127.0.0.1", "iphost.example", 1)
	w.cfg.KeepAlive = 7 * time.Second
	periods := make(chan time.Duration, 100)
	w.deps.Network = network{
		look: func(string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.99"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		},
		kept: func(d time.Duration) { periods <- d },
	}
	w.run()
	w.conn(0).ask(1, "GET", "/", "")
	w.stop()
	close(periods)
	n := 0
	for d := range periods {
		if n++; d != 7*time.Second {
			t.Errorf("keep-alive of %s", d)
		}
	}
	if n != 4 { // two addresses, for credentials and for the upgrade
		t.Errorf("%d dials, want 4", n)
	}
}

// TestStopsAtOnce: nobody waits for the next attempt.
func TestStopsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.cfg.MinDelay, w.cfg.MaxDelay = time.Hour, time.Hour
	w.onCredentials = func(_ int, rw http.ResponseWriter) bool { rw.WriteHeader(500); return true }
	w.run()
	w.until(t, "it waits", func() bool { return !w.client.Status().NextTry.IsZero() })
	w.stop() // fails if Run does not end
	if w.client.String() != "uplink" {
		t.Error(w.client.String())
	}
	<-w.client.Ready()
}

// TestStopsWhileHostHangs: the end of ctx is not held up by a silent host.
func TestStopsWhileHostHangs(t *testing.T) {
	for _, where := range []string{"credentials", "upgrade"} {
		t.Run(where, func(t *testing.T) {
			w := newWorld(t)
			hang, reached := make(chan struct{}), make(chan struct{}, 1)
			t.Cleanup(func() { close(hang) })
			f := func(int, http.ResponseWriter) bool { reached <- struct{}{}; <-hang; return true }
			if where == "upgrade" {
				w.onUpgrade = f
			} else {
				w.onCredentials = f
			}
			w.run()
			<-reached
			w.stop()
		})
	}
}

// TestRealLog sends from the event log itself.
func TestRealLog(t *testing.T) {
	log, _, err := spool.Open(spool.Config{Dir: filepath.Join(t.TempDir(), "events"), Budget: 16 << 20}, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, log.Close()); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.deps.Events.Log = log
	w.deps.Events.Gateway, w.deps.Events.EdgeDevice = log.Cursor("uplink.gateway"), log.Cursor("uplink.edgeDevice")
	add := func(n int) {
		for range n {
			log.Append(site.Event{Kind: site.KindDoorOpened, Time: time.Now()})
		}
	}
	add(700)
	w.run()
	w.untilEvents(700)
	w.dropAll()
	add(700)
	w.until(t, "acknowledged", func() bool { return log.Cursor("uplink.edgeDevice").Position() == 1400 })
	wantOrder(t, w.got(), 1, 1400)
	w.stop()
	n := len(w.got())
	add(1)
	w.run()
	if got := w.untilEvents(n + 1); got[n].id != 1401 {
		t.Errorf("after a restart: %d", got[n].id)
	}
}

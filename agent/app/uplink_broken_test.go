package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/certs"
	"gatehouse/certs/certstest"
)

// selfSigned makes a certificate that nobody but its own key vouches for.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func code(status int, header ...string) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

// endless answers without end, as a body or as headers.
func endless(body bool) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return true
		}
		defer conn.Close()
		piece := strings.Repeat("X-More: "+strings.Repeat("x", 500)+"\r\n", 64)
		_, err = conn.Write([]byte("HTTP/1.1 200 OK\r\n" + map[bool]string{true: "Connection: close\r\n\r\n", false: ""}[body]))
		for err == nil {
			_, err = conn.Write([]byte(piece))
		}
		return true
	}
}

type brokenLink struct {
	name                 string
	set                  func(t *testing.T, h *ipHost, s *testSite)
	stage, cause, advice string
	mend                 func(h *ipHost) // nil: it wants other settings
}

// brokenLinks breaks each stage.
var brokenLinks = []brokenLink{
	{"unknown name", func(_ *testing.T, h *ipHost, s *testSite) {
		s.uplink("https://"+strings.Repeat("x", 64)+".example/engage_wss", h.caSrv.URL) // no such name can be
	}, "dns", "no such host", "check the host's name", nil},
	{"nobody listens", func(_ *testing.T, h *ipHost, _ *testSite) { h.away() }, "tcp", "connection refused", "nothing listens there", func(h *ipHost) { h.back() }},
	{"no TLS", func(t *testing.T, h *ipHost, s *testSite) {
		plain := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(plain.Close)
		s.uplink("https"+strings.TrimPrefix(plain.URL, "http")+"/engage_wss", h.caSrv.URL)
	}, "tls", "does not look like a TLS handshake", "does not speak TLS", nil},
	{"expired certificate", func(t *testing.T, h *ipHost, _ *testSite) {
		h.use(h.ca.Issue(t, []string{"127.0.0.1"}, certstest.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))))
	}, "tls", "expired", "check the clock of this board", renewCert},
	{"self-signed certificate", func(t *testing.T, h *ipHost, _ *testSite) { h.use(selfSigned(t)) }, "tls", "unknown authority", "the pinned root did not sign", renewCert},
	{"another authority's certificate", func(t *testing.T, h *ipHost, _ *testSite) {
		h.use(certstest.NewCA(t, "stranger").Issue(t, []string{"127.0.0.1"}))
	}, "tls", "unknown authority", "somebody may be in between", renewCert},
	{"wrong name", func(t *testing.T, h *ipHost, _ *testSite) { h.use(h.ca.Issue(t, []string{"iphost.example"})) }, "tls", "127.0.0.1", "for other names", renewCert},
	{"no CA server", func(_ *testing.T, h *ipHost, _ *testSite) {
		h.caSrv.Set(certstest.Behaviour{Answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }})
	}, "root", "answers 404", "check uplink.ca_url", goodRoot},
	{"wrong root hash", func(_ *testing.T, h *ipHost, _ *testSite) {
		h.caSrv.Set(certstest.Behaviour{File: h.ca.Cert.Raw, Hash: certs.Hash(make(certs.Key, 32), h.ca.Cert.Raw)})
	}, "root", "site key", "compare the site key", goodRoot},
	{"root answer without end", func(_ *testing.T, h *ipHost, _ *testSite) {
		h.caSrv.Set(certstest.Behaviour{Answer: func(w http.ResponseWriter, _ *http.Request) { endless(true)(w) }})
	}, "root", "root from", "check uplink.ca_url", goodRoot},
	{"root file without end", func(_ *testing.T, h *ipHost, _ *testSite) {
		h.caSrv.Set(certstest.Behaviour{File: h.ca.Cert.Raw, Deliver: func(w http.ResponseWriter, _ *http.Request) { endless(true)(w) }})
	}, "root", "root from", "check uplink.ca_url", goodRoot},
	{"credentials refused", func(_ *testing.T, h *ipHost, _ *testSite) { h.onCredentials = code(401) }, "credentials", "answers 401", "same site key", goodHost},
	{"redirect to plain HTTP", func(_ *testing.T, h *ipHost, _ *testSite) {
		h.onCredentials = code(307, "Location", "http://127.0.0.1/engage/newCredentials")
	}, "credentials", "which is not followed", "https", goodHost},
	{"password without end", func(_ *testing.T, h *ipHost, _ *testSite) { h.onCredentials = endless(true) }, "credentials", "password", "does not speak ENGAGE", goodHost},
	{"headers without end", func(_ *testing.T, h *ipHost, _ *testSite) { h.onCredentials = endless(false) }, "credentials", "header", "log", goodHost},
	{"no such path", func(_ *testing.T, h *ipHost, _ *testSite) { h.onUpgrade = code(404) }, "upgrade", "answers 404", "check the path", goodHost},
	{"password refused", func(_ *testing.T, h *ipHost, _ *testSite) { h.onUpgrade = code(401) }, "upgrade", "answers 401", "serial number", goodHost},
	{"upgrade redirects", func(_ *testing.T, h *ipHost, _ *testSite) {
		h.onUpgrade = code(301, "Location", "http://127.0.0.1/")
	}, "upgrade", "redirects to", "set that address", goodHost},
	{"upgrade without end", func(_ *testing.T, h *ipHost, _ *testSite) { h.onUpgrade = endless(false) }, "upgrade", "header", "log", goodHost},
}

func renewCert(h *ipHost) { h.use(h.ca.Issue(h.t, []string{"127.0.0.1"})) }
func goodRoot(h *ipHost)  { h.caSrv.Set(certstest.Behaviour{File: h.ca.Cert.Raw}) }
func goodHost(h *ipHost) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onCredentials, h.onUpgrade = nil, nil
}

// TestUplinkBroken breaks each stage of the link. Status and doctor name it, its
// cause and what to do; doors go on, memory stays, and when it is mended the link
// comes back.
func TestUplinkBroken(t *testing.T) {
	for _, tt := range brokenLinks {
		t.Run(tt.name, func(t *testing.T) {
			h := newIPHost(t)
			s := uplinkSite(t, h)
			tt.set(t, h, s)
			rose := heap()
			r := s.start()
			r.enrol("Ada,H10301,77,1568,front")
			same := r.unmoved()
			var failed control.UplinkStage
			patiently(t, "stage "+tt.stage+" fails", func() bool {
				u := r.status().Uplink
				if u == nil || u.Failed == nil {
					return false
				}
				failed = *u.Failed
				return true
			})
			if failed.Name != tt.stage || !strings.Contains(failed.Cause, tt.cause) || !strings.Contains(failed.Do, tt.advice) {
				t.Errorf("%+v, want stage %s, cause %s, advice %s", failed, tt.stage, tt.cause, tt.advice)
			}
			var findings []control.Finding
			r.must(r.client.Get(t.Context(), "/v1/doctor", nil, &findings))
			if !slices.ContainsFunc(findings, func(f control.Finding) bool {
				return f.Wrong && strings.HasSuffix(f.What, "IP host: "+tt.stage) && strings.Contains(f.Cause, tt.cause) && strings.Contains(f.Do, tt.advice)
			}) {
				t.Errorf("doctor does not say it: %+v", findings)
			}
			same.check(tt.name)
			if got := rose(); got > drainMemory {
				t.Errorf("the heap rose by %d MiB", got>>20)
			}
			if tt.mend != nil {
				tt.mend(h)
				r.kick()
				r.linked()
				r.must(r.client.Get(t.Context(), "/v1/doctor", nil, &findings))
				if slices.ContainsFunc(findings, func(f control.Finding) bool { return strings.Contains(f.What, "IP host") }) {
					t.Errorf("doctor after it was mended: %+v", findings)
				}
			}
		})
	}
}

// TestUplinkRoot lists and fetches the root: one with a wrong hash keeps the old
// one and says so, one of a new authority is fetched by itself when TLS fails, and
// it is there after a restart.
func TestUplinkRoot(t *testing.T) {
	h := newIPHost(t)
	s := uplinkSite(t, h)
	r := s.start()
	r.linked()
	root := func() control.CertStatus {
		t.Helper()
		var list []control.CertStatus
		r.must(r.client.Get(t.Context(), "/v1/certs", nil, &list))
		if len(list) != 2 || list[0].Name != "site" || list[1].Name != "iphost root" {
			t.Fatalf("certificates %+v", list)
		}
		return list[1]
	}
	first := root()
	if !strings.Contains(first.Subject, "iphost root") || len(first.SHA256) != 64 || first.Error != "" || first.Until.IsZero() || first.Fetched.IsZero() {
		t.Errorf("%+v", first)
	}
	if info, err := os.Stat(filepath.Join(s.dir, "root.der")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the pinned file: %v %v", info, err)
	}
	other := certstest.NewCA(t, "other root")
	h.caSrv.Set(certstest.Behaviour{File: other.Cert.Raw, Hash: certs.Hash(make(certs.Key, 32), other.Cert.Raw)})
	if err := r.ask(http.MethodPost, "/v1/certs/root/fetch", nil, nil); !refused(err) || !strings.Contains(err.Error(), "site key") || !strings.Contains(err.Error(), "the pinned root stays") {
		t.Errorf("fetch of a root with a wrong hash: %v", err)
	}
	if got := root(); got.SHA256 != first.SHA256 || !strings.Contains(got.Error, "site key") || !r.status().Uplink.Connected {
		t.Errorf("after a wrong hash: %+v", got)
	}
	h.caSrv.Set(certstest.Behaviour{File: other.Cert.Raw})
	h.ca = other
	renewCert(h)
	h.drop()
	patiently(t, "the new root", func() bool { return root().SHA256 != first.SHA256 })
	r.linked()
	second := root()
	if second.Error != "" || !strings.Contains(second.Subject, "other root") {
		t.Errorf("%+v", second)
	}
	r.stop()
	queries := len(h.caSrv.Queries())
	r = s.start()
	r.linked()
	if got := root(); got.SHA256 != second.SHA256 || len(h.caSrv.Queries()) != queries {
		t.Errorf("after a restart: %+v, fetched %d times", got, len(h.caSrv.Queries())-queries)
	}
	r.kick()
	if len(h.caSrv.Queries()) != queries+1 {
		t.Error("a fetch on command did not fetch")
	}
}

// TestUplinkNoSettings: without an uplink a fetch is refused, and without a site
// key doctor says what is missing; the doors open.
func TestUplinkNoSettings(t *testing.T) {
	s := newTestSite(t)
	r := s.start()
	if err := r.ask(http.MethodPost, "/v1/certs/root/fetch", nil, nil); !refused(err) || !strings.Contains(err.Error(), "no uplink") {
		t.Errorf("fetch: %v", err)
	}
	if u := r.status().Uplink; u != nil {
		t.Errorf("status %+v", u)
	}
	r.stop()
	s.configure(testSettings + "uplink: {server_url: \"https://127.0.0.1:1/engage_wss\", ca_url: \"http://127.0.0.1:1/\"}\n")
	r = s.start()
	r.enrol("Ada,H10301,77,1568,front")
	var findings []control.Finding
	r.must(r.client.Get(t.Context(), "/v1/doctor", nil, &findings))
	if !slices.ContainsFunc(findings, func(f control.Finding) bool {
		return f.Wrong && strings.Contains(f.What+f.Cause, "site key") && strings.Contains(f.Do, "site.key_file")
	}) {
		t.Errorf("doctor: %+v", findings)
	}
	r.unmoved().check("no site key")
}

// TestUplinkLinksDamaged: without its link numbers the gateway does not serve, so
// that no door gets another one's rights; doctor says so and the doors open.
func TestUplinkLinksDamaged(t *testing.T) {
	h := newIPHost(t)
	s := uplinkSite(t, h)
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.linked()
	r.stop()
	if err := os.WriteFile(filepath.Join(s.dir, "gateway.json"), []byte(`{"links":7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	r.unmoved().check("damaged links")
	if status, _ := r.https("GET", "/gateway/time", r.addToken(bothScopes).Token); status != 404 {
		t.Errorf("local HTTPS: %d", status)
	}
	var findings []control.Finding
	r.must(r.client.Get(t.Context(), "/v1/doctor", nil, &findings))
	if u := r.status().Uplink; u == nil || u.Connected || !slices.ContainsFunc(findings, func(f control.Finding) bool {
		return f.Wrong && strings.Contains(f.What, "gateway.open") && strings.Contains(f.Do, "backup")
	}) {
		t.Errorf("status %+v, doctor %+v", u, findings)
	}
	if err := r.ask(http.MethodPost, "/v1/certs/root/fetch", nil, nil); !refused(err) {
		t.Errorf("fetch: %v", err)
	}
}

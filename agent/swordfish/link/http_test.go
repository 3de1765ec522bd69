package link_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/swordfish/link"
)

// TestStatuses: each call of engage.md section 5 with each status, and the bytes of
// the answer: HTTP/1.1, Content-Length, no chunks, no body and no type where there
// is none to be.
func TestStatuses(t *testing.T) {
	good := auth(serial1, start)
	stranger := auth("0000000000000000A100000000009999", start)
	padded := func(n int) string { // a Config of n bytes
		s := `{"name":"room","pad":"`
		return s + strings.Repeat("x", n-len(s)-2) + `"}`
	}
	audits := uploadOf("05020000 20260302115900")
	tests := []struct {
		name, method, path, auth, body string
		want                           int
		kind                           string
	}{
		{"an unknown path", "GET", "/swordfish/lock/other", good, "", 404, ""},
		{"a path below db", "GET", "/swordfish/lock/db/0/1", good, "", 404, ""},
		{"the prefix alone", "GET", "/swordfish/lock/", good, "", 404, ""},
		{"a wrong method of Config", "POST", "/swordfish/lock/Config", good, "{}", 405, ""},
		{"a wrong method of db", "PUT", "/swordfish/lock/db/0", good, "", 405, ""},
		{"HEAD of db", "HEAD", "/swordfish/lock/db/0", good, "", 405, ""},
		{"a wrong method of audit", "GET", "/swordfish/lock/audit", good, "", 405, ""},
		{"no token", "GET", "/swordfish/lock/db/0", "", "", 401, ""},
		{"a token without a serial", "GET", "/swordfish/lock/db/0", "Device bm90aGluZw==", "", 401, ""},
		{"another scheme", "GET", "/swordfish/lock/db/0", "Basic " + good[7:], "", 401, ""},
		{"a lock that is not named", "GET", "/swordfish/lock/db/0", stranger, "", 404, ""},
		{"Config of a lock that is not named", "PUT", "/swordfish/lock/Config", stranger, "{}", 404, ""},
		{"a Config", "PUT", "/swordfish/lock/Config", good, `{"name":"x"}`, 200, ""},
		{"a Config that is no JSON", "PUT", "/swordfish/lock/Config", good, `{"name"`, 400, ""},
		{"a Config without a body", "PUT", "/swordfish/lock/Config", good, "", 400, ""},
		{"a Config of 1 MiB", "PUT", "/swordfish/lock/Config", good, padded(1 << 20), 200, ""},
		{"a Config of 1 MiB and 1", "PUT", "/swordfish/lock/Config", good, padded(1<<20 + 1), 413, ""},
		{"a full door file", "GET", "/swordfish/lock/db/0", good, "", 200, "application/json"},
		{"a version that is not known", "GET", "/swordfish/lock/db/0X08D1707D1EBCB056", good, "", 200, "application/json"},
		{"a version that is none", "GET", "/swordfish/lock/db/yesterday", good, "", 400, ""},
		{"no version", "GET", "/swordfish/lock/db/", good, "", 400, ""},
		{"audits the first time", "POST", "/swordfish/lock/audit", good, audits, 201, ""},
		{"the same audits later", "POST", "/swordfish/lock/audit", good, audits, 202, ""},
		{"no audits", "POST", "/swordfish/lock/audit", good, `{"audits":[]}`, 202, ""},
		{"audits that are none", "POST", "/swordfish/lock/audit", good, `[]`, 400, ""},
		{"audits without a body", "POST", "/swordfish/lock/audit", good, "", 400, ""},
		{"audits of 10 MiB", "POST", "/swordfish/lock/audit", good, padded(10 << 20), 413, ""},
		{"an alert", "POST", "/swordfish/lock/alert", good, `{"event":"07000000","time":"20260302120000"}`, 200, ""},
		{"an alert again", "POST", "/swordfish/lock/alert", good, `{"event":"07000000","time":"20260302120000"}`, 200, ""},
		{"an alert that is none", "POST", "/swordfish/lock/alert", good, `{}`, 400, ""},
		{"an alert that is too large", "POST", "/swordfish/lock/alert", good, padded(1<<20 + 1), 413, ""},
		{"the certificate", "GET", "/swordfish/lock/certificates/current", good, "", 200, "application/json"},
		{"another certificate", "GET", "/swordfish/lock/certificates/0123456789abcdef.der", "", "", 404, ""},
	}
	w := newWorld(t)
	w.policy.set("room5", 1, 2, 3)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.raw(request(tt.method, tt.path, tt.auth, tt.body))
			if a.status != tt.want {
				t.Fatalf("status %d, want %d", a.status, tt.want)
			}
			if !strings.HasPrefix(a.head, fmt.Sprintf("HTTP/1.1 %d ", tt.want)) {
				t.Errorf("head %q", a.head)
			}
			if tt.method != "HEAD" && !strings.Contains(a.head, fmt.Sprintf("\r\nContent-Length: %d", len(a.body))) {
				t.Errorf("no Content-Length of %d in %q", len(a.body), a.head)
			}
			if strings.Contains(a.head, "Transfer-Encoding") {
				t.Errorf("chunked: %q", a.head)
			}
			if got := a.header.Get("Content-Type"); got != tt.kind {
				t.Errorf("type %q, want %q", got, tt.kind)
			}
			if (a.body != "") != (tt.kind != "") {
				t.Errorf("body %q", a.body)
			}
			known := tt.auth == good && tt.want != 405 && (tt.want != 404 || tt.kind != "")
			if got := a.header.Get("X-Device-Last-Connected"); known && got != "20260302120000" || !known && got != "" {
				t.Errorf("X-Device-Last-Connected %q", got)
			}
			if allow := a.header.Get("Allow"); (allow != "") != (tt.want == 405) {
				t.Errorf("Allow %q", allow)
			}
		})
	}
}

// TestOtherVersionsOfHTTP: HTTP/1.1 only.
func TestOtherVersionsOfHTTP(t *testing.T) {
	w := newWorld(t)
	if a := w.raw("GET /swordfish/lock/db/0 HTTP/1.0\r\nAuthorization: " + auth(serial1, start) + "\r\n\r\n"); a.status != 505 || a.body != "" {
		t.Errorf("HTTP/1.0: %d", a.status)
	}
}

// TestChunkedRequests: a lock that sends chunks is understood, and held to the limit.
func TestChunkedRequests(t *testing.T) {
	w := newWorld(t)
	head := "POST /swordfish/lock/audit HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: " + auth(serial1, start) + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	body := uploadOf("05020000 20260302115900")
	if a := w.raw(head + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)); a.status != 201 {
		t.Errorf("chunks: %d", a.status)
	}
	long := strings.Repeat(" ", 1<<20)
	if a := w.raw(head + fmt.Sprintf("%x\r\n%s%s\r\n0\r\n\r\n", len(body)+len(long), long, body)); a.status != 413 {
		t.Errorf("long chunks: %d", a.status)
	}
	if n := len(w.log.audits()); n != 1 {
		t.Errorf("%d audits", n)
	}
}

// TestConfigIsKept: as it came, also over a restart, and what a refused one says is not.
func TestConfigIsKept(t *testing.T) {
	w := newWorld(t)
	if _, err := w.srv.Params("room5"); !errors.Is(err, link.ErrNoConfig) {
		t.Errorf("before the first: %v", err)
	}
	if _, err := w.srv.Params("room9"); !errors.Is(err, link.ErrUnknownLock) {
		t.Errorf("no lock: %v", err)
	}
	const text = `{ "name":"Room 5", "dvcProfile":{"baseType":"nde"}, "odd":[1,{"a":null}] }`
	if a := w.call(serial1, "PUT", "/swordfish/lock/Config", text); a.status != 200 {
		t.Fatal(a.status)
	}
	if a := w.call(serial1, "PUT", "/swordfish/lock/Config", `{"name":`); a.status != 400 {
		t.Fatal(a.status)
	}
	for range 2 {
		got, err := w.srv.Params("room5")
		if err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
		w.open()
	}
}

// TestCertificates: section 4's answer, by the name and scheme that the lock used,
// with a hash that this test computes itself; and the file at that address.
func TestCertificates(t *testing.T) {
	w := newWorld(t)
	a := w.raw(request("GET", "/swordfish/lock/certificates/current", auth(serial1, start), ""))
	mac := hmac.New(sha1.New, siteKey)
	mac.Write(w.der)
	sum := sha256.Sum256(w.der)
	path := "/swordfish/lock/certificates/" + hex.EncodeToString(sum[:8]) + ".der"
	want := `{"cert_url":"http://agent.test:8080` + path + `","hash":"` + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + `"}`
	if a.body != want {
		t.Errorf("got %s\nwant %s", a.body, want)
	}
	d := w.raw(request("GET", path, "", ""))
	if d.status != 200 || d.body != string(w.der) || d.header.Get("Content-Type") != "application/octet-stream" || !strings.Contains(d.head, fmt.Sprintf("\r\nContent-Length: %d", len(w.der))) {
		t.Errorf("der: %q %q", d.head, d.body)
	}
	w.der = nil
	if a := w.call(serial1, "GET", "/swordfish/lock/certificates/current", ""); a.status != 404 {
		t.Errorf("without a certificate: %d", a.status)
	}
}

// TestNothingToServe: no site key or no policy is 503, and tells nothing.
func TestNothingToServe(t *testing.T) {
	w := newWorld(t, func(c *link.Config) { c.SiteKey = nil })
	for _, path := range []string{"/swordfish/lock/db/0", "/swordfish/lock/certificates/current"} {
		if a := w.call(serial1, "GET", path, ""); a.status != 503 || a.body != "" {
			t.Errorf("%s without a key: %d", path, a.status)
		}
	}
	w.upload(201, "05020000 20260302115900")
	w.cfg.Auth = link.AuthEnforce
	w.open()
	w.upload(503, "05020000 20260302115901")

	w = newWorld(t)
	w.policy.err = errors.New("no store")
	if a := w.call(serial1, "GET", "/swordfish/lock/db/0", ""); a.status != 503 || a.body != "" {
		t.Errorf("without a policy: %d", a.status)
	}
}

// TestSerialCalls: the same answers on a line, which needs no token; no certificate.
func TestSerialCalls(t *testing.T) {
	w := newWorld(t)
	w.policy.set("cellar", 7)
	lock := &testLock{}
	tests := []struct {
		name, method, path, body string
		want                     int
		hasBody                  bool
	}{
		{"config", "PUT", "/swordfish/lock/Config", "{}", 200, false},
		{"db", "GET", "/swordfish/lock/db/0?x=1", "", 200, true},
		{"audit", "POST", "/swordfish/lock/audit", uploadOf("05020000 20260302115900"), 201, false},
		{"audit again", "POST", "/swordfish/lock/audit", uploadOf("05020000 20260302115900"), 202, false},
		{"alert", "POST", "/swordfish/lock/alert", `{"event":"07000000","time":"20260302120000"}`, 200, false},
		{"certificate", "GET", "/swordfish/lock/certificates/current", "", 404, false},
		{"der", "GET", "/swordfish/lock/certificates/0123456789abcdef.der", "", 404, false},
		{"other path", "GET", "/elsewhere", "", 404, false},
		{"other method", "GET", "/swordfish/lock/audit", "", 405, false},
		{"too large", "POST", "/swordfish/lock/audit", strings.Repeat(" ", 1<<20+1), 413, false},
		{"malformed", "POST", "/swordfish/lock/audit", "{", 400, false},
	}
	for _, tt := range tests {
		status, out, err := w.srv.Call(t.Context(), "line1", tt.method, tt.path, []byte(tt.body))
		if err != nil || status != tt.want || (len(out) > 0) != tt.hasBody {
			t.Errorf("%s: %d %q %v", tt.name, status, out, err)
		}
		if tt.hasBody {
			if err := lock.store(string(out)); err != nil {
				t.Error(err)
			}
		}
	}
	if got := lock.holds(); len(got) != 1 || got[0] != 7 {
		t.Errorf("the lock holds %v", got)
	}
	if _, _, err := w.srv.Call(t.Context(), "line9", "GET", "/swordfish/lock/db/0", nil); !errors.Is(err, link.ErrUnknownLock) {
		t.Errorf("no lock: %v", err)
	}
	if e := w.log.audits(); len(e) != 2 || e[0].Device != "line1" || e[0].Door != "cellar" {
		t.Errorf("events %v", e)
	}
}

// TestPendingLocks: locks that are not named are listed, at most 64, and move nothing.
func TestPendingLocks(t *testing.T) {
	w := newWorld(t)
	for i := range 70 {
		w.pass(1)
		w.callAs(fmt.Sprintf("192.0.2.%d:1", i), auth(fmt.Sprintf("%032X", 0xB0+i), start), "GET", "/swordfish/lock/db/0", "")
	}
	w.pass(1)
	w.callAs("192.0.2.9:1", auth(fmt.Sprintf("%032X", 0xB0+69), start), "GET", "/swordfish/lock/db/0", "")
	a := w.callAs("192.0.2.9:1", auth(serial3, start), "GET", "/swordfish/lock/db/0", "")
	p := w.srv.Pending()
	if a.status != 404 || slices.ContainsFunc(p, func(p link.Pending) bool { return p.Serial == serial3 }) {
		t.Errorf("a lock on a line, which has a name, is listed or answered %d over HTTP", a.status)
	}
	if len(p) != 64 || p[0].Serial != fmt.Sprintf("%032X", 0xB0+69) || p[0].Calls != 2 || p[0].Address != "192.0.2.9" || !p[0].First.Before(p[0].Last) {
		t.Errorf("%d pending, first %+v", len(p), p[0])
	}
	if len(w.log.events) != 0 || w.policy.asked != 0 {
		t.Errorf("a lock that is not named moved something")
	}
}

package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// sealed puts the checksum before a file's body.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append([]byte(hex.EncodeToString(sum[:])+"\n"), body...)
}

type closed struct{}

func (closed) Check(Use) (Grant, error) { return Grant{}, errors.New("no file") }

func TestBearer(t *testing.T) {
	w := newWorld(t)
	read, _ := w.add("reader")
	write, _ := w.add("writer", ScopeGatewayControl)
	dead, issued := w.add("dead")
	if _, err := w.Revoke(issued.ID); err != nil {
		t.Fatal(err)
	}
	var reached string
	h := Bearer(w, "gatehouse", ByMethod(ScopeGateway, ScopeGatewayControl), nil)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		g, ok := From(r.Context())
		if !ok || r.Header.Get("Authorization") != "" {
			t.Errorf("grant %v, header %q", ok, r.Header.Get("Authorization"))
		}
		reached = g.Name
	}))
	bearer := func(token Token) []string { return []string{"Bearer " + token.Reveal()} }
	for _, tt := range []struct {
		name, method string
		header       []string
		status       int
		who          string
		challenge    string
	}{
		{"read", "GET", bearer(read), 200, "reader", ""},
		{"head", "HEAD", bearer(read), 200, "reader", ""},
		{"lower case", "GET", []string{"bearer  " + read.Reveal()}, 200, "reader", ""},
		{"write", "PUT", bearer(write), 200, "writer", ""},
		{"write with a reader's", "PUT", bearer(read), 403, "", `error="insufficient_scope", error_description="the token lacks the scope gateway-control", scope="gateway-control"`},
		{"delete with a reader's", "DELETE", bearer(read), 403, "", `error="insufficient_scope"`},
		{"another method", "PROPFIND", bearer(read), 403, "", `error="insufficient_scope"`},
		{"read with a writer's", "GET", bearer(write), 403, "", `scope="gateway"`},
		{"nothing", "GET", nil, 401, "", `Bearer realm="gatehouse"`},
		{"basic", "GET", []string{"Basic YTpi"}, 401, "", `Bearer realm="gatehouse"`},
		{"no token", "GET", []string{"Bearer"}, 400, "", `error="invalid_request"`},
		{"empty token", "GET", []string{"Bearer "}, 401, "", `error="invalid_token"`},
		{"two", "GET", []string{"Bearer " + read.Reveal(), "Bearer x"}, 400, "", `error="invalid_request"`},
		{"revoked", "GET", bearer(dead), 401, "", `error="invalid_token", error_description="the token was revoked at 2026-11-21T12:00:00Z"`},
		{"rubbish", "GET", []string{`Bearer "\` + "\x7f"}, 401, "", `error_description="the token is malformed"`},
	} {
		reached = ""
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "/gateway/deviceInfo?access_token="+read.Reveal(), strings.NewReader("access_token="+read.Reveal()))
		r.Header["Authorization"] = tt.header
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		got := rec.Header().Get("WWW-Authenticate")
		if rec.Code != tt.status || reached != tt.who || !strings.Contains(got, tt.challenge) || (tt.challenge == "") != (got == "") {
			t.Errorf("%s: %d, reached %q, %s", tt.name, rec.Code, reached, got)
		}
		if tt.status != 200 && rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be stored", tt.name)
		}
		if strings.Contains(rec.Body.String(), "eyJ") {
			t.Errorf("%s: %s", tt.name, rec.Body)
		}
		if tt.name == "nothing" && strings.Contains(got, "error") {
			t.Errorf("an error where nothing was sent: %s", got)
		}
	}
	rec := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/gateway/", nil)
	r.Header["Authorization"] = bearer(read)
	Bearer(closed{}, "x", ByMethod(ScopeGateway, ScopeGateway), nil)(h).ServeHTTP(rec, r)
	if rec.Code != http.StatusServiceUnavailable || strings.Contains(rec.Body.String(), "no file") {
		t.Errorf("tokens that cannot be checked: %d %s", rec.Code, rec.Body)
	}
}

// TestBearerDeny: BACnet answers in its own words.
func TestBearerDeny(t *testing.T) {
	w := newWorld(t)
	token, _ := w.add("bms")
	deny := func(w http.ResponseWriter, _ *http.Request, why *Refusal) {
		switch {
		case why == nil:
			http.Error(w, "? 1 not authenticated", http.StatusUnauthorized)
		case why.Cause == CauseScope:
			http.Error(w, "? 58 insufficient scope", http.StatusUnauthorized)
		}
	}
	h := Bearer(w, "bacnet", ByMethod(ScopeBACnet, ScopeBACnet), deny)(http.NotFoundHandler())
	for header, want := range map[string]string{"": "? 1 ", "Bearer " + token.Reveal(): "? 58 "} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/bacnetws/.info", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != 401 || !strings.HasPrefix(rec.Body.String(), want) || !strings.HasPrefix(rec.Header().Get("WWW-Authenticate"), `Bearer realm="bacnet"`) {
			t.Errorf("%d %s %s", rec.Code, rec.Body, rec.Header())
		}
	}
}

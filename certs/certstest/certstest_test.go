package certstest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // the hash of the protocol
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/certs"
	"gatehouse/certs/certstest"
)

// A certificate that an authority issues is good for its names, under that
// authority alone, and for as long as it was told.
func TestIssue(t *testing.T) {
	ca, other := certstest.NewCA(t, "root"), certstest.NewRSACA(t, "other root", 2048)
	leaf, err := x509.ParseCertificate(ca.Issue(t, []string{"127.0.0.1", "host.example"}).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, host string
		roots      *x509.CertPool
		at         time.Time
		want       bool
	}{
		{"an address", "127.0.0.1", ca.Pool(), time.Now(), true},
		{"a name", "host.example", ca.Pool(), time.Now(), true},
		{"another name", "other.example", ca.Pool(), time.Now(), false},
		{"another authority", "host.example", other.Pool(), time.Now(), false},
		{"a year later", "host.example", ca.Pool(), time.Now().AddDate(1, 0, 0), false},
	} {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: tt.host, Roots: tt.roots, CurrentTime: tt.at})
		if (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if long := certstest.NewCA(t, "root", certstest.Padding(500)); len(long.Cert.Raw) < len(ca.Cert.Raw)+500 {
		t.Errorf("padded by %d bytes, want 500", len(long.Cert.Raw)-len(ca.Cert.Raw))
	}
}

// The server names its file with the hash of engage.md section 4, delivers it,
// notes who asked, and misbehaves as it is told.
func TestServer(t *testing.T) {
	key := certs.Key(bytes.Repeat([]byte{7}, 32))
	ca := certstest.NewCA(t, "root")
	s := certstest.NewServer(t, key, ca)
	get := func(url string, status int) []byte {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%s: %s, %v", url, resp.Status, err)
		}
		return body
	}
	const query = "serialNumber=AAAAAAAAAACgsQAAAAACBg==&hashType=primary&v=2"
	var a struct {
		URL  string `json:"cert_url"`
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(get(s.URL+"?"+query, http.StatusOK), &a); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(ca.Cert.Raw)
	if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); a.Hash != want {
		t.Errorf("hash %s, want %s", a.Hash, want)
	}
	if got := get(a.URL, http.StatusOK); !bytes.Equal(got, ca.Cert.Raw) {
		t.Errorf("a file of %d bytes, want the certificate", len(got))
	}
	get(s.URL+"?serialNumber=x", http.StatusBadRequest)
	s.Set(certstest.Behaviour{File: ca.Cert.Raw, Hash: "wrong", Deliver: http.NotFound})
	if got := get(s.URL+"?"+query, http.StatusOK); !strings.Contains(string(got), "wrong") {
		t.Errorf("answer %s, want the wrong hash", got)
	}
	get(a.URL, http.StatusNotFound)
	if got := s.Queries(); len(got) != 3 || got[0] != query {
		t.Errorf("queries %q", got)
	}
}

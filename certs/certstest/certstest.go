// Package certstest has what tests of the root certificate and of the uplink
// need: a certificate authority that makes real certificates, and a CA server
// (protocols/engage.md, section 4) that works, notes who asked, and can be told
// to misbehave.
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/certs"
)

// CA is a certificate authority.
type CA struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// Option changes a certificate before it is signed.
type Option func(*x509.Certificate)

// Valid sets the time that a certificate is good for.
func Valid(from, to time.Time) Option {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// Padding makes a certificate n bytes longer, for tests of size limits.
func Padding(n int) Option {
	return func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{strings.Repeat("x", n)} }
}

// NewCA makes an authority with an ECDSA P-256 key, good for a day around now.
func NewCA(tb testing.TB, name string, opts ...Option) *CA {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return newCA(tb, name, key, opts)
}

// NewRSACA makes an authority with an RSA key.
func NewRSACA(tb testing.TB, name string, bits int, opts ...Option) *CA {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return newCA(tb, name, key, opts)
}

func newCA(tb testing.TB, name string, key crypto.Signer, opts []Option) *CA {
	tb.Helper()
	tmpl := template(tb, name)
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	return &CA{Cert: sign(tb, tmpl, nil, key.Public(), key, opts), key: key}
}

// Issue makes a server certificate for names and addresses.
func (ca *CA) Issue(tb testing.TB, names []string, opts ...Option) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := template(tb, "server")
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	leaf := sign(tb, tmpl, ca.Cert, key.Public(), ca.key, opts)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Pool returns a pool of this authority alone.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

func template(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-12 * time.Hour), NotAfter: now.Add(12 * time.Hour),
	}
}

// sign makes a certificate; without a parent it is self-signed.
func sign(tb testing.TB, tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer, opts []Option) *x509.Certificate {
	tb.Helper()
	for _, o := range opts {
		o(tmpl)
	}
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Behaviour is what a Server does. The zero value, but for File, works.
type Behaviour struct {
	File []byte // the certificate file

	Answer  http.HandlerFunc // in place of the answer
	Deliver http.HandlerFunc // in place of the certificate file
	Hash    string           // in place of the right hash
	CertURL string           // in place of the server's own
}

// Server is a CA server on loopback.
type Server struct {
	URL string // of the question

	srv *httptest.Server
	key certs.Key

	mu      sync.Mutex
	now     Behaviour
	queries []string
}

// NewServer starts a CA server that hands out the authority's certificate. It
// ends with the test.
func NewServer(tb testing.TB, key certs.Key, ca *CA) *Server {
	tb.Helper()
	s := &Server{key: key, now: Behaviour{File: ca.Cert.Raw}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /engage/newCA/current", s.answer)
	mux.HandleFunc("GET /engage/newCA/file", s.deliver)
	s.srv = httptest.NewServer(mux)
	s.URL = s.srv.URL + "/engage/newCA/current"
	tb.Cleanup(s.srv.Close)
	return s
}

// Set changes what the server does from now on.
func (s *Server) Set(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = b
}

// Queries returns the raw queries of all questions so far.
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.queries...)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.queries = append(s.queries, r.URL.RawQuery)
	b := s.now
	s.mu.Unlock()
	if b.Answer != nil {
		b.Answer(w, r)
		return
	}
	if _, err := certs.ParseQuery(r.URL.RawQuery); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := certs.Answer{CertURL: b.CertURL, Hash: b.Hash}
	if a.CertURL == "" {
		a.CertURL = s.srv.URL + "/engage/newCA/file"
	}
	if a.Hash == "" {
		a.Hash = certs.Hash(s.key, b.File)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(a.Encode())
}

func (s *Server) deliver(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	b := s.now
	s.mu.Unlock()
	if b.Deliver != nil {
		b.Deliver(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(b.File)))
	_, _ = w.Write(b.File)
}

package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"gatehouse/tools/iphost/bus"
)

// authority makes certificates for routes on the loopback.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, a.cert = a.make(&x509.Certificate{Subject: pkix.Name{CommonName: "routes"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// make signs a certificate; the first one signs itself.
func (a *authority) make(c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, parsed
}

// routes is TLS in both directions, as the command line makes it.
func (a *authority) routes() *tls.Config {
	a.t.Helper()
	key, cert := a.make(&x509.Certificate{Subject: pkix.Name{CommonName: "host"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRoutes: two hosts join when each trusts the other and knows the secret,
// and else not.
func TestRoutes(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes seconds to form")
	}
	ours, other := newAuthority(t), newAuthority(t)
	for _, tt := range []struct {
		name string
		a, b bus.Cluster // without addresses
		join bool
	}{
		{"a host without TLS", bus.Cluster{TLS: ours.routes()}, bus.Cluster{}, false},
		{"another CA", bus.Cluster{TLS: ours.routes()}, bus.Cluster{TLS: other.routes()}, false},
		{"another secret", bus.Cluster{Secret: "one secret"}, bus.Cluster{Secret: "another secret"}, false},
		{"TLS and another secret", bus.Cluster{TLS: ours.routes(), Secret: "one secret"}, bus.Cluster{TLS: ours.routes(), Secret: "another secret"}, false},
		{"TLS", bus.Cluster{TLS: ours.routes()}, bus.Cluster{TLS: ours.routes()}, true},
		{"TLS and the secret", bus.Cluster{TLS: ours.routes(), Secret: "one secret"}, bus.Cluster{TLS: ours.routes(), Secret: "one secret"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limit := 4 * time.Second
			if tt.join {
				limit = 60 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			tt.a.Listen, tt.b.Listen = freeAddr(t), freeAddr(t)
			tt.a.Routes, tt.b.Routes = []string{tt.b.Listen}, []string{tt.a.Listen}
			opened, leave := make(chan error, 2), make(chan struct{})
			var wg sync.WaitGroup
			for name, c := range map[string]*bus.Cluster{"a": &tt.a, "b": &tt.b} {
				dir := t.TempDir()
				wg.Go(func() {
					b, err := bus.Open(ctx, bus.Config{Dir: dir, Name: name, Cluster: c})
					opened <- err
					if err == nil {
						<-leave // the other one needs it
						b.Close()
					}
				})
			}
			for range 2 {
				if err := <-opened; (err == nil) != tt.join {
					t.Errorf("joined %t, want %t: %v", err == nil, tt.join, err)
				}
			}
			close(leave)
			wg.Wait()
		})
	}
}

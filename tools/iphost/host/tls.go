package host

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/tools/iphost/registry"
)

// TLS is the host's certificate: the owner's, or one of the CA that the hosts
// share when CertFile is empty.
type TLS struct {
	// CertFile is the owner's certificate and its chain, KeyFile its key; PEM.
	CertFile, KeyFile string
	// RootFile is the root that gateways shall trust; empty: the chain's last
	// certificate, which must then be self-signed.
	RootFile string
	// Names are the host names and addresses of a certificate of the own CA;
	// empty: the machine's name, localhost and the loopback addresses.
	Names []string
}

// Life of what the own CA makes.
const (
	rootLife  = 20 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
	leafRenew = 30 * 24 * time.Hour // before its end
	backdate  = 24 * time.Hour      // for gateways whose clock is late
)

// keyBits is what vendor devices take (section 4).
const keyBits = 2048

// maxChain is the most bytes of a chain that vendor devices take (section 4).
const maxChain = 4096

// certificates returns the listeners' TLS and shares the root with all hosts.
func (h *Host) certificates(ctx context.Context) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var root []byte
	if h.cfg.TLS.CertFile != "" || h.cfg.TLS.KeyFile != "" {
		cert, der, err := h.cfg.TLS.load()
		if err != nil {
			return nil, err
		}
		h.warnVendor(cert)
		changed, err := h.reg.ShareOwners(ctx, der)
		if err != nil {
			return nil, err
		}
		if changed {
			h.cfg.Log.Warn("the root certificate is another one now: gateways fetch it when their pinned one fails")
		}
		c.Certificates, root = []tls.Certificate{cert}, der
	} else {
		own, err := h.reg.ShareOwn(ctx, newRoot)
		if err != nil {
			return nil, err
		}
		l := &leaf{root: own, names: h.cfg.TLS.Names}
		if _, err := l.get(time.Now()); err != nil {
			return nil, err
		}
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.get(time.Now()) }
		root = own.DER
	}
	path := filepath.Join(h.cfg.Dir, "root.pem")
	if err := os.WriteFile(path, []byte(rootPEM(root)), 0o644); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	return c, nil
}

// load reads the owner's files.
func (t TLS) load() (tls.Certificate, []byte, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return cert, nil, fmt.Errorf("host: certificate: %w", err)
	}
	der := cert.Certificate[len(cert.Certificate)-1]
	if t.RootFile != "" {
		if der, err = readRoot(t.RootFile); err != nil {
			return cert, nil, err
		}
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return cert, nil, fmt.Errorf("host: root certificate: %w", err)
	}
	if t.RootFile == "" && !bytes.Equal(root.RawIssuer, root.RawSubject) {
		return cert, nil, fmt.Errorf("host: %s ends with a certificate that is not self-signed: name the root that gateways shall trust", t.CertFile)
	}
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	pool.AddCert(root)
	for _, d := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(d); err == nil {
			between.AddCert(c)
		}
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between}); err != nil {
		return cert, nil, fmt.Errorf("host: %s does not lead to the root that gateways would trust: %w", t.CertFile, err)
	}
	return cert, der, nil
}

// readRoot reads a certificate, PEM or DER.
func readRoot(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("host: root certificate: %w", err)
	}
	if p, _ := pem.Decode(b); p != nil {
		b = p.Bytes
	}
	if _, err := x509.ParseCertificate(b); err != nil {
		return nil, fmt.Errorf("host: root certificate %s: %w", path, err)
	}
	return b, nil
}

// warnVendor says what vendor devices do not take (section 4).
func (h *Host) warnVendor(cert tls.Certificate) {
	size := 0
	for _, d := range cert.Certificate {
		size += len(d)
	}
	if size > maxChain {
		h.cfg.Log.Warn("vendor devices take chains of 4096 bytes at most", "bytes", size)
	}
	if k, ok := cert.Leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > keyBits {
		h.cfg.Log.Warn("vendor devices take RSA of 2048 bits at most", "bits", k.N.BitLen())
	}
}

// newRoot makes the CA that the hosts share.
func newRoot() (registry.Root, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return registry.Root{}, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: "iphost CA " + rand.Text()[:6]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(rootLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return registry.Root{}, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	return registry.Root{DER: der, Key: raw}, err
}

// leaf is this host's certificate of the own CA. It lives in memory and is made
// again before it ends.
type leaf struct {
	root  registry.Root
	names []string

	mu   sync.Mutex // guards following
	cert *tls.Certificate
}

func (l *leaf) get(now time.Time) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cert != nil && now.Before(l.cert.Leaf.NotAfter.Add(-leafRenew)) {
		return l.cert, nil
	}
	cert, err := l.make(now)
	if err != nil {
		return nil, fmt.Errorf("host: certificate: %w", err)
	}
	l.cert = cert
	return cert, nil
}

func (l *leaf) make(now time.Time) (*tls.Certificate, error) {
	ca, err := x509.ParseCertificate(l.root.DER)
	if err != nil {
		return nil, err
	}
	caKey, err := x509.ParsePKCS8PrivateKey(l.root.Key)
	if err != nil {
		return nil, err
	}
	signer, ok := caKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the CA's key cannot sign")
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	names, err := l.hostNames()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, err
}

func (l *leaf) hostNames() ([]string, error) {
	if len(l.names) > 0 {
		return l.names, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return []string{name, "localhost", "127.0.0.1", "::1"}, nil
}

// serialNumber is 127 random bits.
func serialNumber() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// rootPEM is a certificate as people's programs read it.
func rootPEM(der []byte) string {
	if der == nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

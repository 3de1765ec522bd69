package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// selfSignedYears is long because nothing renews this certificate: it stands in
// until the site CA exists, and who connects pins it.
const selfSignedYears = 20

// siteCertificate loads STATE/tls/site.pem, or makes it at the first start: a
// self-signed certificate with an ECDSA P-256 key, or where there are Wi-Fi locks an
// RSA one, for the host's names and its addresses at that time. One file holds key and certificate, so that half of it can never be
// there; it is written whole and then renamed.
func siteCertificate(stateDir, siteName string, locks bool, now time.Time) (tls.Certificate, error) {
	path := filepath.Join(stateDir, "tls", "site.pem")
	data, err := os.ReadFile(path)
	if err == nil {
		cert, err := tls.X509KeyPair(data, data)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("certificate %s: %w", path, err)
		}
		return cert, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	key, err := newKey(locks)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	if data, err = selfSigned(siteName, now, key); err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	if err := writeFileSync(path, data, 0o600); err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	return tls.X509KeyPair(data, data)
}

// newKey makes the key of a site's certificate. Vendor locks take RSA keys of up to
// 2048 bits only (engage.md section 4).
func newKey(locks bool) (crypto.Signer, error) {
	if locks {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// lockWarning says why vendor locks would not take a certificate; empty: they would.
func lockWarning(cert *tls.Certificate) string {
	key, ok := cert.PrivateKey.(*rsa.PrivateKey)
	size := 0
	for _, der := range cert.Certificate {
		size += len(der)
	}
	if ok && key.N.BitLen() <= 2048 && size <= 4096 {
		return ""
	}
	return "Wi-Fi locks may not take the site's certificate: they take RSA keys of up to 2048 bits and chains of up to 4096 bytes"
}

func selfSigned(siteName string, now time.Time, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "gatehouse"
	}
	// A board without a battery starts in 1970: begin no later than the day
	// this was written, so that the certificate is valid once time is known.
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if now.Before(from) {
		now = from
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: host, Organization: []string{siteName}},
		NotBefore:    from,
		NotAfter:     now.AddDate(selfSignedYears, 0, 0),
		DNSNames:     []string{host, "localhost"},
		IPAddresses:  append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, ownAddresses()...),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), nil
}

// ownAddresses are those of this machine at this moment: locks are given an address,
// not a name. Without any the certificate has the names alone.
func ownAddresses() (out []net.IP) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, n.IP)
		}
	}
	return out
}

// writeFileSync replaces path by data in one step: after a power cut the file
// is the old one or the new one. It makes the folder (0700) when there is none.
func writeFileSync(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

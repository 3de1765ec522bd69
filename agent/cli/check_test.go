package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes a self-signed one that ends then: in DER, and with its key in PEM.
func certificate(t *testing.T, until time.Time) (der, both []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "site"}, NotBefore: until.AddDate(-1, 0, 0), NotAfter: until}
	if der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return der, append(both, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
}

// TestCheckState: check looks at the keys and certificates of the state folder too.
func TestCheckState(t *testing.T) {
	good, goodPEM := certificate(t, time.Now().AddDate(0, 6, 0))
	over, overPEM := certificate(t, time.Now().AddDate(0, 0, -1))
	const key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	for _, tt := range []struct {
		name, file string
		data       string
		mode       os.FileMode
		want       int
		text       string
	}{
		{"nothing is there before the first start", "other", "x", 0o600, 0, ""},
		{"a good device key", "device.key", key + "\n", 0o600, 0, ""},
		{"a device key that others may read", "device.key", key, 0o644, 0, "warning: state_dir: DIR/device.key: has mode 0644"},
		{"a damaged device key", "device.key", key[1:], 0o600, 1, "error: state_dir: DIR/device.key: "},
		{"a good certificate", "tls/site.pem", string(goodPEM), 0o600, 0, ""},
		{"a certificate whose key others may read", "tls/site.pem", string(goodPEM), 0o640, 0, "warning: state_dir: DIR/tls/site.pem: has mode 0640"},
		{"a damaged certificate", "tls/site.pem", "garbage\n", 0o600, 1, "error: state_dir: DIR/tls/site.pem: tls: "},
		{"a certificate without its key", "tls/site.pem", strings.Split(string(goodPEM), "-----BEGIN PRIVATE")[0], 0o600, 1, "error: state_dir: DIR/tls/site.pem: tls: "},
		{"a certificate that is over", "tls/site.pem", string(overPEM), 0o600, 0, "warning: state_dir: DIR/tls/site.pem: the certificate CN=site is not valid now"},
		{"a folder in its place", "tls/site.pem/x", "", 0o600, 1, "error: state_dir: DIR/tls/site.pem: "},
		{"a good root", "root.der", string(good), 0o644, 0, ""},
		{"a damaged root, which is fetched again", "root.der", "garbage", 0o600, 0, "warning: state_dir: DIR/root.der: "},
		{"a root that is over", "root.der", string(over), 0o600, 0, "warning: state_dir: DIR/root.der: the certificate CN=site is not valid now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range map[string]string{"sitekey": key, "gatehouse.yaml": strings.Replace(settings, "timezone: UTC}", "timezone: UTC, key_file: sitekey}", 1) +
				"uplink: {server_url: \"https://iphost.example:8080/engage_wss\", ca_url: \"http://iphost.example:8081/ca\"}\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, tt.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.data), tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			code, stdout, stderr := run(t.Context(), "check", "--config", filepath.Join(dir, "gatehouse.yaml"))
			text := strings.ReplaceAll(stdout, dir, "DIR")
			if code != tt.want || stderr != "" || !strings.Contains(text, tt.text) || tt.text == "" && strings.Contains(text, "state_dir") {
				t.Errorf("%d %s%s", code, text, stderr)
			}
			if strings.Contains(text, key[1:20]) {
				t.Error("the key is shown")
			}
		})
	}
}

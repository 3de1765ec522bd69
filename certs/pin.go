package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// DefaultTimeout bounds one Refresh.
const DefaultTimeout = 30 * time.Second

// Config is what a Pin needs.
type Config struct {
	URL    string   // the CA server's; uplink.ca_url of the settings
	Serial [16]byte // of this gateway
	Key    Key      // the site key
	File   string   // where the root is pinned; its folder is made

	Proxy   func(*http.Request) (*url.URL, error) // nil: none
	Timeout time.Duration                         // 0: DefaultTimeout
	Now     func() time.Time                      // nil: time.Now
	Log     *slog.Logger                          // nil: discard
}

// Info describes the pinned root.
type Info struct {
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"sha256"`  // of the file, hex
	Fetched     time.Time `json:"fetched"` // when this certificate came
	Certs       int       `json:"certs"`
	Warnings    []string  `json:"warnings,omitempty"` // what vendor devices would not take
}

// String says in a few words which root it is.
func (i Info) String() string {
	if i.Fingerprint == "" {
		return "none"
	}
	return fmt.Sprintf("%s until %s, sha256 %.16s…", i.Subject, i.NotAfter.Format(time.DateOnly), i.Fingerprint)
}

// Status is a Pin as status and doctor show it.
type Status struct {
	Pinned    bool      `json:"pinned"`
	Info      Info      `json:"info"`
	Checked   time.Time `json:"checked,omitzero"` // when a fetch last succeeded, since start
	LastError string    `json:"last_error,omitempty"`
	FailedAt  time.Time `json:"failed_at,omitzero"`
}

// Pin is the pinned root.
type Pin struct {
	cfg  Config
	base *url.URL
	log  *slog.Logger
	http *http.Client
	busy chan struct{} // one Refresh at a time

	mu sync.Mutex
	// guards following
	pool   *x509.CertPool
	file   []byte
	status Status
}

// Load reads the pinned root. It fails only for settings that cannot work, or
// when the file cannot be read; no root yet and a damaged one are no errors:
// Current then gives nil, and Status says why.
func Load(cfg Config) (*Pin, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("certs: CA server: %w", err)
	}
	switch {
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "":
		return nil, fmt.Errorf("certs: CA server %q: want a URL with http:// or https://", base.Redacted())
	case len(cfg.Key) != 32:
		return nil, fmt.Errorf("certs: site key of %d bytes: want 32", len(cfg.Key))
	case cfg.File == "":
		return nil, errors.New("certs: no file to pin the root in")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pin{cfg: cfg, base: base, log: cfg.Log, http: newClient(cfg.Proxy), busy: make(chan struct{}, 1)}
	if err := p.read(); err != nil {
		return nil, fmt.Errorf("certs: pinned root: %w", err)
	}
	return p, nil
}

func (p *Pin) read() error {
	st, err := os.Stat(p.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var file []byte
	if st.Size() <= MaxFile {
		if file, err = os.ReadFile(p.cfg.File); err != nil {
			return err
		}
	}
	list, err := ParseFile(file)
	if err == nil {
		p.set(file, list, st.ModTime())
		return nil
	}
	aside := p.cfg.File + ".damaged"
	if rerr := os.Rename(p.cfg.File, aside); rerr != nil {
		return rerr
	}
	p.status.LastError = fmt.Sprintf("the pinned root was damaged and is set aside as %s", aside)
	p.status.FailedAt = p.cfg.Now()
	p.log.Error("the pinned root certificate is damaged", "file", aside, "err", err)
	return nil
}

func (p *Pin) set(file []byte, list []*x509.Certificate, fetched time.Time) {
	pool := x509.NewCertPool()
	for _, c := range list {
		pool.AddCert(c)
	}
	id := sha256.Sum256(file)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pool, p.file = pool, file
	p.status.Pinned = true
	p.status.Info = Info{
		Subject: list[0].Subject.String(), Issuer: list[0].Issuer.String(),
		NotBefore: list[0].NotBefore, NotAfter: list[0].NotAfter,
		Fingerprint: hex.EncodeToString(id[:]), Fetched: fetched,
		Certs: len(list), Warnings: Warnings(file),
	}
}

// Current returns the pool of the pinned root; nil when there is none. The
// caller must not change it.
func (p *Pin) Current() (*x509.CertPool, Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pool, p.status.Info
}

// File returns the pinned file as it came; nil when there is none. The caller
// must not change it.
func (p *Pin) File() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file
}

// Status returns what is pinned and what last went wrong. An error stands until
// a Refresh succeeds.
func (p *Pin) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Refresh fetches the root and pins it. It returns when the file is on disk.
// After an error what was pinned is pinned still. One fetch runs at a time; a
// second caller waits and then fetches too.
func (p *Pin) Refresh(ctx context.Context) error {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	err := p.refresh(limited)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // the caller gave up: not the CA server's fault
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.status.Checked, p.status.LastError, p.status.FailedAt = p.cfg.Now(), "", time.Time{}
		return nil
	}
	err = fmt.Errorf("certs: root from %s: %w%s", p.base.Redacted(), err, kept(p.status.Pinned))
	p.status.LastError, p.status.FailedAt = err.Error(), p.cfg.Now()
	return err
}

func kept(pinned bool) string {
	if pinned {
		return "; the pinned root stays"
	}
	return "; no root is pinned"
}

func (p *Pin) refresh(ctx context.Context) error {
	file, err := p.fetch(ctx)
	if err != nil {
		return err
	}
	list, err := ParseFile(file)
	if err != nil {
		return err
	}
	now := p.cfg.Now()
	held := p.File()
	if bytes.Equal(held, file) {
		return nil
	}
	if root := list[0]; held != nil && now.After(root.NotAfter) {
		if _, info := p.Current(); now.Before(info.NotAfter) {
			return fmt.Errorf("the certificate that is offered (%s) expired on %s, the pinned one has not", root.Subject, root.NotAfter.Format(time.DateOnly))
		}
	}
	if err := writeFile(p.cfg.File, file); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	p.set(file, list, now)
	_, info := p.Current()
	p.log.Info("a root certificate is pinned", "subject", info.Subject, "expires", info.NotAfter, "sha256", info.Fingerprint)
	return nil
}

// writeFile replaces path in one step: after a power cut it is the old file or
// the new one. It makes the folder (0700) when there is none.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package registry

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/tools/iphost/engage"
)

// ErrSealed means that the keys in the buckets are sealed with a key that this host
// does not have.
var ErrSealed = errors.New("the site keys of this installation are sealed with another key")

// sealer seals site keys and the CA's key with AES-256-GCM.
type sealer struct{ aead cipher.AEAD }

// sealedPrefix begins what is sealed; neither hex digits nor DER begin so.
const sealedPrefix = "sealed1:"

// seal returns the sealed form of a secret. place is what it belongs to: sealed for
// one it opens for no other.
func (s *sealer) seal(place string, secret []byte) string {
	nonce := make([]byte, s.aead.NonceSize())
	rand.Read(nonce) // never fails
	return sealedPrefix + base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, secret, []byte(place)))
}

// open returns the secret of a text, which may be one that is not sealed.
func (s *sealer) open(place, text string) ([]byte, error) {
	body, sealed := strings.CutPrefix(text, sealedPrefix)
	if !sealed {
		return []byte(text), nil
	}
	if s == nil {
		return nil, ErrSealed
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil || len(b) < s.aead.NonceSize() {
		return nil, errors.New("what is sealed is damaged")
	}
	n := s.aead.NonceSize()
	secret, err := s.aead.Open(nil, b[:n], b[n:], []byte(place))
	if err != nil {
		return nil, ErrSealed
	}
	return secret, nil
}

// sealMark is the key in the bucket of roots that says that this installation is
// sealed, and with which key.
const sealMark, sealPlace = "seal", "mark"

// Seal makes the registry seal site keys and the CA's key with the key of a file, 64
// hex digits, and seals those that lie in clear. Call it before all else. Where
// nothing is sealed yet and make says so, a file that is missing is made (0600).
// Without a path nothing is sealed. A host whose file is not that of the
// installation gets ErrSealed.
func (r *Registry) Seal(ctx context.Context, path string, make bool) error {
	mark, err := get[string](ctx, r.roots, sealMark)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	marked := err == nil
	if path == "" {
		if marked {
			return fmt.Errorf("%w: give this host its key file (--seal-key)", ErrSealed)
		}
		return nil
	}
	s, err := loadSealer(path)
	if errors.Is(err, fs.ErrNotExist) && make && !marked {
		s, err = makeSealer(path)
	}
	if errors.Is(err, fs.ErrNotExist) && marked {
		err = fmt.Errorf("%w, and there is no %s: bring it back, or name the right file (--seal-key)", ErrSealed, path)
	}
	if err != nil {
		return fmt.Errorf("seal key: %w", err)
	}
	if !marked {
		_, conflict, err := put(ctx, r.roots, sealMark, s.seal(sealPlace, []byte(rand.Text())), 0)
		if err != nil {
			return err
		}
		if conflict { // another host was faster
			if mark, err = get[string](ctx, r.roots, sealMark); err != nil {
				return err
			}
			marked = true
		}
	}
	if marked {
		if _, err := s.open(sealPlace, mark.value); err != nil {
			return fmt.Errorf("seal key %s: %w", path, err)
		}
	}
	r.sealer = s
	return r.sealAll(ctx)
}

func loadSealer(path string) (*sealer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if m := info.Mode(); !m.IsRegular() || m.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %v: want a file that only its owner may read (0600)", path, m)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s: want 64 hex digits", path)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &sealer{aead}, err
}

// makeSealer makes a key file. After a power cut it is there whole or not at all.
func makeSealer(path string) (*sealer, error) {
	var key [32]byte
	rand.Read(key[:]) // never fails
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(key[:]))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return nil, err
	}
	return loadSealer(path)
}

// sealAll seals what lies in clear.
func (r *Registry) sealAll(ctx context.Context) error {
	var names []string
	err := list(ctx, r.sites, func(name string, v siteRecord) error {
		if !strings.HasPrefix(v.Key, sealedPrefix) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		_, _, err := change(ctx, r.sites, name, func(e *entry[siteRecord]) error {
			if e.rev == 0 {
				return ErrNotFound // it was removed meanwhile
			}
			e.value.Key = r.sealed(sitePlace(name), []byte(e.value.Key))
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("site %s: %w", name, err)
		}
	}
	root, err := get[Root](ctx, r.roots, currentRoot)
	if errors.Is(err, ErrNotFound) || err == nil && (root.value.Key == nil || strings.HasPrefix(string(root.value.Key), sealedPrefix)) {
		return nil
	}
	if err != nil {
		return err
	}
	_, _, err = change(ctx, r.roots, currentRoot, func(e *entry[Root]) error {
		if e.value.Key != nil {
			e.value.Key = []byte(r.sealed(rootPlace(e.value.DER), e.value.Key))
		}
		return nil
	})
	return err
}

// sealed returns a secret as it is kept. What is sealed already stays as it is.
func (r *Registry) sealed(place string, secret []byte) string {
	if r.sealer == nil || strings.HasPrefix(string(secret), sealedPrefix) {
		return string(secret)
	}
	return r.sealer.seal(place, secret)
}

func sitePlace(name string) string { return "site " + name }

func rootPlace(der []byte) string {
	sum := sha256.Sum256(der)
	return "root " + hex.EncodeToString(sum[:])
}

// siteKey opens the key of a site's record.
func (r *Registry) siteKey(name string, v siteRecord) (engage.SiteKey, error) {
	text, err := r.sealer.open(sitePlace(name), v.Key)
	if err != nil {
		return engage.SiteKey{}, err
	}
	return engage.ParseSiteKey(string(text))
}

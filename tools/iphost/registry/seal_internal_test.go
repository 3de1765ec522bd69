package registry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
)

// sealWorld is one bus, and hosts that share it.
type sealWorld struct {
	*testing.T
	bus *bus.Bus
}

func newSealWorld(t *testing.T) sealWorld {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return sealWorld{t, b}
}

func (w sealWorld) host() *Registry {
	w.Helper()
	r, err := Open(w.Context(), w.bus)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// kept returns what the buckets hold.
func (w sealWorld) kept(r *Registry) string {
	w.Helper()
	var b strings.Builder
	for _, kv := range []struct {
		keys []string
		get  func(string) ([]byte, error)
	}{
		{[]string{"one", "two"}, func(k string) ([]byte, error) {
			e, err := r.sites.Get(w.Context(), k)
			if err != nil {
				return nil, err
			}
			return e.Value(), nil
		}},
		{[]string{currentRoot}, func(string) ([]byte, error) {
			e, err := get[Root](w.Context(), r.roots, currentRoot)
			return e.value.Key, err
		}},
	} {
		for _, k := range kv.keys {
			v, err := kv.get(k)
			if err != nil {
				w.Fatal(err)
			}
			b.Write(v)
		}
	}
	return b.String()
}

func writeKey(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSeal: what lay in clear and what comes later is sealed, and opens at every
// host that has the file; one that has another or none is told so and starts not.
func TestSeal(t *testing.T) {
	w := newSealWorld(t)
	a, ctx := w.host(), t.Context()
	one, two, caKey := engage.NewSiteKey(), engage.NewSiteKey(), []byte("0\x82the CA's private key")
	root := Root{DER: []byte("the certificate"), Key: caKey}
	made := func() (Root, error) { return root, nil }
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	check("in clear", a.Seal(ctx, "", false))
	check("site", a.AddSite(ctx, "one", one, "Europe/Berlin"))
	_, err := a.ShareOwn(ctx, made)
	check("root", err)

	file := filepath.Join(t.TempDir(), "seal.key")
	if err := w.host().Seal(ctx, file, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was given and is not there: %v", err)
	}
	a = w.host()
	check("seal", a.Seal(ctx, file, true))
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key file: %v, %v", info, err)
	}
	check("a site afterwards", a.AddSite(ctx, "two", two, ""))
	kept := w.kept(a)
	for _, secret := range []string{one.Reveal(), two.Reveal(), string(caKey)} {
		if strings.Contains(kept, secret) {
			t.Errorf("%q is in the buckets", secret)
		}
	}
	b := w.host()
	check("another host", b.Seal(ctx, file, true))
	for _, r := range []*Registry{a, b} {
		sites, err := r.Sites(ctx)
		if err != nil || len(sites) != 2 || sites[0].Key != one || sites[1].Key != two || sites[0].Zone == nil {
			t.Errorf("sites: %+v, %v", sites, err)
		}
		for range 2 {
			if got, err := r.ShareOwn(ctx, made); err != nil || !bytes.Equal(got.Key, caKey) {
				t.Errorf("the CA's key: %v", err)
			}
		}
		if got, err := r.CurrentRoot(ctx); err != nil || !bytes.Equal(got.Key, caKey) {
			t.Errorf("the current root: %v", err)
		}
		if err := r.AddSite(ctx, "three", two, ""); !errors.Is(err, ErrExists) {
			t.Errorf("a key that another site has: %v", err)
		}
	}
	if after := w.kept(a); after != kept {
		t.Error("what is sealed was sealed again")
	}
	w.refusesOthers()
}

// refusesOthers starts hosts that have not the installation's key.
func (w sealWorld) refusesOthers() {
	t, ctx := w.T, w.Context()
	t.Helper()
	for name, path := range map[string]string{
		"none": "", "another": writeKey(t, strings.Repeat("ab", 32), 0o600), "gone": filepath.Join(t.TempDir(), "seal.key"),
	} {
		if err := w.host().Seal(ctx, path, true); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %v, want %v", name, err, ErrSealed)
		}
		if name == "gone" {
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file was made where the installation is sealed: %v", err)
			}
		}
	}
	if _, err := w.host().Site(ctx, "one"); !errors.Is(err, ErrSealed) {
		t.Errorf("without a key: %v", err)
	}
}

// TestSealTogether: hosts that start at once have one mark, and all can read.
func TestSealTogether(t *testing.T) {
	w := newSealWorld(t)
	key := engage.NewSiteKey()
	if err := w.host().AddSite(t.Context(), "one", key, ""); err != nil {
		t.Fatal(err)
	}
	file := writeKey(t, strings.Repeat("0b", 32)+"\n", 0o600)
	var work sync.WaitGroup
	for range 4 {
		r := w.host()
		work.Go(func() {
			if err := r.Seal(t.Context(), file, false); err != nil {
				t.Error(err)
			} else if s, err := r.Site(t.Context(), "one"); err != nil || s.Key != key {
				t.Errorf("site: %v", err)
			}
		})
	}
	work.Wait()
}

// TestSealKeyFile: a file that is no key, or that others may read, is refused, and its
// text is not told.
func TestSealKeyFile(t *testing.T) {
	w := newSealWorld(t)
	for name, path := range map[string]string{
		"short": writeKey(t, "beef", 0o600), "no hex": writeKey(t, strings.Repeat("xy", 32), 0o600),
		"open to others": writeKey(t, strings.Repeat("ab", 32), 0o644), "a folder": t.TempDir(),
	} {
		err := w.host().Seal(t.Context(), path, true)
		if err == nil || strings.Contains(err.Error(), "beef") || strings.Contains(err.Error(), "abab") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSealPlace: what is sealed for one site opens for no other.
func TestSealPlace(t *testing.T) {
	s, err := loadSealer(writeKey(t, strings.Repeat("ab", 32), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	text := s.seal(sitePlace("one"), []byte("secret"))
	if got, err := s.open(sitePlace("one"), text); string(got) != "secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.open(sitePlace("two"), text); !errors.Is(err, ErrSealed) {
		t.Errorf("at another place: %v", err)
	}
}

// FuzzSealed: no text opens but what was sealed, and none panics.
func FuzzSealed(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seal.key")
	if err := os.WriteFile(path, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		f.Fatal(err)
	}
	s, err := loadSealer(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealedPrefix)
	f.Add(sealedPrefix + "AAAA")
	f.Add(sealedPrefix + s.seal("x", nil))
	f.Add(hex.EncodeToString(make([]byte, 32)))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := s.open("place", text)
		if (err == nil) == strings.HasPrefix(text, sealedPrefix) || err == nil && string(got) != text {
			t.Errorf("%q opens to %q, %v", text, got, err)
		}
	})
}

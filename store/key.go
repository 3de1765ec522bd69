package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Key is the device key: 32 random bytes in STATE/device.key. It never prints.
type Key struct{ b [32]byte }

const redacted = "[redacted]"

// String returns a fixed text, never the key.
func (Key) String() string { return redacted }

// GoString returns a fixed text, never the key.
func (Key) GoString() string { return redacted }

// Format writes a fixed text for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue keeps the key out of logs.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the key out of JSON and the like.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ParseKey reads 64 hex digits; white space around them is ignored. The error
// never holds what was read.
func ParseKey(s string) (Key, error) {
	var k Key
	raw, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil || len(raw) != len(k.b) {
		return Key{}, fmt.Errorf("%w: want 64 hex digits", ErrKeyWrong)
	}
	copy(k.b[:], raw)
	return k, nil
}

// readKey reads the key file. A file that is not there is fs.ErrNotExist.
func readKey(path string) (Key, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Key{}, err
	}
	return ParseKey(string(raw))
}

// createKey makes a new key, whole or not at all.
func createKey(path string) (Key, error) {
	var k Key
	if _, err := rand.Read(k.b[:]); err != nil {
		return Key{}, err
	}
	err := writeWhole(path, func(f *os.File) error {
		_, err := f.WriteString(hex.EncodeToString(k.b[:]) + "\n")
		return err
	})
	return k, err
}

// deviceKey returns the key at path. It makes one only when fresh says that no
// store exists that another key could belong to.
func deviceKey(path string, fresh bool) (Key, error) {
	k, err := readKey(path)
	switch {
	case err == nil:
		return k, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Key{}, fmt.Errorf("device key: %w", err)
	case !fresh:
		return Key{}, fmt.Errorf("%s: %w", path, ErrKeyMissing)
	}
	if k, err = createKey(path); err != nil {
		return Key{}, fmt.Errorf("device key: create: %w", err)
	}
	return k, nil
}

// writeWhole writes a file of mode 0600 so that a power cut leaves either
// nothing or all of it: a temporary file, flushed, renamed, the folder flushed.
func writeWhole(path string, fill func(*os.File) error) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// secrets are the subkeys, ready to use. They are safe for concurrent use.
type secrets struct {
	blocks cipher.Block // one AES-256 block per card
	pins   []byte
	alone  []byte
	seal   cipher.AEAD
	check  [16]byte // tells a wrong key from a damaged file
}

// The info strings of the subkeys. They are part of the format.
const (
	infoBlocks = "gatehouse store v1 blocks"
	infoPINs   = "gatehouse store v1 pins"
	infoAlone  = "gatehouse store v1 pins alone"
	infoSeal   = "gatehouse store v1 sealed events"
	infoCheck  = "gatehouse store v1 check"
)

func newSecrets(k Key) (*secrets, error) {
	sub := func(info string, n int) ([]byte, error) { return hkdf.Key(sha256.New, k.b[:], nil, info, n) }
	bk, err := sub(infoBlocks, 32)
	if err != nil {
		return nil, err
	}
	sk, err := sub(infoSeal, 32)
	if err != nil {
		return nil, err
	}
	ck, err := sub(infoCheck, 16)
	if err != nil {
		return nil, err
	}
	s := &secrets{check: [16]byte(ck)}
	if s.pins, err = sub(infoPINs, 32); err != nil {
		return nil, err
	}
	if s.alone, err = sub(infoAlone, 32); err != nil {
		return nil, err
	}
	if s.blocks, err = aes.NewCipher(bk); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sk)
	if err != nil {
		return nil, err
	}
	s.seal, err = cipher.NewGCM(block)
	return s, err
}

// pinHash is the keyed hash over a credential's block and a PIN. Duress PINs
// are hashed in the same way.
func (s *secrets) pinHash(block []byte, pin string) (out [16]byte) {
	m := hmac.New(sha256.New, s.pins)
	m.Write(block)
	m.Write([]byte(pin))
	var sum [sha256.Size]byte
	copy(out[:], m.Sum(sum[:0]))
	return out
}

// aloneHash is the keyed hash over a PIN that opens without a card.
func (s *secrets) aloneHash(pin string) [16]byte {
	m := hmac.New(sha256.New, s.alone)
	m.Write([]byte(pin))
	return [16]byte(m.Sum(nil))
}

// sealContent encrypts the content of change n; open is its reverse. The
// number is authenticated, so a content cannot be shown as another change's.
func (s *secrets) sealContent(n uint64, content []byte) ([]byte, error) {
	nonce := make([]byte, s.seal.NonceSize(), s.seal.NonceSize()+len(content)+s.seal.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return s.seal.Seal(nonce, nonce, content, binary.BigEndian.AppendUint64(nil, n)), nil
}

func (s *secrets) openContent(n uint64, sealed []byte) ([]byte, error) {
	if len(sealed) < s.seal.NonceSize() {
		return nil, errors.New("sealed content is too short")
	}
	nonce, text := sealed[:s.seal.NonceSize()], sealed[s.seal.NonceSize():]
	return s.seal.Open(nil, nonce, text, binary.BigEndian.AppendUint64(nil, n))
}

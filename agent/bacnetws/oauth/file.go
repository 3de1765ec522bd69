package oauth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The files, in Options.Dir.
const (
	stateName = "oauth.json"
	uuidName  = "device.uuid"
)

// maxFile bounds what is read of them.
const maxFile = 1 << 20

// DamageError says that a file is not what this package wrote. Nothing of it is
// believed: set it aside and open again, and every token must be made anew.
type DamageError struct {
	Path string
	Err  error
}

// Error names the file and what is wrong.
func (e *DamageError) Error() string { return fmt.Sprintf("oauth: %s is damaged: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// state is what is on disk. It is never changed: a change makes another.
type state struct {
	keys   []*signingKey // oldest first; the last one signs
	tokens []record      // oldest first
}

// record is one token.
type record struct {
	Issued
	key string
	sum [sha256.Size]byte // of its text
}

func (s *state) clone() *state {
	return &state{keys: slices.Clone(s.keys), tokens: slices.Clone(s.tokens)}
}

func (s *state) key(id string) *signingKey {
	for _, k := range s.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (s *state) find(id string) *record {
	for i := range s.tokens {
		if s.tokens[i].ID == id {
			return &s.tokens[i]
		}
	}
	return nil
}

// The file: the SHA-256 of what follows in hex, a line feed, then this as JSON.
type fileState struct {
	Version int         `json:"version"`
	Keys    []fileKey   `json:"keys"`
	Tokens  []fileToken `json:"tokens"`
}

type fileKey struct {
	ID    string    `json:"id"`
	Made  time.Time `json:"made"`
	PKCS8 []byte    `json:"pkcs8"`
}

type fileToken struct {
	Issued
	Key string `json:"key"`
	Sum string `json:"sha256"`
}

func formatState(s *state) ([]byte, error) {
	f := fileState{Version: 1}
	for _, k := range s.keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.priv)
		if err != nil {
			return nil, err
		}
		f.Keys = append(f.Keys, fileKey{k.id, k.made, der})
	}
	for _, t := range s.tokens {
		f.Tokens = append(f.Tokens, fileToken{t.Issued, t.key, hex.EncodeToString(t.sum[:])})
	}
	body, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return slices.Concat([]byte(hex.EncodeToString(sum[:])), []byte("\n"), body), nil
}

var tokenID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// parseState reads what formatState wrote, and nothing else.
func parseState(data []byte) (*state, error) {
	sum, body, ok := bytes.Cut(data, []byte("\n"))
	if real := sha256.Sum256(body); !ok || string(sum) != hex.EncodeToString(real[:]) {
		return nil, errors.New("its checksum is wrong")
	}
	var f fileState
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("version %d is not known", f.Version)
	}
	if len(f.Tokens) > MaxTokens || len(f.Keys) > MaxTokens+1 {
		return nil, fmt.Errorf("%d tokens and %d keys are too many", len(f.Tokens), len(f.Keys))
	}
	s := &state{}
	for _, k := range f.Keys {
		key, err := parseKey(k.ID, k.Made, k.PKCS8)
		if err != nil {
			return nil, fmt.Errorf("key %.20q: %w", k.ID, err)
		}
		s.keys = append(s.keys, key)
	}
	for i, t := range f.Tokens {
		r := record{Issued: t.Issued, key: t.Key}
		n, err := hex.Decode(r.sum[:], []byte(t.Sum[:min(len(t.Sum), 2*len(r.sum))]))
		if err != nil || n != len(r.sum) || len(t.Sum) != 2*n || !tokenID.MatchString(t.ID) || s.find(t.ID) != nil {
			return nil, fmt.Errorf("token %d is no token", i+1)
		}
		s.tokens = append(s.tokens, r)
	}
	return s, nil
}

// readFile reads at most maxFile bytes. A file that others may read is refused:
// the key in it may be known.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if m := info.Mode(); !m.IsRegular() || m.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %v: want a file that only its owner may read (0600)", path, m)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &DamageError{path, fmt.Errorf("it is longer than %d bytes", maxFile)}
	}
	return data, err
}

func loadState(path string) (*state, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{}, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := parseState(data)
	if err != nil {
		return nil, &DamageError{path, err}
	}
	return s, nil
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// loadUUID returns the UUID that was kept, or "".
func loadUUID(path string) (string, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(string(data), "\n")
	if !uuidForm.MatchString(id) {
		return "", &DamageError{path, errors.New("it holds no UUID")}
	}
	return id, nil
}

// newUUID makes a random one (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// writeFile replaces path in one step: after a power cut it is the old file or
// the new one. It makes the folder (0700) when there is none.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
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

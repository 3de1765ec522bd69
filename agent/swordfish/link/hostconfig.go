package link

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gatehouse/agent/swordfish"
)

// bodyMagic begins the file of a JSON text. Its last byte is the version of the
// form.
var bodyMagic = []byte("GHCONF\x00\x01")

// encodeBody is the file of a JSON text and the number that it has.
func encodeBody(id [16]byte, text []byte) []byte {
	p := make(putter, 0, len(bodyMagic)+len(id)+len(text)+4)
	p.raw(bodyMagic)
	p.raw(id[:])
	p.raw(text)
	p.seal()
	return p
}

func decodeBody(b []byte) (id [16]byte, text []byte, err error) {
	body, err := unseal(b)
	if err != nil || !bytes.HasPrefix(body, bodyMagic) || len(body) < len(bodyMagic)+len(id) {
		return id, nil, errState
	}
	body = body[len(bodyMagic):]
	copy(id[:], body)
	return id, body[len(id):], nil
}

// readBody reads such a file; ErrNoConfig where there is none.
func readBody(path string) (id [16]byte, text []byte, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return id, nil, ErrNoConfig
	}
	if err != nil {
		return id, nil, err
	}
	return decodeBody(b)
}

// configOf takes the object of a config out of what a host sent: the object itself
// or one whose only member is config (engage.md section 3).
func configOf(body []byte) (json.RawMessage, error) {
	if len(body) > swordfish.MaxConfig {
		return nil, fmt.Errorf("config: %d bytes, want at most %d: %w", len(body), swordfish.MaxConfig, swordfish.ErrOverLimit)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, errors.New("config: want a JSON object")
	}
	if inner, ok := members["config"]; ok && len(members) == 1 {
		body = inner
		members = nil
		if err := json.Unmarshal(body, &members); err != nil || members == nil {
			return nil, errors.New("config: want a JSON object")
		}
	}
	var out bytes.Buffer
	if err := json.Compact(&out, body); err != nil {
		return nil, errors.New("config: want a JSON object")
	}
	return out.Bytes(), nil
}

// putConfig keeps a config until the lock has got it.
func (l *lock) putConfig(text json.RawMessage) error {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	l.turn <- struct{}{}
	defer l.turn.give()
	if err := l.replace(filePending, encodeBody(id, text)); err != nil {
		return fmt.Errorf("config of lock %s: %w", l.ID, err)
	}
	l.setPending(true)
	return nil
}

// deleteConfig takes it back.
func (l *lock) deleteConfig() error {
	l.turn <- struct{}{}
	defer l.turn.give()
	l.mu.Lock()
	pending := l.pending
	l.mu.Unlock()
	if !pending {
		return ErrNoConfig
	}
	return l.dropPending()
}

// dropPending removes the config that waits. The caller has the turn.
func (l *lock) dropPending() error {
	if err := removeFile(l.path + filePending); err != nil {
		return fmt.Errorf("config of lock %s: %w", l.ID, err)
	}
	l.setPending(false)
	return nil
}

func (l *lock) setPending(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = on
	l.gen++
}

// keepConfig keeps what the lock put, unless it put the same the last time. The
// caller has the turn.
func (l *lock) keepConfig(text []byte) error {
	if _, old, err := readBody(l.path + fileConfig); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := l.replace(fileConfig, encodeBody([16]byte{}, text)); err != nil {
		return fmt.Errorf("config of lock %s: %w", l.ID, err)
	}
	return nil
}

// Package wire makes and checks Hive envelopes as a small device does it
// (protocols/hive.md, Envelope). It imports nothing of the agent: the site
// simulator's own codec is what finds the errors of the agent's.
//
// It holds no state. A message is at most MaxMessage bytes and Depth levels deep.
package wire

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Bounds of a message (hive.md, the last paragraph of Checks).
const (
	MaxMessage = 64 << 10
	Depth      = 16
)

// ErrMessage is wrapped by every error about a message that is no envelope.
var ErrMessage = errors.New("no Hive message")

// Envelope is a message as it came. Device is empty where it was left out.
type Envelope struct {
	Device   string
	Data     json.RawMessage
	Checksum string
}

// Open reads an envelope. It does not check the checksum.
func Open(line []byte) (Envelope, error) {
	var e Envelope
	if len(line) > MaxMessage {
		return e, fmt.Errorf("%w: %d bytes", ErrMessage, len(line))
	}
	var members struct {
		Device   *string         `json:"device"`
		Data     json.RawMessage `json:"data"`
		Checksum *string         `json:"checksum"`
	}
	if err := json.Unmarshal(line, &members); err != nil {
		return e, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if members.Device != nil {
		e.Device = *members.Device
	}
	if members.Checksum != nil {
		e.Checksum = *members.Checksum
	}
	e.Data = members.Data
	return e, nil
}

// Verify reports whether the checksum is the key's over data: over its bytes as
// they came, or over its canonical form.
func (e Envelope) Verify(key []byte) bool {
	if e.Checksum == "" || len(e.Data) == 0 {
		return false
	}
	got := []byte(strings.ToUpper(e.Checksum))
	if subtle.ConstantTimeCompare(got, []byte(Sign(key, e.Data))) == 1 {
		return true
	}
	canonical, err := Canonical(e.Data)
	return err == nil && subtle.ConstantTimeCompare(got, []byte(Sign(key, canonical))) == 1
}

// Sign returns the checksum of data, which must be canonical already.
func Sign(key, data []byte) string {
	h := sha512.New()
	h.Write(key)
	h.Write(data)
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

// Seal makes an envelope around data, whose values json.Marshal can write. It has
// no end of line.
func Seal(device string, key []byte, data map[string]any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, fmt.Errorf("hive data: %w", err)
	}
	canonical, err := Canonical(raw.Bytes())
	if err != nil {
		return nil, fmt.Errorf("hive data: %w", err)
	}
	name := appendText(nil, device)
	out := bytes.Join([][]byte{[]byte(`{"device":`), name, []byte(`,"data":`), canonical,
		[]byte(`,"checksum":"`), []byte(Sign(key, canonical)), []byte(`"}`)}, nil)
	if len(out) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes", ErrMessage, len(out))
	}
	return out, nil
}

// Challenge makes 16 integers 0..255 that no other message has.
func Challenge() []int {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	out := make([]int, len(raw))
	for i, b := range raw {
		out[i] = int(b)
	}
	return out
}

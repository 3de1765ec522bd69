package engage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Request is what a host asks of a gateway.
type Request struct {
	Method, Path string
	Query        string // optionalQueryStrings, left out when empty
	Body         []byte // must be UTF-8: it travels inside a JSON string
}

// Why a request cannot be sent.
var (
	// ErrNotText means that a request's body is not UTF-8.
	ErrNotText = errors.New("the body is not UTF-8 text")
	// ErrTooLarge means that a message would be larger than MaxMessage.
	ErrTooLarge = errors.New("larger than a message may be")
)

// RequestTail is a Request as JSON without its number, so that one request can
// go to many gateways without one copy for each.
type RequestTail []byte

// Tail encodes what all copies of a request share.
func (r Request) Tail() (RequestTail, error) {
	if !utf8.Valid(r.Body) {
		return nil, ErrNotText
	}
	b, err := plainJSON(struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		Body   string `json:"messageBody"`
		Query  string `json:"optionalQueryStrings,omitempty"`
	}{r.Method, r.Path, string(r.Body), r.Query})
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	tail := append(append([]byte(`,"request":`), b...), '}')
	if len(tail)+len(`{"requestId":2147483647`) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(tail), MaxMessage)
	}
	return tail, nil
}

// Message returns the whole message with the given number.
func (t RequestTail) Message(id uint32) []byte {
	b := make([]byte, 0, len(`{"requestId":2147483647`)+len(t))
	b = append(b, `{"requestId":`...)
	b = strconv.AppendUint(b, uint64(id), 10)
	return append(b, t...)
}

// Subscription returns the message that asks for all events of the sources
// ("gateway", "edgeDevice"), or for none of them.
func Subscription(id uint32, sources []string, enabled bool) []byte {
	type source struct {
		Source  string   `json:"source"`
		Enabled bool     `json:"eventingEnabled"`
		Body    struct{} `json:"subscriptionBody"`
	}
	m := struct {
		ID   uint32   `json:"subscriptionId"`
		List []source `json:"subscription"`
	}{ID: id, List: []source{}}
	for _, s := range sources {
		m.List = append(m.List, source{Source: s, Enabled: enabled})
	}
	b, err := plainJSON(m)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return b
}

// StatusMessage is the body of an error (section 3).
func StatusMessage(text string) []byte {
	b, err := plainJSON(struct {
		Text string `json:"statusMessage"`
	}{text})
	if err != nil {
		panic(err) // a string always encodes
	}
	return b
}

// plainJSON encodes without turning '<', '>' and '&' into escapes.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

package uplink

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	schemakind "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed schema
var schemaFiles embed.FS

// A message has about ten parts, a subscription four for each source. What has
// more than these is refused before any tree of it is built.
const (
	maxParts = 4096
	maxDepth = 16
)

// BadMessage is the error for a message that is not one of the four.
type BadMessage struct {
	RequestID uint32 // where HasID
	HasID     bool   // it carries a requestId, so it can be answered
	Response  bool   // it looks like an answer, so it must not be
	Why       string
}

// Error says what is wrong with the message; it holds nothing of its values.
func (b *BadMessage) Error() string { return b.Why }

// Codec checks messages against the four schemas. It may be used from any
// goroutine.
type Codec struct {
	schemas [KindEvent + 1]*jsonschema.Schema
}

// NewCodec compiles the schemas.
func NewCodec() (*Codec, error) {
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	var c Codec
	for kind := KindRequest; kind <= KindEvent; kind++ {
		name := "schema/" + kind.String() + ".json"
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("uplink: %w", err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("uplink: %s: %w", name, err)
		}
		at := "gatehouse:/" + name
		if err := compiler.AddResource(at, doc); err != nil {
			return nil, fmt.Errorf("uplink: %s: %w", name, err)
		}
		if c.schemas[kind], err = compiler.Compile(at); err != nil {
			return nil, fmt.Errorf("uplink: %s: %w", name, err)
		}
	}
	return &c, nil
}

// Parse reads a message and checks it against its schema. The error is a
// *BadMessage. What it returns does not share memory with data.
func (c *Codec) Parse(data []byte) (Frame, error) {
	f, err := c.parse(data)
	if err == nil {
		return f, nil
	}
	bad := &BadMessage{Why: err.Error()}
	bad.RequestID, bad.HasID, bad.Response = findRequestID(data)
	return Frame{}, bad
}

func (c *Codec) parse(data []byte) (Frame, error) {
	if len(data) > MaxMessage {
		return Frame{}, fmt.Errorf("message of more than %d bytes", MaxMessage)
	}
	if !utf8.Valid(data) {
		return Frame{}, errors.New("message is not UTF-8")
	}
	if err := bounded(data); err != nil {
		return Frame{}, err
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return Frame{}, errors.New("message is not JSON: " + plain(err))
	}
	top, ok := tree.(map[string]any)
	if !ok {
		return Frame{}, errors.New("message is not a JSON object")
	}
	kind, err := kindOf(top)
	if err != nil {
		return Frame{}, err
	}
	if err := c.schemas[kind].Validate(tree); err != nil {
		return Frame{}, errors.New(kind.String() + ": " + plain(err))
	}
	return frameOf(kind, top, data)
}

// Encode returns a message of ours as it goes on the wire, checked against its
// schema; an event passes it whatever it holds (appendEvent).
func (c *Codec) Encode(f Frame) ([]byte, error) {
	b, err := f.Encode()
	if err != nil {
		return nil, err
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("%s of %d bytes: at most %d", f.Kind, len(b), MaxMessage)
	}
	if f.Kind == KindEvent {
		return b, nil
	}
	if err := c.schemas[f.Kind].Validate(f.tree()); err != nil {
		return nil, errors.New(f.Kind.String() + ": " + plain(err))
	}
	return b, nil
}

// plain makes one line of a library's error, without the values of a message:
// they may be secrets.
func plain(err error) string {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		text, _, _ := strings.Cut(err.Error(), "\n")
		return text
	}
	for len(v.Causes) > 0 {
		v = v.Causes[0]
	}
	at := strings.Join(v.InstanceLocation, ".")
	if at == "" {
		at = "message"
	}
	if missing, ok := v.ErrorKind.(*schemakind.Required); ok {
		return fmt.Sprintf("%s has no %s", at, strings.Join(missing.Missing, ", "))
	}
	return fmt.Sprintf("%s does not satisfy %s", at, strings.Join(v.ErrorKind.KeywordPath(), "."))
}

func kindOf(top map[string]any) (Kind, error) {
	var kind Kind
	for k := KindRequest; k <= KindEvent; k++ {
		if _, ok := top[members[k]]; !ok {
			continue
		}
		if kind != 0 {
			return 0, fmt.Errorf("message is both %s and %s", kind, k)
		}
		kind = k
	}
	if kind == 0 {
		return 0, errors.New("message is none of request, response, subscription and event")
	}
	return kind, nil
}

// frameOf reads a tree that passed its schema.
func frameOf(kind Kind, top map[string]any, data []byte) (Frame, error) {
	f := Frame{Kind: kind}
	f.ID = uint32(number(top[kind.String()+"Id"]))
	if kind == KindResponse {
		f.ID = uint32(number(top["requestId"]))
	}
	if kind == KindSubscription {
		list, _ := top["subscription"].([]any)
		for _, item := range list {
			m, _ := item.(map[string]any)
			on, _ := m["eventingEnabled"].(bool)
			f.Subscriptions = append(f.Subscriptions, Subscription{Source: Source(text(m, "source")), Enabled: on})
		}
		return f, nil
	}
	m, _ := top[kind.String()].(map[string]any)
	switch kind {
	case KindRequest:
		f.Request = Request{Method: text(m, "method"), Path: text(m, "path"), Query: text(m, "optionalQueryStrings"), Body: text(m, "messageBody")}
	case KindResponse:
		status, err := strconv.Atoi(text(m, "status"))
		if err != nil {
			return Frame{}, fmt.Errorf("response: status: %w", err)
		}
		f.Response = Response{Status: status, Body: text(m, "messageBody")}
	case KindEvent:
		f.Event = Message{Source: Source(text(m, "source")), Type: text(m, "eventType"), DeviceID: text(m, "deviceId"), Body: text(m, "eventBody")}
		if _, ok := m["eventBody"].(map[string]any); ok { // reader-controllers
			body, err := rawBody(data)
			if err != nil {
				return Frame{}, fmt.Errorf("event: eventBody: %w", err)
			}
			f.Event.Body = body
		}
	}
	return f, nil
}

// rawBody returns the eventBody of an event as it is written, without white
// space, so that no number loses digits.
func rawBody(data []byte) (string, error) {
	var top, event map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return "", err
	}
	if err := json.Unmarshal(top["event"], &event); err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, event["eventBody"]); err != nil {
		return "", err
	}
	return b.String(), nil
}

func text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

func number(v any) float64 {
	f, _ := v.(float64)
	return f
}

// bounded refuses a text that would become a large tree. Outside of strings it
// counts what begins or separates values; it does not check the grammar.
func bounded(data []byte) error {
	parts, depth := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			parts++
			depth++
		case '}', ']':
			depth--
		case ',', ':':
			parts++
		}
		if parts > maxParts {
			return fmt.Errorf("message has more than %d parts", maxParts)
		}
		if depth > maxDepth {
			return fmt.Errorf("message is nested deeper than %d", maxDepth)
		}
	}
	return nil
}

// findRequestID looks for a requestId among the members of a text that may be
// anything, also cut off. It gives up after maxParts tokens. response says that
// a member of that name was seen before it gave up.
func findRequestID(data []byte) (id uint32, found, response bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	depth, name, wantsName := 0, "", false
	for range maxParts {
		tok, err := dec.Token()
		if err != nil {
			return id, found, response
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				if depth == 0 && v == '[' {
					return 0, false, false
				}
				depth++
			} else {
				depth--
			}
			wantsName = depth == 1
			continue
		case string:
			if depth == 1 && wantsName {
				name, wantsName = v, false
				response = response || v == "response"
				continue
			}
		case json.Number:
			if n, err := strconv.ParseUint(v.String(), 10, 32); depth == 1 && name == "requestId" && err == nil {
				id, found = uint32(n), true
			}
		}
		wantsName = depth == 1
	}
	return id, found, response
}

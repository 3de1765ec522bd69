package engage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxMessage is the largest message inside the socket (section 3).
const MaxMessage = 8 << 20

// MaxRequestID is the largest number that a host gives a request (section 2).
const MaxRequestID = 1<<31 - 1

// SubProtocol is the WebSocket sub-protocol of a gateway.
const SubProtocol = "engage.v1.gateway.allegion.com"

// MessageError says why a gateway's message was refused. ID is its requestId
// where it carries one, else 0.
type MessageError struct {
	ID     uint32
	Reason string
}

func (e *MessageError) Error() string { return "message: " + e.Reason }

// Response is a gateway's answer to a request.
type Response struct {
	RequestID uint32
	Status    int    // 100 to 599
	Body      []byte // of messageBody, as it came
}

// Event is what a gateway tells. Body is the JSON text inside eventBody,
// whether that came as a string or as an object.
type Event struct {
	EventID                uint32
	Type, Source, DeviceID string
	Body                   json.RawMessage
	Compact                json.RawMessage // the whole message, without white space
}

// Message is one message of a gateway: exactly one of its members is not nil.
type Message struct {
	Response *Response
	Event    *Event
}

// ParseMessage reads a text frame of a gateway. Names are compared exactly;
// members that section 2 does not have are ignored. The error is a
// *MessageError.
func ParseMessage(frame []byte) (Message, error) {
	if len(frame) > MaxMessage {
		return Message{}, &MessageError{Reason: fmt.Sprintf("%d bytes, at most %d", len(frame), MaxMessage)}
	}
	if !utf8.Valid(frame) {
		return Message{}, &MessageError{Reason: "not UTF-8"}
	}
	top, err := object(frame)
	if err != nil {
		return Message{}, &MessageError{Reason: err.Error()}
	}
	switch {
	case top["response"] != nil:
		id, err := number(top, "requestId")
		if err != nil {
			return Message{}, &MessageError{Reason: err.Error()}
		}
		r, err := parseResponse(id, top["response"])
		if err != nil {
			return Message{}, &MessageError{ID: id, Reason: "response: " + err.Error()}
		}
		return Message{Response: r}, nil
	case top["event"] != nil:
		e, err := parseEvent(top)
		if err != nil {
			return Message{}, &MessageError{Reason: err.Error()}
		}
		var c bytes.Buffer
		if err := json.Compact(&c, frame); err != nil {
			return Message{}, &MessageError{Reason: "not JSON"}
		}
		e.Compact = c.Bytes()
		return Message{Event: e}, nil
	}
	return Message{}, &MessageError{Reason: "neither a response nor an event"}
}

func parseResponse(id uint32, raw json.RawMessage) (*Response, error) {
	m, err := object(raw)
	if err != nil {
		return nil, err
	}
	status, err := text(m, "status")
	if err != nil {
		return nil, err
	}
	code, err := strconv.Atoi(status)
	if err != nil || len(status) != 3 || code < 100 || code > 599 {
		return nil, fmt.Errorf("status %q is no HTTP status", clip(status))
	}
	body, err := text(m, "messageBody")
	if err != nil {
		return nil, err
	}
	return &Response{RequestID: id, Status: code, Body: []byte(body)}, nil
}

func parseEvent(top map[string]json.RawMessage) (*Event, error) {
	id, err := number(top, "eventId")
	if err != nil {
		return nil, err
	}
	m, err := object(top["event"])
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	e := &Event{EventID: id}
	for name, to := range map[string]*string{"eventType": &e.Type, "source": &e.Source, "deviceId": &e.DeviceID} {
		if *to, err = text(m, name); err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
	}
	raw := bytes.TrimSpace(m["eventBody"])
	switch {
	case len(raw) == 0:
		return nil, errors.New("event: no eventBody")
	case raw[0] == '{': // a reader-controller sends an object (section 2)
		e.Body = raw
	case raw[0] == '"':
		body, err := text(m, "eventBody")
		if err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
		if !json.Valid([]byte(body)) {
			return nil, errors.New("event: eventBody holds no JSON")
		}
		e.Body = json.RawMessage(body)
	default:
		return nil, errors.New("event: eventBody is neither a string nor an object")
	}
	return e, nil
}

// object reads a JSON object's members; their names are kept exactly.
func object(raw []byte) (map[string]json.RawMessage, error) {
	if b := bytes.TrimSpace(raw); len(b) == 0 || b[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, errors.New("not JSON")
	}
	return m, nil
}

func number(m map[string]json.RawMessage, name string) (uint32, error) {
	n, err := strconv.ParseUint(string(m[name]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number of 32 bits", name)
	}
	return uint32(n), nil
}

func text(m map[string]json.RawMessage, name string) (string, error) {
	var s *string
	if err := json.Unmarshal(m[name], &s); err != nil || s == nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return *s, nil
}

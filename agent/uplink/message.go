package uplink

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// MaxMessage is the largest message, in bytes (engage.md, section 3).
const MaxMessage = 8 << 20

// Source says whose events a subscription is for.
type Source string

// The sources.
const (
	SourceGateway    Source = "gateway"
	SourceEdgeDevice Source = "edgeDevice"
)

// sources in the order of cursors and status.
var sources = [...]Source{SourceGateway, SourceEdgeDevice}

func (s Source) index() int {
	if s == SourceEdgeDevice {
		return 1
	}
	return 0
}

// Request is what a host asks.
type Request struct {
	Method, Path string
	Query        string // without "?"; empty when absent
	Body         string // serialised JSON, as it came; not checked
}

// Response answers a Request.
type Response struct {
	Status int    // an HTTP status, 100 to 599
	Body   string // serialised JSON, or empty
}

// Subscription switches the events of a source on or off. What is in its body
// means nothing yet: all events are sent.
type Subscription struct {
	Source  Source
	Enabled bool
}

// Message is an event as a host gets it.
type Message struct {
	Source   Source
	Type     string // Audit
	DeviceID string
	Body     string // serialised JSON
}

// Kind is which of the four messages a Frame is.
type Kind uint8

// The kinds of messages.
const (
	_ Kind = iota
	KindRequest
	KindResponse
	KindSubscription
	KindEvent
)

// members names the member that makes a message one of its kind.
var members = [...]string{KindRequest: "request", KindResponse: "response", KindSubscription: "subscription", KindEvent: "event"}

// String returns the kind's name.
func (k Kind) String() string {
	if k < KindRequest || k > KindEvent {
		return "no message"
	}
	return members[k]
}

// Frame is a message that passed its schema. ID is its requestId,
// subscriptionId or eventId, and one of the others is there, by Kind.
type Frame struct {
	Kind          Kind
	ID            uint32
	Request       Request
	Response      Response
	Subscriptions []Subscription
	Event         Message
}

// The wire forms, members in the order of engage.md's examples; that of an
// event is appendEvent's.
type (
	wireRequest struct {
		RequestID uint32 `json:"requestId"`
		Request   struct {
			Method      string  `json:"method"`
			Path        string  `json:"path"`
			MessageBody string  `json:"messageBody"`
			Query       *string `json:"optionalQueryStrings,omitempty"`
		} `json:"request"`
	}
	wireResponse struct {
		RequestID uint32 `json:"requestId"`
		Response  struct {
			Status      string `json:"status"`
			MessageBody string `json:"messageBody"`
		} `json:"response"`
	}
	wireSubscription struct {
		SubscriptionID uint32     `json:"subscriptionId"`
		Subscription   []wireItem `json:"subscription"`
	}
	wireItem struct {
		Source          Source   `json:"source"`
		EventingEnabled bool     `json:"eventingEnabled"`
		Body            struct{} `json:"subscriptionBody"`
	}
)

// Encode returns the message as it goes on the wire. It fails for what no
// schema allows.
func (f Frame) Encode() ([]byte, error) {
	switch f.Kind {
	case KindRequest:
		w := wireRequest{RequestID: f.ID}
		w.Request.Method, w.Request.Path, w.Request.MessageBody = f.Request.Method, f.Request.Path, f.Request.Body
		if f.Request.Query != "" {
			w.Request.Query = &f.Request.Query
		}
		return marshal(w)
	case KindResponse:
		if f.Response.Status < 100 || f.Response.Status > 599 {
			return nil, fmt.Errorf("response: status %d is not of HTTP", f.Response.Status)
		}
		w := wireResponse{RequestID: f.ID}
		w.Response.Status, w.Response.MessageBody = strconv.Itoa(f.Response.Status), f.Response.Body
		return marshal(w)
	case KindSubscription:
		w := wireSubscription{SubscriptionID: f.ID, Subscription: []wireItem{}}
		for _, s := range f.Subscriptions {
			w.Subscription = append(w.Subscription, wireItem{Source: s.Source, EventingEnabled: s.Enabled})
		}
		return marshal(w)
	case KindEvent:
		if f.Event.Source != SourceGateway && f.Event.Source != SourceEdgeDevice {
			return nil, fmt.Errorf("event: source %q is not known", f.Event.Source)
		}
		return appendEvent(make([]byte, 0, eventSize(f.Event)), f.ID, f.Event), nil
	}
	return nil, fmt.Errorf("%s cannot be encoded", f.Kind)
}

// tree returns what the wire form is when it is parsed, of all but events.
func (f Frame) tree() any {
	id := float64(f.ID)
	switch f.Kind {
	case KindRequest:
		m := map[string]any{"method": f.Request.Method, "path": f.Request.Path, "messageBody": f.Request.Body}
		if f.Request.Query != "" {
			m["optionalQueryStrings"] = f.Request.Query
		}
		return map[string]any{"requestId": id, "request": m}
	case KindResponse:
		return map[string]any{"requestId": id, "response": map[string]any{
			"status": strconv.Itoa(f.Response.Status), "messageBody": f.Response.Body}}
	}
	list := make([]any, 0, len(f.Subscriptions))
	for _, s := range f.Subscriptions {
		list = append(list, map[string]any{"source": string(s.Source), "eventingEnabled": s.Enabled, "subscriptionBody": map[string]any{}})
	}
	return map[string]any{"subscriptionId": id, "subscription": list}
}

// marshal leaves <, > and & alone: vendor hosts compare texts.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// statusMessage is the body of an error (engage.md, section 3).
func statusMessage(text string) string {
	b, err := marshal(struct {
		StatusMessage string `json:"statusMessage"`
	}{text})
	if err != nil {
		return ""
	}
	return string(b)
}

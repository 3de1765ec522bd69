package uplink

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
)

// jsonEvent is the wire form of an event for encoding/json.
type jsonEvent struct {
	EventID uint32 `json:"eventId"`
	Event   struct {
		EventType string `json:"eventType"`
		Source    Source `json:"source"`
		DeviceID  string `json:"deviceId"`
		EventBody string `json:"eventBody"`
	} `json:"event"`
}

// sameEvent encodes an event, compares it with what encoding/json makes of it,
// and reads it back, through its schema.
func sameEvent(t *testing.T, c *Codec, id uint32, m Message) {
	t.Helper()
	w := jsonEvent{EventID: id}
	w.Event.EventType, w.Event.Source, w.Event.DeviceID, w.Event.EventBody = m.Type, m.Source, m.DeviceID, m.Body
	want, err := marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if got := appendEvent([]byte("before"), id, m); string(got) != "before"+string(want) {
		t.Fatalf("appended\n%s, want\n%s", got, want)
	}
	m.Source = SourceEdgeDevice
	b, err := c.Encode(Frame{Kind: KindEvent, ID: id, Event: m})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Parse(b)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	for _, s := range []*string{&m.Type, &m.DeviceID, &m.Body} {
		*s = string([]rune(*s)) // each bad byte becomes U+FFFD
	}
	if diff := cmp.Diff(Frame{Kind: KindEvent, ID: id, Event: m}, got); diff != "" {
		t.Errorf("read back (-want +got)\n%s", diff)
	}
}

// awkward are texts that cannot be written as they are, and some that can.
var awkward = []string{"", "plain", `{"a":"b\"c"}`, `"`, `\`, `\\"`, "<a>&", "\x00\x01\n\r\t\b\f\x1f", " ~", "\x7f", "\u2028\u2029",
	"\xff bad \xc3", "\uFFFD", "日本 \"", "\U0001F511"}

// TestAppendEvent puts each text in each place.
func TestAppendEvent(t *testing.T) {
	c, err := NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range awkward {
		for _, m := range []Message{{Type: s}, {Source: Source(s)}, {DeviceID: s}, {Body: s}, {Type: s, Source: Source(s), DeviceID: s, Body: s}} {
			sameEvent(t, c, uint32(i)*300_000_000, m)
		}
	}
	sameEvent(t, c, 1<<32-1, NewLogMessage(SourceGateway, Serial{}, site.Event{Log: "0badcafe"}))
}

func FuzzAppendEvent(f *testing.F) {
	c, err := NewCodec()
	if err != nil {
		f.Fatal(err)
	}
	for i, s := range awkward {
		f.Add(uint32(i), s, "gateway", s, s)
	}
	f.Fuzz(func(t *testing.T, id uint32, kind, source, device, body string) {
		sameEvent(t, c, id, Message{Type: kind, Source: Source(source), DeviceID: device, Body: body})
	})
}

package uplink_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/uplink"
)

func newCodec(tb testing.TB) *uplink.Codec {
	tb.Helper()
	c, err := uplink.NewCodec()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// auditEvent is the example of engage.md, section 2.
const auditEvent = `{"eventId":2,"event":{"eventType":"Audit","source":"edgeDevice","deviceId":"a100000000002479","eventBody":"{\"edgeDevice\":{\"linkId\":\"dev00000\",\"audits\":[{\"event\":\"07040000\",\"time\":\"20171120104717\"}]}}"}}`

var auditMessage = uplink.Message{
	Source: uplink.SourceEdgeDevice, Type: "Audit", DeviceID: "a100000000002479",
	Body: `{"edgeDevice":{"linkId":"dev00000","audits":[{"event":"07040000","time":"20171120104717"}]}}`,
}

func TestMessages(t *testing.T) {
	c := newCodec(t)
	for _, tt := range []struct {
		name, text string
		frame      uplink.Frame
	}{
		{"request", `{"requestId":7,"request":{"method":"GET","path":"/gateway/deviceInfo","messageBody":""}}`,
			uplink.Frame{Kind: uplink.KindRequest, ID: 7, Request: uplink.Request{Method: "GET", Path: "/gateway/deviceInfo"}}},
		{"request with query", `{"requestId":4294967295,"request":{"method":"PUT","path":"//edgeDevices/dev00001/config","messageBody":"{\"a\":\"<&>\"}","optionalQueryStrings":"a=b"}}`,
			uplink.Frame{Kind: uplink.KindRequest, ID: 4294967295, Request: uplink.Request{Method: "PUT", Path: "//edgeDevices/dev00001/config", Query: "a=b", Body: `{"a":"<&>"}`}}},
		{"response", `{"requestId":7,"response":{"status":"200","messageBody":"{\"statusMessage\":\"<ok>\"}"}}`,
			uplink.Frame{Kind: uplink.KindResponse, ID: 7, Response: uplink.Response{Status: 200, Body: `{"statusMessage":"<ok>"}`}}},
		{"subscription", `{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}},{"source":"edgeDevice","eventingEnabled":false,"subscriptionBody":{}}]}`,
			uplink.Frame{Kind: uplink.KindSubscription, ID: 1, Subscriptions: []uplink.Subscription{{Source: uplink.SourceGateway, Enabled: true}, {Source: uplink.SourceEdgeDevice}}}},
		{"event", auditEvent, uplink.Frame{Kind: uplink.KindEvent, ID: 2, Event: auditMessage}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.frame, got); diff != "" {
				t.Errorf("parsed (-want +got)\n%s", diff)
			}
			b, err := c.Encode(tt.frame)
			if err != nil || string(b) != tt.text {
				t.Errorf("encoded %s, %v\nwant %s", b, err, tt.text)
			}
		})
	}
}

func TestParseTakesOddForms(t *testing.T) {
	c := newCodec(t)
	object := strings.Replace(auditEvent, `"{\"edgeDevice\":{\"linkId\":\"dev00000\",\"audits\":[{\"event\":\"07040000\",\"time\":\"20171120104717\"}]}}"`, `{"edgeDevice": {"id": 12345678901234567890} }`, 1)
	got, err := c.Parse([]byte(object))
	if err != nil || got.Event.Body != `{"edgeDevice":{"id":12345678901234567890}}` {
		t.Errorf("eventBody as an object: %+v, %v", got, err)
	}
	got, err = c.Parse([]byte("\n" + `{"extra":[1,{"a":2}],"request":{"messageBody":"","x":null,"path":"p","method":"GET"},"requestId":1.0}` + " "))
	if err != nil || got.ID != 1 || got.Request.Path != "p" {
		t.Errorf("other order, more members: %+v, %v", got, err)
	}
	got, err = c.Parse([]byte(`{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{"filter":["x"]}}]}`))
	if err != nil || len(got.Subscriptions) != 1 {
		t.Errorf("a filter: %+v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	c := newCodec(t)
	req := func(inner string) string { return `{"requestId":9,"request":{` + inner + `}}` }
	for _, tt := range []struct {
		name, in, want string
		id             bool
	}{
		{"empty", "", "not JSON", false},
		{"text", "hello", "not JSON", false},
		{"not UTF-8", "{\"a\":\"\xff\"}", "not UTF-8", false},
		{"array", `[{"requestId":9}]`, "not a JSON object", false},
		{"nothing known", `{}`, "none of request", false},
		{"only an id", `{"requestId":9}`, "none of request", true},
		{"two kinds", `{"requestId":9,"request":{},"event":{}}`, "both request and event", true},
		{"cut", `{"requestId":9,"request":{"method":"GET"`, "not JSON", true},
		{"id after the fault", `{"request":{},,"requestId":9}`, "not JSON", false},
		{"id last", `{"request":{},"requestId":9}`, "request has no method, path, messageBody", true},
		{"no id", `{"request":{"method":"GET","path":"/","messageBody":""}}`, "message has no requestId", false},
		{"id is text", `{"requestId":"9","request":{"method":"GET","path":"/","messageBody":""}}`, "requestId does not satisfy type", false},
		{"id negative", `{"requestId":-9,"request":{"method":"GET","path":"/","messageBody":""}}`, "requestId does not satisfy minimum", false},
		{"id too large", `{"requestId":4294967296,"request":{"method":"GET","path":"/","messageBody":""}}`, "requestId does not satisfy maximum", false},
		{"id a fraction", `{"requestId":1.5,"request":{"method":"GET","path":"/","messageBody":""}}`, "requestId does not satisfy type", false},
		{"request is text", `{"requestId":9,"request":"GET"}`, "request does not satisfy type", true},
		{"no method", req(`"path":"/","messageBody":""`), "request has no method", true},
		{"no body", req(`"method":"GET","path":"/"`), "request has no messageBody", true},
		{"body is an object", req(`"method":"GET","path":"/","messageBody":{}`), "request.messageBody does not satisfy type", true},
		{"query is null", req(`"method":"GET","path":"/","messageBody":"","optionalQueryStrings":null`), "request.optionalQueryStrings does not satisfy type", true},
		{"status is a number", `{"requestId":9,"response":{"status":200,"messageBody":""}}`, "response.status does not satisfy type", true},
		{"status is no status", `{"requestId":9,"response":{"status":"999","messageBody":""}}`, "response.status does not satisfy pattern", true},
		{"source unknown", `{"subscriptionId":1,"subscription":[{"source":"x","eventingEnabled":true,"subscriptionBody":{}}]}`, "subscription.0.source does not satisfy enum", false},
		{"enabled is text", `{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":"true","subscriptionBody":{}}]}`, "eventingEnabled does not satisfy type", false},
		{"no subscriptionBody", `{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true}]}`, "subscription.0 has no subscriptionBody", false},
		{"subscription is an object", `{"subscriptionId":1,"subscription":{}}`, "subscription does not satisfy type", false},
		{"eventBody is a number", `{"eventId":1,"event":{"eventType":"Audit","source":"gateway","deviceId":"","eventBody":1}}`, "event.eventBody does not satisfy type", false},
		{"eventBody is an array", `{"eventId":1,"event":{"eventType":"Audit","source":"gateway","deviceId":"","eventBody":[]}}`, "event.eventBody does not satisfy type", false},
		{"deep", `{"requestId":9,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "nested deeper", true},
		{"wide", `{"requestId":9,"x":[` + strings.Repeat("0,", 5000) + `0]}`, "more than 4096 parts", true},
		{"too large", `{"requestId":9,"x":"` + strings.Repeat("x", uplink.MaxMessage) + `"}`, "more than 8388608 bytes", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Parse([]byte(tt.in))
			bad, ok := errors.AsType[*uplink.BadMessage](err)
			if !ok || !strings.Contains(bad.Why, tt.want) || bad.HasID != tt.id || tt.id && bad.RequestID != 9 {
				t.Errorf("got %+v (%v), want %q, id %v", bad, err, tt.want, tt.id)
			}
			if ok && bad.Response != strings.Contains(tt.in, `"response"`) {
				t.Errorf("taken for a response: %v", bad.Response)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	c := newCodec(t)
	for _, f := range []uplink.Frame{
		{Kind: uplink.KindSubscription, Subscriptions: []uplink.Subscription{{Source: "elsewhere"}}},
		{Kind: uplink.KindResponse, Response: uplink.Response{Status: 200, Body: strings.Repeat("x", uplink.MaxMessage)}},
		{},
		{Kind: 99},
		{Kind: uplink.KindResponse, Response: uplink.Response{Status: 0}},
		{Kind: uplink.KindResponse, Response: uplink.Response{Status: 600}},
		{Kind: uplink.KindEvent, Event: uplink.Message{Source: "elsewhere"}},
	} {
		if b, err := c.Encode(f); err == nil {
			t.Errorf("%s became %.99s", f.Kind, b)
		}
	}
}

// TestParseWithinMemory parses the worst that fits in a message.
func TestParseWithinMemory(t *testing.T) {
	c := newCodec(t)
	head := `{"requestId":1,"x":`
	for name, in := range map[string][]byte{
		"numbers":  []byte(head + "[" + strings.Repeat("0,", 4<<20-20) + "0]}"),
		"brackets": []byte(head + strings.Repeat("[", 8<<20-40)),
		"members":  []byte("{" + strings.Repeat(`"a":0,`, 1<<20) + `"requestId":1}`),
		"escapes":  []byte(`{"requestId":1,"request":{"method":"PUT","path":"/","messageBody":"` + strings.Repeat(`\"`, 4<<20-100) + `"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := c.Parse(in)
			runtime.ReadMemStats(&after)
			if (err == nil) != (name == "escapes") {
				t.Error(err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 4*uplink.MaxMessage {
				t.Errorf("%d bytes allocated for a message of %d", got, len(in))
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	c := newCodec(f)
	f.Add([]byte(auditEvent))
	f.Add([]byte(`{"requestId":4294967295,"request":{"method":"PUT","path":"/x","messageBody":"{}","optionalQueryStrings":"a=b"}}`))
	f.Add([]byte(`{"requestId":7,"response":{"status":"200","messageBody":""}}`))
	f.Add([]byte(`{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}}]}`))
	f.Add([]byte(`{"eventId":1,"event":{"eventType":"Audit","source":"gateway","deviceId":"","eventBody":{"a":1e400}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := c.Parse(data)
		if err != nil {
			if _, ok := errors.AsType[*uplink.BadMessage](err); !ok || err.Error() == "" {
				t.Errorf("error %v", err)
			}
			return
		}
		if !json.Valid(data) {
			t.Error("what is not JSON was taken")
		}
		b, err := got.Encode()
		if err != nil {
			if got.Kind == uplink.KindEvent { // of a source that we do not send
				return
			}
			t.Fatal(err)
		}
		again, err := c.Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("(-first +again)\n%s", diff)
		}
	})
}

func BenchmarkEncodeEvent(b *testing.B) {
	c := newCodec(b)
	f := uplink.Frame{Kind: uplink.KindEvent, ID: 2, Event: auditMessage}
	for b.Loop() {
		if _, err := c.Encode(f); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleFrame_Encode() {
	b, err := uplink.Frame{Kind: uplink.KindResponse, ID: 7, Response: uplink.Response{Status: 202, Body: `{"statusMessage":"Command cached"}`}}.Encode()
	fmt.Println(string(b), err)
	// Output: {"requestId":7,"response":{"status":"202","messageBody":"{\"statusMessage\":\"Command cached\"}"}} <nil>
}

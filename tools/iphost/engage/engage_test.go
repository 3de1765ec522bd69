package engage_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/tools/iphost/engage"
)

// vector is one known answer of section 1.
type vector struct {
	Key, Clock, Serial, Cipher string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/credentials.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no vectors")
	}
	return out
}

func key(t testing.TB, hex string) engage.SiteKey {
	t.Helper()
	k, err := engage.ParseSiteKey(hex)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func serial(t testing.TB, s string) engage.Serial {
	t.Helper()
	out, err := engage.ParseSerial(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestKnownAnswers holds section 1's vectors in both directions.
func TestKnownAnswers(t *testing.T) {
	for _, v := range vectors(t) {
		k := key(t, v.Key)
		clock, err := time.Parse(engage.ClockLayout, v.Clock)
		if err != nil {
			t.Fatal(err)
		}
		want := base64.StdEncoding.EncodeToString([]byte(v.Serial + ":" + v.Cipher + ":1"))
		if len(want) != 132 {
			t.Fatalf("the vector makes %d characters, section 1 says 132", len(want))
		}
		if got := engage.Seal(k, serial(t, v.Serial), clock); got != want {
			t.Errorf("sealed:\n got %s\nwant %s", got, want)
		}
		for _, text := range []string{
			v.Serial + ":" + v.Cipher + ":1",
			v.Serial + ";" + v.Cipher + ";1",
			strings.ToLower(v.Serial) + ":" + strings.ToLower(v.Cipher) + ";1",
		} {
			s, err := engage.ParseCredentials([]byte(base64.StdEncoding.EncodeToString([]byte(text)) + "\r\n"))
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			at, err := s.Open(k)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if s.Serial.String() != v.Serial || !at.Equal(clock) {
				t.Errorf("%s: serial %v at %v", text, s.Serial, at)
			}
		}
	}
}

func TestCredentialsRefused(t *testing.T) {
	v := vectors(t)[0]
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, body := range map[string]string{
		"empty":           "",
		"not base64":      "%%%",
		"two fields":      b64(v.Serial + ":" + v.Cipher),
		"four fields":     b64(v.Serial + ":" + v.Cipher + ":1:1"),
		"double colon":    b64(v.Serial + "::" + v.Cipher + ":1"),
		"trailing colon":  b64(v.Serial + ":" + v.Cipher + ":1:"),
		"version 2":       b64(v.Serial + ":" + v.Cipher + ":2"),
		"short serial":    b64(v.Serial[2:] + ":" + v.Cipher + ":1"),
		"serial no hex":   b64("zz" + v.Serial[2:] + ":" + v.Cipher + ":1"),
		"short cipher":    b64(v.Serial + ":" + v.Cipher[2:] + ":1"),
		"cipher no hex":   b64(v.Serial + ":" + "zz" + v.Cipher[2:] + ":1"),
		"a megabyte":      strings.Repeat("A", 1<<20),
		"reading no more": strings.Repeat("A", 300),
	} {
		if _, err := engage.ParseCredentials([]byte(body)); !errors.Is(err, engage.ErrCredentials) {
			t.Errorf("%s: %v, want ErrCredentials", name, err)
		}
	}
	s, err := engage.ParseCredentials([]byte(b64(v.Serial + ":" + v.Cipher + ":1")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(engage.NewSiteKey()); !errors.Is(err, engage.ErrSeal) {
		t.Errorf("another key: %v, want ErrSeal", err)
	}
	s.Serial[15]++ // the serial outside is not the one inside
	if _, err := s.Open(key(t, v.Key)); !errors.Is(err, engage.ErrSeal) {
		t.Errorf("another serial: %v, want ErrSeal", err)
	}
}

func TestFresh(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 9, 20, 25, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		wall string
		zone *time.Location
		want bool
	}{
		{"too old", "20260109201959", berlin, false},
		{"too new", "20260109203001", berlin, false},
		{"zone's time for a host in UTC", "20260109212500", nil, false},
		{"an hour before", "20260109192500", berlin, false},
		{"UTC", "20260109202500", nil, true},
		{"oldest", "20260109202000", berlin, true},
		{"newest", "20260109203000", berlin, true},
		{"zone's time", "20260109212500", berlin, true},
		{"zone's time, five minutes late", "20260109212000", berlin, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wall, err := time.Parse(engage.ClockLayout, tt.wall)
			if err != nil {
				t.Fatal(err)
			}
			if got := engage.Fresh(wall, now, tt.zone, 300*time.Second); got != tt.want {
				t.Errorf("fresh %v, want %v", got, tt.want)
			}
		})
	}
}

func TestKeyNeverShows(t *testing.T) {
	k := key(t, vectors(t)[0].Key)
	j, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %x %d", k, k, k, k), string(j), log.String()} {
		if strings.Contains(s, "1122") || strings.Contains(s, "17 34") || strings.Contains(s, "0x11") {
			t.Errorf("the key shows in %s", s)
		}
	}
	if k.Reveal() != vectors(t)[0].Key {
		t.Error("Reveal does not return the key")
	}
}

// TestExamples holds the JSON of section 2 to the byte.
func TestExamples(t *testing.T) {
	tail, err := engage.Request{Method: "PUT", Path: "/edgeDevices/lockControl", Query: "a=<1>&b=2", Body: []byte(`{"x":"<&>"}`)}.Tail()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ got, want string }{
		{string(tail.Message(7)), `{"requestId":7,"request":{"method":"PUT","path":"/edgeDevices/lockControl","messageBody":"{\"x\":\"<&>\"}","optionalQueryStrings":"a=<1>&b=2"}}`},
		{string(engage.Subscription(3, []string{"gateway", "edgeDevice"}, true)), `{"subscriptionId":3,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}},{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`},
		{string(engage.Subscription(4, nil, true)), `{"subscriptionId":4,"subscription":[]}`},
		{string(engage.StatusMessage("Command cached")), `{"statusMessage":"Command cached"}`},
	} {
		if tt.got != tt.want {
			t.Errorf("\n got %s\nwant %s", tt.got, tt.want)
		}
	}
	tail, err = engage.Request{Method: "GET", Path: "/gateway/scanList"}.Tail()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(tail.Message(engage.MaxRequestID)), `{"requestId":2147483647,"request":{"method":"GET","path":"/gateway/scanList","messageBody":""}}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

const auditExample = `{"eventId":2,"event":{"eventType":"Audit","source":"edgeDevice","deviceId":"a100000000002479","eventBody":"{\"edgeDevice\":{\"linkId\":\"dev00000\",\"audits\":[{\"event\":\"07040000\",\"time\":\"20171120104717\"}]}}"}}`

func TestParseMessage(t *testing.T) {
	const body = `{"edgeDevice":{"linkId":"dev00000","audits":[{"event":"07040000","time":"20171120104717"}]}}`
	for _, tt := range []struct {
		name, frame string
		want        engage.Message
		wantErr     string
		wantID      uint32
	}{
		{name: "not JSON", frame: `{`, wantErr: "not JSON"},
		{name: "an array", frame: `[]`, wantErr: "object"},
		{name: "nothing known", frame: `{"requestId":1}`, wantErr: "neither"},
		{name: "names in another case", frame: `{"requestId":1,"Response":{"status":"200","messageBody":""}}`, wantErr: "neither"},
		{name: "not UTF-8", frame: "{\"eventId\":1,\"event\":\"\xff\"}", wantErr: "UTF-8"},
		{name: "id too large", frame: `{"requestId":4294967296,"response":{"status":"200","messageBody":""}}`, wantErr: "requestId"},
		{name: "id negative", frame: `{"requestId":-1,"response":{"status":"200","messageBody":""}}`, wantErr: "requestId"},
		{name: "id a string", frame: `{"requestId":"1","response":{"status":"200","messageBody":""}}`, wantErr: "requestId"},
		{name: "status a number", frame: `{"requestId":9,"response":{"status":200,"messageBody":""}}`, wantErr: "status", wantID: 9},
		{name: "status no number", frame: `{"requestId":9,"response":{"status":"+20","messageBody":""}}`, wantErr: "status", wantID: 9},
		{name: "no body", frame: `{"requestId":9,"response":{"status":"200"}}`, wantErr: "messageBody", wantID: 9},
		{name: "body null", frame: `{"requestId":9,"response":{"status":"200","messageBody":null}}`, wantErr: "messageBody", wantID: 9},
		{name: "event without type", frame: `{"eventId":2,"event":{"source":"gateway","deviceId":"","eventBody":"{}"}}`, wantErr: "eventType"},
		{name: "event body no JSON", frame: `{"eventId":2,"event":{"eventType":"Audit","source":"gateway","deviceId":"","eventBody":"{"}}`, wantErr: "eventBody"},
		{name: "event body a number", frame: `{"eventId":2,"event":{"eventType":"Audit","source":"gateway","deviceId":"","eventBody":1}}`, wantErr: "eventBody"},
		{name: "event body absent", frame: `{"eventId":2,"event":{"eventType":"Audit","source":"gateway","deviceId":""}}`, wantErr: "eventBody"},
		{name: "trailing", frame: auditExample + "{}", wantErr: "not JSON"},
		{name: "response", frame: `{"requestId":9,"response":{"status":"404","messageBody":"{\"statusMessage\":\"\\u00e4\"}"},"more":[]}`,
			want: engage.Message{Response: &engage.Response{RequestID: 9, Status: 404, Body: []byte(`{"statusMessage":"\u00e4"}`)}}},
		{name: "the example", frame: auditExample, want: engage.Message{Event: &engage.Event{EventID: 2, Type: "Audit", Source: "edgeDevice",
			DeviceID: "a100000000002479", Body: json.RawMessage(body), Compact: json.RawMessage(auditExample)}}},
		{name: "body as an object", frame: ` {"eventId":4294967295, "event":{"eventType":"Audit","source":"gateway","deviceId":"1","eventBody":{"a":1}}}`,
			want: engage.Message{Event: &engage.Event{EventID: 4294967295, Type: "Audit", Source: "gateway", DeviceID: "1", Body: json.RawMessage(`{"a":1}`),
				Compact: json.RawMessage(`{"eventId":4294967295,"event":{"eventType":"Audit","source":"gateway","deviceId":"1","eventBody":{"a":1}}}`)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := engage.ParseMessage([]byte(tt.frame))
			if tt.wantErr != "" {
				var me *engage.MessageError
				if !errors.As(err, &me) || !strings.Contains(me.Error(), tt.wantErr) || me.ID != tt.wantID {
					t.Fatalf("error %v, want %q with id %d", err, tt.wantErr, tt.wantID)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
	if _, err := engage.ParseMessage(make([]byte, engage.MaxMessage+1)); err == nil {
		t.Error("a message above the limit was read")
	}
}

func TestRequestRefused(t *testing.T) {
	if _, err := (engage.Request{Body: []byte{0xff}}).Tail(); !errors.Is(err, engage.ErrNotText) {
		t.Errorf("not text: %v", err)
	}
	if _, err := (engage.Request{Body: make([]byte, engage.MaxMessage/2)}).Tail(); !errors.Is(err, engage.ErrTooLarge) {
		t.Errorf("zero bytes become six characters each: %v", err)
	}
}

func TestRootQuery(t *testing.T) {
	want := serial(t, "FBEFBEFBEFBEFBEFBEFBEFBEFBEFBEFB") // its base64 is full of '+'
	b64 := base64.StdEncoding.EncodeToString(want[:])
	if !strings.Contains(b64, "++") || !strings.HasSuffix(b64, "==") {
		t.Fatalf("%s does not test '+' and '='", b64)
	}
	for _, raw := range []string{
		"serialNumber=" + b64 + "&hashType=primary&v=2",
		"v=2&serialNumber=" + strings.ReplaceAll(strings.ReplaceAll(b64, "+", "%2B"), "=", "%3d"),
		"serialNumber=" + strings.TrimRight(b64, "="),
	} {
		got, err := engage.ParseRootQuery(raw)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{"", "serialNumber=", "serialNumber=AAAA", "serialNumber=%zz",
		"serialNumber=" + b64 + "&hashType=secondary", "serialNumber=" + b64 + "&serialNumber=" + b64, strings.Repeat("a", 600)} {
		if got, err := engage.ParseRootQuery(raw); err == nil {
			t.Errorf("%q: read as %v", raw, got)
		}
	}
}

// TestRootHash: the value was computed with OpenSSL
// (printf 'abc' | openssl dgst -sha1 -mac HMAC -macopt hexkey:… -binary | base64).
func TestRootHash(t *testing.T) {
	const want = "zANtLYP0ndzQt/UUHUZmHNJRg4E="
	if got := engage.RootHash(key(t, vectors(t)[0].Key), []byte("abc")); got != want || len(got) != 28 {
		t.Errorf("hash %s, want %s", got, want)
	}
}

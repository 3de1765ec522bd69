package spool

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"gatehouse/agent/site"
)

// awkward are texts that encoding/json does not write as they are, and some
// that it does.
var awkward = []string{"", "plain", "front door", "Zoë 7", "…42", "\"quoted\" \\", "<a>&", "\x00\x01\n\r\t\b\f\x1f", "\x7f",
	"\u2028\u2029", "\xff bad \xc3", "\uFFFD", "日本", "\U0001F511"}

// payloadAsJSON checks one event against encoding/json, and the way back.
func payloadAsJSON(t *testing.T, ev site.Event) {
	t.Helper()
	ev = clean(ev)
	want, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	if got := appendEvent([]byte("before"), &ev); string(got) != "before"+string(want) {
		t.Fatalf("payload\n%s, want\n%s", got[len("before"):], want)
	}
}

// TestAppendEvent sets every field there is, one at a time and all at once, so
// that a field which is added to site.Event and not to appendEvent is found.
func TestAppendEvent(t *testing.T) {
	payloadAsJSON(t, site.Event{})
	var all site.Event
	for i := range reflect.TypeFor[site.Event]().NumField() {
		name := reflect.TypeFor[site.Event]().Field(i).Name
		for _, text := range awkward {
			var one site.Event
			set(t, name, reflect.ValueOf(&one).Elem().Field(i), text)
			set(t, name, reflect.ValueOf(&all).Elem().Field(i), text)
			payloadAsJSON(t, one)
			payloadAsJSON(t, all)
		}
	}
}

// set gives a field a value that is made of text and not zero.
func set(t *testing.T, name string, f reflect.Value, text string) {
	t.Helper()
	switch v := f.Addr().Interface().(type) {
	case *time.Time:
		*v = time.Date(2026, 3, 29, 2, 30, len(text), 100*len(text), time.FixedZone("", 3600))
		return
	case *site.CardRef:
		*v = site.CardRef{Last2: text, Tag: "a41f0c"}
		return
	case *[]byte:
		*v = []byte(text + "\x00\xff")
		return
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(text)
	case reflect.Uint64:
		f.SetUint(1<<64 - 1 - uint64(len(text)))
	case reflect.Bool:
		f.SetBool(true)
	default:
		t.Fatalf("field %s: of a kind that appendEvent does not know", name)
	}
}

func FuzzAppendEvent(f *testing.F) {
	for i, s := range awkward {
		f.Add(s, int64(i)*1e17, uint64(i), i%2 == 0, []byte(s))
	}
	f.Fuzz(func(t *testing.T, s string, nanos int64, n uint64, yes bool, sealed []byte) {
		payloadAsJSON(t, site.Event{
			Log: site.LogID(s), Seq: site.EventSeq(n), Time: time.Unix(0, nanos), Trusted: yes, Kind: site.Kind(s), Holder: s,
			Card: site.CardRef{Last2: s, Tag: s}, Until: time.Unix(nanos, 0), Count: n, Text: s, Sealed: sealed, Change: n, Cleared: yes,
		})
	})
}

package spool

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
)

// sameDecoded compares decodeEvent with encoding/json.
func sameDecoded(t *testing.T, b []byte) {
	t.Helper()
	var want site.Event
	wantErr := json.Unmarshal(b, &want)
	before := string(b)
	got, err := decodeEvent(b)
	if (err == nil) != (wantErr == nil) || string(b) != before {
		t.Fatalf("%s: error %v, want %v", b, err, wantErr)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n%+v, want\n%+v", b, got, want)
	}
	clear(b) // what was read has its own memory
	if !reflect.DeepEqual(got, want) {
		t.Fatal("the event shares memory with the payload")
	}
}

// plainEvent has every field that is read by hand.
func plainEvent() site.Event {
	return site.Event{
		Log: "5f3a9c01", Seq: 7, Time: time.Date(2026, 3, 29, 2, 30, 1, 200, time.UTC), Trusted: true, Kind: site.KindAccess,
		Door: "front", Reader: "in", Reason: site.ReasonGranted, Card: site.CardRef{Last2: "42", Tag: "a41f0c"}, By: "Zoë",
		Source: site.SourceOperator, Cleared: true, HolderID: "h1", Credential: "c1", Device: "d", Item: "i", Area: "a", Mode: "m",
		Until: time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC), Count: 1<<64 - 1, Text: "日本", Code: "c", Data: "d", LockTime: "l",
		As: site.KindDuress, Change: 10,
	}
}

// TestDecodeEvent reads what appendEvent writes for each field alone and all at
// once, by hand where the text needs no escape, and what it never writes.
func TestDecodeEvent(t *testing.T) {
	var all site.Event
	for i := range reflect.TypeFor[site.Event]().NumField() {
		name := reflect.TypeFor[site.Event]().Field(i).Name
		for _, text := range append(awkward, strings.Repeat("x", maxPlain)) {
			var one site.Event
			set(t, name, reflect.ValueOf(&one).Elem().Field(i), text)
			set(t, name, reflect.ValueOf(&all).Elem().Field(i), text)
			one, all = clean(one), clean(all)
			sameDecoded(t, appendEvent(nil, &one))
			sameDecoded(t, appendEvent(nil, &all))
		}
	}
	ev := plainEvent()
	good := string(appendEvent(nil, &ev))
	d := decoder{rest: good}
	if got := d.event(); d.bad || d.rest != "" || !reflect.DeepEqual(got, ev) {
		t.Errorf("not read by hand: %+v, rest %q", got, d.rest)
	}
	for i := range good { // cut, and one byte altered
		sameDecoded(t, []byte(good[:i]))
		for _, c := range []byte("\" 0\\\x00\xff{}x") {
			b := []byte(good)
			b[i] = c
			sameDecoded(t, b)
		}
	}
	for _, r := range [][2]string{
		{`"seq":7`, `"seq":07`}, {`"seq":7`, `"seq":`}, {`"seq":7`, `"seq":-7`}, {`"seq":7`, `"seq":7.0`}, {`"seq":7`, `"seq":7e0`},
		{`551615`, `551616`}, {`551615`, `5516150`}, {`"count":`, `"Count":`}, {`true`, `false`}, {`true`, `null`}, {`"front"`, `""`}, {`"front"`, `null`},
		{`01.0000002Z`, `01.0000002+01:00`}, {`01.0000002Z`, `01,5Z`}, {`2026-03-29`, `2026-02-30`}, {`T02`, `T2`}, {`T02`, `t02`},
		{`…42 `, `…42`}, {`…42 `, `...42 `}, {`…42 a41f0c`, ``}, {`"i"`, `""`}, {`"change":10}`, `"change":10} `}, {`"change":10}`, `"change":10,"door":"x"}`},
		{`"trusted"`, `"door":"y","trusted"`}, {`"change":10`, `"sealed":"","change":10`}, {`"change":10`, `"change":0`}, {`"Zoë"`, "\"\xff\""},
	} {
		if !strings.Contains(good, r[0]) {
			t.Errorf("%s is not in %s", r[0], good)
		}
		sameDecoded(t, []byte(strings.Replace(good, r[0], r[1], 1)))
	}
}

func FuzzDecodeEvent(f *testing.F) {
	ev := plainEvent()
	f.Add(appendEvent(nil, &ev))
	f.Add(appendEvent(nil, &site.Event{}))
	f.Add([]byte(`{"log":"","seq":0,"time":"2026-01-01T00:00:00Z","trusted":false,"kind":"","door":"","reader":"","reason":"","holder":"","card":"","by":"","source":"","sealed":"eA=="}`))
	f.Fuzz(func(t *testing.T, b []byte) { sameDecoded(t, b) })
}

func BenchmarkDecodeEvent(b *testing.B) {
	ev := plainEvent()
	payload := appendEvent(nil, &ev)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeEvent(payload); err != nil {
			b.Fatal(err)
		}
	}
}

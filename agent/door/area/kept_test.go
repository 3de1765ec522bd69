package area_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
)

var keptConfig = area.Config{
	Areas: []area.Area{{ID: "lab", Passback: area.Hard}, {ID: "yard"}},
	PIN:   area.Lockout{Tries: 3, Within: time.Minute, For: time.Hour},
}

// full returns an owner that knows something of every kind.
func full(t testing.TB) *area.Owner {
	t.Helper()
	o := mustNew(t, keptConfig)
	o.Enter(in, noon)
	o.Enter(way("bob", "gate", "", "yard"), at(time.Second))
	o.Enter(way("cyd", "front", "lab", ""), at(2*time.Second))
	o.Reserve(way("dee", "front", "", "lab"), noon)
	for range 3 {
		o.Wrong("c1", noon)
	}
	o.Wrong("c2", at(time.Second))
	o.Wrong("c2", at(2*time.Second))
	return o
}

const fullKept = `{"version":1,"present":[` +
	`{"holder":"ada","area":"lab","reader":"front-r","since":"2026-11-21T12:00:00Z"},` +
	`{"holder":"bob","area":"yard","reader":"gate-r","since":"2026-11-21T12:00:01Z"},` +
	`{"holder":"cyd","area":"","reader":"front-r","since":"2026-11-21T12:00:02Z"}],"pins":[` +
	`{"key":"c1","until":"2026-11-21T13:00:00Z"},` +
	`{"key":"c2","wrong":["2026-11-21T12:00:01Z","2026-11-21T12:00:02Z"]}]}`

func toJSON(t testing.TB, k area.Kept) string {
	t.Helper()
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fromJSON(t testing.TB, s string) (k area.Kept) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSnapshotRestore(t *testing.T) {
	text := toJSON(t, full(t).Snapshot())
	if diff := cmp.Diff(fullKept, text); diff != "" {
		t.Fatalf("snapshot (-want +got):\n%s", diff)
	}
	o := mustNew(t, keptConfig)
	o.Enter(way("eve", "front", "", "lab"), noon)
	o.Wrong("c9", noon)
	if err := o.Restore(fromJSON(t, text)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullKept, toJSON(t, o.Snapshot())); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	if got := o.Ask(inBack, noon); got != refused {
		t.Errorf("ada is inside and may enter: %q", got)
	}
	if !o.LockedOut("c1", noon) {
		t.Error("the restart ended a lock-out")
	}
	if now, _ := o.Wrong("c2", at(3*time.Second)); !now {
		t.Error("the restart forgot wrong PINs")
	}
}

func TestRestoreUnderOtherSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    area.Config
		want string
	}{
		{"nothing is left", area.Config{}, `{"version":1,"present":[],"pins":[]}`},
		{"one area, fewer tries", area.Config{Areas: []area.Area{{ID: "yard"}}, PIN: area.Lockout{Tries: 2, For: time.Hour}},
			`{"version":1,"present":[{"holder":"bob","area":"yard","reader":"gate-r","since":"2026-11-21T12:00:01Z"}],"pins":[` +
				`{"key":"c1","until":"2026-11-21T13:00:00Z"},{"key":"c2","wrong":["2026-11-21T12:00:02Z"]}]}`},
		{"one try", area.Config{PIN: area.Lockout{Tries: 1, For: time.Hour}}, `{"version":1,"present":[],"pins":[{"key":"c1","until":"2026-11-21T13:00:00Z"}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := mustNew(t, tt.c)
			if err := o.Restore(fromJSON(t, fullKept)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, toJSON(t, o.Snapshot())); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	person := func(s string) string { return `{"version":1,"present":[` + s + `]}` }
	pin := func(s string) string { return `{"version":1,"pins":[` + s + `]}` }
	const since = `"since":"2026-11-21T12:00:00Z"`
	for _, tt := range []struct{ name, text, want string }{
		{"no version", `{}`, "version 0, want 1"},
		{"later version", `{"version":2}`, "version 2, want 1"},
		{"no holder", person(`{"area":"lab",` + since + `}`), "person 1: holder: an id is empty"},
		{"bad area", person(`{"holder":"a","area":"-",` + since + `}`), `person 1: id "-": character '-' is not allowed`},
		{"bad reader", person(`{"holder":"a","reader":" ",` + since + `}`), `person 1: id " ": character ' ' is not allowed`},
		{"no time", person(`{"holder":"a","area":"lab"}`), "person 1: time 0001-01-01"},
		{"far time", person(`{"holder":"a","since":"9999-01-01T00:00:00Z"}`), "person 1: time 9999-01-01"},
		{"holder twice", person(`{"holder":"a",` + since + `},{"holder":"a",` + since + `}`), `person 2: holder "a" is not sorted`},
		{"not sorted", person(`{"holder":"b",` + since + `},{"holder":"a",` + since + `}`), `person 2: holder "a" is not sorted`},
		{"no key", pin(`{}`), "PIN lock-out 1: a key of 0 characters"},
		{"long key", pin(`{"key":"` + strings.Repeat("k", 129) + `"}`), "PIN lock-out 1: a key of 129 characters"},
		{"key twice", pin(`{"key":"a"},{"key":"a"}`), `PIN lock-out 2: key "a" is not sorted`},
		{"wrong at no time", pin(`{"key":"a","wrong":["0001-01-01T00:00:00Z"]}`), "PIN lock-out 1: time 0001-01-01"},
		{"until never", pin(`{"key":"a","until":"9999-01-01T00:00:00Z"}`), "PIN lock-out 1: time 9999-01-01"},
		{"many wrong", pin(`{"key":"a","wrong":[` + strings.Repeat(`"2026-11-21T12:00:00Z",`, 99) + `"2026-11-21T12:00:00Z"]}`), "PIN lock-out 1: 100 wrong PINs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := full(t)
			err := o.Restore(fromJSON(t, tt.text))
			if err == nil || !strings.HasPrefix(err.Error(), "restore areas: "+tt.want) {
				t.Errorf("error %v, want restore areas: %s…", err, tt.want)
			}
			if diff := cmp.Diff(fullKept, toJSON(t, o.Snapshot())); diff != "" {
				t.Errorf("a refused snapshot changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestFold(t *testing.T) {
	away := in.Event(at(time.Hour))
	away.Area = "attic"
	for _, tt := range []struct {
		name string
		ev   site.Event
		want string // who is left where
	}{
		{"another kind", site.Event{Kind: site.KindAccess, HolderID: "ada", Area: "yard", Time: noon}, "ada:lab bob:yard cyd:"},
		{"enters", way("ada", "gate", "", "yard").Event(at(time.Hour)), "ada:yard bob:yard cyd:"},
		{"leaves", out.Event(at(time.Hour)), "ada: bob:yard cyd:"},
		{"somebody new", way("eve", "front", "", "lab").Event(at(time.Hour)), "ada:lab bob:yard cyd: eve:lab"},
		{"into an area that is gone", away, "bob:yard cyd:"},
		{"nobody enters", way("", "front", "", "lab").Event(noon), "ada:lab bob:yard cyd:"},
		{"one forgiven", area.Forgiveness("ada", "", noon), "bob:yard cyd:"},
		{"one forgiven where he is", area.Forgiveness("ada", "lab", noon), "bob:yard cyd:"},
		{"one forgiven where he is not", area.Forgiveness("ada", "yard", noon), "ada:lab bob:yard cyd:"},
		{"nobody known forgiven", area.Forgiveness("zoe", "yard", noon), "ada:lab bob:yard cyd:"},
		{"an area forgiven", area.Forgiveness("", "lab", noon), "bob:yard cyd:"},
		{"all forgiven", area.Forgiveness("", "", noon), ""},
		{"an item of later days", site.Event{Kind: site.KindArea, Item: "later", HolderID: "ada", Area: "yard", Time: noon}, "ada:lab bob:yard cyd:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := full(t)
			o.Fold(tt.ev)
			var got []string
			for _, p := range o.Snapshot().Present {
				got = append(got, string(p.Holder)+":"+string(p.Area))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestForgiveReturns(t *testing.T) {
	o := full(t)
	if o.Forgive("zoe") || !o.Forgive("ada") || o.Forgive("ada") {
		t.Error("Forgive does not say whether the holder was known")
	}
	if n := o.ForgiveAll("yard"); n != 1 {
		t.Errorf("%d forgiven in the yard, want 1", n)
	}
	if n := o.ForgiveAll(""); n != 1 {
		t.Errorf("%d forgiven, want the one outside", n)
	}
}

// FuzzRestore gives bad bytes to Restore: what it refuses changes nothing, what
// it takes comes out again as it went in, but for what the settings lack.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(fullKept))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"present":[{"holder":"a","area":"attic","since":"1970-01-01T00:00:00+14:00"}],"pins":[{"key":"\ud800","wrong":["9998-12-31T23:59:59.9999-12:00"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var k area.Kept
		if json.Unmarshal(data, &k) != nil {
			return
		}
		o := full(t)
		if err := o.Restore(k); err != nil {
			if got := toJSON(t, o.Snapshot()); got != fullKept {
				t.Fatalf("refused (%v) and changed to %s", err, got)
			}
			return
		}
		first := o.Snapshot()
		if len(first.Present) > len(k.Present) || len(first.PINs) > len(k.PINs) {
			t.Fatalf("%d and %d came of %d and %d", len(first.Present), len(first.PINs), len(k.Present), len(k.PINs))
		}
		if err := o.Restore(fromJSON(t, toJSON(t, first))); err != nil {
			t.Fatalf("a snapshot is refused: %v", err)
		}
		if diff := cmp.Diff(first, o.Snapshot()); diff != "" {
			t.Fatalf("restored again (-want +got):\n%s", diff)
		}
		for _, h := range []site.HolderID{"ada", "bob"} {
			o.Ask(way(h, "front", "yard", "lab"), noon)
			o.Enter(way(h, "front", "yard", "lab"), noon)
		}
	})
}

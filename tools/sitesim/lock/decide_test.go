package lock_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/tools/sitesim/lock"
)

// TestPrimeCr makes and opens the four examples of engage.md section 5.
func TestPrimeCr(t *testing.T) {
	const other = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	for _, tt := range []struct {
		key, clear string
		bits       int
		prime      string
	}{
		{siteKeyHex, "26831000", 26, prime1568},
		{siteKeyHex, "26831140", 26, prime1570},
		{other, "815e310628", 37, "7a749873c4b3f54dfdd31b3f82e67e55"},
		{other, "1b957440", 26, "c1eb091ea93845729de142a5140af321"},
	} {
		cfg := config(t)
		cfg.SiteKey = unhex(t, tt.key)
		l := lock.New(cfg)
		file := strings.NewReplacer(prime1568, tt.prime, `"crSch":[1],"actDt`, `"crSch":[1,2],"actDt`).Replace(golden)
		i, j := strings.Index(file, `,{"usrID":2`), strings.Index(file, `]},"schedules"`)
		if _, err := l.CallIn(t.Context(), &server{files: []string{file[:i] + file[j:]}}, wednesday); err != nil {
			t.Fatal(err)
		}
		if !l.Present(block(t, tt.clear, tt.bits), wednesday) {
			t.Errorf("%s does not open", tt.clear)
		}
	}
}

// TestPresent presents the golden file's cards at times of all kinds and looks at
// the audit that each leaves.
func TestPresent(t *testing.T) {
	const at = "20060102 1504"
	for _, tt := range []struct {
		name, card, at, audit string
		opens                 bool
	}{
		{"in its schedule", "26831000", "20260722 1000", "05020000", true},
		{"the first minute of it", "26831000", "20260722 0800", "05020000", true},
		{"the minute before", "26831000", "20260722 0759", "05080000", false},
		{"its end", "26831000", "20260722 1800", "05080000", false},
		{"its last minute", "26831000", "20260722 1759", "05020000", true},
		{"another day", "26831000", "20260726 1000", "05080000", false},
		{"the other user's weekend", "26831140", "20260726 1000", "05020000", true},
		{"the weekend's last minute, for 1439 is the end of the day", "26831140", "20260726 2359", "05020000", true},
		{"before activation", "26831000", "20131231 1000", "05090000", false},
		{"expired", "26831000", "20301231 2359", "050A0000", false},
		{"a restricted holiday", "26831000", "20260501 1000", "050C0000", false},
		{"the minute after it", "26831140", "20260502 0000", "05020000", true},
		{"unknown", "26831040", "20260722 1000", "050B0000", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := loaded(t)
			when, err := time.Parse(at, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Present(block(t, tt.card, 26), when); got != tt.opens {
				t.Errorf("opens %v", got)
			}
			want := []lock.Audit{{Event: tt.audit, Time: when.Format("20060102150405")}}
			if diff := cmp.Diff(want, l.Audits()); diff != "" {
				t.Errorf("audits (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFunctions: what the candidates for fnctn do at this lock.
func TestFunctions(t *testing.T) {
	for _, tt := range []struct {
		fnctn string
		mode  lock.Mode // before
		opens bool
		after lock.Mode
		audit string
	}{
		{"norm", lock.Secured, true, lock.Secured, "0502"},
		{"norm", lock.FrozenSecured, false, lock.FrozenSecured, "050D"},
		{"norm", lock.Lockdown, false, lock.Lockdown, "050D"},
		{"pass-through", lock.Lockdown, true, lock.Lockdown, "0502"},
		{"toggle", lock.Secured, true, lock.Passage, "0F00"},
		{"toggle", lock.Passage, true, lock.Secured, "0F01"},
		{"freeze", lock.Secured, false, lock.FrozenSecured, "0514"},
		{"freeze", lock.FrozenSecured, false, lock.Secured, "0514"},
		{"lockdown", lock.Secured, false, lock.Lockdown, "0500"},
		{"lockdown", lock.Lockdown, false, lock.Secured, "0501"},
		{"blocked", lock.Secured, false, lock.Secured, "0541"},
		{"supervised", lock.Secured, false, lock.Secured, "0540"},
	} {
		t.Run(tt.fnctn+" at "+string(tt.mode), func(t *testing.T) {
			l := lock.New(config(t))
			if _, err := l.CallIn(t.Context(), &server{files: []string{strings.Replace(golden, `"norm"`, `"`+tt.fnctn+`"`, 1)}}, wednesday); err != nil {
				t.Fatal(err)
			}
			if err := l.SetMode(tt.mode, wednesday); err != nil {
				t.Fatal(err)
			}
			if got := l.Present(block(t, "26831000", 26), wednesday); got != tt.opens || l.State() != tt.after {
				t.Errorf("opens %v, mode %s", got, l.State())
			}
			audits := l.Audits()
			if got := audits[len(audits)-1].Event; got != tt.audit+"0000" {
				t.Errorf("audit %s", got)
			}
		})
	}
}

// TestUsedAndSupervised: a one-time card opens once, also after an update that
// changes nothing of it; two supervised cards open together.
func TestUsedAndSupervised(t *testing.T) {
	l := lock.New(config(t))
	s := &server{files: []string{strings.Replace(golden, `"norm"`, `"one-time"`, 1)}}
	call := func() {
		t.Helper()
		if _, err := l.CallIn(t.Context(), s, wednesday); err != nil {
			t.Fatal(err)
		}
	}
	call()
	one, two := block(t, "26831000", 26), block(t, "26831140", 26)
	if !l.Present(one, wednesday) || l.Present(one, wednesday) {
		t.Error("a one-time card opened not once")
	}
	s.files = []string{strings.ReplaceAll(strings.Replace(golden, "8d17", "9d17", 1), `"norm"`, `"supervised"`)}
	call()
	if l.Present(one, wednesday) || l.Present(one, wednesday.Add(time.Second)) || !l.Present(two, wednesday.Add(2*time.Second)) {
		t.Error("two supervised cards did not open as two")
	}
	if l.Present(two, wednesday.Add(time.Minute)) || l.Present(one, wednesday.Add(2*time.Minute)) {
		t.Error("a supervised card opened long after the other")
	}
}

// TestAutoUnlock: each entry changes the state once.
func TestAutoUnlock(t *testing.T) {
	l := loaded(t) // on Wednesday at 8
	at := func(hour, minute int) time.Time {
		return time.Date(2026, 7, 22, hour, minute, 0, 0, time.UTC)
	}
	for _, tt := range []struct {
		at   time.Time
		want lock.Mode
	}{
		{at(9, 29), lock.Secured}, {at(9, 30), lock.Passage}, {at(16, 59), lock.Passage}, {at(17, 0), lock.Secured},
		{at(17, 1).AddDate(0, 0, 7), lock.Secured}, {at(12, 0).AddDate(0, 0, 35), lock.Passage},
	} {
		if got := l.StateAt(tt.at); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.at, got, tt.want)
		}
	}
	l = loaded(t)
	if l.StateAt(at(10, 0)) != lock.Passage || l.SetMode(lock.Secured, at(10, 1)) != nil || l.StateAt(at(10, 2)) != lock.Secured {
		t.Error("an order after autoUnlock did not hold")
	}
	if err := l.SetMode(lock.Lockdown, at(10, 3)); err != nil || l.StateAt(at(10, 0).AddDate(0, 0, 7)) != lock.Lockdown {
		t.Errorf("autoUnlock ended a lockdown, %v", err)
	}
	if l.SetMode("ajar", at(10, 4)) == nil {
		t.Error("mode ajar was taken")
	}
}

// TestUnknownCardTold: an unknown card leaves its bits, low words first.
func TestUnknownCardTold(t *testing.T) {
	l := loaded(t)
	opens, code, err := l.PresentCard(unhex(t, "26831040"), 26, wednesday) // 0x9A0C41
	if err != nil || opens || code != "050B" {
		t.Fatalf("%v %s %v", opens, code, err)
	}
	var got []string
	for _, a := range l.Audits() {
		got = append(got, a.Event)
	}
	if diff := cmp.Diff([]string{"050B0000", "1300001A", "13010C41", "1302009A"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bits := range []int{0, 129, 40} {
		if _, _, err := l.PresentCard(unhex(t, "26831040"), bits, wednesday); err == nil {
			t.Errorf("a card of %d bits was taken", bits)
		}
	}
}

// TestNoTable: a lock without a table, or with a wrong Config, opens for nobody.
func TestNoTable(t *testing.T) {
	if lock.New(config(t)).Present(block(t, "26831000", 26), wednesday) {
		t.Error("a lock without a table opened")
	}
	for _, cfg := range []lock.Config{{}, {Serial: serial}, {Serial: "12", SiteKey: make([]byte, 32)}, {Serial: serial, SiteKey: make([]byte, 32), DayEnd: 7}} {
		l := lock.New(cfg)
		if l.Present([16]byte{}, wednesday) {
			t.Error("a wrong lock opened")
		}
		if _, err := l.CallIn(t.Context(), &server{}, wednesday); err == nil {
			t.Error("a wrong lock called")
		}
	}
}

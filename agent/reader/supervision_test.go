package reader_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

const contact hal.LineName = "GPIO27"

// told renders the events of the reader's lines and contact.
func told(events []site.Event) (out []string) {
	for _, e := range events {
		if e.Door != "front" || e.Reader != "front-in" {
			out = append(out, "event of nobody")
		}
		word := " begins: "
		if e.Cleared {
			word = " ends: "
		}
		out = append(out, string(e.Kind)+" "+e.Item+word+e.Text)
	}
	return out
}

func TestReaderCutLines(t *testing.T) {
	const (
		one  = "reader line GPIO17 is held low: shorted, or a broken reader"
		two  = "reader line GPIO18 is held low: shorted, or a broken reader"
		both = "reader lines GPIO17 and GPIO18 are held low: the reader has no power, or its cable is damaged"
	)
	type step struct {
		name   string
		do     func(*haltest.Board)
		want   []string
		stands []string
	}
	set := func(v0, v1 hal.Level) func(*haltest.Board) {
		return func(b *haltest.Board) {
			b.Drive(d0, v0)
			time.Sleep(30 * time.Microsecond)
			b.Drive(d1, v1)
		}
	}
	steps := []step{
		{"low at the start", func(*haltest.Board) {}, []string{"fault lines begins: " + two}, []string{two}},
		{"and high again", set(hal.High, hal.High), []string{"fault lines ends: " + two}, nil},
		{"no power", set(hal.Low, hal.Low), []string{"fault lines begins: " + both}, []string{both}},
		{"still none", func(*haltest.Board) { time.Sleep(time.Hour) }, nil, []string{both}},
		{"one comes back", set(hal.Low, hal.High), []string{"fault lines ends: " + both, "fault lines begins: " + one}, []string{one}},
		{"a frame on the other", func(b *haltest.Board) { b.Wiegand(d0, d1, "1111", time.Millisecond) }, nil, []string{one}},
		{"and goes", set(hal.Low, hal.Low), []string{"fault lines ends: " + one, "fault lines begins: " + both}, []string{both}},
		{"power", set(hal.High, hal.High), []string{"fault lines ends: " + both}, nil},
		{"a dip is none", func(b *haltest.Board) {
			set(hal.Low, hal.Low)(b)
			time.Sleep(time.Millisecond)
			set(hal.High, hal.High)(b)
		}, []string{"tamper frames begins: both lines low at once"}, []string{"both lines low at once"}},
		{"the tamper ends", func(b *haltest.Board) { time.Sleep(11 * time.Second) }, []string{"tamper frames ends: both lines low at once"}, nil},
	}
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		b.Drive(d1, hal.Low)
		r, stop := start(t, config(), &b, d, nil)
		for _, s := range steps {
			s.do(&b)
			time.Sleep(time.Second)
			seen, _, events := d.take()
			if diff := cmp.Diff(s.want, told(events)); diff != "" || len(seen) != 0 {
				t.Errorf("%s: seen %v (-want +got):\n%s", s.name, seen, diff)
			}
			if diff := cmp.Diff(s.stands, r.Trouble()); diff != "" {
				t.Errorf("%s: stands (-want +got):\n%s", s.name, diff)
			}
		}
		b.Wiegand(d0, d1, frame26, time.Millisecond)
		time.Sleep(time.Second)
		if seen, _, events := d.take(); len(seen) != 1 || len(events) != 0 {
			t.Errorf("after all of it: %v, %v", seen, events)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A pulse that is under way when the reader starts is no fault.
func TestReaderStartsInAPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		b.Drive(d1, hal.Low)
		_, stop := start(t, config(), &b, d, nil)
		time.Sleep(haltest.PulseWidth)
		b.Drive(d1, hal.High)
		time.Sleep(time.Second)
		if _, _, events := d.take(); len(events) != 0 {
			t.Errorf("events: %v", events)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReaderContact(t *testing.T) {
	const text = "tamper contact of the reader"
	begins, ends := "tamper contact begins: "+text, "tamper contact ends: "+text
	for _, normal := range []hal.Level{hal.Low, hal.High} {
		t.Run("normal "+normal.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b haltest.Board
				d := newDesk()
				cfg := config()
				cfg.Wiegand.Tamper, cfg.Wiegand.TamperNormal = contact, normal
				b.Drive(contact, !normal) // open at the start
				r, stop := start(t, cfg, &b, d, nil)
				for _, s := range []struct {
					name string
					do   func()
					want []string
				}{
					{"open at the start", func() {}, []string{begins}},
					{"a day of it", func() { time.Sleep(24 * time.Hour) }, nil},
					{"closed", func() { b.Drive(contact, normal) }, []string{ends}},
					{"opened and closed at once", func() { b.Drive(contact, !normal); b.Drive(contact, normal) }, []string{begins, ends}},
					{"a lost edge", func() {
						b.LoseEdges(contact, 1)
						b.Drive(contact, !normal)
						b.Drive(contact, normal)
						b.Drive(contact, !normal)
					}, []string{begins}},
					{"a card meanwhile", func() { b.Wiegand(d0, d1, frame26, time.Millisecond) }, nil},
				} {
					s.do()
					time.Sleep(time.Second)
					if _, _, events := d.take(); cmp.Diff(s.want, told(events)) != "" {
						t.Errorf("%s: %v, want %v", s.name, told(events), s.want)
					}
				}
				if diff := cmp.Diff([]string{text}, r.Trouble()); diff != "" {
					t.Errorf("stands (-want +got):\n%s", diff)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if b.Claimed(contact) {
					t.Error("the contact is held after the end")
				}
			})
		})
	}
}

// A contact, a LED that cannot be had costs no card, is told once, and ends when
// it can be had.
func TestReaderContactMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		cfg := config()
		cfg.Wiegand.Tamper, cfg.Wiegand.LED = contact, "GPIO16"
		b.Drive(contact, hal.Low)
		b.FailClaim(contact, errors.New("injected"))
		b.FailClaim("GPIO16", errors.New("injected"))
		r, stop := start(t, cfg, &b, d, nil)
		b.Wiegand(d0, d1, frame26, time.Millisecond)
		time.Sleep(time.Second)
		seen, _, events := d.take()
		got := map[string]bool{}
		for _, e := range told(events) {
			got[e] = true
		}
		want := map[string]bool{
			"fault contact begins: tamper contact: line cannot be had": true, "fault feedback begins: led or beeper: line cannot be had": true,
		}
		if diff := cmp.Diff(want, got); diff != "" || len(seen) != 1 || len(events) != 2 {
			t.Errorf("seen %v, events (-want +got):\n%s", seen, diff)
		}
		b.FailClaim(contact, nil)
		time.Sleep(10 * time.Second)
		if _, _, events := d.take(); cmp.Diff([]string{"fault contact ends: tamper contact: line cannot be had"}, told(events)) != "" {
			t.Errorf("the contact can be had: %v", told(events))
		}
		b.Drive(contact, hal.High)
		time.Sleep(time.Second)
		b.Drive(contact, hal.Low)
		time.Sleep(time.Second)
		if _, _, events := d.take(); len(events) != 2 {
			t.Errorf("and is not watched: %v", told(events))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.FailClaim(contact, errors.New("injected"))
		again := func() int {
			t.Helper()
			done := make(chan error, 1)
			go func() { done <- r.Run(t.Context()) }()
			time.Sleep(time.Second)
			_, _, events := d.take()
			b.Lose()
			if err := <-done; !errors.Is(err, hal.ErrClosed) {
				t.Error(err)
			}
			b.Restore()
			return len(events)
		}
		if n := again(); n != 1 {
			t.Errorf("told %d times more, not of the contact alone", n)
		}
		if n := again(); n != 0 {
			t.Errorf("told %d times more", n)
		}
		b.FailClaim(contact, nil)
		b.FailClaim("GPIO16", nil)
		if n := again(); n != 2 || len(r.Trouble()) != 0 {
			t.Errorf("%d ends, stands %v", n, r.Trouble())
		}
	})
}

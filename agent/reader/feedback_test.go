package reader_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

func lamps() reader.WiegandConfig {
	return reader.WiegandConfig{LED: "led", Beeper: "beep", LEDOn: hal.Low, BeepOn: hal.High}
}

// changes are levels with the time since the first one. What lasted no time is
// left out.
func changes(b *haltest.Board, name hal.LineName) []string {
	var out []string
	all := b.History(name)
	first := all[0].At
	var kept []haltest.Change
	for _, c := range all {
		if n := len(kept); n > 1 && kept[n-1].At == c.At {
			kept = kept[:n-1]
		}
		if n := len(kept); n == 0 || kept[n-1].Level != c.Level {
			kept = append(kept, c)
		}
	}
	for _, c := range kept {
		out = append(out, c.Level.String()+" "+(c.At-first).String())
	}
	return out
}

func play(t *testing.T, b *haltest.Board, do func(*reader.Feedback)) error {
	t.Helper()
	f := reader.NewFeedback(lamps(), b, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	synctest.Wait()
	do(f)
	cancel()
	err := <-done
	if b.Level("led") != hal.High || b.Level("beep") != hal.Low || b.Claimed("led") || b.Claimed("beep") {
		t.Errorf("after the end: led %v, beep %v", b.Level("led"), b.Level("beep"))
	}
	return err
}

func TestFeedback(t *testing.T) {
	tests := []struct {
		name      string
		do        func(*reader.Feedback)
		led, beep []string
	}{
		{"nothing", func(f *reader.Feedback) { f.Play(site.PatternNone); time.Sleep(time.Hour) },
			[]string{"high 0s"}, []string{"low 0s"}},
		{"granted", func(f *reader.Feedback) { f.Play(site.PatternGranted); time.Sleep(time.Hour) },
			[]string{"high 0s", "low 0s", "high 2s"}, []string{"low 0s", "high 0s", "low 200ms"}},
		{"denied", func(f *reader.Feedback) { f.Play(site.PatternDenied); time.Sleep(time.Hour) },
			[]string{"high 0s"},
			[]string{"low 0s", "high 0s", "low 100ms", "high 200ms", "low 300ms", "high 400ms", "low 500ms"}},
		{"newest wins", func(f *reader.Feedback) {
			f.Play(site.PatternDenied)
			f.Play(site.PatternWaiting)
			f.Play(site.PatternError)
			time.Sleep(500 * time.Millisecond)
			f.Play(site.PatternGranted)
			time.Sleep(time.Hour)
		},
			[]string{"high 0s", "low 0s", "high 2.5s"}, []string{"low 0s", "high 0s", "low 700ms"}},
		{"none ends it", func(f *reader.Feedback) {
			f.Play(site.PatternError)
			time.Sleep(100 * time.Millisecond)
			f.Play(site.PatternNone)
			time.Sleep(time.Hour)
		},
			[]string{"high 0s", "low 0s", "high 100ms"}, []string{"low 0s", "high 0s", "low 100ms"}},
		{"end in the middle", func(f *reader.Feedback) { f.Play(site.PatternError); time.Sleep(time.Millisecond) },
			[]string{"high 0s", "low 0s", "high 1ms"}, []string{"low 0s", "high 0s", "low 1ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b haltest.Board
				if err := play(t, &b, tt.do); err != nil {
					t.Error(err)
				}
				if d := cmp.Diff(tt.led, changes(&b, "led")); d != "" {
					t.Errorf("led (-want +got):\n%s", d)
				}
				if d := cmp.Diff(tt.beep, changes(&b, "beep")); d != "" {
					t.Errorf("beeper (-want +got):\n%s", d)
				}
			})
		})
	}
}

// A reader's own signal replaces the usual one, an empty one shows nothing, and
// the other patterns stay as they are.
func TestFeedbackOfAReader(t *testing.T) {
	cfg := lamps()
	own := reader.Signal{Repeat: 250 * time.Millisecond, Tones: []reader.Tone{{LED: true, For: 100 * time.Millisecond}, {Beep: true, For: 50 * time.Millisecond}}}
	cfg.Feedback = map[site.Pattern]reader.Signal{site.PatternGranted: own, site.PatternDenied: {}}
	if d := cmp.Diff([]reader.Signal{own, {}, reader.SignalOf(site.PatternError)},
		[]reader.Signal{cfg.SignalOf(site.PatternGranted), cfg.SignalOf(site.PatternDenied), cfg.SignalOf(site.PatternError)}); d != "" {
		t.Errorf("signals (-want +got):\n%s", d)
	}
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		f := reader.NewFeedback(cfg, &b, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		f.Play(site.PatternDenied)
		time.Sleep(time.Second)
		if got := changes(&b, "beep"); len(got) != 1 {
			t.Errorf("an empty signal was heard: %v", got)
		}
		f.Play(site.PatternGranted)
		time.Sleep(time.Second)
		if d := cmp.Diff([]string{"high 0s", "low 1s", "high 1.1s", "low 1.15s", "high 1.25s"}, changes(&b, "led")); d != "" {
			t.Errorf("led (-want +got):\n%s", d)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFeedbackWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		err := play(t, &b, func(f *reader.Feedback) { f.Play(site.PatternWaiting); time.Sleep(time.Hour) })
		if err != nil {
			t.Error(err)
		}
		got := changes(&b, "led")
		if want := "high 14.75s"; got[len(got)-1] != want || len(got) != 61 {
			t.Errorf("%d changes, last %q, want %q", len(got), got[len(got)-1], want)
		}
	})
}

// A signal that nobody sees is no reason to stop, and the lamps are off as soon
// as they can be.
func TestFeedbackFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		err := play(t, &b, func(f *reader.Feedback) {
			b.FailSet("led", errors.New("injected"))
			f.Play(site.PatternGranted)
			time.Sleep(time.Second)
			b.FailSet("led", nil)
			f.Play(site.PatternGranted)
			time.Sleep(time.Second)
		})
		if err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := haltest.NewBoard("led")
		err := reader.NewFeedback(lamps(), b, nil).Run(t.Context())
		if !errors.Is(err, hal.ErrNoLine) || b.Claimed("led") || b.Level("led") != hal.High {
			t.Errorf("beeper missing: %v, led %v", err, b.Level("led"))
		}
	})
}

// Every pattern has a signal, and none leaves a lamp on.
func TestSignals(t *testing.T) {
	for p := site.PatternGranted; p <= site.PatternLockdown; p++ {
		s := reader.SignalOf(p)
		if len(s.Tones) == 0 {
			t.Errorf("%v: nothing to see", p)
		}
		for _, tone := range s.Tones {
			if tone.For <= 0 || tone.For > 5*time.Second {
				t.Errorf("%v: a tone of %v", p, tone.For)
			}
		}
	}
	if len(reader.SignalOf(site.PatternNone).Tones) != 0 || len(reader.SignalOf(200).Tones) != 0 {
		t.Error("a pattern that shows nothing shows something")
	}
}

// The reader reads without its beeper, says so, and shows through Play.
func TestReaderFeedback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := haltest.NewBoard(d0, d1, "led", "beep")
		d := newDesk()
		cfg := config()
		cfg.Wiegand.LED, cfg.Wiegand.Beeper = "led", "beep"
		r, stop := start(t, cfg, b, d, nil)
		r.Play(site.PatternGranted)
		time.Sleep(time.Second)
		if b.Level("led") != hal.Low {
			t.Error("the LED does not light")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if b.Level("led") != hal.High || b.Level("beep") != hal.High {
			t.Error("LED or beeper is on after the end")
		}

		cfg.Wiegand.Beeper = "elsewhere"
		_, stop = start(t, cfg, b, d, nil)
		b.Wiegand(d0, d1, frame26, time.Millisecond)
		time.Sleep(time.Second)
		seen, _, events := d.take()
		if len(seen) != 1 || len(events) != 1 || events[0].Kind != site.KindFault {
			t.Errorf("seen %v, events %v", seen, events)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

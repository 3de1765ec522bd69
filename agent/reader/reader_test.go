package reader_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// desk is a Presenter and a Faults that keep what they were given, with the
// time since the desk was made.
type desk struct {
	start time.Time
	slow  chan struct{} // when not nil, Present waits until it is closed or ctx ends

	mu     sync.Mutex // guards following
	seen   []string   // "LENGTH:HEX" or "key N"
	at     []time.Duration
	events []site.Event
}

func newDesk() *desk { return &desk{start: time.Now()} }

func (d *desk) keep(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, s)
	d.at = append(d.at, time.Since(d.start))
}

func (d *desk) Present(ctx context.Context, r site.ReaderID, b card.Bits) {
	d.keep(b.Text())
	if d.slow != nil {
		select {
		case <-d.slow:
		case <-ctx.Done():
		}
	}
}

func (d *desk) Key(_ context.Context, _ site.ReaderID, k card.Key) {
	d.keep(fmt.Sprint("key ", uint8(k)))
}

func (d *desk) Append(e site.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

func (d *desk) take() (seen []string, at []time.Duration, events []site.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen, at, events = d.seen, d.at, d.events
	d.seen, d.at, d.events = nil, nil, nil
	return seen, at, events
}

func config() reader.Config {
	return reader.Config{ID: "front-in", Door: "front", Wiegand: &reader.WiegandConfig{D0: d0, D1: d1}}
}

// start runs a reader until the returned function is called, which returns what
// Run did.
func start(t *testing.T, cfg reader.Config, b reader.Board, d *desk, log *slog.Logger) (*reader.Reader, func() error) {
	t.Helper()
	r, err := reader.New(cfg, b, d, d, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	synctest.Wait()
	return r, func() error { cancel(); return <-done }
}

func TestReaderDecidesAtTheFramesPace(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	tests := []struct {
		gap, silence time.Duration
	}{
		{200 * us, 5 * ms}, {1 * ms, 5 * ms}, {2 * ms, 8 * ms}, {20 * ms, 25 * ms},
	}
	for _, tt := range tests {
		for _, frame := range []string{frame26, frame37} {
			t.Run(fmt.Sprintf("%d bits %v", len(frame), tt.gap), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var b haltest.Board
					d := newDesk()
					_, stop := start(t, config(), &b, d, nil)
					last := b.Now()
					b.Wiegand(d0, d1, frame, tt.gap)
					last = b.Now() - last - haltest.PulseWidth
					time.Sleep(time.Second)
					seen, at, events := d.take()
					if diff := cmp.Diff([]string{bits(t, frame).Text()}, seen); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					if len(at) == 1 && at[0] != last+tt.silence {
						t.Errorf("presented %v after the last edge, want %v", at[0]-last, tt.silence)
					}
					if len(events) != 0 {
						t.Errorf("events: %v", events)
					}
					if err := stop(); err != nil {
						t.Errorf("stop: %v", err)
					}
					if b.Claimed(d0) || b.Claimed(d1) {
						t.Error("lines are held after the end")
					}
				})
			})
		}
	}
}

// The goroutine was delayed: the edges of two cards wait in the queue, with the
// stamps of when they happened.
func TestReaderDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		_, stop := start(t, config(), &b, d, nil)
		at := b.WiegandAt(d0, d1, frame26, 200*time.Microsecond, b.Now())
		b.WiegandAt(d0, d1, frame37, 2*time.Millisecond, at+5*time.Millisecond)
		time.Sleep(time.Second)
		seen, _, _ := d.take()
		if diff := cmp.Diff([]string{bits(t, frame26).Text(), bits(t, frame37).Text()}, seen); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReaderKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		_, stop := start(t, config(), &b, d, nil)
		for _, f := range []string{frame26, "0001", "11100001", "1011", "1100", "11110001"} {
			b.Wiegand(d0, d1, f, time.Millisecond)
			time.Sleep(100 * time.Millisecond)
		}
		seen, _, _ := d.take()
		// 12 is no key, and the high half of the last is no complement: both are
		// unreadable cards.
		want := []string{"26:26831000", "key 1", "key 1", "key 11", "4:c0", "8:f1"}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReaderOwnFormatBeatsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := card.NewFormat(card.FormatSpec{Name: "tiny", Bits: 4, Card: card.Field{Len: 4}})
		if err != nil {
			t.Fatal(err)
		}
		var b haltest.Board
		d := newDesk()
		cfg := config()
		cfg.Wiegand.Formats = []card.Format{f}
		_, stop := start(t, cfg, &b, d, nil)
		b.Wiegand(d0, d1, "0001", time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		if seen, _, _ := d.take(); len(seen) != 1 || seen[0] != "4:10" {
			t.Errorf("got %v", seen)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A decision that hangs stalls no edge, and no card that waits too long opens.
func TestReaderSlowDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		d.slow = make(chan struct{})
		_, stop := start(t, config(), &b, d, nil)
		for range 4 {
			b.Wiegand(d0, d1, frame26, time.Millisecond)
			time.Sleep(100 * time.Millisecond)
		}
		seen, _, events := d.take()
		if len(seen) != 1 {
			t.Errorf("presented while the decision hangs: %v", seen)
		}
		want := site.Event{Kind: site.KindAccess, Door: "front", Reader: "front-in", Reason: site.ReasonFault}
		if len(events) != 2 {
			t.Fatalf("%d cards were refused, want 2", len(events))
		}
		for _, e := range events {
			e.Text = ""
			if diff := cmp.Diff(want, e); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		close(d.slow)
		synctest.Wait()
		if seen, _, _ := d.take(); len(seen) != 1 {
			t.Errorf("the card that waited: %v", seen)
		}
		b.Wiegand(d0, d1, frame37, time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		if seen, _, events := d.take(); len(seen) != 1 || len(events) != 0 {
			t.Errorf("after the jam: %v, %v", seen, events)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A card that waits when the reader stops is an event and opens nothing.
func TestReaderStopsWithACardWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		d.slow = make(chan struct{})
		_, stop := start(t, config(), &b, d, nil)
		for range 2 {
			b.Wiegand(d0, d1, frame26, time.Millisecond)
			time.Sleep(100 * time.Millisecond)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		seen, _, events := d.take()
		if len(seen) != 1 || len(events) != 1 || events[0].Reason != site.ReasonFault {
			t.Errorf("seen %v, events %v", seen, events)
		}
	})
}

func TestReaderTamper(t *testing.T) {
	both := func(b *haltest.Board) {
		b.Drive(d0, hal.Low)
		b.Drive(d1, hal.Low)
		time.Sleep(100 * time.Microsecond)
		b.Drive(d0, hal.High)
		b.Drive(d1, hal.High)
	}
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		_, stop := start(t, config(), &b, d, nil)
		tell := func(after time.Duration) (out []string) {
			time.Sleep(after)
			seen, _, events := d.take()
			if len(seen) != 0 {
				t.Errorf("a fault was presented: %v", seen)
			}
			for _, e := range events {
				if e.Door != "front" || e.Reader != "front-in" {
					t.Errorf("event of nobody: %+v", e)
				}
				out = append(out, fmt.Sprint(e.Kind, " ", e.Cleared))
			}
			return out
		}
		steps := []struct {
			name  string
			fault int
			each  time.Duration
			want  []string
		}{
			{"two are none", 2, 5100 * time.Millisecond, nil},
			{"a third too late", 1, time.Second, nil},
			{"three in ten seconds", 2, 500 * time.Millisecond, []string{"tamper false"}},
			{"more are the same", 5, time.Second, nil},
			{"still within ten seconds", 0, 8 * time.Second, nil},
			{"it ends", 0, 3 * time.Second, []string{"tamper true"}},
			{"and begins again", 3, time.Second, []string{"tamper false"}},
		}
		for _, s := range steps {
			var got []string
			for range s.fault {
				both(&b)
				got = append(got, tell(s.each)...)
			}
			if s.fault == 0 {
				got = tell(s.each)
			}
			if diff := cmp.Diff(s.want, got); diff != "" {
				t.Errorf("%s: (-want +got):\n%s", s.name, diff)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReaderBoardLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		r, err := reader.New(config(), &b, d, d, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second Run after a restart of the board
			done := make(chan error, 1)
			go func() { done <- r.Run(t.Context()) }()
			<-r.Ready()
			synctest.Wait()
			b.Wiegand(d0, d1, frame26, time.Millisecond)
			time.Sleep(time.Second)
			b.Lose()
			if err := <-done; !errors.Is(err, hal.ErrClosed) {
				t.Errorf("run: %v", err)
			}
			b.Restore()
		}
		if seen, _, _ := d.take(); len(seen) != 2 {
			t.Errorf("seen %v", seen)
		}
	})
}

func TestReaderNew(t *testing.T) {
	tests := []struct {
		name string
		edit func(*reader.Config)
	}{
		{"no wiegand", func(c *reader.Config) { c.Wiegand = nil }},
		{"no d0", func(c *reader.Config) { c.Wiegand.D0 = "" }},
		{"one line twice", func(c *reader.Config) { c.Wiegand.D1 = c.Wiegand.D0 }},
		{"silence too short", func(c *reader.Config) { c.Wiegand.Silence = time.Millisecond }},
		{"silence too long", func(c *reader.Config) { c.Wiegand.Silence = time.Second }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			tt.edit(&cfg)
			if _, err := reader.New(cfg, &haltest.Board{}, newDesk(), newDesk(), nil); err == nil {
				t.Error("accepted")
			}
		})
	}
	b := haltest.NewBoard(d0)
	r, err := reader.New(config(), b, newDesk(), newDesk(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, hal.ErrNoLine) {
		t.Errorf("run without a line: %v", err)
	}
	if r.String() != "reader front-in" {
		t.Errorf("name %q", r)
	}
}

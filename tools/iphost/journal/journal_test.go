package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/journal"
)

func open(t *testing.T) *journal.Journal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, bus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	j, err := journal.Open(ctx, b, journal.Config{MaxAge: 24 * time.Hour, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func frames(what string, ids ...uint32) []journal.Frame {
	var out []journal.Frame
	for _, id := range ids {
		out = append(out, journal.Frame{ID: id, JSON: fmt.Appendf(nil, `{"eventId":%d,"event":{"eventType":"Audit","source":"gateway","deviceId":"%s","eventBody":"{}"}}`, id, what)})
	}
	return out
}

func stored(t *testing.T, j *journal.Journal, f journal.Filter) []uint32 {
	t.Helper()
	page, err := j.Query(t.Context(), f, journal.MaxPage)
	if err != nil || page.Next != "" {
		t.Fatalf("query: %v, next %q", err, page.Next)
	}
	out := []uint32{}
	for _, e := range page.Events {
		out = append(out, e.EventID)
	}
	return out
}

// TestRepeats: what a gateway says twice is stored once, whoever writes it, and
// nothing else is dropped.
func TestRepeats(t *testing.T) {
	j := open(t)
	serial := engage.Serial{15: 1}
	type batch struct {
		writer int
		frames []journal.Frame
		fresh  int
	}
	const top = 1<<32 - 1
	steps := []batch{
		{0, frames("a", 1, 2, 3), 3},
		{0, frames("a", 4), 1},
		{1, frames("a", 3, 4, 5), 1},          // another host, a repeat of two
		{0, frames("a", 5, 6), 1},             // the first one did not know of 5
		{2, frames("a", 1, 2, 3, 4, 5, 6), 0}, // all of it
		{2, frames("a", 7), 1},
		{1, frames("b", 1, 2), 2}, // numbers anew, other content
		{1, frames("b", 3), 1},
		{2, frames("b", 2, 3, 4), 1},
		{0, frames("c", top-1, top), 2},
		{0, frames("c", 0, 1), 2}, // over the end of 32 bits
		{1, frames("c", top, 0, 1, 2), 1},
	}
	writers := []*journal.Writer{j.Writer("demo", serial), j.Writer("demo", serial), j.Writer("demo", serial)}
	for i, s := range steps {
		n, err := writers[s.writer].Append(t.Context(), s.frames)
		if err != nil || n != s.fresh {
			t.Fatalf("step %d: %d new, %v: want %d", i, n, err, s.fresh)
		}
	}
	want := []uint32{1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, top - 1, top, 0, 1, 2}
	if d := cmp.Diff(want, stored(t, j, journal.Filter{Gateway: &serial})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	other := engage.Serial{15: 2}
	if n, err := j.Writer("demo", other).Append(t.Context(), frames("a", 1, 2)); err != nil || n != 2 {
		t.Errorf("another gateway's same events: %d new, %v", n, err)
	}
}

// TestWritersAtOnce: two writers of one gateway do not mix or double events.
func TestWritersAtOnce(t *testing.T) {
	j := open(t)
	serial := engage.Serial{15: 1}
	const last = 200
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			w := j.Writer("demo", serial)
			for i := uint32(1); i <= last; i++ {
				if _, err := w.Append(t.Context(), frames("a", i)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	count := map[uint32]int{}
	for _, id := range stored(t, j, journal.Filter{}) {
		count[id]++
	}
	for i := uint32(1); i <= last; i++ {
		if count[i] != 1 {
			t.Errorf("event %d is stored %d times", i, count[i])
		}
	}
}

func TestAppendEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, bus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(ctx, b, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.Abort()
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := j.Writer("demo", engage.Serial{}).Append(short, frames("a", 1)); err == nil {
		t.Error("stored without a stream")
	}
}

func TestParseID(t *testing.T) {
	for _, bad := range []string{"", "1", "1.", ".1", "1.-1", "-1.0", "1.2.3", "a.b", "1.99999999999", "99999999999999999999.0"} {
		if _, err := journal.ParseID(bad); !errors.Is(err, journal.ErrID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	a, b, c := journal.ID{Seq: 1, Index: 9}, journal.ID{Seq: 2}, journal.ID{Seq: 2, Index: 1}
	if !a.Before(b) || !b.Before(c) || c.Before(b) || b.Before(b) {
		t.Error("wrong order")
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("12.3")
	f.Add("0.0")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := journal.ParseID(s)
		if err != nil {
			return
		}
		again, err := journal.ParseID(id.String())
		if err != nil || again != id || strings.Contains(s, "-") {
			t.Errorf("%q: %v, %v, %v", s, id, again, err)
		}
	})
}

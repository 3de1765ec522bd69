package task_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/task"
)

// journal notes what happens, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// part is a task that can be told how to behave.
type part struct {
	name    string
	journal *journal
	warm    time.Duration // until it is ready; negative: never
	cold    time.Duration // until it has stopped
	life    time.Duration // until it fails; 0: never
	fails   error         // how, nil for returning nil
	panics  bool
	deaf    bool // does not heed its ctx

	warmed bool
	ready  chan struct{}
	deaft  chan struct{} // frees a deaf one at the end of the test
}

func (p *part) init() *part {
	p.ready, p.deaft = make(chan struct{}), make(chan struct{})
	return p
}

func (p *part) String() string         { return p.name }
func (p *part) Ready() <-chan struct{} { return p.ready }

func (p *part) Run(ctx context.Context) error {
	p.journal.add("+" + p.name)
	var fail <-chan time.Time
	if p.life > 0 {
		fail = time.After(p.life)
	}
	if p.warm >= 0 {
		select {
		case <-time.After(p.warm):
			if !p.warmed {
				p.warmed = true
				close(p.ready)
			}
		case <-ctx.Done():
		}
	}
	if p.deaf {
		<-p.deaft
		return nil
	}
	select {
	case <-fail:
		p.journal.add("!" + p.name)
		if p.panics {
			panic("out of range")
		}
		return p.fails
	case <-ctx.Done():
		time.Sleep(p.cold)
		p.journal.add("-" + p.name)
		return nil
	}
}

var errBroken = errors.New("broken")

func TestGroupOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := task.NewGroup(task.GroupConfig{})
		a := (&part{name: "a", journal: &j, warm: time.Second, cold: time.Second}).init()
		b := (&part{name: "b", journal: &j, warm: -1}).init()
		c := (&part{name: "c", journal: &j, cold: time.Second}).init()
		g.Add(a, task.Policy{})
		g.Add(b, task.Policy{StartWait: 3 * time.Second})
		g.Add(c, task.Policy{})
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		<-g.Ready()
		if got := time.Since(start); got != 4*time.Second {
			t.Errorf("ready after %v, want 1 s for a and 3 s for b", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil: the end of ctx is no failure", err)
		}
		want := []string{"+a", "+b", "+c", "-c", "-b", "-a"}
		if diff := cmp.Diff(want, j.all()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestGroupStopsWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := task.NewGroup(task.GroupConfig{})
		for _, n := range []string{"a", "b"} {
			g.Add((&part{name: n, journal: &j, warm: -1}).init(), task.Policy{Fatal: true})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"+a", "-a"}, j.all()); diff != "" {
			t.Errorf("b waits for a, which everything rests on (-want +got):\n%s", diff)
		}
	})
}

func TestRestart(t *testing.T) {
	tests := []struct {
		name   string
		part   part
		policy task.Policy
		run    time.Duration
		want   int // starts
	}{
		// 100 ms doubling to 30 s, each with up to a quarter more
		{"growing delay", part{life: 1, fails: errBroken}, task.Policy{}, time.Minute, 10},
		{"capped delay", part{life: 1, fails: errBroken}, task.Policy{MinDelay: time.Second, MaxDelay: time.Second}, 126 * time.Second, 127},
		{"healthy in between", part{life: 10 * time.Second, fails: errBroken}, task.Policy{}, 101 * time.Second, 10},
		{"panic", part{life: 1, panics: true}, task.Policy{MinDelay: time.Second, MaxDelay: time.Second}, 3 * time.Second, 3},
		{"ends by itself", part{life: 1}, task.Policy{MinDelay: time.Second, MaxDelay: time.Second}, 3 * time.Second, 3},
		{"done once", part{life: 1}, task.Policy{Once: true}, time.Hour, 1},
		{"done but failed", part{life: 1, fails: errBroken}, task.Policy{Once: true, MinDelay: time.Second, MaxDelay: time.Second}, 3 * time.Second, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				p := (&tt.part).init()
				p.name, p.journal = "p", &j
				g := task.NewGroup(task.GroupConfig{})
				g.Add(p, tt.policy)
				ctx, cancel := context.WithTimeout(t.Context(), tt.run)
				defer cancel()
				if err := g.Run(ctx); err != nil {
					t.Error(err)
				}
				starts := 0
				for _, l := range j.all() {
					if l == "+p" {
						starts++
					}
				}
				// the random quarter may take some of them away
				if starts > tt.want || starts < tt.want*8/10 || tt.want <= 3 && starts < tt.want-1 {
					t.Errorf("%d starts, want about %d", starts, tt.want)
				}
			})
		})
	}
}

func TestFatal(t *testing.T) {
	for _, tt := range []struct {
		name string
		part part
		want error
	}{
		{"error while starting", part{warm: -1, life: time.Second, fails: errBroken}, errBroken},
		{"error later", part{life: time.Hour, fails: errBroken}, errBroken},
		{"panic", part{life: time.Hour, panics: true}, task.ErrPanic},
		{"ends by itself", part{life: time.Hour}, task.ErrEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				p := (&tt.part).init()
				p.name, p.journal = "vital", &j
				g := task.NewGroup(task.GroupConfig{})
				g.Add((&part{name: "a", journal: &j}).init(), task.Policy{})
				g.Add(p, task.Policy{Fatal: true})
				err := g.Run(t.Context())
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "vital") {
					t.Errorf("Run = %v, want %v of vital", err, tt.want)
				}
				if lines := j.all(); lines[len(lines)-1] != "-a" {
					t.Errorf("the others were not stopped: %v", lines)
				}
			})
		})
	}
}

func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := task.NewGroup(task.GroupConfig{StopWait: 3 * time.Second})
		deaf := (&part{name: "deaf", journal: &j, deaf: true}).init()
		g.Add((&part{name: "a", journal: &j}).init(), task.Policy{})
		g.Add(deaf, task.Policy{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		<-g.Ready()
		start := time.Now()
		cancel()
		err := <-done
		if !errors.Is(err, task.ErrStuck) || !strings.Contains(err.Error(), "deaf") {
			t.Errorf("Run = %v, want ErrStuck that names deaf", err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("Run returned after %v, want the deadline", got)
		}
		synctest.Wait()
		if lines := j.all(); lines[len(lines)-1] != "-a" {
			t.Errorf("one that hangs kept the others from stopping: %v", lines)
		}
		close(deaf.deaft)
	})
}

func TestPanicIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var j journal
		g := task.NewGroup(task.GroupConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
		g.Add((&part{name: "p", journal: &j, life: 1, panics: true}).init(), task.Policy{Fatal: true})
		if err := g.Run(t.Context()); !errors.Is(err, task.ErrPanic) {
			t.Errorf("Run = %v", err)
		}
		for _, want := range []string{"task=p", "out of range", "task_test.go"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, log.String())
			}
		}
	})
}

func TestGroupHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j, told journal
		start := time.Now()
		h := task.NewHealth(func(c task.Change) {
			what := " begins after "
			if c.Cleared {
				what = " ends after "
			}
			told.add(c.Fault.ID + what + time.Since(start).Round(time.Second).String())
		})
		g := task.NewGroup(task.GroupConfig{Health: h})
		// It lives for 20 s each time: the fault stands for the delay and 10 s.
		p := (&part{name: "p", journal: &j, life: 20 * time.Second, fails: errBroken}).init()
		g.Add(p, task.Policy{MinDelay: time.Millisecond})
		// It never lives long enough: one fault, told once.
		q := (&part{name: "q", journal: &j, life: time.Second, fails: errBroken}).init()
		g.Add(q, task.Policy{})
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		want := []string{
			"task:q begins after 1s",
			"task:p begins after 20s", "task:p ends after 30s",
			"task:p begins after 40s",
		}
		if diff := cmp.Diff(want, told.all()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if l := h.List(); len(l) != 2 || l[0].ID != "task:p" || !strings.Contains(l[1].Text, "broken") {
			t.Errorf("List = %v", l)
		}
	})
}

func TestHealth(t *testing.T) {
	var told []string
	var h *task.Health
	h = task.NewHealth(func(c task.Change) {
		if c.Cleared {
			told = append(told, "-"+c.Fault.ID)
			return
		}
		told = append(told, "+"+c.Fault.ID)
		if c.Fault.ID == "a" {
			h.Set("from inside", "x")
			h.Clear("from inside")
		}
	})
	h.Clear("never stood")
	h.Set("b", "one")
	h.Set("a", "two")
	h.Set("b", "three")
	list := h.List()
	if len(list) != 2 || list[0].ID != "a" || list[1].Text != "three" || list[1].Since.IsZero() {
		t.Errorf("List = %+v", list)
	}
	h.Clear("b")
	h.Clear("b")
	h.Set("b", "again")
	want := []string{"+b", "+a", "+from inside", "-from inside", "-b", "+b"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	task.NewHealth(nil).Set("x", "y")
}

// Many goroutines: for each fault, onset and end alternate.
func TestHealthConcurrent(t *testing.T) {
	stands := make(map[string]bool)
	h := task.NewHealth(func(c task.Change) {
		if stands[c.Fault.ID] != c.Cleared {
			t.Errorf("%s: cleared=%v twice", c.Fault.ID, c.Cleared)
		}
		stands[c.Fault.ID] = !c.Cleared
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				h.Set(string(rune('a'+i%3)), "x")
				h.Clear(string(rune('a' + i%3)))
			}
		})
	}
	all.Wait()
	for _, f := range h.List() {
		t.Errorf("%s stands", f.ID)
	}
}

func TestFunc(t *testing.T) {
	f := task.Func("f", func(context.Context) error { return errBroken })
	<-f.Ready()
	if f.String() != "f" || !errors.Is(f.Run(t.Context()), errBroken) {
		t.Error("Func does not do what it was given")
	}
}

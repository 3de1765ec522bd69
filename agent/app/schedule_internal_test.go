package app

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/access"
	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
)

// These tests look inside because they move the wall clock from minute to minute.

// TestScheduler follows two doors through a day: each change comes with its
// minute, and nothing is told twice.
func TestScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSchedulerBench(t, "Mo-Su 08:00-18:00")
		day := func(hour, minute int) time.Time { return time.Date(2026, 11, 23, hour, minute, 0, 0, time.UTC) }
		open := door.Schedule{Mode: site.ModePassage}
		first := door.Schedule{Mode: site.ModePassage, FirstIn: true, Since: day(8, 0)}

		b.at(day(7, 59).Add(30 * time.Second))
		b.run(t)
		b.want(t, "before")
		time.Sleep(30*time.Second - time.Millisecond)
		b.want(t, "a moment before")
		time.Sleep(time.Millisecond)
		b.want(t, "at eight", told{"front", open}, told{"shed", first})
		time.Sleep(9 * time.Hour)
		b.want(t, "in the day")
		b.trust(false)
		time.Sleep(schedulerPoll)
		b.want(t, "the clock is in doubt", told{"front", door.Schedule{}}, told{"shed", door.Schedule{}})
		b.trust(true)
		time.Sleep(schedulerPoll)
		b.want(t, "the clock is right again", told{"front", open}, told{"shed", first})
		time.Sleep(time.Hour)
		b.want(t, "after six", told{"front", door.Schedule{}}, told{"shed", door.Schedule{}})

		b.at(day(12, 0))
		time.Sleep(schedulerPoll)
		b.want(t, "the clock was set", told{"front", open}, told{"shed", first})
		b.compile(t, "Mo-Su 08:00-11:00")
		b.want(t, "the policy changed", told{"front", door.Schedule{}}, told{"shed", door.Schedule{}})
		b.compile(t, "Mo-Su 08:00-13:00")
		b.want(t, "and changed back", told{"front", open}, told{"shed", first})
		b.host(store.DoorFile{Door: "shed", Auto: []swordfish.Auto{
			{Unlock: true, Days: site.AllDays, Minute: 10 * 60}, {Days: site.AllDays, Minute: 20 * 60}}})
		b.want(t, "the host asks for less")
		b.at(day(19, 0))
		time.Sleep(schedulerPoll)
		b.want(t, "the host alone", told{"front", door.Schedule{}}, told{"shed", open})
		b.trust(false)
		time.Sleep(schedulerPoll)
		b.want(t, "in doubt the host's neither", told{"shed", door.Schedule{}})
		b.trust(true)
		b.host()
		time.Sleep(schedulerPoll)
		b.want(t, "the host's file is gone")
		b.at(day(12, 0))
		time.Sleep(schedulerPoll)
		b.want(t, "by the site's own again", told{"front", open}, told{"shed", first})
		b.use(nil)
		b.want(t, "there is no policy", told{"front", door.Schedule{}}, told{"shed", door.Schedule{}})
	})
}

// told is what a door was told.
type told struct {
	Door     site.DoorID
	Schedule door.Schedule
}

type schedulerBench struct {
	*scheduler

	mu      sync.Mutex // guards following
	policy  *access.Policy
	change  chan struct{}
	trusted bool
	offset  time.Duration
	told    []told
	files   []store.DoorFile // of the IP host
}

func newSchedulerBench(t *testing.T, intervals string) *schedulerBench {
	b := &schedulerBench{trusted: true, change: make(chan struct{})}
	b.compile(t, intervals)
	b.scheduler = &scheduler{
		asked: map[site.DoorID]door.Schedule{}, zone: time.UTC,
		files: func() []store.DoorFile {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.files
		},
		clock: func() site.Clock {
			b.mu.Lock()
			defer b.mu.Unlock()
			return site.Clock{Now: time.Now().Add(b.offset), Trusted: b.trusted}
		},
		policy: func() *access.Policy {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.policy
		},
		change: func() <-chan struct{} {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.change
		},
	}
	for _, id := range []site.DoorID{"front", "shed"} {
		b.doors = append(b.doors, scheduledDoor{id, config.AutoUnlock{Schedule: "office", FirstPerson: id == "shed"},
			func(s door.Schedule) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.told = append(b.told, told{id, s})
			}})
	}
	return b
}

// host replaces the door files of the IP host, as a change of the policy.
func (b *schedulerBench) host(files ...store.DoorFile) {
	b.mu.Lock()
	b.files = files
	p := *b.policy
	b.mu.Unlock()
	b.use(&p)
}

// compile makes a policy with one schedule; its end is that of the text.
func (b *schedulerBench) compile(t *testing.T, interval string) {
	t.Helper()
	var from, to time.Time
	var err error
	if from, err = time.Parse("15:04", interval[6:11]); err == nil {
		to, err = time.Parse("15:04", interval[12:])
	}
	if err != nil {
		t.Fatal(err)
	}
	b.use(access.Compile(time.UTC, []site.Schedule{{ID: "office", Source: site.SourceOperator, Intervals: []site.Interval{
		{Days: site.AllDays, Start: from.Hour()*60 + from.Minute(), End: to.Hour()*60 + to.Minute()}}}}, nil, nil))
}

// use puts another policy in force.
func (b *schedulerBench) use(p *access.Policy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy = p
	close(b.change)
	b.change = make(chan struct{})
}

// at sets the clock.
func (b *schedulerBench) at(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset = time.Until(t)
}

func (b *schedulerBench) trust(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trusted = ok
}

func (b *schedulerBench) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.scheduler.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (b *schedulerBench) want(t *testing.T, what string, want ...told) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.told); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
	b.told = nil
}

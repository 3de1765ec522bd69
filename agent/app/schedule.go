package app

import (
	"context"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// schedulerPoll is how often the clock is looked at between two minutes: it may
// be set, or trusted no longer.
const schedulerPoll = time.Second

// scheduler tells the doors what schedules ask for: the site's own (auto_unlock)
// and those in the door files of the IP host; one that unlocks is enough. It judges
// at each minute of the wall clock, when the policy changes, and when the clock
// is set or its trust changes. While the clock is not trusted no schedule unlocks
// (door.md, Untrusted clock).
type scheduler struct {
	doors  []scheduledDoor
	clock  func() site.Clock
	policy func() *access.Policy // nil: there is none
	files  func() []store.DoorFile
	zone   *time.Location
	change func() <-chan struct{} // closed at the policy's next change; nil: never
	last   judged
	asked  map[site.DoorID]door.Schedule // what each door was told
}

// scheduledDoor is a door that schedules may unlock.
type scheduledDoor struct {
	id   site.DoorID
	auto config.AutoUnlock // without a schedule: only a host's file unlocks it
	set  func(door.Schedule)
}

// judged is what a judgement was made by.
type judged struct {
	minute  int64
	trusted bool
	policy  *access.Policy
}

func (a *App) newScheduler() *scheduler {
	s := &scheduler{clock: a.clock.Clock, asked: map[site.DoorID]door.Schedule{},
		policy: func() *access.Policy { return nil }, change: func() <-chan struct{} { return nil },
		files: func() []store.DoorFile { return nil }, zone: a.cfg.Site.Zone}
	if a.store != nil {
		s.policy, s.change = a.policy.policy, a.store.Changed
		s.files = func() []store.DoorFile { return a.store.Snapshot().Files }
	}
	for i, d := range a.doors.list {
		id := a.doors.cfg[i].ID
		s.doors = append(s.doors, scheduledDoor{id, a.cfg.AutoUnlock[id], d.SetSchedule})
	}
	s.judge() // before the doors run, so that none locks in between
	return s
}

// run judges until ctx ends.
func (s *scheduler) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := s.change() // before the policy is looked at
		timer.Reset(s.judge())
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		}
	}
}

// judge tells the doors what their schedules ask for, if that may have changed,
// and returns when to look again.
func (s *scheduler) judge() time.Duration {
	c := s.clock()
	minute := c.Now.Round(0).Truncate(time.Minute)
	by := judged{minute.Unix(), c.Trusted, s.policy()}
	if by != s.last {
		s.last = by
		files := s.files()
		for _, d := range s.doors {
			want := d.wants(by.policy, c)
			if want.Mode == site.ModeSecured {
				want = s.hosted(files, d.id, c)
			}
			if want != s.asked[d.id] {
				s.asked[d.id] = want
				d.set(want)
			}
		}
	}
	return max(min(minute.Add(time.Minute).Sub(c.Now.Round(0)), schedulerPoll), time.Millisecond)
}

// hosted is what a door file of the IP host asks of its door at this moment.
func (s *scheduler) hosted(files []store.DoorFile, id site.DoorID, c site.Clock) door.Schedule {
	if !c.Trusted {
		return door.Schedule{}
	}
	for i := range files {
		if files[i].Door != id {
			continue
		}
		if mode, _, ok := files[i].Asks(c.Now.In(s.zone)); ok {
			return door.Schedule{Mode: mode}
		}
	}
	return door.Schedule{}
}

// wants is what the schedule of the door asks for at this moment.
func (d *scheduledDoor) wants(p *access.Policy, c site.Clock) door.Schedule {
	if on, _ := p.Active(d.auto.Schedule, c); !on { // never for the empty one
		return door.Schedule{}
	}
	out := door.Schedule{Mode: site.ModePassage, FirstIn: d.auto.FirstPerson}
	if out.FirstIn {
		out.Since, _ = p.Since(d.auto.Schedule, c)
	}
	return out
}

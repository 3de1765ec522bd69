package app

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
)

// tablesAtOnce is how many locks' tables one pass over the store makes. A table
// of 5,000 users is some 400 KiB.
const tablesAtOnce = 16

// addsAtOnce is how many cards are compiled between two pauses.
const addsAtOnce = 64

// lockWork makes the places of those who have a processor busy for long: one less
// than there are processors, so that the doors find one idle.
func lockWork() chan struct{} { return make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)) }

// lastTry is the pass that is taken though the policy changed during it.
const lastTry = 4

// errPolicyMoved ends a pass during which the policy changed.
var errPolicyMoved = errors.New("the policy changed meanwhile")

// lockTables compiles what the policy gives each lock. Those who ask at the same
// time share a pass over the store: at night 500 locks call, and a pass over
// 100,000 credentials takes as long for sixteen locks as for one.
type lockTables struct {
	policy   *policyHolder
	clock    func() site.Clock
	profiles map[site.DoorID]*swordfish.Profile
	busy     chan struct{} // has a value for each who has a processor busy for long

	mu      sync.Mutex // guards the following
	waiting []*tableJob
	running bool
}

// tableJob is one who waits for a table.
type tableJob struct {
	ctx   context.Context
	door  site.DoorID
	table swordfish.Table
	err   error
	done  chan struct{}
}

// Version is the number of the last change of the policy.
func (t *lockTables) Version() uint64 {
	if t.policy.store == nil {
		return 0
	}
	return t.policy.store.Snapshot().Version
}

// Table compiles the table of one lock from the policy as it is now.
func (t *lockTables) Table(ctx context.Context, door site.DoorID) (swordfish.Table, error) {
	switch {
	case t.policy.store == nil:
		return swordfish.Table{}, t.policy.err
	case t.profiles[door] == nil:
		return swordfish.Table{}, fmt.Errorf("lock %s is not in the settings", door)
	}
	job := &tableJob{ctx: ctx, door: door, done: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, job)
	if !t.running {
		t.running = true
		go t.work()
	}
	t.mu.Unlock()
	select {
	case <-job.done:
		return job.table, job.err
	case <-ctx.Done():
		return swordfish.Table{}, ctx.Err()
	}
}

// work makes tables until nobody waits.
func (t *lockTables) work() {
	for {
		t.mu.Lock()
		n := min(len(t.waiting), tablesAtOnce)
		jobs := t.waiting[:n:n]
		t.waiting = t.waiting[n:]
		if n == 0 {
			t.waiting, t.running = nil, false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		t.make(jobs)
	}
}

// make makes the tables of those who have not gone away meanwhile.
func (t *lockTables) make(jobs []*tableJob) {
	byDoor := map[site.DoorID][]*tableJob{}
	var doors []site.DoorID
	for _, j := range jobs {
		if j.ctx.Err() == nil {
			if byDoor[j.door] == nil {
				doors = append(doors, j.door)
			}
			byDoor[j.door] = append(byDoor[j.door], j)
		}
	}
	tables, err := t.compile(doors)
	for _, j := range jobs {
		if j.err = err; err == nil {
			j.table = tables[j.door]
		}
		close(j.done)
	}
}

// compile makes the tables of doors in one pass. A pass during which the policy
// changed is made again, but not for ever: in the end a table that is older in one
// record than in another is newer than what the lock has, and counts as behind.
func (t *lockTables) compile(doors []site.DoorID) (map[site.DoorID]swordfish.Table, error) {
	if len(doors) == 0 {
		return nil, context.Canceled
	}
	t.busy <- struct{}{}
	defer func() { <-t.busy }()
	for try := 1; ; try++ {
		changed := t.policy.store.Changed()
		if try == lastTry {
			changed = nil
		}
		compilers, n := t.compilers(doors), 0
		// Nobody's context: others may wait for the same pass.
		err := t.policy.store.CardsAt(context.Background(), doors, func(door site.DoorID, block card.Block, records []site.Credential) error {
			select {
			case <-changed:
				return errPolicyMoved
			default:
			}
			compilers[door].Add(block, records)
			if n++; n%addsAtOnce == 0 {
				t.pause()
			}
			return nil
		})
		if errors.Is(err, errPolicyMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out := make(map[site.DoorID]swordfish.Table, len(doors))
		for door, c := range compilers {
			out[door] = c.Table()
		}
		select {
		case <-changed:
			continue
		default:
			return out, nil
		}
	}
}

// pause lets the others work who wait for a place, and the doors, where there is no
// processor beside.
func (t *lockTables) pause() {
	<-t.busy
	runtime.Gosched()
	t.busy <- struct{}{}
}

func (t *lockTables) compilers(doors []site.DoorID) map[site.DoorID]*swordfish.Compiler {
	snap := t.policy.store.Snapshot()
	policy := t.policy.policy()
	if policy == nil {
		policy = access.Compile(t.policy.cfg.Site.Zone, nil, nil, nil)
	}
	clock := t.clock()
	now := clock.Now
	if !clock.Trusted && clock.LastTrusted.After(now) {
		now = clock.LastTrusted // the week's holidays go by it (door.md, Untrusted clock)
	}
	out := make(map[site.DoorID]*swordfish.Compiler, len(doors))
	for _, door := range doors {
		out[door] = swordfish.NewCompiler(swordfish.Source{
			Profile: t.profiles[door], Door: door, Now: now, Zone: t.policy.cfg.Site.Zone, Policy: policy, Host: hostLists(snap.Files, door),
		})
	}
	return out
}

// hostLists returns what the IP host's door file says of a lock beside its cards.
func hostLists(files []store.DoorFile, door site.DoorID) *swordfish.HostLists {
	for i := range files {
		if f := &files[i]; f.Door == door {
			return &swordfish.HostLists{Schedules: f.Schedules, Holidays: f.Holidays, Auto: f.Auto}
		}
	}
	return nil
}

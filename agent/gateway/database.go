package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
)

// Download is how far a door file is.
type Download struct {
	State   State
	Percent int
	Text    string // why it failed
}

// State is the status of a door file (engage.md section 3, dbDownloadStatus).
type State string

// The states of a door file.
const (
	StatePending    State = "pending"
	StateInProgress State = "inProgress"
	StateSuspended  State = "suspended"
	StateFailed     State = "failed"
	StateCompleted  State = "completed"
	StateCanceled   State = "canceled"
)

// by is in whose name a host's changes are made.
const by = "iphost"

const (
	fileBusy = "Currently processing previous database"
	fileIdle = "Database is not in progress"
)

// files are the door files on their way in, one at a time.
type files struct {
	ready chan struct{}
	once  sync.Once     // closes ready
	wake  chan *fileJob // capacity 1: there is never more than one

	mu sync.Mutex // guards the following
	// running says that Run takes jobs.
	running bool
	job     *fileJob // that which is read or made the door's; nil: none
	last    map[site.DoorID]Download
}

func newFiles() *files {
	return &files{ready: make(chan struct{}), wake: make(chan *fileJob, 1), last: map[site.DoorID]Download{}}
}

// fileJob is one door file.
type fileJob struct {
	door   site.DoorID
	ctx    context.Context // ends when it is canceled
	cancel context.CancelFunc
	store  *store.Store
	stage  *store.FileStage
	sum    swordfish.Summary
}

func (f *files) set(door site.DoorID, s State, percent int, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last[door] = Download{s, percent, text}
}

// begin takes the one place for a file.
func (f *files) begin(door site.DoorID) (*fileJob, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.running {
		return nil, fmt.Errorf("%w: door files are not taken now", ErrNotReady)
	}
	if f.job != nil {
		return nil, errBusy
	}
	f.job = &fileJob{door: door}
	f.job.ctx, f.job.cancel = context.WithCancel(context.Background())
	f.last[door] = Download{State: StatePending}
	return f.job, nil
}

var errBusy = fmt.Errorf("%w: %s", ErrRefused, fileBusy)

// end gives the place back.
func (f *files) end(j *fileJob, d Download) {
	j.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.job = nil
	f.last[j.door] = d
}

// putDatabase reads a door file and hands it to Run.
func (g *Gateway) putDatabase(ctx context.Context, r *request) reply {
	l := r.link
	literals := swordfish.DefaultLiterals()
	if !l.live() {
		if err := g.deps.Locks.Ready(l.Door); err != nil {
			return g.failed(err)
		}
		literals = g.deps.Locks.Literals(l.Door)
	}
	if g.deps.Cards == nil {
		return g.failed(fmt.Errorf("%w: the site has no key: cards cannot be read", ErrNotReady))
	}
	st, err := g.deps.Store()
	if err != nil {
		return g.failed(fmt.Errorf("%w: %w", ErrNotReady, err))
	}
	j, err := g.files.begin(l.Door)
	if errors.Is(err, errBusy) {
		return message(403, fileBusy)
	}
	if err != nil {
		return g.failed(err)
	}
	if err := g.readFile(ctx, j, st, literals, r.body); err != nil {
		return g.refuse(j, err)
	}
	g.files.wake <- j
	switch {
	case !l.live():
		return message(202, cached)
	case g.cfg.AcceptedStatus == 202:
		return message(202, "Database accepted")
	}
	return reply{status: 200}
}

// readFile reads the body of a job.
func (g *Gateway) readFile(ctx context.Context, j *fileJob, st *store.Store, literals swordfish.Literals, body string) error {
	j.store, j.stage = st, st.StageFile(j.door)
	seen := 0
	sum, err := swordfish.ReadFile(strings.NewReader(body), swordfish.Options{Cards: g.deps.Cards, Zone: g.cfg.Zone, Literals: literals},
		func(op swordfish.Op, n int, u *swordfish.User) error {
			if seen++; seen%1024 == 0 {
				if err := errors.Join(ctx.Err(), j.ctx.Err()); err != nil {
					return err
				}
			}
			return j.stage.Add(op, n, u)
		})
	if err == nil {
		err = errors.Join(ctx.Err(), j.ctx.Err())
	}
	if err != nil {
		return err
	}
	j.sum = sum
	if n := sum.Updates + sum.Adds; n > 0 && sum.Implausible == n {
		return &swordfish.Fault{List: "usrRcrd", Err: errors.New("none of its cards looks like one: were they encrypted with this site key?")}
	}
	if len(sum.Ignored) > 0 {
		g.deps.Logger.Warn("door file: tags are not known", "door", j.door, "tags", sum.Ignored)
	}
	return nil
}

// refuse answers a door file that was not taken.
func (g *Gateway) refuse(j *fileJob, err error) reply {
	d := g.ended(j, err)
	g.files.end(j, d)
	if _, is := errors.AsType[*swordfish.Fault](err); is && d.State == StateFailed {
		return message(400, err.Error())
	}
	if d.State == StateCanceled {
		return message(403, "The database was canceled")
	}
	return g.failed(err)
}

// ended tells, and records, how a file ended.
func (g *Gateway) ended(j *fileJob, err error) Download {
	now := g.deps.Clock()
	e := site.Event{Time: now.Now, Trusted: now.Trusted, Kind: site.KindPolicy, Door: j.door, By: by, Source: site.SourceIPHost}
	held := errors.Is(err, store.ErrNotCopied) || errors.Is(err, store.ErrNotLogged)
	switch {
	case err == nil:
		return Download{State: StateCompleted, Percent: 100}
	case held:
		// The file is in force, and the next copy has it.
		g.deps.Logger.Error("door file holds", "door", j.door, "err", err)
		return Download{State: StateCompleted, Percent: 100}
	case j.ctx.Err() != nil:
		return Download{State: StateCanceled}
	}
	e.Reason, e.Text = site.ReasonFault, "door file refused: "+err.Error()
	g.deps.Record(e)
	g.deps.Logger.Warn("door file refused", "door", j.door, "err", err)
	return Download{State: StateFailed, Text: err.Error()}
}

// Run makes door files the doors' until ctx ends. A file that was begun and not
// switched to is given up then.
func (g *Gateway) Run(ctx context.Context) error {
	f := g.files
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	f.once.Do(func() { close(f.ready) })
	for {
		select {
		case <-ctx.Done():
			g.stop()
			return nil
		case j := <-f.wake:
			stop := context.AfterFunc(ctx, j.cancel)
			g.commit(j)
			stop()
		}
	}
}

// Ready is closed once Run takes door files.
func (g *Gateway) Ready() <-chan struct{} { return g.files.ready }

// stop cancels the file that waits or is read. One that is read ends by itself.
func (g *Gateway) stop() {
	f := g.files
	f.mu.Lock()
	f.running = false
	j := f.job
	f.mu.Unlock()
	if j != nil {
		j.cancel()
	}
	select {
	case j := <-f.wake:
		f.end(j, Download{State: StateCanceled})
	default:
	}
}

// commit makes one file the door's.
func (g *Gateway) commit(j *fileJob) {
	g.files.set(j.door, StateInProgress, 50, "")
	res, err := j.store.CommitFile(j.ctx, by, j.stage, j.sum)
	if err == nil {
		g.deps.Logger.Info("door file stored", "door", j.door, "added", res.Added, "changed", res.Changed, "removed", res.Removed, "cards", res.Cards)
	}
	if err == nil && res.Change == 0 {
		// The store has no event of what changed nothing; a host waits for one.
		now := g.deps.Clock()
		g.deps.Record(site.Event{Time: now.Now, Trusted: now.Trusted, Kind: site.KindPolicy, Door: j.door, By: by, Source: site.SourceIPHost, Text: "door file: nothing changed"})
	}
	g.files.end(j, g.ended(j, err))
}

// cancelDatabase cancels the file of a door that is on its way in.
func (g *Gateway) cancelDatabase(_ context.Context, r *request) reply {
	f := g.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.job == nil || f.job.door != r.link.Door {
		return message(403, fileIdle)
	}
	f.job.cancel()
	return reply{status: 200}
}

// downloadStatus tells how far the last door file of a device is.
func (g *Gateway) downloadStatus(_ context.Context, r *request) reply {
	g.files.mu.Lock()
	d, found := g.files.last[r.link.Door]
	g.files.mu.Unlock()
	if !r.link.live() && (!found || d.State == StateCompleted) {
		if of, ok := g.deps.Locks.Download(r.link.Door); ok {
			d, found = of, true
		}
	}
	if !found {
		return message(404, "No database was sent since the gateway started")
	}
	type status struct {
		Status  State `json:"status"`
		Percent int   `json:"downloadPercentComplete"`
	}
	return answer(200, struct {
		DownloadStatus status `json:"downloadStatus"`
		StatusMessage  string `json:"statusMessage,omitempty"`
	}{status{d.State, d.Percent}, d.Text})
}

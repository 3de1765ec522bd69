package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/door/area"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

// areaSaveEvery bounds how old the file may be: what is newer is folded from the
// log at the next start, so that it costs a start no more than this much of it.
const areaSaveEvery = 10 * time.Second

// areaBook joins the owner of what doors share to the log, to the doors and to
// its file. A decision asks and changes the owner in memory; the log has each
// change as an event; the file is a snapshot with a place in the log up to which
// it is complete, and is rolled forward from there at start.
type areaBook struct {
	owner *area.Owner
	path  string
	sink  *eventSink
	clock func() site.Clock
	doors *doorSet
	moves map[site.ReaderID]area.Move // without a holder

	order   sync.Mutex    // one entry and its event at a time: the log has them in the order in which they were made
	changed chan struct{} // capacity 1
	ready   chan struct{}
	once    sync.Once // for ready
}

// areaFile is the content of the file.
type areaFile struct {
	Next site.EventSeq `json:"next"` // the first event that the snapshot may lack
	Kept area.Kept     `json:"kept"`
}

func newAreaBook(cfg *config.Config, path string, sink *eventSink, clock func() site.Clock, doors *doorSet) (*areaBook, error) {
	owner, err := area.New(cfg.Area())
	if err != nil {
		return nil, fmt.Errorf("areas: %w", err)
	}
	b := &areaBook{owner: owner, path: path, sink: sink, clock: clock, doors: doors,
		moves: map[site.ReaderID]area.Move{}, changed: make(chan struct{}, 1), ready: make(chan struct{})}
	for _, r := range cfg.Readers {
		b.moves[r.ID] = area.Move{Reader: r.ID, Door: r.Door, From: r.From, To: r.To}
	}
	return b, nil
}

// takesPINOnly reports whether a PIN alone may open at a reader.
func takesPINOnly(m reader.Mode) bool { return m == reader.ModePIN || m == reader.ModeEither }

// scanner reads kept events in order.
type scanner interface {
	Scan(ctx context.Context, from, to site.EventSeq, fn func(site.Event) bool) error
	First() site.EventSeq
	Last() site.EventSeq
}

// load takes up what was kept and rolls it forward with the log. Without its
// file, or with one that cannot be read, it is made from the oldest event kept;
// the error is then told and is no reason not to run.
func (b *areaBook) load(ctx context.Context, log scanner) error {
	var f areaFile
	data, err := os.ReadFile(b.path)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err == nil {
		err = b.owner.Restore(f.Kept)
	}
	next := f.Next
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil:
		next = 0
		if aside := setAside(b.path); aside != "" {
			err = fmt.Errorf("%w; kept as %s", err, aside)
		}
	}
	scanned := log.Scan(ctx, max(next, log.First()), log.Last(), func(ev site.Event) bool {
		b.fold(ev)
		return true
	})
	if err = errors.Join(err, scanned); err != nil {
		return fmt.Errorf("areas and PIN lock-outs: %w", err)
	}
	return nil
}

// fold takes one event of an earlier run. A wrong PIN that the snapshot has
// already may count twice, and a right one since does not end the count, so that
// a power cut gives hardly more tries: those alone that something before the PIN
// in the order of reasons has refused after the last snapshot.
func (b *areaBook) fold(ev site.Event) {
	switch {
	case ev.Kind == site.KindArea:
		b.owner.Fold(ev)
	case ev.Kind != site.KindAccess:
	case ev.Reason == site.ReasonPINWrong:
		b.owner.Wrong(lockKey(ev.Credential, ev.Reader), ev.Time)
	case pinOfNobody(&ev):
		b.owner.Wrong(lockKey("", ev.Reader), ev.Time)
	}
}

// pinOfNobody reports whether an access was a PIN alone that nobody has, and was
// refused by what would refuse anybody.
func pinOfNobody(ev *site.Event) bool {
	switch ev.Reason {
	case site.ReasonLockdown, site.ReasonFrozen, site.ReasonDoorDisabled, site.ReasonInterlock:
		return ev.Credential == "" && ev.Card == site.CardRef{} && ev.Reader != ""
	}
	return false
}

// lockKey is what a lock-out counts by: the credential, or the reader where a
// PIN belongs to none.
func lockKey(id site.CredentialID, r site.ReaderID) string {
	if id != "" {
		return "credential:" + string(id)
	}
	return "reader:" + string(r)
}

func (b *areaBook) touch() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// Run keeps the file up to date until ctx ends, and once more then.
func (b *areaBook) Run(ctx context.Context) error {
	b.once.Do(func() { close(b.ready) })
	tick := time.NewTicker(areaSaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return b.save()
		case <-tick.C:
		}
		select {
		case <-b.changed:
			if err := b.save(); err != nil {
				b.touch()
				return err
			}
		default:
		}
	}
}

// Ready is closed when the task runs.
func (b *areaBook) Ready() <-chan struct{} { return b.ready }

// String names the task.
func (b *areaBook) String() string { return "areas" }

// save writes a snapshot. The place in the log is taken first: all that is in
// the log by then was done to the owner before.
func (b *areaBook) save() error {
	f := areaFile{Next: b.sink.log.Last() + 1}
	f.Kept = b.owner.Snapshot()
	data, err := json.Marshal(f)
	if err == nil {
		err = writeFileSync(b.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("areas: %w", err)
	}
	return nil
}

// move is the way of a holder through a reader. False: the reader joins no
// areas, or nobody is known.
func (b *areaBook) move(r site.ReaderID, h site.HolderID) (area.Move, bool) {
	m, ok := b.moves[r]
	m.Holder = h
	return m, ok && h != "" && m.From != m.To
}

// Passed notes that somebody went through on a grant.
func (b *areaBook) Passed(a door.Access) {
	m, ok := b.move(a.Reader, a.Holder)
	if !ok {
		return
	}
	b.order.Lock()
	defer b.order.Unlock()
	c := b.clock()
	if b.owner.Enter(m, c.Now) {
		ev := m.Event(c.Now)
		ev.Trusted, ev.Card, ev.Credential, ev.Source = c.Trusted, a.Card, a.Credential, a.Source
		b.sink.Append(ev)
		b.touch()
	}
}

// NotPassed gives back the place that a grant had reserved.
func (b *areaBook) NotPassed(a door.Access) {
	if m, ok := b.move(a.Reader, a.Holder); ok {
		b.owner.Cancel(m)
	}
}

// reserve takes a place for a holder in the area behind a reader; empty: he may
// pass.
func (b *areaBook) reserve(r site.ReaderID, h site.HolderID, now time.Time) site.Reason {
	m, ok := b.move(r, h)
	if !ok {
		return ""
	}
	if why := b.owner.Reserve(m, now); why != site.ReasonGrantedPassback {
		return why
	}
	return ""
}

// cancel gives the place back.
func (b *areaBook) cancel(r site.ReaderID, h site.HolderID) {
	if m, ok := b.move(r, h); ok {
		b.owner.Cancel(m)
	}
}

// leadsOut reports whether a reader leads out of the areas.
func (b *areaBook) leadsOut(r site.ReaderID) bool {
	m := b.moves[r]
	return m.From != "" && m.To == ""
}

// tried counts a PIN that was compared, and tells when one too many was wrong.
func (b *areaBook) tried(key string, right bool, r site.ReaderID, now time.Time) {
	b.touch()
	if right {
		b.owner.Right(key)
		return
	}
	if locked, until := b.owner.Wrong(key, now); locked {
		b.sink.Append(site.Event{Kind: site.KindFault, Door: b.moves[r].Door, Reader: r, Count: 1, Until: until,
			Text: "too many wrong PINs: locked out"})
	}
}

// Acquire, Force and Release are the interlock as a door needs it.

// Acquire makes the door one that is not secure, unless another one is. One that
// is so already is told whether another is too.
func (b *areaBook) Acquire(d site.DoorID) bool {
	return b.owner.Acquire(d) && len(b.owner.Blockers(d)) == 0
}

// Force makes the door one that is not secure.
func (b *areaBook) Force(d site.DoorID) { b.owner.Force(d) }

// Release makes the door secure and lets the others of its interlocks look
// again.
func (b *areaBook) Release(d site.DoorID) {
	for _, id := range b.owner.Release(d) {
		if p := b.doors.byID[id]; p != nil {
			p.Wake()
		}
	}
}

// AreaList returns each area without who is in it.
func (b *areaBook) AreaList() []control.AreaStatus {
	out := []control.AreaStatus{}
	for _, s := range b.owner.Areas(b.clock().Now) {
		out = append(out, control.AreaStatus{ID: s.ID, Name: s.Name, Count: s.Count, Reserved: s.Reserved, Limit: s.Limit, Passback: s.Passback.String()})
	}
	return out
}

// areaParts is what control needs of the areas.
type areaParts struct {
	*areaBook
	app *App
}

// AreaShow returns one area with who is in it.
func (p areaParts) AreaShow(id site.AreaID) (control.AreaStatus, error) {
	for _, s := range p.AreaList() {
		if s.ID != id {
			continue
		}
		s.Present = []control.Presence{}
		for _, o := range p.owner.Occupants(id, p.clock().Now) {
			one := control.Presence{ID: o.Holder, Since: o.Since}
			if p.app.store != nil {
				one.Name = p.app.store.HolderName(o.Holder)
			}
			s.Present = append(s.Present, one)
		}
		return s, nil
	}
	return control.AreaStatus{}, fmt.Errorf("area %.64q: %w", string(id), control.ErrNotFound)
}

// Forgive forgets where holders are and returns when that is in the log.
func (p areaParts) Forgive(ctx context.Context, f control.Forgiveness) (int, error) {
	holder, err := p.forgivable(f)
	if err != nil {
		return 0, err
	}
	n, receipt := p.forgive(holder, f)
	if _, err := receipt.Wait(ctx); err != nil {
		return n, fmt.Errorf("%w: done, but not kept over a restart: %w", control.ErrNotReady, err)
	}
	return n, nil
}

// forgivable finds the holder, or the area, that is to be forgiven.
func (p areaParts) forgivable(f control.Forgiveness) (site.HolderID, error) {
	switch {
	case f.Holder != "" && p.app.store == nil:
		return "", fmt.Errorf("%w: %w", control.ErrNotReady, p.app.storeErr)
	case f.Holder != "":
		h, err := p.app.store.FindHolder(site.SourceOperator, f.Holder)
		return h.ID, asControl(err)
	case f.Area != "":
		_, err := p.AreaShow(f.Area)
		return "", err
	}
	return "", nil
}

// forgive forgets, with nobody coming in between that and its event.
func (b *areaBook) forgive(holder site.HolderID, f control.Forgiveness) (n int, _ *spool.Receipt) {
	b.order.Lock()
	defer b.order.Unlock()
	switch {
	case holder == "":
		n = b.owner.ForgiveAll(f.Area)
	case b.owner.Forgive(holder):
		n = 1
	}
	c := b.clock()
	ev := area.Forgiveness(holder, f.Area, c.Now)
	ev.Trusted, ev.By, ev.Text = c.Trusted, f.By, "forgiven"
	b.touch()
	return n, b.sink.append(ev)
}

// verdict asks what areas say of a decision that would let the holder pass, or
// that refuses by what comes after them (door.md, Decision); empty: nothing, as of
// what opens nothing.
func (b *areaBook) verdict(dec *access.Decision, req *access.Request, now time.Time) site.Reason {
	before := dec.Outcome == access.Refused && dec.Reason.Rank() < site.ReasonInterlock.Rank()
	if dec.Credential == nil || before || !access.Opens(dec.Credential.Function, req.Mode) {
		return ""
	}
	if m, ok := b.move(req.Reader, dec.Credential.Holder); ok {
		return b.owner.Ask(m, now)
	}
	return ""
}

// interlocked reports whether the door stays locked because another one of an
// interlock is not secure.
func (b *areaBook) interlocked(id site.DoorID) bool {
	d := b.doors.byID[id]
	return (d == nil || d.HeedsInterlock()) && len(b.owner.Blockers(id)) > 0
}

// lock takes the interlock for a grant that is to open the door. The door gives
// it back.
func (b *areaBook) lock(id site.DoorID) bool {
	d := b.doors.byID[id]
	return b.Acquire(id) || d != nil && !d.HeedsInterlock()
}

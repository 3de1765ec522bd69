package reader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Board is what a Reader needs of a hal.Board.
type Board interface {
	Outputs
	Inputs(queue int, lines ...hal.Input) (hal.InputGroup, error)
}

// Presenter takes what people do at a reader: cards to decide, keys to collect.
// Calls of one reader come one after the other, in the order of the frames, from
// one goroutine that reads nothing: a slow Presenter costs this reader's queue,
// never its edges. A Presenter returns soon after ctx ends.
type Presenter interface {
	// Present takes a frame that is not a key, of 1 to 256 bits, right parity
	// or not: what no format accepts is an unreadable card, and an event.
	Present(ctx context.Context, r site.ReaderID, b card.Bits)
	// Key takes a key of a keypad.
	Key(ctx context.Context, r site.ReaderID, k card.Key)
}

// Faults takes the events of a reader: tamper and fault, with their ends, and
// access for a card that could not be presented. Append must not wait for a disk
// or a network: it is called between two edges, and from several goroutines. Item
// tells what stands apart from what else stands at the reader. Time, Trusted, Log and Seq are
// for the one who appends to fill.
type Faults interface {
	Append(site.Event)
}

const (
	// edgeQueue is the edges that fit between the line and the reader: two for
	// each of 256 bits, and as many again. The kernel gives no more than 1024.
	edgeQueue = 1024
	// maxCards is the cards that wait for a decision. One is decided, one was
	// presented meanwhile; a third would be decided after its holder gave up.
	maxCards = 2
	// maxEntries is cards and keys that wait; a long PIN fits.
	maxEntries = 16
	// lateBy: a timer that is late by more than this says that the process may
	// not have run, so that edges wait in the kernel. lookFor bounds the second
	// look that is then taken, and maxYields bounds it where time stands still.
	lateBy    = 20 * time.Microsecond
	lookFor   = 100 * time.Microsecond
	maxYields = 1000
	// stalled: a timer that is late by more than this says that the machine is
	// busy, and that yielding does not help. It is above what a machine with
	// little to do shows (timers fire up to 1 ms late in an idle process, and one
	// in a hundred 2 to 3 ms late), for the wait costs as much again. The bringer of the
	// edges is then given real time, in steps of waitStep: maxAgree of them where
	// the lines are as the decoder believes, and maxDiffer where they are not, so
	// that an edge is certainly on its way.
	stalled   = 5 * time.Millisecond
	waitStep  = time.Millisecond
	maxAgree  = 2
	maxDiffer = 20
)

// Reader is the task of one Wiegand reader.
type Reader struct {
	id       site.ReaderID
	door     site.DoorID
	cfg      WiegandConfig
	board    Board
	to       Presenter
	faults   Faults
	log      *slog.Logger
	feedback *Feedback

	ready     chan struct{}
	readyOnce sync.Once
	queue     chan entry   // filled by the reading goroutine, capacity maxEntries
	cards     atomic.Int32 // cards in queue or being decided

	// Of the goroutine that reads; they outlive one Run.
	tamper tamper
	cut    cut // told

	mu       sync.Mutex        // guards following
	standing map[string]string // what was told and has not ended, by its Item
}

// entry is a card or a key on its way to the Presenter.
type entry struct {
	bits card.Bits // a card when its Len is not 0
	key  card.Key
}

// New returns the task of a reader on two lines; cfg.Wiegand must be set. log
// may be nil. Nothing is claimed before Run.
func New(cfg Config, board Board, to Presenter, faults Faults, log *slog.Logger) (*Reader, error) {
	w := cfg.Wiegand
	switch {
	case w == nil:
		return nil, fmt.Errorf("reader %s: no wiegand lines", cfg.ID)
	case w.D0 == "" || w.D1 == "" || w.D0 == w.D1:
		return nil, fmt.Errorf("reader %s: d0 %q and d1 %q: want two lines", cfg.ID, w.D0, w.D1)
	case w.Silence != 0 && (w.Silence < MinSilence || w.Silence > MaxSilence):
		return nil, fmt.Errorf("reader %s: silence %v: want %v to %v", cfg.ID, w.Silence, MinSilence, MaxSilence)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("reader", string(cfg.ID))
	r := &Reader{
		id: cfg.ID, door: cfg.Door, cfg: *w, board: board, to: to, faults: faults, log: log,
		feedback: NewFeedback(*w, board, log),
		ready:    make(chan struct{}),
		queue:    make(chan entry, maxEntries),
		standing: make(map[string]string),
	}
	r.feedback.had = func() { r.ends(site.KindFault, itemFeedback) }
	return r, nil
}

// String returns the task's name.
func (r *Reader) String() string { return "reader " + string(r.id) }

// Ready is closed when the lines are held and edges are read for the first time.
func (r *Reader) Ready() <-chan struct{} { return r.ready }

// Play shows a pattern at the reader. It does not wait; see Feedback.Play.
func (r *Reader) Play(p site.Pattern) { r.feedback.Play(p) }

// Run reads until ctx ends, and then returns nil. It returns an error when the
// lines cannot be claimed or the board is lost, and may then be called again, not
// twice at a time. A LED, beeper or tamper contact that cannot be claimed is a
// fault event; cards are read all the same. All goroutines have ended and LED and beeper are off
// when Run returns.
func (r *Reader) Run(ctx context.Context) error {
	group, err := r.board.Inputs(edgeQueue,
		hal.Input{Line: r.cfg.D0, Pull: hal.PullUp}, hal.Input{Line: r.cfg.D1, Pull: hal.PullUp})
	if err != nil {
		return fmt.Errorf("reader %s: claim lines: %w", r.id, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.present(ctx) })
	wg.Go(func() {
		if err := r.feedback.Run(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("reader has no feedback", "err", err)
			r.begins(site.KindFault, itemFeedback, "led or beeper: line cannot be had")
		}
	})
	if r.cfg.Tamper != "" {
		wg.Go(func() { r.watchContact(ctx) })
	}
	r.readyOnce.Do(func() { close(r.ready) })
	s := session{Reader: r, group: group, w: NewWiegand(r.cfg.D0, r.cfg.D1, r.cfg.Silence)}
	err = s.read(ctx)
	cancel()
	wg.Wait()
	r.drain()
	if cerr := group.Close(); cerr != nil && !errors.Is(cerr, hal.ErrClosed) {
		r.log.Warn("reader lines were not given back", "err", cerr)
	}
	if err != nil {
		return fmt.Errorf("reader %s: %w", r.id, err)
	}
	return nil
}

// present hands entries to the Presenter until ctx ends.
func (r *Reader) present(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.queue:
			if ctx.Err() != nil { // both were ready: the end wins
				r.unpresented(e)
				return
			}
			if e.bits.Len() == 0 {
				r.to.Key(ctx, r.id, e.key)
				continue
			}
			r.to.Present(ctx, r.id, e.bits)
			r.cards.Add(-1)
		}
	}
}

// drain empties the queue after the end: nobody is let in by a card that was
// presented before a restart.
func (r *Reader) drain() {
	for {
		select {
		case e := <-r.queue:
			r.unpresented(e)
		default:
			r.cards.Store(0)
			return
		}
	}
}

// unpresented records a card that no decision will see.
func (r *Reader) unpresented(e entry) {
	if e.bits.Len() == 0 {
		r.log.Warn("key dropped")
		return
	}
	r.log.Warn("card was not decided", "bits", e.bits.Len())
	r.faults.Append(site.Event{Kind: site.KindAccess, Door: r.door, Reader: r.id,
		Reason: site.ReasonFault, Text: "not decided: too many cards wait or the reader stops"})
}

// hand queues a frame: as a key where it is one, else as a card.
func (r *Reader) hand(b card.Bits) {
	if k, ok := card.DecodeKey(b); ok && !r.accepted(b) {
		select {
		case r.queue <- entry{key: k}:
		default:
			r.unpresented(entry{key: k})
		}
		return
	}
	e := entry{bits: b}
	if r.cards.Load() >= maxCards {
		r.unpresented(e)
		return
	}
	r.cards.Add(1)
	select {
	case r.queue <- e:
	default:
		r.cards.Add(-1)
		r.unpresented(e)
	}
}

// accepted reports whether the reader's own formats take b for a card.
func (r *Reader) accepted(b card.Bits) bool {
	for _, f := range r.cfg.Formats {
		if f.Accepts(b) {
			return true
		}
	}
	return false
}

package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// Bounds of what is done at once (doc.go, Memory).
const (
	tablesAtOnce = 16
	filesAtOnce  = 16
	// answersPerLock is 2: a lock that lost its line calls again while the answer
	// before is still being written to nobody.
	answersPerLock = 2
	largeAtOnce    = 4
	smallAtOnce    = 64
	smallBody      = 64 << 10
	// writesAtOnce bounds the files that are written and flushed at a time. Each has a
	// thread of its own that the doors' must share the processors with: with 4 the
	// slowest in a hundred of the doors' strikes came ten times later, and a night of
	// 500 locks was no shorter (docs/benchmarks.md, Locks).
	writesAtOnce = 1
	// waitAtMost is how long a call waits for its turn before it is told to come
	// again.
	waitAtMost = 45 * time.Second
	// keepAtMost is how long the event log may take.
	keepAtMost = 30 * time.Second
	// scanAtMost is how far back the log is read for a lock whose state was lost.
	scanAtMost = 65536
)

// Server answers the locks of the site.
type Server struct {
	cfg   Config
	deps  Deps
	log   *slog.Logger
	cards *swordfish.Cards // nil: there is no site key

	list     []*lock
	bySerial map[string]*lock // Wi-Fi locks
	byDevice map[site.DeviceName]*lock
	byDoor   map[site.DoorID]*lock

	tables, files, large, small slots
	work, disk                  slots
	ready                       chan struct{}

	mu      sync.Mutex // guards the following
	pending map[string]*Pending
	told    time.Time // when the log last had a line about one of them
	started bool
}

// New builds the server of validated settings: it makes the folder, reads the state
// of the locks and what the event log has beyond it. It starts nothing. A damaged
// state is no error: it is set aside and told as an event.
func New(cfg Config, deps Deps) (*Server, error) {
	s, err := newServer(cfg, deps)
	if err != nil {
		return nil, fmt.Errorf("locks: %w", err)
	}
	for i := range cfg.Locks {
		if err := s.add(cfg.Locks[i]); err != nil {
			return nil, fmt.Errorf("locks: %w", err)
		}
	}
	if err := openDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("locks: %w", err)
	}
	from := make(map[*lock]site.EventSeq, len(s.list))
	for _, l := range s.list {
		if from[l], err = s.load(l); err != nil {
			return nil, fmt.Errorf("locks: %w", err)
		}
	}
	if err := s.catchUp(context.Background(), s.list, from); err != nil {
		return nil, fmt.Errorf("locks: %w", err)
	}
	return s, nil
}

func newServer(cfg Config, deps Deps) (*Server, error) {
	if deps.Cards == nil || deps.Events == nil {
		return nil, errors.New("a dependency is missing")
	}
	if cfg.Auth > AuthNone {
		return nil, fmt.Errorf("%s is none of enforce, report and none", cfg.Auth)
	}
	if deps.Work == nil {
		deps.Work = newSlots(1)
	}
	if deps.Clock == nil {
		deps.Clock = func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Certificate == nil {
		deps.Certificate = func() []byte { return nil }
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.Window == [2]int{} {
		cfg.Window = [2]int{0, 240}
	}
	for _, m := range cfg.Window {
		if m < 0 || m > minutesPerDay {
			return nil, fmt.Errorf("window: minute %d, want 0 to %d", m, minutesPerDay)
		}
	}
	s := &Server{
		cfg: cfg, deps: deps, log: deps.Logger,
		bySerial: map[string]*lock{}, byDevice: map[site.DeviceName]*lock{}, byDoor: map[site.DoorID]*lock{},
		work: deps.Work, disk: newSlots(writesAtOnce), tables: newSlots(tablesAtOnce), files: newSlots(filesAtOnce), large: newSlots(largeAtOnce), small: newSlots(smallAtOnce),
		ready: make(chan struct{}), pending: map[string]*Pending{},
	}
	if len(cfg.SiteKey) > 0 {
		cards, err := swordfish.NewCards(cfg.SiteKey)
		if err != nil {
			return nil, err
		}
		s.cards = cards
	}
	return s, nil
}

// add takes a lock of the settings.
func (s *Server) add(c Lock) error {
	c.Serial = strings.ToUpper(c.Serial)
	l := &lock{Lock: c, ident: "wifi " + c.Serial, who: site.DeviceName(c.Serial), path: filepath.Join(s.cfg.Dir, string(c.ID)), disk: s.disk, turn: newSlots(1), answer: newSlots(answersPerLock)}
	if err := site.CheckID(string(c.ID)); err != nil {
		return err
	}
	if c.Profile.Users > maxKnown-1 {
		return fmt.Errorf("lock %s: %d users, want at most %d", c.ID, c.Profile.Users, maxKnown-1)
	}
	if s.byDoor[c.ID] != nil {
		return fmt.Errorf("lock %s: named twice", c.ID)
	}
	s.byDoor[c.ID] = l
	if c.Device != "" {
		l.ident, l.who = "line "+string(c.Device), c.Device
		if s.byDevice[c.Device] != nil {
			return fmt.Errorf("lock %s: device %q is that of lock %s", c.ID, c.Device, s.byDevice[c.Device].ID)
		}
		s.byDevice[c.Device] = l
	} else {
		if !isSerial(c.Serial) {
			return fmt.Errorf("lock %s: serial: want 32 hex digits", c.ID)
		}
		if s.bySerial[c.Serial] != nil {
			return fmt.Errorf("lock %s: serial %s is that of lock %s", c.ID, c.Serial, s.bySerial[c.Serial].ID)
		}
		s.bySerial[c.Serial] = l
	}
	if len(l.ident) > maxText {
		return fmt.Errorf("lock %s: device: a name of %d bytes", c.ID, len(c.Device))
	}
	s.list = append(s.list, l)
	return nil
}

func isSerial(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789ABCDEF") == ""
}

// load reads what is kept of a lock and returns from where on the log has to be
// read.
func (s *Server) load(l *lock) (from site.EventSeq, err error) {
	last := s.deps.Events.Last()
	back := last - min(last, scanAtMost)
	l.st, from = state{ident: l.ident, seq: last}, last
	fresh := true
	b, err := os.ReadFile(l.path + fileState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	default:
		st, err := decodeState(b)
		if err != nil {
			if err := s.aside(l, l.path+fileState); err != nil {
				return 0, err
			}
			from = back
		} else if st.ident == l.ident {
			l.st, fresh = st, false
			from = min(max(st.seq, back), last)
		}
	}
	if err := s.loadTables(l); err != nil {
		return 0, err
	}
	if _, _, err := readBody(l.path + filePending); err == nil {
		l.pending = true
	} else if errors.Is(err, errState) {
		if err := s.aside(l, l.path+filePending); err != nil {
			return 0, err
		}
	} else if !errors.Is(err, ErrNoConfig) {
		return 0, err
	}
	l.fresh = fresh
	return from, nil
}

// loadTables reads the head of a lock's tables.
func (s *Server) loadTables(l *lock) error {
	t, users, err := readHead(l.path + fileTable)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, errState):
		return s.lose(l)
	case err != nil:
		return err
	case t.ident == l.ident:
		l.sum = t.summary()
		l.sum.users = users
	}
	return nil
}

// lose sets the tables of a lock aside: what it has is not known from then on.
func (s *Server) lose(l *lock) error {
	if err := s.aside(l, l.path+fileTable); err != nil {
		return err
	}
	l.change(true, func(st *state) { st.unsure = true })
	l.mu.Lock()
	l.sum = summary{}
	l.gen++
	l.mu.Unlock()
	return nil
}

// aside sets a damaged file aside and tells of it.
func (s *Server) aside(l *lock, path string) error {
	to, err := setAside(path)
	if err != nil {
		return err
	}
	s.log.Error("a damaged file of a lock was set aside", "lock", l.ID, "file", to)
	s.tell(site.Event{Kind: site.KindFault, Door: l.ID, Device: l.who, Item: aboutFile,
		Text: fmt.Sprintf("%s was damaged and is kept as %s", filepath.Base(path), filepath.Base(to))})
	return nil
}

// tell records an event that nobody waits for.
func (s *Server) tell(e site.Event) {
	c := s.deps.Clock()
	e.Time, e.Trusted = c.Now, c.Trusted
	s.deps.Events.Append(e)
}

// catchUp adds to the histories what the log has beyond them. Each of locks has
// nobody else who changes it.
func (s *Server) catchUp(ctx context.Context, locks []*lock, from map[*lock]site.EventSeq) error {
	last := s.deps.Events.Last()
	first := last
	for _, l := range locks {
		first = min(first, from[l])
	}
	now := s.deps.Clock().Now
	type found struct{ at, n int }
	got := map[*lock]*found{}
	err := s.deps.Events.Scan(ctx, first, func(e site.Event) error {
		if e.Kind != site.KindLockAudit {
			return nil
		}
		l := s.byDoor[e.Door]
		if start, ours := from[l]; l == nil || !ours || e.Seq <= start {
			return nil
		}
		f := got[l]
		if f == nil {
			f = &found{at: len(l.st.history.sent)}
			l.st.history.own()
			got[l] = f
		}
		a := auditOf(&e)
		l.st.history.replay(&a, e.By == byAlert, f.at, now)
		f.n++
		return nil
	})
	if err != nil {
		return fmt.Errorf("the event log: %w", err)
	}
	for _, l := range locks {
		l.mu.Lock()
		l.st.history.trim()
		l.st.seq = max(last, from[l])
		if f := got[l]; f != nil {
			l.changes++
			l.needed = l.changes
			s.log.Info("audits of a lock were found in the event log that its state did not have", "lock", l.ID, "count", f.n)
		}
		l.rescan = false
		l.mu.Unlock()
		if _, needed := l.unsaved(); needed {
			if err := l.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// String names the task.
func (s *Server) String() string { return "locks" }

// Ready is closed when Run has begun.
func (s *Server) Ready() <-chan struct{} { return s.ready }

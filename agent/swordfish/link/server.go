package link

import (
	"errors"
	"fmt"
	"log/slog"
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
	lines    ring             // locks on serial lines; of refresh
	radios   ring             // Wi-Fi locks; of refresh
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
// state is no error: it is set aside and told as an event. Nor is one that cannot be
// read, or a folder that cannot be made: that lock gets 503 until it can, and is told
// as an event. Only settings that make no sense are an error.
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
		s.log.Error("the folder of the locks is not as it should be", "err", err)
	}
	s.loadAll()
	return s, nil
}

func newServer(cfg Config, deps Deps) (*Server, error) {
	if deps.Cards == nil || deps.Events == nil {
		return nil, errors.New("a dependency is missing")
	}
	if cfg.Dir == "" {
		return nil, errors.New("no folder is named for the state of the locks")
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
	if c.Device != "" {
		s.lines.list = append(s.lines.list, l)
	} else {
		s.radios.list = append(s.radios.list, l)
	}
	return nil
}

func isSerial(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789ABCDEF") == ""
}

// lose sets the tables of a lock aside: what it has is not known from then on.
func (s *Server) lose(l *lock) error {
	if err := s.aside(l, l.path+fileTable); err != nil {
		return err
	}
	l.doubt()
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

// String names the task.
func (s *Server) String() string { return "locks" }

// Ready is closed when Run has begun.
func (s *Server) Ready() <-chan struct{} { return s.ready }

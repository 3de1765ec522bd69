package uplink

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse/agent/site"
)

// StageName names a step of the link.
type StageName string

// The stages, in the order of Status.Stages. The root is looked at before TLS
// begins and is shown after it, where it is believed.
const (
	StageDNS          StageName = "dns"
	StageTCP          StageName = "tcp"
	StageTLS          StageName = "tls"
	StageRoot         StageName = "root"
	StageCredentials  StageName = "credentials"
	StageUpgrade      StageName = "upgrade"
	StageSubscription StageName = "subscription"
	StageQueue        StageName = "queue"
)

var stageOrder = []StageName{StageDNS, StageTCP, StageTLS, StageRoot, StageCredentials, StageUpgrade, StageSubscription, StageQueue}

// State is how a stage stands.
type State string

// The states.
const (
	StateWaiting State = "waiting" // not reached
	StateWorking State = "working"
	StateOK      State = "ok"
	StateFailed  State = "failed"
)

// Stage is one step of the link. Detail says what was found; of a failed one
// Cause says what went wrong and Advice what to do.
type Stage struct {
	Name   StageName `json:"name"`
	State  State     `json:"state"`
	Detail string    `json:"detail,omitempty"`
	Cause  string    `json:"cause,omitempty"`
	Advice string    `json:"advice,omitempty"`
	Since  time.Time `json:"since,omitzero"` // when it got its State
}

// Status is the link as status and doctor show it. It holds no secret.
type Status struct {
	Server    string    `json:"server"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"` // of Connected, or of its absence
	Attempts  int       `json:"attempts"`       // since the last connection that held
	NextTry   time.Time `json:"next_try,omitzero"`
	LastError string    `json:"last_error,omitempty"` // why there is no connection, or why the last one ended
	Renewal   string    `json:"renewal,omitempty"`    // why the successor could not be made yet
	Stages    []Stage   `json:"stages"`
	// Failure is what ended the last attempt or connection; it stands while the
	// next attempt is under way and goes when there is a connection.
	Failure *Stage `json:"failure,omitempty"`

	Subscribed []Source `json:"subscribed"`
	Waiting    uint64   `json:"waiting"`   // events of the log not acknowledged yet
	Sent       uint64   `json:"sent"`      // events acknowledged since start
	Skipped    uint64   `json:"skipped"`   // events that could not be put into words since start
	Requests   uint64   `json:"requests"`  // answered since start
	Refused    uint64   `json:"refused"`   // requests beyond the bounds since start
	Malformed  uint64   `json:"malformed"` // messages that failed since start
}

// Failed returns the stage that is to be mended, and whether there is one: the
// first that failed, or while an attempt is under way what ended the last one.
func (s Status) Failed() (Stage, bool) {
	if i := slices.IndexFunc(s.Stages, func(st Stage) bool { return st.State == StateFailed }); i >= 0 {
		return s.Stages[i], true
	}
	if s.Failure != nil {
		return *s.Failure, true
	}
	return Stage{}, false
}

// stages is where the steps of one attempt are noted.
type stages struct {
	mu sync.Mutex
	// guards following
	list    []Stage
	failure *Stage // the last one; never changed, only replaced
}

func newStages() *stages {
	s := &stages{}
	s.reset()
	return s
}

// reset makes every stage wait.
func (s *stages) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = make([]Stage, len(stageOrder))
	for i, n := range stageOrder {
		s.list[i] = Stage{Name: n, State: StateWaiting}
	}
}

func (s *stages) set(st Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(stageOrder, st.Name)
	if s.list[i].State != st.State || s.list[i].Since.IsZero() {
		st.Since = time.Now()
	} else {
		st.Since = s.list[i].Since
	}
	s.list[i] = st
}

func (s *stages) working(n StageName) { s.set(Stage{Name: n, State: StateWorking}) }

func (s *stages) ok(n StageName, format string, args ...any) {
	s.set(Stage{Name: n, State: StateOK, Detail: fmt.Sprintf(format, args...)})
}

// waiting notes a stage that is not reached, and why.
func (s *stages) waiting(n StageName, detail string) {
	s.set(Stage{Name: n, State: StateWaiting, Detail: detail})
}

// fail notes the failure and returns it as an error.
func (s *stages) fail(f *failure) error {
	st := Stage{Name: f.stage, State: StateFailed, Cause: f.cause(), Advice: f.advice, Since: time.Now()}
	s.set(st)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = &st
	return f
}

func (s *stages) copy() (list []Stage, failure *Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list), s.failure
}

// forget drops the last failure: it is mended.
func (s *stages) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = nil
}

// take replaces the stages by those of another attempt.
func (s *stages) take(from *stages) {
	list, _ := from.copy()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = list
}

// counters are the numbers of Status.
type counters struct {
	mu sync.Mutex
	// guards following
	connected  bool
	since      time.Time
	attempts   int
	nextTry    time.Time
	lastError  string
	renewal    string
	subscribed [len(sources)]bool
	position   [len(sources)]site.EventSeq
	placed     [len(sources)]bool // position is known
	sent       uint64
	skipped    uint64
	requests   uint64
	refused    uint64
	malformed  uint64
}

func (c *counters) change(f func(*counters)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// Status returns how the link stands.
func (c *Client) Status() Status {
	last := c.deps.Events.Log.Last()
	list, failure := c.stages.copy()
	n := &c.count
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Status{
		Server: c.server.Redacted(), Connected: n.connected, Since: n.since, Attempts: n.attempts, NextTry: n.nextTry,
		LastError: n.lastError, Renewal: n.renewal, Stages: list, Failure: failure, Subscribed: []Source{},
		Sent: n.sent, Skipped: n.skipped, Requests: n.requests, Refused: n.refused, Malformed: n.malformed,
	}
	for i, src := range sources {
		if n.subscribed[i] {
			s.Subscribed = append(s.Subscribed, src)
		}
		at, placed := n.position[i], n.placed[i]
		if cursor := c.deps.Events.cursor(i); !placed && cursor.Known() { // not subscribed since the start
			at, placed = cursor.Position(), true
		}
		if placed && last > at {
			s.Waiting = max(s.Waiting, uint64(last-at))
		}
	}
	return s
}

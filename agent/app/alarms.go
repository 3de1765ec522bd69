package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// maxAlarms bounds the list: past it the oldest that are over and acknowledged
// go first, then the oldest that are over.
const maxAlarms = 1000

// alarmKinds are the events that a person should acknowledge.
var alarmKinds = map[site.Kind]bool{
	site.KindDoorForced: true, site.KindDoorHeld: true, site.KindFire: true, site.KindTamper: true,
	site.KindFault: true, site.KindBattery: true, site.KindPower: true, site.KindClock: true,
	site.KindEventsLost: true, site.KindDuress: true, site.KindPanic: true,
}

// alarmKey tells which event ends which alarm.
type alarmKey struct {
	kind   site.Kind
	door   site.DoorID
	reader site.ReaderID
	device site.DeviceName
	item   string
}

// alarmItem is the Item of the command event that acknowledges an alarm, so
// that the list can be made again from the log alone.
const alarmItem = "alarm:"

// eventReader reads kept events in order.
type eventReader interface {
	Read(ctx context.Context, from site.EventSeq, maxEvents, maxBytes int) ([]site.Event, error)
	Wait(ctx context.Context, after site.EventSeq) error
}

// alarmBook folds the log into the alarms that want a person. What it knows is
// in one small file with the position in the log up to which it knows it; a
// missing or damaged file is made again from the oldest event kept.
type alarmBook struct {
	path  string
	log   eventReader
	ready chan struct{}
	once  sync.Once // for ready

	mu    sync.Mutex // guards following
	state alarmState
	news  chan struct{} // closed and replaced when events were folded
}

type alarmState struct {
	Next site.EventSeq `json:"next"` // the first event not folded yet
	List []alarmEntry  `json:"list"`
}

// alarmEntry is an alarm with what else tells it from others. Its number is the
// sequence number of the event that began it.
type alarmEntry struct {
	control.Alarm
	Item string `json:"item,omitempty"`
	Lock bool   `json:"lock,omitempty"` // a lock told of it
}

func (e *alarmEntry) key() alarmKey {
	return alarmKey{e.Kind, e.Door, e.Reader, e.Device, e.Item}
}

// loadAlarms reads the file at path. One that cannot be read is set aside, and the
// error says so: the list is then made again. The log is set before Run.
func loadAlarms(path string) (*alarmBook, error) {
	b := &alarmBook{path: path, ready: make(chan struct{}), news: make(chan struct{})}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &b.state)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	b.state = alarmState{}
	err = fmt.Errorf("%s: %w; the list of alarms is made again from the event log", path, err)
	if aside := setAside(path); aside != "" {
		err = fmt.Errorf("%w; kept as %s", err, aside)
	}
	return b, err
}

// known is the highest event number that the list has taken.
func (b *alarmBook) known() site.EventSeq {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.state.Next, 1) - 1
}

// Run follows the log until ctx ends. Then it keeps its position: a log that was
// cut short below it is found at the next start.
func (b *alarmBook) Run(ctx context.Context) error {
	b.once.Do(func() { close(b.ready) })
	// Without room on the disk the position is older, which does no harm.
	defer func() { _ = b.save() }()
	for {
		b.mu.Lock()
		next := max(b.state.Next, 1)
		b.mu.Unlock()
		evs, err := b.log.Read(ctx, next, 256, 1<<20)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("alarms: %w", err)
		}
		if len(evs) == 0 {
			if err := b.log.Wait(ctx, next-1); err != nil && ctx.Err() == nil {
				return fmt.Errorf("alarms: %w", err)
			}
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		if err := b.fold(evs); err != nil {
			return err
		}
	}
}

// Ready is closed when the task runs; the list may still be catching up.
func (b *alarmBook) Ready() <-chan struct{} { return b.ready }

// String names the task.
func (b *alarmBook) String() string { return "alarms" }

// List returns the alarms, standing ones first, then by number.
func (b *alarmBook) List() []control.Alarm {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]control.Alarm, len(b.state.List))
	for i, e := range b.state.List {
		out[i] = e.Alarm
	}
	slices.SortStableFunc(out, func(x, y control.Alarm) int {
		if a, c := x.Ended.IsZero(), y.Ended.IsZero(); a != c {
			if a {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.ID, y.ID)
	})
	return out
}

// reach waits until the list has taken event seq.
func (b *alarmBook) reach(ctx context.Context, seq site.EventSeq) error {
	for {
		b.mu.Lock()
		next, news := b.state.Next, b.news
		b.mu.Unlock()
		if next > seq {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Has reports whether the alarm is in the list and not acknowledged.
func (b *alarmBook) Has(id site.EventSeq) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.state.List, func(e alarmEntry) bool { return e.ID == id && e.Acked.IsZero() })
}

// ackEvent is the event whose place in the log acknowledges alarm id.
func ackEvent(id site.EventSeq, by string) site.Event {
	return site.Event{Kind: site.KindCommand, By: by, Item: alarmItem + strconv.FormatUint(uint64(id), 10),
		Text: "alarm " + strconv.FormatUint(uint64(id), 10) + " acknowledged"}
}

func (b *alarmBook) fold(evs []site.Event) error {
	b.mu.Lock()
	changed := false
	for _, ev := range evs {
		if b.state.apply(ev) {
			changed = true
		}
	}
	close(b.news)
	b.news = make(chan struct{})
	b.mu.Unlock()
	if !changed {
		return nil // the position alone is not worth a write: folding again is harmless
	}
	return b.save()
}

// save writes the list and its position.
func (b *alarmBook) save() error {
	b.mu.Lock()
	data, err := json.Marshal(&b.state)
	b.mu.Unlock()
	if err == nil {
		err = writeFileSync(b.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("alarms: %w", err)
	}
	return nil
}

// apply folds one event and reports whether the list changed. An event seen
// before changes nothing.
func (s *alarmState) apply(ev site.Event) bool {
	if ev.Seq < s.Next {
		return false
	}
	s.Next = ev.Seq + 1
	if id, ok := strings.CutPrefix(ev.Item, alarmItem); ok && ev.Kind == site.KindCommand {
		return s.ack(id, ev)
	}
	if ev.Kind == site.KindStart {
		return s.endAll(ev.Time)
	}
	if _, alarm, ok := ev.Duress(); ok {
		ev = alarm
	}
	// A loss, a duress, what a lock tells and a counted fault (a packet that was
	// refused) happen, they do not stand: nothing ends them, and one after an
	// acknowledgement is a new alarm.
	happened, code := happens(&ev), ev.Code // of a lock's audit, whose text has a value or a time
	ev = asMeant(ev)
	if !alarmKinds[ev.Kind] {
		return false
	}
	item := ev.Item
	if happened {
		item = cmp.Or(code, ev.Text) // the cause: another one is another alarm
	}
	key := alarmKey{ev.Kind, ev.Door, ev.Reader, ev.Device, item}
	i := slices.IndexFunc(s.List, func(e alarmEntry) bool {
		return e.key() == key && (e.Acked.IsZero() || e.Ended.IsZero())
	})
	switch {
	case ev.Cleared && i < 0:
		return false
	case ev.Cleared:
		s.List[i].Ended = ev.Time
		s.drop(i)
		return true
	case i >= 0:
		s.List[i].Times++
		s.List[i].Ended = time.Time{}
		if happened {
			s.List[i].Ended = ev.Time
		}
		s.List[i].Text = ev.Text
		return true
	}
	e := alarmEntry{Item: item, Lock: code != "", Alarm: control.Alarm{ID: ev.Seq, Kind: ev.Kind, Door: ev.Door,
		Reader: ev.Reader, Device: ev.Device, Text: ev.Text, Began: ev.Time, Times: 1}}
	if happened {
		e.Ended = ev.Time
	}
	s.List = append(s.List, e)
	s.trim()
	return true
}

// happens reports whether an alarm is over when it is told: nothing ends it. Of
// what a lock tells only tampering has an end of its own (engage.md section 3).
func happens(ev *site.Event) bool {
	if ev.Kind == site.KindLockAudit {
		return ev.As != site.KindTamper
	}
	return ev.Kind == site.KindEventsLost || ev.Kind == site.KindDuress || ev.Kind == site.KindFault && ev.Count > 0
}

// asMeant makes a lock's audit the event that it means: alarms follow Event.As
// (contract.md, Events).
func asMeant(ev site.Event) site.Event {
	if ev.Kind == site.KindLockAudit && ev.As != "" {
		ev.Kind, ev.Item = ev.As, "" // Item is the audit's number
	}
	return ev
}

// endAll ends what stands: a new agent says anew what is wrong. A lock does not know
// of it.
func (s *alarmState) endAll(at time.Time) bool {
	changed := false
	for i := len(s.List) - 1; i >= 0; i-- {
		if s.List[i].Ended.IsZero() && !s.List[i].Lock {
			s.List[i].Ended = at
			changed = true
			s.drop(i)
		}
	}
	return changed
}

func (s *alarmState) ack(id string, ev site.Event) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return false
	}
	i := slices.IndexFunc(s.List, func(e alarmEntry) bool { return e.ID == site.EventSeq(n) })
	if i < 0 {
		return false
	}
	s.List[i].Acked, s.List[i].AckedBy = ev.Time, ev.By
	s.drop(i)
	return true
}

// drop removes entry i when it is over and acknowledged.
func (s *alarmState) drop(i int) {
	if e := s.List[i]; !e.Ended.IsZero() && !e.Acked.IsZero() {
		s.List = slices.Delete(s.List, i, i+1)
	}
}

func (s *alarmState) trim() {
	if len(s.List) <= maxAlarms {
		return
	}
	i := slices.IndexFunc(s.List, func(e alarmEntry) bool { return !e.Ended.IsZero() })
	s.List = slices.Delete(s.List, max(i, 0), max(i, 0)+1)
}

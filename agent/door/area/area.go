package area

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse/agent/site"
)

// Passback is an anti-passback rule.
type Passback uint8

// The rules.
const (
	None  Passback = iota // no rule
	Soft                  // a breach is granted and told: granted_passback
	Timed                 // nobody enters twice within the Forget time
	Hard                  // a breach is refused: passback
)

// String returns the rule as the settings name it.
func (p Passback) String() string {
	switch p {
	case None:
		return "none"
	case Soft:
		return "soft"
	case Timed:
		return "timed"
	case Hard:
		return "hard"
	}
	return fmt.Sprintf("Passback(%d)", uint8(p))
}

// Area is one area of the settings.
type Area struct {
	ID        site.AreaID
	Name      string
	Occupancy int           // the most people that may be inside; 0: no limit
	Passback  Passback      // at a reader that leads into it
	Exit      Passback      // at a reader that leaves it: Hard, or Soft, which None stands for too; only with Soft or Hard above
	Forget    time.Duration // after this nobody knows that a holder is in it, nor counts him; 0: known for ever. Timed needs one
}

// Config is what an Owner needs of the settings.
type Config struct {
	Areas      []Area
	Interlocks []Interlock
	PIN        Lockout
}

// Move is one holder on his way through one reader. An empty area is the
// outside. A move from a place to the same one is none, and so is one of an
// empty holder: neither refused, nor counted, nor kept.
type Move struct {
	Holder   site.HolderID
	Reader   site.ReaderID
	Door     site.DoorID
	From, To site.AreaID
}

func (m Move) none() bool { return m.Holder == "" || m.From == m.To }

// Event returns the event that says in the log that the holder went through, in
// the form that [Owner.Fold] reads. now is the time given to [Owner.Enter].
func (m Move) Event(now time.Time) site.Event {
	return site.Event{
		Time: stamp(now), Kind: site.KindArea, HolderID: m.Holder,
		Reader: m.Reader, Door: m.Door, Area: m.To,
	}
}

// ItemForgive is the Item of a KindArea event that tells of forgiveness.
const ItemForgive = "forgive"

// Forgiveness returns the event that says in the log that a holder (empty: all)
// was forgiven, wherever he was or only in one area.
func Forgiveness(h site.HolderID, a site.AreaID, now time.Time) site.Event {
	return site.Event{Time: stamp(now), Kind: site.KindArea, Item: ItemForgive, HolderID: h, Area: a}
}

// stamp is the time as it is kept: what the log gives back of it. No clock of
// ours shows a time before 1970.
func stamp(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0).UTC()
	}
	return t.UTC().Truncate(time.Millisecond)
}

// millis is the time as the owner calculates with it.
func millis(t time.Time) int64 { return stamp(t).UnixMilli() }

// Owner owns the state that doors share. Make one with [New].
type Owner struct {
	peers  map[site.DoorID][]site.DoorID // the other doors of its groups, sorted; never changed
	repeat map[site.DoorID]time.Duration // never changed
	order  []*place                      // the areas as the settings list them; never changed
	pin    Lockout

	mu       sync.Mutex // guards what follows
	places   map[site.AreaID]*place
	people   map[site.HolderID]*person
	reserved map[ticket]struct{}
	insecure map[site.DoorID]struct{}
	locks    map[string]*lock
}

// New returns an owner that knows of nobody, with all doors secure.
func New(c Config) (*Owner, error) {
	o := &Owner{
		peers:    map[site.DoorID][]site.DoorID{},
		repeat:   map[site.DoorID]time.Duration{},
		places:   map[site.AreaID]*place{},
		people:   map[site.HolderID]*person{},
		reserved: map[ticket]struct{}{},
		insecure: map[site.DoorID]struct{}{},
		locks:    map[string]*lock{},
		pin:      c.PIN,
	}
	for _, a := range c.Areas {
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("area %q: %w", a.ID, err)
		}
		if o.places[a.ID] != nil {
			return nil, fmt.Errorf("area %q: there are two of this id", a.ID)
		}
		p := newPlace(a)
		o.places[a.ID] = p
		o.order = append(o.order, p)
	}
	if out, ok := outside(c.Areas); ok {
		o.places[""] = newPlace(out)
	}
	for i, g := range c.Interlocks {
		if err := o.interlock(g); err != nil {
			return nil, fmt.Errorf("interlock %d: %w", i+1, err)
		}
	}
	if err := c.PIN.check(); err != nil {
		return nil, fmt.Errorf("PIN lock-out: %w", err)
	}
	return o, nil
}

func (a Area) check() error {
	if err := site.CheckID(string(a.ID)); err != nil {
		return err
	}
	switch {
	case a.Occupancy < 0:
		return fmt.Errorf("occupancy %d is negative", a.Occupancy)
	case a.Forget < 0:
		return fmt.Errorf("forget time %v is negative", a.Forget)
	case a.Passback > Hard:
		return fmt.Errorf("there is no passback rule %v", a.Passback)
	case a.Exit == Timed || a.Exit > Hard:
		return fmt.Errorf("exit passback is %v: soft or hard", a.Exit)
	case a.Exit == Hard && !a.judgesExit():
		return fmt.Errorf("exit passback is hard where passback is %v", a.Passback)
	case a.Passback == Timed && a.Forget == 0:
		return fmt.Errorf("timed passback needs a forget time")
	}
	return nil
}

// judgesExit reports whether leaving the area is judged at all.
func (a Area) judgesExit() bool { return a.Passback == Soft || a.Passback == Hard }

// outside returns the place of those who are known to be in no area. Only areas
// that judge who leaves them ask for it: without one, ok is false and nobody is
// kept outside.
func outside(areas []Area) (out Area, ok bool) {
	forever := false
	for _, a := range areas {
		if a.judgesExit() {
			ok = true
			forever = forever || a.Forget == 0
			out.Forget = max(out.Forget, a.Forget)
		}
	}
	if forever {
		out.Forget = 0
	}
	return out, ok
}

// Ask says what the areas have to say of a move: "" (nothing against it),
// passback, occupancy (both refuse) or granted_passback. It changes nothing, so
// now may be any time. What an interlock says is not asked here: see
// [Owner.Free].
func (o *Owner) Ask(m Move, now time.Time) site.Reason {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ask(m, millis(now))
}

// Reserve asks and, where nothing refuses, reserves the holder a place in To in
// the same instant. The caller ends each reservation by [Owner.Enter] or
// [Owner.Cancel] with the same move, or by [Owner.CancelDoor]. There is one per
// door, holder and area: to reserve again changes nothing.
func (o *Owner) Reserve(m Move, now time.Time) site.Reason {
	o.mu.Lock()
	defer o.mu.Unlock()
	why := o.ask(m, millis(now))
	if why == site.ReasonPassback || why == site.ReasonOccupancy || m.none() {
		return why
	}
	t := ticket{m.Door, m.Holder, m.To}
	if p := o.areaOf(m.To); p != nil && !o.has(t) {
		o.reserved[t] = struct{}{}
		p.reserved[m.Holder]++
	}
	return why
}

// Cancel ends a reservation that was not used. There may be none.
func (o *Owner) Cancel(m Move) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cancel(ticket{m.Door, m.Holder, m.To})
}

// CancelDoor ends all reservations of one door and returns how many there were.
// It is for a door that starts anew and knows no longer whom it let in.
func (o *Owner) CancelDoor(d site.DoorID) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for t := range o.reserved {
		if t.door == d {
			o.cancel(t)
			n++
		}
	}
	return n
}

// Enter notes that the holder went through: his reservation becomes presence.
// It does so whatever the rules say, because it happened. changed reports
// whether the owner now knows anything else than before; then the caller logs
// [Move.Event] with the same now.
func (o *Owner) Enter(m Move, now time.Time) (changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.none() {
		return false
	}
	o.cancel(ticket{m.Door, m.Holder, m.To})
	return o.move(m.Holder, m.Reader, m.To, millis(now))
}

// Forgive forgets where a holder is, so that no passback rule refuses him the
// next time, and reports whether it was known. It is also for a holder who is
// removed or erased.
func (o *Owner) Forgive(h site.HolderID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.forget(h)
}

// ForgiveAll forgets all who are in one area, or, with an empty area, where
// anybody is. It returns how many.
func (o *Owner) ForgiveAll(a site.AreaID) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.forgiveAll(a)
}

// Fold takes in one event of the log, at start, in the order of the log. Events
// that are no KindArea change nothing. An owner that has restored a snapshot and
// folded all events since then knows what the one knew that wrote them; to fold
// again events that the snapshot holds already does no harm, if all that follow
// are folded too.
func (o *Owner) Fold(ev site.Event) {
	if ev.Kind != site.KindArea {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch ev.Item {
	case "":
		if ev.HolderID != "" {
			o.move(ev.HolderID, ev.Reader, ev.Area, millis(ev.Time))
		}
	case ItemForgive:
		p := o.people[ev.HolderID]
		switch {
		case ev.HolderID == "":
			o.forgiveAll(ev.Area)
		case ev.Area == "" || p != nil && p.at.ID == ev.Area:
			o.forget(ev.HolderID)
		}
	}
}

// Status is how one area stands.
type Status struct {
	ID       site.AreaID
	Name     string
	Count    int // people inside
	Reserved int // people beside them who were granted and did not enter yet
	Limit    int // 0: none
	Passback Passback
}

// Areas returns how each area stands, in the order of the settings.
func (o *Owner) Areas(now time.Time) []Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	ms := millis(now)
	out := make([]Status, len(o.order))
	for i, p := range o.order {
		out[i] = Status{p.ID, p.Name, p.count(ms), o.coming(p, ms), p.Occupancy, p.Passback}
	}
	return out
}

// Count returns how many people are known to be in an area.
func (o *Owner) Count(a site.AreaID, now time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p := o.areaOf(a); p != nil {
		return p.count(millis(now))
	}
	return 0
}

// Presence is one holder at one place.
type Presence struct {
	Holder site.HolderID `json:"holder"`
	Area   site.AreaID   `json:"area"` // empty: outside
	Reader site.ReaderID `json:"reader,omitempty"`
	Since  time.Time     `json:"since"`
}

// Occupants returns who is known to be in an area, by the time of entry.
func (o *Owner) Occupants(a site.AreaID, now time.Time) []Presence {
	var out []Presence
	ms := millis(now)
	o.mu.Lock()
	if p := o.areaOf(a); p != nil {
		for _, h := range p.heap {
			if !h.forgotten(ms) {
				out = append(out, h.presence())
			}
		}
	}
	o.mu.Unlock()
	slices.SortFunc(out, byEntry)
	return out
}

// Where returns where a holder is and since when. ok is false when nobody
// knows; an empty area is the outside.
func (o *Owner) Where(h site.HolderID, now time.Time) (a site.AreaID, since time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.people[h]
	if p == nil || p.forgotten(millis(now)) {
		return "", time.Time{}, false
	}
	v := p.presence()
	return v.Area, v.Since, true
}

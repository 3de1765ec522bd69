package area

import (
	"fmt"
	"slices"
	"time"

	"gatehouse/agent/site"
)

// Interlock is a group of doors of which never two are unlocked or open at
// once (door.md, Anti-passback and Interlock). A door may be in several groups.
type Interlock struct {
	Doors  []site.DoorID
	Repeat time.Duration // within this a second press of an exit button opens all the same; 0: DefaultRepeat
}

// DefaultRepeat is the time for a second press (door.md, Egress).
const DefaultRepeat = 5 * time.Second

// interlock adds a group.
func (o *Owner) interlock(g Interlock) error {
	if len(g.Doors) < 2 {
		return fmt.Errorf("it has %d doors, at least two are needed", len(g.Doors))
	}
	if g.Repeat < 0 {
		return fmt.Errorf("repeat time %v is negative", g.Repeat)
	}
	if g.Repeat == 0 {
		g.Repeat = DefaultRepeat
	}
	for i, d := range g.Doors {
		if err := site.CheckID(string(d)); err != nil {
			return fmt.Errorf("door %q: %w", d, err)
		}
		if slices.Contains(g.Doors[:i], d) {
			return fmt.Errorf("door %q is in it twice", d)
		}
	}
	for _, d := range g.Doors {
		for _, other := range g.Doors {
			if other != d {
				o.peers[d] = append(o.peers[d], other)
			}
		}
		slices.Sort(o.peers[d])
		o.peers[d] = slices.Compact(o.peers[d])
		if old, ok := o.repeat[d]; !ok || g.Repeat < old {
			o.repeat[d] = g.Repeat
		}
	}
	return nil
}

// Acquire makes a door one that is not secure (unlocked or open), unless another
// door of its groups is: then it returns false and changes nothing. A door that
// holds it already, or is in no group, always may. Call it before the strike is
// driven unlocked.
func (o *Owner) Acquire(d site.DoorID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.free(d) {
		return false
	}
	o.force(d)
	return true
}

// Force makes a door one that is not secure whatever the others are: on fire,
// on a repeated exit press, when it was forced open.
func (o *Owner) Force(d site.DoorID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.force(d)
}

// Free reports whether [Owner.Acquire] would succeed. It changes nothing.
func (o *Owner) Free(d site.DoorID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.free(d)
}

// Release makes a door secure again. Call it after the strike was driven locked
// and the door is closed. It returns the other doors of its groups, which the
// caller wakes; none when the door was secure already. The slice is the
// caller's.
func (o *Owner) Release(d site.DoorID) []site.DoorID {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.insecure[d]; !ok {
		return nil
	}
	delete(o.insecure, d)
	return slices.Clone(o.peers[d])
}

// Blockers returns the other doors of its groups that are not secure now,
// sorted: why a door is held back. It does not say whether the door holds the
// interlock itself: see [Owner.Free].
func (o *Owner) Blockers(d site.DoorID) []site.DoorID {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []site.DoorID
	for _, other := range o.peers[d] {
		if _, ok := o.insecure[other]; ok {
			out = append(out, other)
		}
	}
	return out
}

// Repeat returns the time within which a second press at this door's exit
// button opens it, the smallest of its groups; 0 when it is in none.
func (o *Owner) Repeat(d site.DoorID) time.Duration { return o.repeat[d] }

func (o *Owner) free(d site.DoorID) bool {
	if _, ok := o.insecure[d]; ok {
		return true
	}
	for _, other := range o.peers[d] {
		if _, ok := o.insecure[other]; ok {
			return false
		}
	}
	return true
}

func (o *Owner) force(d site.DoorID) {
	if len(o.peers[d]) > 0 {
		o.insecure[d] = struct{}{}
	}
}

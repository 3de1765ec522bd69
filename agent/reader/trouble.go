package reader

import (
	"maps"
	"slices"

	"gatehouse/agent/site"
)

// The Items of a reader's events: an alarm ends with the event of the same kind
// and Item.
const (
	itemFrames   = "frames"   // tamper: frames that cannot be
	itemContact  = "contact"  // tamper, and fault: the tamper contact
	itemLines    = "lines"    // fault: a data line is held low
	itemFeedback = "feedback" // fault: LED or beeper
)

// Trouble returns what stands at the reader now, in words: faults and tampers
// that began and have not ended. It may be called from any goroutine.
func (r *Reader) Trouble() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, k := range slices.Sorted(maps.Keys(r.standing)) {
		out = append(out, r.standing[k])
	}
	return out
}

func standingKey(k site.Kind, item string) string { return string(k) + " " + item }

// begins tells of something that begins, unless it stands already, and reports
// whether it told.
func (r *Reader) begins(k site.Kind, item, text string) bool {
	key := standingKey(k, item)
	r.mu.Lock()
	_, stands := r.standing[key]
	r.standing[key] = text
	r.mu.Unlock()
	if !stands {
		r.event(k, item, text, false)
	}
	return !stands
}

// ends tells of its end, if it stands.
func (r *Reader) ends(k site.Kind, item string) {
	key := standingKey(k, item)
	r.mu.Lock()
	text, stands := r.standing[key]
	delete(r.standing, key)
	r.mu.Unlock()
	if stands {
		r.event(k, item, text, true)
	}
}

func (r *Reader) event(k site.Kind, item, text string, cleared bool) {
	r.faults.Append(site.Event{Kind: k, Door: r.door, Reader: r.id, Item: item, Cleared: cleared, Text: text})
}

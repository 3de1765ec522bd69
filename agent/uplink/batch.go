package uplink

import (
	"context"
	"math"

	"gatehouse/agent/site"
)

// view is where the sources stand, and all that a batch depends on beside the
// log: two batches of equal views begin alike.
type view struct {
	on, begun, anew [len(sources)]bool
	seq             [len(sources)]site.EventSeq
	log             [len(sources)]site.LogID
}

// view returns where the places stand for a host that subscribed to the sources
// of on.
func (ps *places) view(on [len(sources)]bool) view {
	v := view{on: on}
	for i, p := range ps.list {
		v.begun[i], v.anew[i], v.seq[i], v.log[i] = p.begun, p.anew, p.seq, p.log
	}
	return v
}

// move takes the places to where v stands.
func (ps *places) move(v view) {
	for i, p := range ps.list {
		p.anew, p.seq, p.log = v.anew[i], v.seq[i], v.log[i]
	}
}

// active reports whether source i is sent from its position on.
func (v *view) active(i int) bool { return v.on[i] && v.begun[i] }

// from returns the number to read next: that of the subscribed source which is
// the furthest behind, so that events of both sources go out in one order.
func (v *view) from() (seq site.EventSeq, any bool) {
	for i := range sources {
		if v.active(i) && (!any || v.seq[i] < seq) {
			seq, any = v.seq[i], true
		}
	}
	return seq + 1, any
}

// past returns the view when the host has all items.
func (v view) past(items []item) view {
	if len(items) == 0 {
		return v
	}
	end := items[len(items)-1]
	for i := range sources {
		if v.active(i) && end.seq > v.seq[i] {
			v.seq[i], v.log[i], v.anew[i] = end.seq, end.log, false
		}
	}
	return v
}

// item is one event of a batch; without frames it is not for this host.
type item struct {
	seq    site.EventSeq
	log    site.LogID
	frames [][]byte
	events uint64 // of frames, without announcements
}

// unsayable is an event that cannot be put into words.
type unsayable struct {
	seq site.EventSeq
	err error
}

// batch is what is sent next from a view on.
type batch struct {
	of     view
	items  []item // none: the log has no more
	failed []unsayable
	err    error // the log's
}

// makeBatch reads the log and puts events into words. It changes nothing.
func (c *Client) makeBatch(ctx context.Context, v view) batch {
	b := batch{of: v}
	from, any := v.from()
	if !any {
		return b
	}
	var events []site.Event
	if events, b.err = c.deps.Events.Log.Read(ctx, from, batchEvents, batchBytes); b.err != nil {
		return b
	}
	b.items = make([]item, 0, len(events))
	for _, e := range events {
		c.addEvent(&b, &v, e)
	}
	return b
}

// addEvent adds an event, after what it announces for each source, and moves
// the logs of v.
func (c *Client) addEvent(b *batch, v *view, e site.Event) {
	it := item{seq: e.Seq, log: e.Log}
	for i, source := range sources {
		if !v.active(i) || e.Seq <= v.seq[i] {
			continue
		}
		if v.anew[i] || v.log[i] != "" && v.log[i] != e.Log {
			c.addFrame(b, &it, eventID(e.Seq-1), c.deps.Events.NewLog(source, c.cfg.Serial, e))
		}
		v.log[i], v.anew[i] = e.Log, false
	}
	m, ok := c.deps.Events.Convert(e)
	if i := m.Source.index(); ok && v.active(i) && e.Seq > v.seq[i] && c.addFrame(b, &it, eventID(e.Seq), m) {
		it.events++
	}
	b.items = append(b.items, it)
}

func (c *Client) addFrame(b *batch, it *item, id uint32, m Message) bool {
	f, err := c.codec.Encode(Frame{Kind: KindEvent, ID: id, Event: m})
	if err != nil {
		b.failed = append(b.failed, unsayable{it.seq, err})
		return false
	}
	it.frames = append(it.frames, f)
	return true
}

// eventID is the event's number modulo 2^32 (engage.md, section 3).
func eventID(seq site.EventSeq) uint32 { return uint32(uint64(seq) & math.MaxUint32) }

// ahead is a batch that is made while the one before it is on its way.
type ahead struct {
	of   view
	stop context.CancelFunc
	made chan batch // capacity 1
}

// makeAhead begins to make a batch. The caller must take or drop it.
func (c *Client) makeAhead(ctx context.Context, v view) *ahead {
	ctx, stop := context.WithCancel(ctx)
	a := &ahead{of: v, stop: stop, made: make(chan batch, 1)}
	go func() { a.made <- c.makeBatch(ctx, v) }()
	return a
}

// take waits for the batch.
func (a *ahead) take() batch {
	defer a.stop()
	return <-a.made
}

// drop ends the making of the batch; nothing of it runs when drop returns.
func (a *ahead) drop() {
	if a != nil {
		a.stop()
		<-a.made
	}
}

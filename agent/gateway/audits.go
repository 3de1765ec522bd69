package gateway

import (
	"context"

	"gatehouse/agent/site"
)

// Limits of the audits resource: of a device, and of one answer for all of them.
const (
	maxAudits    = 2000
	maxAllAudits = 40_000
	readEvents   = 512
	readBytes    = 1 << 20
)

// gathering is one reading of the log for the audits of some devices.
type gathering struct {
	from        map[site.DoorID]site.EventSeq // of each device that is asked for
	next, end   site.EventSeq                 // everything before next was read
	out         map[site.DoorID][]audit
	first, last map[site.DoorID]site.EventSeq // of out
	done        map[site.DoorID]bool          // no more of this one
	total, full int
}

// begin finds from where on each device's audits are to be read.
func (g *Gateway) begin(list []*link) *gathering {
	r := &gathering{from: map[site.DoorID]site.EventSeq{}, out: map[site.DoorID][]audit{}, done: map[site.DoorID]bool{},
		first: map[site.DoorID]site.EventSeq{}, last: map[site.DoorID]site.EventSeq{}}
	r.end = g.deps.Log.Last()
	r.next = r.end + 1
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range list {
		r.out[l.Door] = []audit{}
		r.from[l.Door] = max(g.links.deleted(l.Door)+1, g.seen[l.Door])
		r.next = min(r.next, r.from[l.Door])
	}
	r.next = max(r.next, g.deps.Log.First())
	return r
}

// add takes an event.
func (r *gathering) add(g *Gateway, e *site.Event) {
	r.next = e.Seq + 1
	at, asked := r.from[e.Door]
	if !asked || e.Seq < at || e.Seq > r.end || r.done[e.Door] || r.total >= maxAllAudits {
		return
	}
	source, list := g.auditsOf(e)
	if len(list) == 0 || source != sourceEdge {
		return
	}
	if len(r.out[e.Door])+len(list) > maxAudits {
		r.done[e.Door] = true // those of one event stay together: it comes first in the next reading
		r.full++
		return
	}
	if r.first[e.Door] == 0 {
		r.first[e.Door] = e.Seq
	}
	r.out[e.Door] = append(r.out[e.Door], list...)
	if r.total += len(list); len(r.out[e.Door]) == maxAudits {
		r.done[e.Door] = true
		r.full++
	}
	r.last[e.Door] = e.Seq
}

// gather collects the audits of devices that were not deleted, oldest first, and
// notes how far each was read. When its time is over it returns what it has; with
// nothing that is an error, and the next call goes on from there.
func (g *Gateway) gather(ctx context.Context, list []*link) (map[site.DoorID][]audit, error) {
	r := g.begin(list)
	var late error
	for r.next <= r.end && r.total < maxAllAudits && r.full < len(list) {
		events, err := g.deps.Log.Read(ctx, r.next, readEvents, readBytes)
		if late = ctx.Err(); late != nil {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			r.add(g, &events[i])
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range list {
		if seq := r.last[l.Door]; seq != 0 {
			g.read[l.Door], g.seen[l.Door] = max(seq, g.read[l.Door]), r.first[l.Door]
		} else {
			g.seen[l.Door] = max(g.seen[l.Door], min(r.next, r.end+1))
		}
	}
	if r.total > 0 {
		late = nil
	}
	return r.out, late
}

func (g *Gateway) getAudits(ctx context.Context, r *request) reply {
	found, err := g.gather(ctx, []*link{r.link})
	if err != nil {
		return g.failed(err)
	}
	return answer(200, struct {
		EdgeDevice deviceAudits `json:"edgeDevice"`
	}{deviceAudits{r.link.linkID, found[r.link.Door]}})
}

func (g *Gateway) getAllAudits(ctx context.Context, _ *request) reply {
	all := g.links.all()
	found, err := g.gather(ctx, all)
	if err != nil {
		return g.failed(err)
	}
	list := make([]deviceAudits, 0, len(all))
	for _, l := range all {
		list = append(list, deviceAudits{l.linkID, found[l.Door]})
	}
	return answer(200, struct {
		EdgeDevice []deviceAudits `json:"edgeDevice"`
	}{list})
}

// drop deletes what was read of devices.
func (g *Gateway) drop(list []*link) reply {
	upTo := map[site.DoorID]site.EventSeq{}
	g.mu.Lock()
	for _, l := range list {
		if seq := g.read[l.Door]; seq > 0 {
			upTo[l.Door] = seq
		}
	}
	g.mu.Unlock()
	if len(upTo) == 0 {
		return reply{status: 200}
	}
	err := g.links.change(func(k *kept) {
		for door, seq := range upTo {
			k.Deleted[door] = max(k.Deleted[door], seq)
		}
	})
	if err != nil {
		return g.failed(err)
	}
	return reply{status: 200}
}

func (g *Gateway) deleteAudits(_ context.Context, r *request) reply { return g.drop([]*link{r.link}) }

func (g *Gateway) deleteAllAudits(context.Context, *request) reply { return g.drop(g.links.all()) }

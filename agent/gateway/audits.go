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

// gather collects the audits of devices that were not deleted, oldest first, and
// notes how far each was read.
func (g *Gateway) gather(ctx context.Context, list []*link) (map[site.DoorID][]audit, error) {
	out := make(map[site.DoorID][]audit, len(list))
	from := make(map[site.DoorID]site.EventSeq, len(list))
	start := g.deps.Log.Last() + 1
	end := start - 1
	g.mu.Lock()
	for _, l := range list {
		out[l.Door] = []audit{}
		from[l.Door] = max(g.links.deleted(l.Door)+1, g.seen[l.Door])
		start = min(start, from[l.Door])
	}
	g.mu.Unlock()
	start = max(start, g.deps.Log.First())
	last := map[site.DoorID]site.EventSeq{}
	first := map[site.DoorID]site.EventSeq{}
	total, full := 0, 0
	next := start
	for next <= end && total < maxAllAudits && full < len(list) {
		events, err := g.deps.Log.Read(ctx, next, readEvents, readBytes)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			e := &events[i]
			next = e.Seq + 1
			at, asked := from[e.Door]
			if !asked || e.Seq < at || e.Seq > end || len(out[e.Door]) == maxAudits || total == maxAllAudits {
				continue
			}
			source, a, ok := g.auditOf(e)
			if !ok || source != sourceEdge {
				continue
			}
			if first[e.Door] == 0 {
				first[e.Door] = e.Seq
			}
			out[e.Door] = append(out[e.Door], a)
			if total++; len(out[e.Door]) == maxAudits {
				full++
			}
			last[e.Door] = e.Seq
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range list {
		if seq := last[l.Door]; seq != 0 {
			g.read[l.Door], g.seen[l.Door] = max(seq, g.read[l.Door]), first[l.Door]
		} else {
			g.seen[l.Door] = max(g.seen[l.Door], min(next, end+1))
		}
	}
	return out, nil
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

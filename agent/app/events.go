package app

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// eventView shows kept events: with the holder's name, without sealed content.
type eventView struct {
	log   *spool.Log
	store *store.Store // nil: names are not known
	// life ends when the agent stops listening: who follows is let go then, so
	// that no stop waits for him. Set before anybody asks.
	life context.Context
}

// readBatch and readBytes bound what one read of the log brings.
const (
	readBatch = 256
	readBytes = 1 << 20
)

// show makes an event fit for people.
func (v *eventView) show(ev site.Event) site.Event {
	ev.Sealed = nil
	if v.store != nil {
		ev.Holder = v.store.HolderName(ev.HolderID)
	}
	return ev
}

// asked returns what of a kept event is asked for: of an access under duress, for
// those who may see it, the access and the alarm.
func (v *eventView) asked(ctx context.Context, ev *site.Event, q *control.EventQuery, holder site.HolderID) []site.Event {
	open, alarm, duress := ev.Duress()
	var out []site.Event
	if v.matches(&open, q, holder) && (q.Duress || !v.acksDuress(ctx, ev)) {
		out = append(out, open)
	}
	if duress && v.matches(&alarm, q, holder) {
		out = append(out, alarm)
	}
	return out
}

// acksDuress reports whether an event acknowledges an alarm of duress, or one
// that is kept no more and could be: it would tell of the duress.
func (v *eventView) acksDuress(ctx context.Context, ev *site.Event) bool {
	id, ok := strings.CutPrefix(ev.Item, alarmItem)
	if !ok || ev.Kind != site.KindCommand {
		return false
	}
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return false
	}
	evs, err := v.log.Read(ctx, site.EventSeq(n), 1, readBytes)
	if err != nil || len(evs) == 0 || evs[0].Seq != site.EventSeq(n) {
		return true
	}
	_, _, duress := evs[0].Duress()
	return duress || evs[0].Kind == site.KindDuress
}

// matches reports whether an event is asked for.
func (v *eventView) matches(ev *site.Event, q *control.EventQuery, holder site.HolderID) bool {
	switch {
	case !q.From.IsZero() && ev.Time.Before(q.From), !q.To.IsZero() && ev.Time.After(q.To):
		return false
	case ev.Kind == site.KindDuress && !q.Duress:
		return false
	case q.Door != "" && ev.Door != q.Door, q.Kind != "" && ev.Kind != q.Kind:
		return false
	case q.Holder != "" && (holder == "" || ev.HolderID != holder):
		return false
	}
	return true
}

// Tail calls fn for the kept events that match, in order, and follows.
func (v *eventView) Tail(ctx context.Context, q control.EventQuery, fn func(site.Event) error) error {
	if q.Follow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(v.life, cancel)()
	}
	var holder site.HolderID
	if q.Holder != "" {
		if v.store == nil {
			return fmt.Errorf("holder %q: %w", q.Holder, control.ErrNotReady)
		}
		h, err := v.store.FindHolder(site.SourceOperator, q.Holder)
		if err != nil {
			return asControl(err)
		}
		holder = h.ID
	}
	next := q.After + 1
	if !q.From.IsZero() {
		next = max(next, v.log.SeekTime(q.From))
	}
	next = max(next, v.log.First())
	if q.Last > 0 {
		seq, err := v.lastMatching(ctx, &q, holder)
		if err != nil {
			return err
		}
		next = max(next, seq)
	}
	for {
		evs, err := v.log.Read(ctx, next, readBatch, readBytes)
		if q.Follow && v.life.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range evs {
			next = evs[i].Seq + 1
			for _, ev := range v.asked(ctx, &evs[i], &q, holder) {
				if err := fn(v.show(ev)); err != nil {
					return err
				}
			}
		}
		if len(evs) > 0 {
			continue
		}
		if !q.Follow || !q.To.IsZero() && time.Now().After(q.To) {
			return nil
		}
		if err := v.log.Wait(ctx, next-1); err != nil {
			if v.life.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// lastMatching returns the number of the first of the last q.Last events that
// match.
func (v *eventView) lastMatching(ctx context.Context, q *control.EventQuery, holder site.HolderID) (site.EventSeq, error) {
	first, left := v.log.Last()+1, q.Last
	err := v.log.ScanBack(ctx, v.log.Last(), func(ev site.Event) bool {
		if n := len(v.asked(ctx, &ev, q, holder)); n > 0 {
			first, left = ev.Seq, left-n
		}
		return left > 0
	})
	return first, err
}

package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatehouse/agent/site"
)

// batch is how many events go in the next delivery.
func (r *Receiver) batch() int {
	switch {
	case r.frozen > 0:
		return r.frozen
	case r.single:
		return 1
	}
	return min(len(r.waiting), r.to.most())
}

// deliver tries what is first once.
func (r *Receiver) deliver(ctx context.Context) {
	n := r.batch()
	res, err := r.to.send(ctx, delivery{events: r.waiting[:n], to: r.left})
	switch {
	case err == nil:
		r.delivered(n, res)
	case ctx.Err() != nil && len(res.left) == 0: // interrupted: it will be tried after the next start
	default:
		r.failed(n, res, failureOf(err))
	}
}

// delivered moves past n events that the receiver has.
func (r *Receiver) delivered(n int, res result) {
	r.deps.Logger.Debug("sent", "first", r.waiting[0].Seq, "alarms", n, "answer", res.answer)
	r.drop(n)
	r.failures, r.failing, r.single = 0, time.Time{}, false
	r.due = time.Now().Add(r.to.gap())
	r.mu.Lock()
	r.stats.Sent += uint64(n)
	r.stats.LastSent = r.deps.Now()
	r.stats.LastError, r.stats.LastErrorAt, r.stats.RetryAt, r.stats.FailingSince = "", time.Time{}, time.Time{}, time.Time{}
	if len(res.refused) > 0 {
		r.stats.LastError, r.stats.LastErrorAt = "address refused: "+res.trouble, r.deps.Now()
	}
	text := r.stats.LastError
	r.mu.Unlock()
	r.deps.Fault(text)
}

// failed decides when to try again, or that it is enough.
func (r *Receiver) failed(n int, res result, f *failure) {
	now := time.Now()
	text := words(f)
	if r.failures++; r.failing.IsZero() {
		r.failing = now
	}
	if len(res.left) > 0 {
		r.left, r.frozen = res.left, n
	}
	delay := max(backoff(r.failures), f.after)
	switch {
	case f.verdict != again && n > 1 && r.frozen == 0:
		r.single = true // which one is it?
	case f.verdict == poison:
		r.refusals++
		r.closed = time.Time{}
	case f.verdict == closed && r.closed.IsZero():
		r.closed = now
	}
	if r.refusals >= refusedTries || !r.closed.IsZero() && f.verdict == closed && now.Sub(r.closed) >= refusedFor {
		r.skip(n, text)
		delay = minDelay
	}
	r.due = now.Add(delay)
	r.deps.Logger.Warn("not delivered", "attempt", r.failures, "retry", delay.Round(time.Second), "err", text)
	r.mu.Lock()
	r.stats.LastError, r.stats.LastErrorAt = text, r.deps.Now()
	r.stats.FailingSince, r.stats.RetryAt = r.deps.Now().Add(-now.Sub(r.failing)), r.deps.Now().Add(delay)
	r.mu.Unlock()
	if now.Sub(r.failing) >= faultAfter {
		r.deps.Fault("no alarm reaches " + r.to.target() + ": " + text)
	}
}

// skip gives the first n events up, and says so in the log.
func (r *Receiver) skip(n int, text string) {
	first, told := r.waiting[0], false
	for i := range r.waiting[:n] {
		ev := &r.waiting[i]
		told = told || ev.Kind != site.KindFault || !strings.HasPrefix(ev.Item, itemPrefix)
	}
	what := fmt.Sprintf("%s %d (%s)", word(acknowledgedOnly(&first), "acknowledgement", "alarm"), first.Seq,
		strings.TrimSpace(headline(&first)+" "+string(first.Door)))
	if n > 1 {
		what = fmt.Sprintf("alarms %d to %d", first.Seq, r.waiting[n-1].Seq)
	}
	whom := r.to.kind() + " " + r.id
	if r.left != nil {
		whom += " (" + strings.Join(r.left, ", ") + ")"
	}
	r.deps.Logger.Error("skipped", "first", first.Seq, "alarms", n, "err", text)
	if told {
		r.deps.Append(site.Event{Kind: site.KindFault, Item: Item(r.id), Count: uint64(n),
			Text: fmt.Sprintf("%s was skipped: %s refuses it: %s", what, whom, text)})
	}
	r.mu.Lock()
	r.stats.Skipped += uint64(n)
	r.mu.Unlock()
	r.drop(n)
	r.failures = 0 // the next one gets tries of its own
}

func acknowledgedOnly(ev *site.Event) bool { _, ok := acknowledged(ev); return ok }

func word(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// drop forgets the first n events and moves the cursor past them.
func (r *Receiver) drop(n int) {
	r.waiting = append([]site.Event(nil), r.waiting[n:]...)
	r.left, r.frozen, r.refusals, r.closed = nil, 0, 0, time.Time{}
	r.save()
}

// note keeps the queue's length for Stats.
func (r *Receiver) note() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Queued = len(r.waiting)
	r.stats.More = r.deps.Log.Last() >= r.next
	if len(r.waiting) == 0 {
		r.stats.RetryAt = time.Time{}
	}
}

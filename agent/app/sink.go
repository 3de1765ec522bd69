package app

import (
	"context"
	"errors"
	"time"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

// eventSink gives events their time and hands them to the log. Append never
// blocks.
type eventSink struct {
	log     *spool.Log
	clock   func() site.Clock
	outputs outputSet // see each event before the disk does
}

// byAlert is who a lock's audit is by that came as an alert: at once, whatever the
// lock's clock says.
const byAlert = "alert"

// lockNews is how old what a lock tells may be to switch an output: at night a
// lock tells of the whole day.
const lockNews = 2 * time.Minute

// Append records an event. Its time is the time of the call where it has none.
func (s *eventSink) Append(ev site.Event) { s.append(ev) }

func (s *eventSink) append(ev site.Event) *spool.Receipt {
	if ev.Time.IsZero() {
		c := s.clock()
		ev.Time, ev.Trusted = c.Now, c.Trusted
	}
	ev.Time = ev.Time.Round(0).UTC()
	if ev.Kind != site.KindLockAudit || ev.By == byAlert || s.clock().Now.Sub(ev.Time) < lockNews {
		s.outputs.take(&ev)
	}
	return s.log.Append(ev)
}

// appendDurably returns when the event has its place on disk.
func (s *eventSink) appendDurably(ctx context.Context, ev site.Event) (site.EventSeq, error) {
	return s.append(ev).Wait(ctx)
}

// storeLog is the log as the store needs it.
type storeLog struct{ *eventSink }

func (l storeLog) Append(ctx context.Context, ev site.Event) (site.EventSeq, error) {
	return l.appendDurably(ctx, ev)
}

func (l storeLog) Last() site.EventSeq { return l.log.Last() }
func (l storeLog) MaxChange() uint64   { return l.log.MaxChange() }

func (l storeLog) Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error {
	var failed error
	err := l.log.Scan(ctx, from, l.log.Last(), func(ev site.Event) bool {
		failed = fn(ev)
		return failed == nil
	})
	return errors.Join(failed, err)
}

// commandTimeout bounds what an operator's command waits for: the door's
// goroutine, then the disk.
const commandTimeout = 10 * time.Second

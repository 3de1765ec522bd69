package reader

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// session is one hold of the reader's lines. Its goroutine alone touches it.
type session struct {
	*Reader
	group hal.InputGroup
	w     Wiegand

	stamp time.Duration // of the last edge
	at    time.Time     // when it was received
	due   time.Time     // when the timer should fire
	waits int           // steps of waitStep that the end of this frame has waited
}

// now estimates the clock of the stamps.
func (s *session) now() time.Duration { return s.stamp + time.Since(s.at) }

// read feeds the decoder until ctx ends or the board is lost.
func (s *session) read(ctx context.Context) error {
	s.at = time.Now()
	s.w = s.w.Sync(s.levels())
	frame, calm := time.NewTimer(0), time.NewTimer(0)
	frame.Stop()
	calm.Stop()
	defer frame.Stop()
	defer calm.Stop()
	if s.tamper.standing {
		calm.Reset(tamperWindow)
	}
	s.arm(frame)
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-s.group.Edges():
			if !ok {
				return s.lost(ctx)
			}
			s.edge(e, frame, calm)
		case <-frame.C:
			// What is in the queue happened before the timer fired.
			select {
			case e, ok := <-s.group.Edges():
				if !ok {
					return s.lost(ctx)
				}
				s.edge(e, frame, calm)
			default:
				s.silence(frame, calm)
			}
		case <-calm.C:
			var ends bool
			if s.tamper, ends = s.tamper.quiet(time.Now()); ends {
				s.ends(site.KindTamper, itemFrames)
			}
		}
	}
}

func (s *session) lost(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("edges ended: %w", hal.ErrClosed)
}

// edge takes one edge and sets the timer to the end of the frame that is then
// under way. The time that is left is counted from the stamp of this edge, so it
// is as long as the line wants it however late the edge came.
func (s *session) edge(e hal.Edge, frame, calm *time.Timer) {
	s.stamp, s.at = e.At, time.Now()
	var out Output
	s.w, out = s.w.Step(Input{Edge: e})
	s.take(out, calm)
	s.arm(frame)
}

// arm sets the timer to the end of the frame under way. Without one it is set
// where a line is low or was told to be: lines that have not moved for the
// longest silence are at rest, and what they rest at is told.
func (s *session) arm(frame *time.Timer) {
	s.waits = 0
	left := MaxSilence
	if deadline, ok := s.w.Deadline(); ok {
		left = deadline - s.stamp
	} else if s.cut == cutNone && s.rest() == cutNone {
		frame.Stop()
		return
	}
	s.due = s.at.Add(left)
	frame.Reset(left)
}

// silence takes the expiry of the timer.
func (s *session) silence(frame, calm *time.Timer) {
	late := time.Since(s.due)
	if late > lateBy {
		if e, ok := s.lookAgain(); ok {
			s.edge(e, frame, calm)
			return
		}
	}
	if s.waitMore(late) {
		s.due = time.Now().Add(waitStep)
		frame.Reset(waitStep)
		return
	}
	var out Output
	s.w, out = s.w.Step(Input{Timeout: true, Now: s.now()})
	s.take(out, calm)
	if s.cut != cutNone || s.rest() != cutNone {
		s.w = s.w.Sync(s.levels())
		s.tellCut(s.rest())
	}
}

// waitMore reports whether the end of the frame should wait a step more, because
// its edges may still be on their way. A line that the decoder believes to be low
// has an edge to come, unless it is held low; so has one whose level is not what
// the decoder believes. A timer that fired much too late says that nobody knows.
// Frames on a machine that is not busy are never asked to wait: they end with
// both lines high, by a timer that is in time.
func (s *session) waitMore(late time.Duration) bool {
	believed := s.rest()
	if believed == cutNone && late <= stalled && s.waits == 0 {
		return false
	}
	most := maxAgree
	if cutOf(s.levels()) != believed {
		most = maxDiffer
	}
	s.waits++
	return s.waits <= most
}

// lookAgain gives the goroutine that brings edges from the kernel the time to run
// and returns an edge if there was one. It yields instead of setting a timer:
// when a process idles, Go's timers on Linux are as coarse as a millisecond.
func (s *session) lookAgain() (hal.Edge, bool) {
	for begin, i := time.Now(), 0; i < maxYields && time.Since(begin) < lookFor; i++ {
		runtime.Gosched()
		select {
		case e, ok := <-s.group.Edges():
			return e, ok // a closed channel is seen by read
		default:
		}
	}
	return hal.Edge{}, false
}

// take hands on what a step gave.
func (s *session) take(out Output, calm *time.Timer) {
	if out.Frame.Len() > 0 {
		s.hand(out.Frame)
	}
	if out.Fault == FaultNone {
		return
	}
	level := slog.LevelWarn
	if s.tamper.standing { // it was told; noise must not fill the log
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "reader frame dropped", "fault", out.Fault.String())
	var begins bool
	if s.tamper, begins = s.tamper.fault(time.Now()); begins {
		s.begins(site.KindTamper, itemFrames, out.Fault.String())
	}
	calm.Reset(tamperWindow)
	if out.Fault == FaultLost || out.Fault == FaultHeld {
		s.w = s.w.Sync(s.levels())
	}
}

// levels reads the lines. One that cannot be read counts as high.
func (s *session) levels() (d0, d1 hal.Level) {
	level := [2]hal.Level{}
	for i, name := range []hal.LineName{s.cfg.D0, s.cfg.D1} {
		v, err := s.group.Read(name)
		if err != nil {
			s.log.Warn("reader line cannot be read", "line", string(name), "err", err)
			v = hal.High
		}
		level[i] = v
	}
	return level[0], level[1]
}

// rest is what the lines are by their edges so far.
func (s *session) rest() cut {
	return cutOf(hal.Level(!s.w.Low(s.cfg.D0)), hal.Level(!s.w.Low(s.cfg.D1)))
}

// tellCut tells once what the lines rest at, and its end once.
func (s *session) tellCut(c cut) {
	if c == s.cut {
		return
	}
	if s.cut != cutNone {
		s.ends(site.KindFault, itemLines)
	}
	if s.cut = c; c != cutNone {
		s.begins(site.KindFault, itemLines, c.text(s.cfg.D0, s.cfg.D1))
	}
}

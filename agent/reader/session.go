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
}

// now estimates the clock of the stamps.
func (s *session) now() time.Duration { return s.stamp + time.Since(s.at) }

// read feeds the decoder until ctx ends or the board is lost.
func (s *session) read(ctx context.Context) error {
	s.at = time.Now()
	s.sync(true)
	frame, calm := time.NewTimer(0), time.NewTimer(0)
	frame.Stop()
	calm.Stop()
	defer frame.Stop()
	defer calm.Stop()
	if s.tamper.standing {
		calm.Reset(tamperWindow)
	}
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
				s.event(site.KindTamper, true, "")
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
	if e.Level == hal.High && s.held[e.Line] {
		delete(s.held, e.Line)
		s.event(site.KindFault, true, heldText(e.Line))
	}
	s.arm(frame)
}

func (s *session) arm(frame *time.Timer) {
	deadline, ok := s.w.Deadline()
	if !ok {
		frame.Stop()
		return
	}
	left := deadline - s.stamp
	s.due = s.at.Add(left)
	frame.Reset(left)
}

// silence takes the expiry of the timer.
func (s *session) silence(frame, calm *time.Timer) {
	if time.Since(s.due) > lateBy {
		if e, ok := s.lookAgain(); ok {
			s.edge(e, frame, calm)
			return
		}
	}
	var out Output
	s.w, out = s.w.Step(Input{Timeout: true, Now: s.now()})
	s.take(out, calm)
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
		s.event(site.KindTamper, false, out.Fault.String())
	}
	calm.Reset(tamperWindow)
	if out.Fault == FaultLost || out.Fault == FaultHeld {
		s.sync(out.Fault == FaultHeld)
	}
}

// sync reads the lines and tells the decoder. Where that is more than a pulse
// caught by chance, it tells of a line that is held low: a short, or a reader
// without power. Its end is told with the edge.
func (s *session) sync(tell bool) {
	var level [2]hal.Level
	for i, name := range []hal.LineName{s.cfg.D0, s.cfg.D1} {
		v, err := s.group.Read(name)
		if err != nil {
			s.log.Warn("reader line cannot be read", "line", string(name), "err", err)
			v = hal.High
		}
		level[i] = v
		switch {
		case v == hal.Low && !s.held[name] && tell:
			s.held[name] = true
			s.event(site.KindFault, false, heldText(name))
		case v == hal.High && s.held[name]:
			delete(s.held, name)
			s.event(site.KindFault, true, heldText(name))
		}
	}
	s.w = s.w.Sync(level[0], level[1])
}

func heldText(l hal.LineName) string { return "reader line " + string(l) + " is held low" }

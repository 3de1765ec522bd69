package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/door"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
	"gatehouse/store/spool"
)

// The lines of the fake board.
const (
	strikeLine = hal.LineName("strike")
	lineD0     = hal.LineName("d0")
	lineD1     = hal.LineName("d1")
)

// noKeeper keeps nothing: what a restart must find is not measured here.
type noKeeper struct{}

// Keep returns at once.
func (noKeeper) Keep(context.Context, site.DoorID, site.DoorKept) error { return nil }

// liveDoor is a door that runs on a fake board.
type liveDoor struct {
	*door.Door
	board *haltest.Board
	moved <-chan haltest.Change // of the strike
	stop  func() error
}

// startDoor starts a door that decides from h and writes to log.
func startDoor(ctx context.Context, h *house, log *spool.Log) (*liveDoor, error) {
	board := new(haltest.Board)
	cfg := door.Config{ID: doorIDs[0], Strike: strikeLine, Active: hal.High, Unlock: time.Minute}
	claim, _ := cfg.Output()
	strike, err := board.Output(claim)
	if err != nil {
		return nil, err
	}
	d, err := door.New(cfg, door.Deps{Strike: strike, Decider: newDecider(h.store, cfg.ID), Log: sink{log}, Keeper: noKeeper{}, Clock: clock})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	l := &liveDoor{Door: d, board: board, moved: board.Watch(), stop: func() error {
		cancel()
		return <-done
	}}
	go func() { done <- d.Run(ctx) }()
	<-d.Ready()
	return l, nil
}

// relock ends the pulse and empties the queue of changes.
func (l *liveDoor) relock(ctx context.Context) error {
	err := l.Command(ctx, door.Command{Op: door.OpLock, By: "bench"})
	for len(l.moved) > 0 {
		<-l.moved
	}
	return err
}

// opened waits for the strike to be energised and returns when it was, on the
// board's clock.
func (l *liveDoor) opened(ctx context.Context) (time.Duration, error) {
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		select {
		case c := <-l.moved:
			if c.Line == strikeLine && c.Level == hal.High {
				return c.At, nil
			}
		case <-wait.Done():
			return 0, errors.New("the strike was not driven")
		}
	}
}

// present times one card from its bits to the strike's command.
func (l *liveDoor) present(ctx context.Context, n int) func() (time.Duration, error) {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	return func() (time.Duration, error) {
		p := door.Presented{Reader: "in", Bits: cardBits(r.IntN(n))}
		began := l.board.Now()
		res, err := l.Present(ctx, p)
		if err == nil && res.Outcome != access.Granted {
			err = fmt.Errorf("%w: %s", errNotGranted, res.Reason)
		}
		if err != nil {
			return 0, err
		}
		at, err := l.opened(ctx)
		if err != nil {
			return 0, err
		}
		return at - began, l.relock(ctx)
	}
}

// doorRows compares the way through the door's goroutine with the decision
// alone.
func doorRows(b *bench) (rows []row, err error) {
	h, err := b.site(b.n)
	if err != nil {
		return nil, err
	}
	log, stopLog, err := b.doorLog("door")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopLog()) }()
	l, err := startDoor(b.ctx, h, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	d := newDecider(h.store, doorIDs[0])
	if err := d.warm(b.n); err != nil {
		return nil, err
	}
	cost := clockCost()
	got, err := race(pick(b, 200, 20), 100, l.present(b.ctx, b.n), d.one(b.n))
	if err != nil {
		return nil, err
	}
	path, alone := got[0].less(cost), got[1].less(cost)
	return []row{{Name: "door_path_p99", Value: micros(path.p99()), Yardstick: micros(alone.p99()), Bar: 10, Unit: "µs",
		Detail: map[string]any{"samples": len(path), "path_p50_us": micros(path.p50()), "decision_p50_us": micros(alone.p50()),
			"path_longest_us": micros(path.longest()), "events_lost": log.Status().Lost}}}, nil
}

// atDoor brings a reader's cards to a door.
type atDoor struct{ door *door.Door }

// Present lets the door decide.
func (a atDoor) Present(ctx context.Context, r site.ReaderID, b card.Bits) {
	_, _ = a.door.Present(ctx, door.Presented{Reader: r, Bits: b}) // a card that does not open is missed at the strike
}

// Key is not used here.
func (atDoor) Key(context.Context, site.ReaderID, card.Key) {}

// Times of the frames: a fast reader, whose end takes the shortest silence.
const (
	bitGap    = 200 * time.Microsecond
	frameRest = 30 * bitGap // the stamps of a frame are after those of the one before
)

// wiegandRows sends frames on two lines in real time and looks at the strike
// line. What is left after the frame's silence is the agent's.
func wiegandRows(b *bench) (rows []row, err error) {
	h, err := b.site(b.n)
	if err != nil {
		return nil, err
	}
	log, stopLog, err := b.doorLog("wiegand")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopLog()) }()
	l, err := startDoor(b.ctx, h, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	r, err := reader.New(reader.Config{ID: "in", Door: doorIDs[0], Wiegand: &reader.WiegandConfig{D0: lineD0, D1: lineD1}},
		l.board, atDoor{l.Door}, sink{log}, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	var wg sync.WaitGroup
	ended := make(chan error, 1)
	wg.Go(func() { ended <- r.Run(ctx) })
	defer func() { cancel(); wg.Wait(); err = errors.Join(err, <-ended) }()
	<-r.Ready()
	dice := rand.New(rand.NewPCG(4, uint64(b.n)))
	var added, timers samples
	for range pick(b, 2000, 200) {
		late, err := l.frame(b.ctx, cardBits(dice.IntN(b.n)))
		if err != nil {
			return nil, err
		}
		added = append(added, max(late, 1))
		timers = append(timers, timerLateness())
	}
	bar := 1000.0
	if b.short { // on a machine that is busy its own timers are later than the bar
		bar += micros(timers.p99())
	}
	return []row{{Name: "wiegand_last_edge_p99", Value: micros(added.p99()), Bar: bar, Unit: "µs",
		Detail: map[string]any{"samples": len(added), "p50_us": micros(added.p50()), "longest_us": micros(added.longest()),
			"frame_silence_us": micros(reader.MinSilence), "bits": 26,
			"bare_timer_late_p50_us": micros(timers.p50()), "bare_timer_late_p99_us": micros(timers.p99())}}}, nil
}

// timerLateness is by how much this machine wakes a goroutine too late that
// waits as long as a frame's silence: what no reader can be better than.
func timerLateness() time.Duration {
	due := time.Now().Add(reader.MinSilence)
	time.Sleep(reader.MinSilence)
	return time.Since(due)
}

// frame sends one card and returns by how much the strike was later than the
// frame's silence allows. The frame is over, by its stamps, at this instant.
func (l *liveDoor) frame(ctx context.Context, bits card.Bits) (time.Duration, error) {
	time.Sleep(frameRest)
	began := l.board.Now() - time.Duration(bits.Len()-1)*bitGap - haltest.PulseWidth
	last := l.board.WiegandAt(lineD0, lineD1, digits(bits), bitGap, began)
	at, err := l.opened(ctx)
	if err != nil {
		return 0, err
	}
	return at - last - reader.MinSilence, l.relock(ctx)
}

// digits are the bits as the fake board sends them.
func digits(b card.Bits) string {
	var s strings.Builder
	for i := range b.Len() {
		if b.Bit(i) {
			s.WriteByte('1')
		} else {
			s.WriteByte('0')
		}
	}
	return s.String()
}

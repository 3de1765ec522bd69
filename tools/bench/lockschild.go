package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"gatehouse/agent/card"
)

// locksCommand is the first argument of the process that is an agent with many
// Wi-Fi locks.
const locksCommand = "child-locks"

// locksShown is what happened at the doors on lines in the phases of one name.
type locksShown struct {
	Took  samples `json:"took"`
	Early int     `json:"early"` // ended by the reader's timer
	// Missed says of each card whose strike was not seen what was waited for. Where
	// this process has no processor for the 100 ms of a pulse, the door opened (the
	// event log has the grant) and nobody looked.
	Missed []string `json:"missed"`
	Busy   float64  `json:"busy_s"` // processor time of the process
}

// locksReport is what the process prints when its input has ended. A line of input
// names the phase that begins; what comes before the first has no name.
type locksReport map[string]locksShown

// locksChild runs an agent and shows cards until its input ends. It prints a
// childReport, then where it listens, then a locksReport.
func locksChild(ctx context.Context, args []string) (err error) {
	var t locksTask
	if len(args) != 1 {
		return errors.New("want a task")
	}
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return err
	}
	debug.SetMemoryLimit(math.MaxInt64) // the agent sets none, whatever the environment of a benchmark says
	board, gates := newWiredBoard(lockGates)
	began := time.Now()
	s, err := startSite(ctx, t.settings(), t.complete, board, gates)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	debug.FreeOSMemory() // rest is what the agent needs, not what its start has left behind
	out := json.NewEncoder(os.Stdout)
	if err := errors.Join(out.Encode(childReport{time.Since(began)}), out.Encode(s.app.Addresses())); err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	report, err := t.show(ctx, gates, lines)
	if err != nil {
		return err
	}
	return out.Encode(report)
}

// show shows cards of the site, each of which must open, until lines ends.
func (t locksTask) show(ctx context.Context, gates []*gate, lines <-chan string) (locksReport, error) {
	report, phase := locksReport{}, ""
	var p passes
	missed, busy := []string(nil), processorTime()
	for i := 0; ; i++ {
		select {
		case line, more := <-lines:
			got := report[phase]
			now := processorTime()
			report[phase] = locksShown{append(got.Took, p.took...), got.Early + p.early, append(got.Missed, missed...), got.Busy + (now - busy).Seconds()}
			if !more {
				return report, nil
			}
			p, missed, busy, phase = passes{}, nil, now, line
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(filePause):
		}
		// The masters are at the end; half of them are revoked.
		frame := func(*gate) card.Bits { return cardBits((i * 7919) % (t.N - lockMasters)) }
		err := present(ctx, gates[i%len(gates):][:1], frame, &p)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case err != nil:
			missed = append(missed, err.Error())
		}
	}
}

// processorTime is what this process has used so far; 0 where that is not told.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

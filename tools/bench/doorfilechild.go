package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// filesCommand is the first argument of the process that is an agent which gets
// door files.
const filesCommand = "child-files"

const (
	fileCards = 300 // credentials of the operator
	fileGates = 16  // doors where those are shown, all the time
	// filePause is between two of them.
	filePause = 5 * time.Millisecond
)

// fileKey is the site key.
var fileKey = bytes.Repeat([]byte{1}, 32)

// filesTask is what that process is told, and what it does.
type filesTask struct {
	Dir    string `json:"dir"`    // its state folder
	Server string `json:"server"` // of the IP host
	Doors  int    `json:"doors"`
	Each   int    `json:"each"`  // records of a door's file
	Large  int    `json:"large"` // records of the large file
	Dense  int    `json:"dense"` // records of each of the dense files
}

// Each door has the file of its number. Those of the numbers from Doors on go to
// the last door: a large one, then dense ones.
const denseFiles = 2

// files is how many files there are.
func (t filesTask) files() int { return t.Doors + 1 + denseFiles }

// first is the card of the first record of a file, and n how many follow.
func (t filesTask) first(file int) (card, n int) {
	card = maxCards + min(file, t.Doors)*t.Each
	switch {
	case file < t.Doors:
		return card, t.Each
	case file == t.Doors:
		return card, t.Large
	}
	return card + t.Large + (file-t.Doors-1)*t.Dense, t.Dense
}

// fill gives the new state folder the operator's credentials.
func (t filesTask) fill(ctx context.Context) (err error) {
	h, err := openHouse(t.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	if _, err := h.fill(ctx, fileCards); err != nil {
		return err
	}
	l := site.Level{ID: levelID, Name: "Staff"}
	for i := range min(fileGates, t.Doors) {
		l.Rights = append(l.Rights, site.Right{Door: gateID(i), Schedule: scheduleID})
	}
	_, err = h.store.Apply(ctx, "bench", store.Change{Source: site.SourceOperator, Ops: []store.Op{store.PutLevel{Level: l}}})
	return err
}

// shown is how cards fared in a phase.
type shown struct {
	Samples int     `json:"samples"`
	Early   int     `json:"early"` // ended by the reader's timer
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Longest float64 `json:"longest_us"`
}

// filesReport is what the process prints when its input has ended. A phase ends
// with a line of input.
type filesReport struct {
	Phases []shown `json:"phases"`
	Cards  int     `json:"cards"` // of door files, that opened at the end
}

// filesChild runs an agent and shows cards until its input ends.
func filesChild(ctx context.Context, args []string) (err error) {
	var t filesTask
	if len(args) != 1 {
		return errors.New("want a task")
	}
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return err
	}
	board, gates := newWiredBoard(t.Doors)
	began := time.Now()
	s, err := startSite(ctx, gateSettings(t.Dir, t.Doors, "", func(int) string { return "" }), func(c *config.Config) {
		c.Site.Key = fileKey
		// No root is fetched: it is pinned already.
		c.Uplink = &config.Uplink{ServerURL: t.Server, CAURL: "http://127.0.0.1:9/", KeepAlive: time.Minute}
	}, board, gates)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	// Rest is what the agent needs, not what its start has left behind.
	debug.FreeOSMemory()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(childReport{time.Since(began)}); err != nil {
		return err
	}
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- struct{}{}
		}
	}()
	var report filesReport
	for more := true; more; {
		var phase shown
		phase, more, err = showCards(ctx, gates[:min(fileGates, t.Doors)], lines)
		if err != nil {
			return err
		}
		report.Phases = append(report.Phases, phase)
	}
	if report.Cards, err = t.showFiles(ctx, gates); err != nil {
		return err
	}
	return out.Encode(report)
}

// showCards shows the operator's cards, each of which must open, until the next
// line; more is false when there is none.
func showCards(ctx context.Context, gates []*gate, lines <-chan struct{}) (out shown, more bool, err error) {
	var p passes
	for i := 0; ; i++ {
		select {
		case _, more = <-lines:
			return shown{len(p.took), p.early, micros(p.took.p50()), micros(p.took.p99()), micros(p.took.longest())}, more, nil
		case <-ctx.Done():
			return out, false, ctx.Err()
		case <-time.After(filePause):
		}
		frame := func(*gate) card.Bits { return cardBits(i % fileCards) }
		if err := present(ctx, gates[i%len(gates):][:1], frame, &p); err != nil {
			return out, false, err
		}
	}
}

// showFiles shows a card of each file that is in force at its door; all must open.
func (t filesTask) showFiles(ctx context.Context, gates []*gate) (n int, err error) {
	for file := range t.files() {
		if file >= t.Doors-1 && file < t.files()-1 {
			continue // replaced by the last
		}
		g := min(file, t.Doors-1)
		first, count := t.first(file)
		frame := func(*gate) card.Bits { return cardBits(first + (file*37)%count) }
		if err := present(ctx, gates[g:g+1], frame, new(passes)); err != nil {
			return n, fmt.Errorf("card of the door file of %s: %w", gates[g].door, err)
		}
		n++
	}
	return n, nil
}

// pinRoot puts the host's root where the agent looks for it.
func (t filesTask) pinRoot(der []byte) error {
	return os.WriteFile(filepath.Join(t.Dir, "root.der"), der, 0o600)
}

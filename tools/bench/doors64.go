package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// doorsCommand is the first argument of the process that measures doors64: it
// has a mount namespace of its own, so that its small disk goes with it.
const doorsCommand = "child-doors"

// manyDoors is how many doors the agent of doors64 has.
const manyDoors = 64

// gateSettings are those of a site whose doors are gates. The pulse is as short
// as settings allow, so that a gate can be used again soon.
func gateSettings(dir string, doors int, head string, reader func(i int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
site: {name: bench, timezone: UTC}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: %q
listen: {https: "127.0.0.1:0"}
%sdoors:
`, dir, head)
	for i := range doors {
		fmt.Fprintf(&b, "  - {id: %s, strike: {line: S%d, unlock: 100ms}}\n", gateID(i), i)
	}
	b.WriteString("readers:\n")
	for i := range doors {
		fmt.Fprintf(&b, "  - {id: in%d, door: %s, wiegand: {d0: A%d, d1: B%d}%s}\n", i, gateID(i), i, i, reader(i))
	}
	return b.String()
}

// doorsTask is what the process of doors64 is told.
type doorsTask struct {
	Site   string `json:"site"`  // for the decision alone
	Agent  string `json:"agent"` // the same with rights at the gates
	N      int    `json:"n"`
	Bursts int    `json:"bursts"`
	Rounds int    `json:"rounds"` // of one card at each gate, one after the other
}

// doors64Rows makes a copy of the large site with rights at 64 doors and measures
// on it in another process.
func doors64Rows(b *bench) ([]row, error) {
	task := doorsTask{Site: b.siteDir(b.n), Agent: filepath.Join(b.dir, "doors64"), N: b.n, Bursts: pick(b, 60, 4), Rounds: pick(b, 60, 4)}
	if _, err := b.site(b.n); err != nil {
		return nil, err
	}
	if err := b.closeSites(); err != nil { // its files are copied, and another process opens it
		return nil, err
	}
	defer os.RemoveAll(task.Agent)
	if err := os.CopyFS(task.Agent, os.DirFS(task.Site)); err != nil {
		return nil, err
	}
	if err := giveGates(b.ctx, task.Agent); err != nil {
		return nil, err
	}
	arg, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, exe, doorsCommand, string(arg))
	cmd.SysProcAttr = ownMounts()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("64 doors: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var rows []row
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, fmt.Errorf("64 doors: %w", err)
	}
	return rows, nil
}

// giveGates adds the gates to the level that all credentials of a site have.
func giveGates(ctx context.Context, dir string) error {
	h, err := openHouse(dir)
	if err != nil {
		return err
	}
	l := site.Level{ID: levelID, Name: "Staff"}
	for i := range manyDoors {
		l.Rights = append(l.Rights, site.Right{Door: gateID(i), Schedule: scheduleID})
	}
	_, err = h.store.Apply(ctx, "bench", store.Change{Source: site.SourceOperator, Ops: []store.Op{store.PutLevel{Level: l}}})
	return errors.Join(err, h.stop())
}

// doorsChild measures and prints the rows.
func doorsChild(ctx context.Context, args []string) (err error) {
	var t doorsTask
	if len(args) != 1 {
		return errors.New("want a task")
	}
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return err
	}
	h, err := openHouse(t.Site)
	if err != nil {
		return err
	}
	h.n = t.N
	defer func() { err = errors.Join(err, h.stop()) }()
	disk := filepath.Join(t.Agent, "small")
	if err := smallDisk(disk, filepath.Join(t.Agent, "events")); err != nil {
		return err
	}
	m, err := newManyDoors(ctx, t, h, disk)
	if err != nil {
		return err
	}
	defer func() {
		m.alone.stop()
		err = errors.Join(err, m.site.stop())
	}()
	rows, err := m.rows(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(rows)
}

// doorField is a whole agent with many doors, and as many who only decide.
type doorField struct {
	task  doorsTask
	site  *agentSite
	jam   *wire // of the reader that gets stuck
	disk  string
	alone *aloneField
	dice  *rand.Rand
}

func newManyDoors(ctx context.Context, t doorsTask, h *house, disk string) (*doorField, error) {
	board, gates := newWiredBoard(manyDoors)
	f := &doorField{task: t, jam: board.wire(manyDoors), disk: disk, dice: rand.New(rand.NewPCG(7, uint64(t.N)))}
	text := gateSettings(t.Agent, manyDoors, "", func(int) string { return "" }) +
		fmt.Sprintf("  - {id: jammed, door: %s, wiegand: {d0: A%d, d1: B%d}}\n", gateID(manyDoors-1), manyDoors, manyDoors)
	var err error
	f.alone, err = newAlone(h, manyDoors)
	if err != nil {
		return nil, err
	}
	f.site, err = startSite(ctx, text, func(c *config.Config) { c.Spool.Dir = disk }, board, gates)
	if err != nil {
		f.alone.stop()
		return nil, err
	}
	return f, nil
}

func (f *doorField) card(*gate) card.Bits { return cardBits(f.dice.IntN(f.task.N)) }

// phase is what both sides took, cards one at a time and all at once.
type phase struct {
	spread, spreadAlone samples
	burst, burstAlone   samples
	hot                 samples // decisions alone, one right after the other
	early               int
}

const (
	warmRounds   = 3    // come before what is counted
	hotDecisions = 2000 // of one measurement
)

// measure does rounds of one card after the other and rounds of all at once,
// each in turns with the decision alone.
func (f *doorField) measure(ctx context.Context, rounds, bursts int) (p phase, err error) {
	var spread, burst passes
	for range rounds {
		for _, i := range f.dice.Perm(len(f.site.gates)) {
			if err := present(ctx, f.site.gates[i:i+1], f.card, &spread); err != nil {
				return p, err
			}
			time.Sleep(time.Millisecond) // as long as what went before
			took, err := f.alone.one()
			if err != nil {
				return p, err
			}
			p.spreadAlone = append(p.spreadAlone, took)
		}
	}
	for range bursts {
		if err := present(ctx, f.site.gates, f.card, &burst); err != nil {
			return p, err
		}
		time.Sleep(time.Millisecond)
		if p.burstAlone, err = f.alone.all(f.task.N, p.burstAlone); err != nil {
			return p, err
		}
	}
	for range hotDecisions {
		took, err := f.alone.one()
		if err != nil {
			return p, err
		}
		p.hot = append(p.hot, took)
	}
	p.spread, p.burst, p.early = spread.took, burst.took, spread.early+burst.early
	return p, nil
}

// rows measures at rest, then with a reader stuck and the disk full.
func (f *doorField) rows(ctx context.Context) ([]row, error) {
	if _, err := f.measure(ctx, 1, warmRounds); err != nil {
		return nil, err
	}
	rest, err := f.measure(ctx, f.task.Rounds, f.task.Bursts)
	if err != nil {
		return nil, err
	}
	ballast := filepath.Join(f.disk, "ballast")
	if err := fillDisk(ballast); err != nil {
		return nil, err
	}
	defer os.Remove(ballast) // so that the agent can end
	ctx, cancel := context.WithCancel(ctx)
	var jammed sync.WaitGroup
	jammed.Go(func() { f.flood(ctx) })
	defer func() { cancel(); jammed.Wait() }()
	for i := 0; !f.troubled(ctx); i++ {
		if i == 50*warmRounds {
			return nil, errors.New("the disk is full and the event log does not say so")
		}
		if _, err := f.measure(ctx, 0, 1); err != nil {
			return nil, err
		}
	}
	bad, err := f.measure(ctx, f.task.Rounds, f.task.Bursts)
	if err != nil {
		return nil, err
	}
	log := f.site.app.Status(ctx).Log
	one := f.row("doors64_p99", bad.spread, bad.spreadAlone, rest.spread, rest.spreadAlone)
	all := f.row("doors64_burst_p99", bad.burst, bad.burstAlone, rest.burst, rest.burstAlone)
	one.Detail["alone_in_a_row_p99_us"] = micros(bad.hot.p99())
	for _, r := range []*row{&one, &all} {
		r.Detail["disk"] = "a full tmpfs of " + smallDiskSize + " that holds the event log of all doors"
		r.Detail["events_lost"], r.Detail["events_waiting"] = log.Lost, log.Queued
		r.Detail["ended_by_timer"] = bad.early
		switch {
		case !f.troubled(ctx):
			r.Error = "the disk was not full to the end"
		case bad.early*20 > len(bad.spread)+len(bad.burst):
			r.Error = fmt.Sprintf("%d frames ended before the benchmark ended them", bad.early)
		}
	}
	return []row{one, all}, nil
}

func (f *doorField) row(name string, took, alone, rest, restAlone samples) row {
	return row{Name: name, Value: micros(took.p99()), Yardstick: micros(alone.p99()), Bar: 10, Unit: "µs", Detail: map[string]any{
		"doors": manyDoors, "samples": len(took), "decisions_alone": len(alone),
		"p50_us": micros(took.p50()), "longest_us": micros(took.longest()),
		"alone_p50_us": micros(alone.p50()), "alone_longest_us": micros(alone.longest()),
		"rest_p50_us": micros(rest.p50()), "rest_p99_us": micros(rest.p99()), "rest_longest_us": micros(rest.longest()),
		"rest_alone_p99_us": micros(restAlone.p99())}}
}

// troubled reports whether the log says that it cannot write, and the jammed
// reader that its frames are faulty.
func (f *doorField) troubled(ctx context.Context) bool {
	st := f.site.app.Status(ctx)
	full, jammed := false, false
	for _, fault := range st.Faults {
		full = full || fault.ID == spool.FaultWrite
	}
	for _, r := range st.Readers {
		jammed = jammed || r.ID == "jammed" && r.Fault != ""
	}
	return full && jammed
}

// The flood of the jammed reader: edges at once, and how often.
const (
	floodEdges = 20
	floodEvery = 2 * time.Millisecond
)

// flood holds D0 low and pulses D1, about 10,000 edges a second, of which some
// come after a gap that the kernel reports, until ctx ends.
func (f *doorField) flood(ctx context.Context) {
	f.jam.push(f.jam.d0, hal.Low)
	tick := time.NewTicker(floodEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for j := range floodEdges {
			f.jam.stamp += 100 * time.Microsecond
			e := hal.Edge{Line: f.jam.d1, Level: hal.Level(j%2 == 1), At: f.jam.stamp, Lost: j == 0}
			select {
			case f.jam.edges <- e:
			default:
			}
		}
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"gatehouse/agent/app"
	"gatehouse/agent/config"
	"gatehouse/hal/haltest"
)

// childCommand is the first argument of the process that is one agent.
const childCommand = "child"

// settings are those of a small site on fake hardware.
const settings = `version: 1
site: {name: bench, timezone: UTC}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: %q
listen: {https: "127.0.0.1:0"}
doors:
  - {id: front, strike: {line: GPIO24}, contact: {line: GPIO23}, rex: {line: GPIO22}}
  - {id: back, strike: {line: GPIO25}, rex: {line: GPIO27}}
readers:
  - {id: in, door: front, wiegand: {d0: GPIO17, d1: GPIO18}}
`

// childReport is the line that a child prints when its doors are ready.
type childReport struct {
	Ready time.Duration `json:"ready"` // from New to doors ready
}

// child runs the agent of a state folder until its input ends.
func child(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want a state folder")
	}
	cfg, issues := config.Parse(fmt.Appendf(nil, settings, args[0]), "bench.yaml", config.Options{Base: args[0]})
	if cfg == nil {
		return fmt.Errorf("settings: %v", issues)
	}
	began := time.Now()
	a, err := app.New(cfg, app.Hardware{Board: new(haltest.Board), Ports: new(haltest.Ports), Clock: new(haltest.Clock)}, app.Options{Version: "bench"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	select {
	case <-a.Ready():
	case err := <-done:
		return errors.Join(errors.New("the agent ended before it was ready"), err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(childReport{time.Since(began)}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return <-done
}

// agentProcess is a child that runs.
type agentProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer
	ready  time.Duration
}

func startAgent(ctx context.Context, dir string) (*agentProcess, error) {
	return startChild(ctx, childCommand, dir)
}

// startChild starts one of the children that run an agent, and waits for its
// report.
func startChild(ctx context.Context, command, arg string) (*agentProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &agentProcess{cmd: exec.CommandContext(ctx, exe, command, arg)}
	p.cmd.Stderr = &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.stdout = bufio.NewReader(stdout)
	var report childReport
	line, err := p.stdout.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &report)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("agent: %w", err), p.end())
	}
	p.ready = report.Ready
	return p, nil
}

// end stops the agent as its service manager would.
func (p *agentProcess) end() error {
	_ = p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("agent: %w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	return nil
}

// anonymous returns the anonymous resident memory of the process (proc(5),
// /proc/pid/status), in bytes, with the whole resident memory beside it.
func (p *agentProcess) anonymous() (anon, all uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStatus(string(b))
}

func parseStatus(text string) (anon, all uint64, err error) {
	found := 0
	for line := range strings.Lines(text) {
		for name, to := range map[string]*uint64{"RssAnon:": &anon, "VmRSS:": &all} {
			rest, ok := strings.CutPrefix(line, name)
			if !ok {
				continue
			}
			var kib uint64
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%d kB", &kib); err != nil {
				return 0, 0, fmt.Errorf("%s %w", name, err)
			}
			*to = kib << 10
			found++
		}
	}
	if found != 2 {
		return 0, 0, errors.New("RssAnon and VmRSS are not told by this kernel")
	}
	return anon, all, nil
}

// smallSite is the site that a start is compared with.
const smallSite = 10

// agentRows runs whole agents, one at a time, in processes of their own.
func agentRows(b *bench) ([]row, error) {
	for _, n := range []int{smallSite, b.n} {
		if _, err := b.site(n); err != nil {
			return nil, err
		}
	}
	if err := b.closeSites(); err != nil { // a state folder has one agent
		return nil, err
	}
	var small, large []float64
	for range pick(b, 31, 3) {
		for _, s := range []struct {
			n  int
			to *[]float64
		}{{smallSite, &small}, {b.n, &large}} {
			p, err := startAgent(b.ctx, b.siteDir(s.n))
			if err != nil {
				return nil, err
			}
			*s.to = append(*s.to, p.ready.Seconds()*1e3)
			if err := p.end(); err != nil {
				return nil, err
			}
		}
	}
	memory, err := restRow(b)
	return []row{{Name: "start_ready", Value: median(large), Yardstick: median(small), Bar: 1.2, Unit: "ms",
		Detail: map[string]any{"large_ms": large, "small_ms": small, "small_credentials": smallSite}}, memory}, err
}

// restRow leaves an agent alone and looks at its memory.
func restRow(b *bench) (r row, err error) {
	p, err := startAgent(b.ctx, b.siteDir(b.n))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	var course []float64
	var anon, all uint64
	step := pick(b, 10*time.Second, time.Second)
	for range pick(b, 6, 3) {
		select {
		case <-time.After(step):
		case <-b.ctx.Done():
			return r, b.ctx.Err()
		}
		if anon, all, err = p.anonymous(); err != nil {
			return r, err
		}
		course = append(course, mebibytes(anon))
	}
	return row{Name: "rest_memory", Value: mebibytes(anon), Bar: 40, Unit: "MiB",
		Detail: map[string]any{"every_s": step.Seconds(), "anonymous_mib": course, "resident_mib": mebibytes(all)}}, nil
}

func mebibytes(n uint64) float64 { return float64(n) / (1 << 20) }

package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// nightResult is what tools/sitesim prints of all locks' calls.
type nightResult struct {
	Locks       int      `json:"locks"`
	Calls       int      `json:"calls"`
	Errors      int      `json:"errors"`
	Seconds     float64  `json:"seconds"`
	P50         float64  `json:"p50_ms"`
	P99         float64  `json:"p99_ms"`
	Longest     float64  `json:"max_ms"`
	RequestP50  float64  `json:"request_p50_ms"`
	RequestP99  float64  `json:"request_p99_ms"`
	Bytes       int64    `json:"bytes"`
	Users       int      `json:"users"`
	Full        int      `json:"full"`
	Deleted     int      `json:"deleted"`
	Updated     int      `json:"updated"`
	Added       int      `json:"added"`
	FirstErrors []string `json:"first_errors"`
}

// locksRun is a night of a site in another process: full files for all locks, a
// change, the changes for all locks.
type locksRun struct {
	locksTask
	secure  bool // locks call over HTTPS
	short   bool
	sitesim string

	agent  *agentProcess
	addrs  map[string]string
	watch  *memoryWatch
	revoke []site.CredentialID

	full, changes nightResult
	changed       time.Duration
}

// locksRows returns a group: a night of a site of which some locks have as many users
// as one takes, and all others the same number, over plain HTTP or HTTPS.
func locksRows(name string, large int, secure bool) func(*bench) ([]row, error) {
	return func(b *bench) ([]row, error) {
		sitesim, err := buildSitesim(b)
		if err != nil {
			return nil, err
		}
		r := &locksRun{secure: secure, short: b.short, sitesim: sitesim, locksTask: locksTask{N: pick(b, 100_000, 10_000), Locks: pick(b, 500, 60),
			Large: large, Dir: filepath.Join(b.dir, name)}}
		out, err := r.rows(b, name)
		return out, errors.Join(err, os.RemoveAll(r.Dir))
	}
}

// buildSitesim builds the simulated locks.
func buildSitesim(b *bench) (string, error) {
	out, err := exec.CommandContext(b.ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	to := filepath.Join(b.dir, "sitesim")
	cmd := exec.CommandContext(b.ctx, "go", "build", "-o", to, "./tools/sitesim")
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(out)))
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("sitesim: %w: %.2000s", err, text)
	}
	return to, nil
}

func (r *locksRun) rows(b *bench, name string) ([]row, error) {
	var err error
	if r.revoke, err = r.fill(b.ctx); err != nil {
		return nil, err
	}
	arg, err := json.Marshal(r.locksTask)
	if err != nil {
		return nil, err
	}
	if r.agent, err = startChild(b.ctx, locksCommand, string(arg)); err != nil {
		return nil, err
	}
	if err := r.measure(b); err != nil {
		return nil, errors.Join(err, r.agent.end())
	}
	_ = r.agent.stdin.Close()
	var rep locksReport
	err = json.NewDecoder(r.agent.stdout).Decode(&rep)
	if err = errors.Join(err, r.agent.end()); err != nil {
		return nil, err
	}
	return r.judged(name, rep), nil
}

// Parts of the memory watch.
const (
	partStart = iota
	partRest
	partFull
	partChange
	partChanges
	partAfter
)

// phase begins the next one, of the cards and of the watch.
func (r *locksRun) phase(name string) error {
	r.watch.next()
	_, err := io.WriteString(r.agent.stdin, name+"\n")
	return err
}

// measure plays the night between two times of rest.
func (r *locksRun) measure(b *bench) (err error) {
	line, err := r.agent.stdout.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r.addrs)
	}
	if err != nil {
		return err
	}
	r.watch = watchMemory(r.agent)
	defer func() { err = errors.Join(err, r.watch.end()) }()
	still := pick(b, 20*time.Second, 800*time.Millisecond)
	if err := pauseFor(b.ctx, still/4); err != nil { // after the start
		return err
	}
	if err := r.phase("alone"); err != nil {
		return err
	}
	if err := pauseFor(b.ctx, still); err != nil {
		return err
	}
	if err := r.night(b); err != nil {
		return err
	}
	if err := r.phase("alone"); err != nil {
		return err
	}
	return pauseFor(b.ctx, still)
}

// night runs the locks. They have a processor only when nobody else wants it: those of
// a site have processors of their own.
func (r *locksRun) night(b *bench) (err error) {
	cmd, err := r.command(b)
	if err != nil {
		return err
	}
	cmd.Stderr = b.log
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := r.phase("full"); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = in.Close()
		if werr := cmd.Wait(); err == nil {
			// Its errors are in the result, which the row judges.
			if exit := (*exec.ExitError)(nil); !errors.As(werr, &exit) {
				err = werr
			}
		}
	}()
	out := bufio.NewReader(pipe)
	if err := readNight(out, &r.full); err != nil || r.full.Errors > 0 {
		return err
	}
	if err := r.phase("change"); err != nil {
		return err
	}
	began := time.Now()
	if err := r.change(b.ctx); err != nil {
		return err
	}
	r.changed = time.Since(began)
	if err := r.phase("changes"); err != nil {
		return err
	}
	if _, err := io.WriteString(in, "go\n"); err != nil {
		return err
	}
	return readNight(out, &r.changes)
}

func readNight(in *bufio.Reader, to *nightResult) error {
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, to)
	}
	if err != nil {
		return fmt.Errorf("sitesim: %w", err)
	}
	return nil
}

func (r *locksRun) command(b *bench) (*exec.Cmd, error) {
	key := filepath.Join(r.Dir, "bench.key")
	if err := os.WriteFile(key, []byte(hex.EncodeToString(fileKey)), 0o600); err != nil {
		return nil, err
	}
	args := []string{"--idle", "0", r.sitesim, "night", "--changes", "--json", "--timezone", "UTC",
		"--locks", strconv.Itoa(r.Locks), "--first-serial", lockSerial, "--site-key", key}
	if r.secure {
		args = append(args, "--url", "https://"+r.addrs["https"], "--ca", filepath.Join(r.Dir, "tls", "site.pem"))
	} else {
		args = append(args, "--url", "http://"+r.addrs["devices"])
	}
	return exec.CommandContext(b.ctx, "chrt", args...), nil
}

// change is an operator's work: half of the cards that all locks have are revoked,
// one after the other, and as many are new.
func (r *locksRun) change(ctx context.Context) error {
	c := control.Dial(filepath.Join(r.Dir, "control.sock"))
	for _, id := range r.revoke {
		var answer any
		if err := c.Do(ctx, http.MethodPost, "/v1/credentials/"+string(id)+"/state", map[string]string{"state": "revoked"}, &answer); err != nil {
			return fmt.Errorf("revoke: %w", err)
		}
	}
	for i := range lockMasters - len(r.revoke) {
		num := cardNumber(masterCard + i)
		var answer any
		if err := c.Do(ctx, http.MethodPost, "/v1/credentials", control.Row{Holder: control.Text(fmt.Sprintf("Master %d", i)), FormatName: "H10301",
			Facility: control.Text(strconv.FormatUint(num.Facility, 10)), Card: control.Text(strconv.FormatUint(num.Card, 10)), Level: mastersID}, &answer); err != nil {
			return fmt.Errorf("new card: %w", err)
		}
	}
	return nil
}

// fault says what was not as it must be; empty: nothing.
func (r *locksRun) fault() string {
	half := r.Locks * lockMasters / 2
	for _, n := range []nightResult{r.full, r.changes} {
		switch {
		case n.Errors > 0:
			return fmt.Sprintf("%d calls failed, the first: %s", n.Errors, strings.Join(n.FirstErrors, "; "))
		case n.Calls != r.Locks || n.Users != r.users():
			return fmt.Sprintf("%d calls and %d users, want %d and %d", n.Calls, n.Users, r.Locks, r.users())
		}
	}
	if n := r.changes; n.Full != 0 || n.Deleted != half || n.Updated != 0 || n.Added != half {
		return fmt.Sprintf("the changes were %d full files, %d deleted, %d updated, %d added", n.Full, n.Deleted, n.Updated, n.Added)
	}
	return ""
}

// judged are the rows: doors while locks call against doors alone, and the highest
// memory from the first call on above the lowest at rest.
func (r *locksRun) judged(name string, rep locksReport) []row {
	full, changes, alone := rep["full"], rep["changes"], rep["alone"]
	night := append(append(samples{}, full.Took...), changes.Took...)
	early := full.Early + changes.Early + alone.Early
	missed := slices.Concat(alone.Missed, full.Missed, rep["change"].Missed, changes.Missed)
	doors := row{Name: name + "_doors_p99", Value: micros(night.p99()), Yardstick: micros(alone.Took.p99()), Bar: 1.5, Unit: "µs", Detail: map[string]any{
		"samples": len(night), "samples_alone": len(alone.Took), "ended_by_timer": early, "missed": missed,
		"p50_us": micros(night.p50()), "longest_us": micros(night.longest()),
		"alone_p50_us": micros(alone.Took.p50()), "alone_longest_us": micros(alone.Took.longest()),
		"full_p99_us": micros(full.Took.p99()), "changes_p99_us": micros(changes.Took.p99()), "change_p99_us": micros(rep["change"].Took.p99()),
		"locks": r.Locks, "large_locks": r.Large, "credentials": r.N, "users": r.users(), "https": r.secure,
		"p99_us": micros(night.p99()), "alone_p99_us": micros(alone.Took.p99()),
		"errors": r.full.Errors + r.changes.Errors, "full": r.full, "changes": r.changes, "change_seconds": r.changed.Seconds(),
		"full_processor_s": full.Busy, "changes_processor_s": changes.Busy}}
	if r.short { // of some 60 cards the p99 is the longest: one stall of the machine
		doors.Name, doors.Value, doors.Yardstick = name+"_doors_p50", micros(night.p50()), micros(alone.Took.p50())
	}
	if early*20 > len(night)+len(alone.Took) {
		doors.Error = fmt.Sprintf("%d frames ended before the benchmark ended them", early)
	}
	if len(missed) > max(len(night)/100, 2) {
		doors.Error = fmt.Sprintf("%d strikes were not seen, the first: %s", len(missed), missed[0])
	}
	if f := r.fault(); f != "" {
		doors.Error = f
	}
	rest := r.watch.part(partRest)
	peak := uint64(0)
	for part := partFull; part <= partAfter; part++ {
		peak = max(peak, r.watch.part(part).high)
	}
	return []row{doors, {Name: name + "_memory", Value: mebibytes(peak) - mebibytes(rest.low), Bar: 40, Unit: "MiB", Error: doors.Error, Detail: map[string]any{
		"rest_mib": mebibytes(rest.low), "rest_high_mib": mebibytes(rest.high), "peak_mib": mebibytes(peak),
		"full_peak_mib": mebibytes(r.watch.part(partFull).high), "changes_peak_mib": mebibytes(r.watch.part(partChanges).high),
		"after_mib": mebibytes(r.watch.part(partAfter).last)}}}
}

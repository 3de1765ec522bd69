package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// result is what a run prints.
type result struct {
	Go     string `json:"go"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Commit string `json:"commit"`
	Short  bool   `json:"short"`
	N      int    `json:"credentials"`
	// Load is the machine's load average of the last minute before and after:
	// figures taken on a busy machine say so.
	Load [2]float64 `json:"load"`
	Rows []row      `json:"rows"`
}

// row is one figure. Of Value and Yardstick the unit is Unit; Ratio is Value
// over Yardstick, or Value itself where a row has none.
type row struct {
	Name      string         `json:"name"`
	Value     float64        `json:"value"`
	Yardstick float64        `json:"yardstick,omitempty"`
	Ratio     float64        `json:"ratio"`
	Bar       float64        `json:"bar,omitempty"` // 0: none; the row is for reading
	AtLeast   bool           `json:"at_least,omitempty"`
	OK        bool           `json:"ok"`
	Unit      string         `json:"unit"`
	Detail    map[string]any `json:"detail,omitempty"`
	Error     string         `json:"error,omitempty"`
}

// absurd is by how much a figure must miss its bar to fail a short run.
const absurd = 5

// judge sets Ratio and OK. In a short run a bar that is missed is still ok
// unless it is missed by far.
func (r row) judge(short bool) row {
	r.Ratio = r.Value
	if r.Yardstick != 0 {
		r.Ratio = r.Value / r.Yardstick
	}
	slack := 1.0
	if short {
		slack = absurd
	}
	switch {
	case r.Error != "":
		r.OK = false
	case r.Bar == 0:
		r.OK = true
	case r.AtLeast:
		r.OK = r.Ratio >= r.Bar/slack
	default:
		r.OK = r.Ratio <= r.Bar*slack
	}
	return r
}

// meets reports whether the bar itself is met, short run or not.
func (r row) meets() bool { return r.judge(false).OK }

// String is the row as progress shows it.
func (r row) String() string {
	if r.Error != "" {
		return fmt.Sprintf("%-18s could not be measured: %s", r.Name, r.Error)
	}
	s := fmt.Sprintf("%-18s %.4g %s", r.Name, r.Value, r.Unit)
	if r.Yardstick != 0 {
		s += fmt.Sprintf(" against %.4g: %.3g", r.Yardstick, r.Ratio)
	}
	if r.Bar == 0 {
		return s
	}
	bound, verdict := "at most", "met"
	if r.AtLeast {
		bound = "at least"
	}
	if !r.meets() {
		verdict = "MISSED"
	}
	return s + fmt.Sprintf(" (%s %.3g: %s)", bound, r.Bar, verdict)
}

// micros is a time as the rows give latencies.
func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func seconds(d time.Duration) float64 { return d.Seconds() }

// newResult describes the machine and the code.
func newResult(short bool, n int) result {
	return result{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		Commit: commit(), Short: short, N: n, Load: [2]float64{load(), 0}}
}

// commit names the code that is measured, with a mark where it was changed
// since; empty outside of a repository.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// load returns the load average of the last minute, 0 where it is not told.
func load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var v float64
	if _, err := fmt.Sscan(string(b), &v); err != nil {
		return 0
	}
	return v
}

// write puts the result out as JSON.
func (r result) write(w io.Writer, file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	_, err = w.Write(b)
	if file != "" {
		err = cmp.Or(err, os.WriteFile(file, b, 0o644))
	}
	return err
}

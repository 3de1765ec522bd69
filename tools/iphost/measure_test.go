package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// figures are what the test logs as one line of JSON.
type figures struct {
	Gateways       int     `json:"gateways"`
	Kills          int     `json:"kills"`
	LoadBefore     float64 `json:"load_before"`
	LoadAfter      float64 `json:"load_after"`
	NodeEmptyMiB   float64 `json:"node_empty_mib"`      // RSS of a node, without gateways
	GatewayKiB     float64 `json:"gateway_kib"`         // what each adds to it
	ConnectsPerSec float64 `json:"connects_per_second"` // credentials and upgrade, all nodes
	ConnectCPU     float64 `json:"connect_cpu_ms"`      // processor time of all nodes for one
	EventsPerSec   float64 `json:"events_per_second"`   // answered by a pong, all nodes
	EventCPU       float64 `json:"event_cpu_us"`        // processor time of all nodes for one
	RequestP50     float64 `json:"request_p50_ms"`      // a broker at one node, the gateway at another
	RequestP99     float64 `json:"request_p99_ms"`
	RequestsPerSec float64 `json:"requests_per_second"`
	Recover        float64 `json:"recover_s"`        // from the kill until all gateways are back; the longest
	Disturbed      float64 `json:"disturbed_s"`      // from the kill until the last request that failed; the longest
	Failed         int64   `json:"requests_failed"`  // between the kills and then, all for gateways that were not back
	Waited         float64 `json:"request_waited_s"` // the longest of those that were answered then
	Rejoin         float64 `json:"rejoin_s"`         // from the start of a killed node until it serves; the longest
	Events         int     `json:"events"`           // stored
	Attempts       int     `json:"attempts_refused"` // connects that failed
}

// step says how long a part took.
func (x *trial) step(what string, f func()) {
	x.t.Helper()
	began := time.Now()
	f()
	x.t.Logf("%6.1f s  %s", time.Since(began).Seconds(), what)
}

func load() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	v, _ := strconv.ParseFloat(first, 64) // 0 where the machine does not say
	return v
}

// rss is a process's resident memory in bytes.
func rss(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * float64(os.Getpagesize())
}

// cpu is how much processor time the nodes have had.
func (x *trial) cpu() time.Duration {
	x.t.Helper()
	var sum time.Duration
	for _, n := range x.nodes {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
		if err != nil {
			x.t.Fatal(err)
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, ticks := range f[11:13] { // utime and stime, in hundredths of a second
			v, err := strconv.Atoi(ticks)
			if err != nil {
				x.t.Fatal(err)
			}
			sum += time.Duration(v) * 10 * time.Millisecond
		}
	}
	return sum
}

func round(v float64) float64 { return float64(int64(v*10+0.5)) / 10 }

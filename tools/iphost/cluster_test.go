package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/journal"
)

// trial is three hosts in processes of their own, and a fleet.
type trial struct {
	t      *testing.T
	rnd    *rand.Rand
	nodes  []*clusterNode
	fleet  *fleet
	token  string
	roots  *x509.CertPool
	events int // each gateway's in the burst
	result figures
}

// clusterNode is a host that can be killed and started again.
type clusterNode struct {
	*process
	dir, base string
	args      []string
	client    *http.Client
}

// trialSize is how many gateways, and how many nodes are killed one after another.
func trialSize(t *testing.T) (gateways, kills int) {
	gateways, kills = 60, 1
	switch os.Getenv("GATEHOUSE_FAULTS") {
	case "short":
		gateways, kills = 600, 1
	case "full":
		gateways, kills = 3000, 3
	default:
		if testing.Short() {
			t.Skip("three processes form a cluster, lose one, and take it back: seconds of waiting")
		}
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if need := uint64(gateways + 500); files.Max < need { // Go raises the soft limit by itself
		t.Skipf("%d gateways want %d file descriptors a process; the limit is %d (ulimit -Hn)", gateways, need, files.Max)
	}
	return gateways, kills
}

// TestKilledNode kills one of three hosts, each a process, while gateways send
// events and integrators ask: the gateways come back at the others, where any
// of them can be asked at any host; what was answered is stored, in order and
// once; and the killed host joins again.
func TestKilledNode(t *testing.T) {
	gateways, kills := trialSize(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("GATEHOUSE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d (GATEHOUSE_SEED repeats it), %d gateways", seed, gateways)
	x := &trial{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), events: 60}
	if gateways > 1000 {
		x.events = 30 // reading them all is what takes long
	}
	x.result = figures{Gateways: gateways, Kills: kills, LoadBefore: load()}
	x.step("three hosts", x.startNodes)
	x.step("connect", func() { x.connect(gateways) })
	x.step("events", x.burst)
	x.step("requests", x.ask)
	for _, victim := range x.rnd.Perm(len(x.nodes))[:kills] {
		x.step("a host is killed", func() { x.lose(victim) })
		x.step("every gateway from every host", func() { x.askEverywhere(victim) })
		x.step("events stored", func() { x.stored(x.other(victim)) })
		x.step("it joins again", func() { x.rejoin(victim) })
		x.step("every gateway from every host", func() { x.askEverywhere(-1) })
		x.step("events stored", func() { x.stored(victim) })
	}
	x.result.LoadAfter = load()
	x.result.Attempts = x.fleet.count(func(m *member) bool { return len(m.failures) > 0 })
	t.Logf("gateways with attempts that failed: %d; the reasons: %q", x.result.Attempts, x.fleet.failures())
	line, err := json.Marshal(x.result)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", line)
}

// freeAddr is a port that is free, on an address of the loopback that no
// outgoing connection uses, so that it stays so while its host is away.
func freeAddr(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Skipf("%v: the test wants addresses of 127.0.0.0/8", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startNodes starts three hosts, a site and a token.
func (x *trial) startNodes() {
	t := x.t
	var routes []string
	for i := range 3 {
		routes = append(routes, freeAddr(t, fmt.Sprintf("127.0.0.%d", 11+i)))
	}
	for i := range routes {
		ip := fmt.Sprintf("127.0.0.%d", 11+i)
		n := &clusterNode{dir: stateDir(t)}
		listen := freeAddr(t, ip)
		secret := filepath.Join(n.dir, "secret")
		if err := os.WriteFile(secret, []byte("a secret of the test's hosts"), 0o600); err != nil {
			t.Fatal(err)
		}
		seal := filepath.Join(n.dir, "all.key")
		if err := os.WriteFile(seal, []byte(strings.Repeat("5e", 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		n.base = "https://" + listen
		n.args = []string{"--name", "node" + strconv.Itoa(i), "--listen", listen, "--ca-listen", ip + ":0", "--host", ip,
			"--cluster", routes[i], "--routes", strings.Join(slices.Delete(slices.Clone(routes), i, i+1), ","), "--cluster-secret", secret, "--seal-key", seal}
		n.process = launch(t, n.dir, n.args...)
		x.nodes = append(x.nodes, n)
	}
	for _, n := range x.nodes {
		n.await()
	}
	x.token = must(t, "token", "add", "test", "--state", x.nodes[0].dir)
	x.roots = x509.NewCertPool()
	if !x.roots.AppendCertsFromPEM([]byte(must(t, "root", "show", "--state", x.nodes[1].dir))) {
		t.Fatal("root show prints no certificate")
	}
	for _, n := range x.nodes {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x.roots}, MaxIdleConnsPerHost: 32}
		t.Cleanup(tr.CloseIdleConnections)
		n.client = &http.Client{Transport: tr, Timeout: 40 * time.Second}
	}
}

// connect starts the fleet.
func (x *trial) connect(gateways int) {
	t := x.t
	key, err := engage.ParseSiteKey(must(t, "site", "add", "demo", "--state", x.nodes[2].dir))
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	var before, after float64
	for _, n := range x.nodes {
		urls = append(urls, n.gateways)
		before += rss(t, n.cmd.Process.Pid)
	}
	x.fleet = newFleet(t, gateways, key, x.roots, urls)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); x.fleet.run.Wait() })
	cpu := x.cpu()
	x.fleet.start(ctx)
	took := x.fleet.wait("connected", 3*time.Minute, connected)
	for _, n := range x.nodes {
		after += rss(t, n.cmd.Process.Pid)
	}
	x.result.ConnectsPerSec = round(float64(gateways) / took.Seconds())
	x.result.ConnectCPU = round(float64((x.cpu() - cpu).Microseconds()) / 1000 / float64(gateways))
	x.result.NodeEmptyMiB = round(before / 3 / (1 << 20))
	x.result.GatewayKiB = round((after - before) / float64(gateways) / (1 << 10))
}

// burst has all gateways send at once.
func (x *trial) burst() {
	cpu := x.cpu()
	for _, m := range x.fleet.members {
		m.push(uint32(x.events))
	}
	took := x.fleet.wait("events answered", 3*time.Minute, allAcked)
	n := float64(x.events * len(x.fleet.members))
	x.result.EventsPerSec = round(n / took.Seconds())
	x.result.EventCPU = round(float64((x.cpu() - cpu).Microseconds()) / n)
}

func (x *trial) other(victim int) int { return (victim + 1 + x.rnd.IntN(2)) % 3 }

// lose kills a node while gateways send and integrators ask at the others, and
// waits until all gateways are back there. Requests for gateways that were
// there all the time may take longer, and do not fail.
func (x *trial) lose(victim int) {
	ctx, cancel := context.WithCancel(x.t.Context())
	var wg sync.WaitGroup
	p := &prober{x: x, victim: victim, lost: map[*member]bool{}}
	for _, m := range x.fleet.members {
		m.mu.Lock()
		p.lost[m] = m.at == victim
		m.mu.Unlock()
	}
	for range 2 {
		rnd := rand.New(rand.NewPCG(x.rnd.Uint64(), 0))
		wg.Go(func() { p.run(ctx, rnd) })
	}
	rnd := rand.New(rand.NewPCG(x.rnd.Uint64(), 0))
	wg.Go(func() {
		for ctx.Err() == nil {
			x.fleet.members[rnd.IntN(len(x.fleet.members))].push(1 + uint32(rnd.IntN(5)))
			pause(ctx, 4*time.Millisecond)
		}
	})
	hanging := x.hang(victim)
	pause(ctx, time.Second+time.Duration(x.rnd.Int64N(int64(time.Second)))) // the moment is the test's input
	began := time.Now()
	p.mark(began)
	x.nodes[victim].kill()
	x.fleet.wait("back at the others", 2*time.Minute, func(m *member) bool { return m.up && m.at != victim })
	back := time.Since(began).Seconds()
	if h := <-hanging; h.err != nil || h.at.Sub(began) > 10*time.Second {
		x.t.Errorf("a request that was with the killed node ended after %s: %v", h.at.Sub(began), h.err)
	}
	pause(ctx, time.Second) // of requests and events without the node
	cancel()
	wg.Wait()
	x.fleet.wait("events answered", time.Minute, allAcked)
	x.result.Recover = max(x.result.Recover, round(back))
	x.result.Failed += p.failed
	x.result.Waited = max(x.result.Waited, round(p.longest.Seconds()))
	if p.failed > 0 {
		x.result.Disturbed = max(x.result.Disturbed, round(p.last.Sub(began).Seconds()))
	}
	if x.t.Failed() {
		x.t.FailNow()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// askEverywhere asks for every gateway at every node but one, at first try.
func (x *trial) askEverywhere(except int) {
	x.t.Helper()
	var wg sync.WaitGroup
	next := make(chan *member)
	for range 8 {
		wg.Go(func() {
			for m := range next {
				for node := range x.nodes {
					if node == except {
						continue
					}
					if err := x.request(node, m); err != nil {
						x.t.Errorf("gateway %s at node %d: %v", m.serial, node, err)
					}
				}
			}
		})
	}
	for _, m := range x.fleet.members {
		next <- m
	}
	close(next)
	wg.Wait()
	if x.t.Failed() {
		x.t.FailNow()
	}
}

// stored reads all events at a node: of each gateway exactly those that it sent,
// in order.
func (x *trial) stored(node int) {
	t := x.t
	t.Helper()
	last := map[string]uint32{}
	total := 0
	for after := ""; ; {
		status, body, err := x.get(node, "/events?limit=1000"+after)
		var page journal.Page
		if err == nil && status == 200 {
			err = json.Unmarshal(body, &page)
		}
		if err != nil || status != 200 {
			t.Fatalf("events at node %d: status %d: %v: %s", node, status, err, body)
		}
		for _, e := range page.Events {
			if e.EventID != last[e.Gateway]+1 {
				t.Fatalf("node %d: gateway %s: event %d is stored after %d", node, e.Gateway, e.EventID, last[e.Gateway])
			}
			last[e.Gateway] = e.EventID
		}
		total += len(page.Events)
		if page.Next == "" {
			break
		}
		after = "&after=" + url.QueryEscape(page.Next)
	}
	want := map[string]uint32{}
	for _, m := range x.fleet.members {
		want[m.serial.String()] = m.acked
	}
	if !maps.Equal(want, last) {
		for serial, n := range want {
			if last[serial] != n {
				t.Errorf("node %d: gateway %s: %d events stored, %d answered", node, serial, last[serial], n)
			}
		}
		t.Fatalf("node %d: %d gateways in the stream, want %d", node, len(last), len(want))
	}
	x.result.Events = total
}

// rejoin starts a killed node again, with some gateways and everything else.
func (x *trial) rejoin(victim int) {
	t := x.t
	n := x.nodes[victim]
	began := time.Now()
	n.process = launch(t, n.dir, n.args...)
	n.await()
	x.result.Rejoin = max(x.result.Rejoin, round(time.Since(began).Seconds()))
	for i, m := range x.fleet.members {
		if i%3 == victim {
			m.move(victim)
			m.push(3)
		}
	}
	x.fleet.wait("spread again", time.Minute, func(m *member) bool { return m.up && m.acked == m.want })
	if n := x.fleet.count(func(m *member) bool { return m.at == victim }); n < len(x.fleet.members)/4 {
		t.Errorf("only %d of %d gateways are at the node that came back", n, len(x.fleet.members))
	}
}

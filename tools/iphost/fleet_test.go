package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/gatewaytest"
)

// fleet is many gateways that keep their connections as real ones do: they try
// one host after the other, with a delay that grows.
type fleet struct {
	t       *testing.T
	key     engage.SiteKey
	roots   *x509.CertPool
	urls    []string // of the hosts
	buffers sync.Pool
	members []*member
	run     sync.WaitGroup
	dialing chan struct{} // bounds handshakes of this process at a time
}

// member is one gateway. Its events have the numbers from 1.
type member struct {
	f      *fleet
	serial engage.Serial
	more   chan struct{} // of 1: want has grown

	mu       sync.Mutex // guards following
	g        *gatewaytest.Gateway
	at       int // the host that it is connected to, or tries
	up       bool
	password string
	connects int
	failures map[string]int // attempts that failed, by their reason
	want     uint32         // events to send
	sent     uint32         // events that were written at least once
	acked    uint32         // events before a ping that was answered
}

// minDelay and maxDelay are those of the agent's uplink.
const (
	minDelay = time.Second
	maxDelay = 30 * time.Second
	perPing  = 10 // events before each ping, at most
)

// newFleet makes gateways that are spread over the hosts. They begin with start.
func newFleet(t *testing.T, size int, key engage.SiteKey, roots *x509.CertPool, urls []string) *fleet {
	f := &fleet{t: t, key: key, roots: roots, urls: urls, dialing: make(chan struct{}, 64)}
	for i := range size {
		serial, err := engage.ParseSerial(fmt.Sprintf("0000000000000000A0B1%012d", i))
		if err != nil {
			t.Fatal(err)
		}
		f.members = append(f.members, &member{f: f, serial: serial, at: i % len(urls), more: make(chan struct{}, 1), failures: map[string]int{}})
	}
	return f
}

// start lets the gateways connect, and go on until ctx ends.
func (f *fleet) start(ctx context.Context) {
	for _, m := range f.members {
		f.run.Go(func() { m.run(ctx) })
	}
}

func (m *member) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		g, err := m.connect(ctx)
		if err == nil {
			attempt = -1
			m.live(ctx, g)
		} else {
			m.failed(err)
		}
		delay := min(maxDelay, minDelay<<max(attempt, 0))
		select { // half of it at random, as the agent's
		case <-ctx.Done():
		case <-time.After(delay/2 + rand.N(delay/2)):
		}
	}
}

// failed counts an attempt and goes on to the next host.
func (m *member) failed(err error) {
	reason := err.Error()
	var status *gatewaytest.ErrStatus
	if errors.As(err, &status) {
		reason = strconv.Itoa(status.Status) + " " + status.Body
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures[reason]++
	m.at = (m.at + 1) % len(m.f.urls)
	if status != nil && status.Status == 401 {
		m.password = ""
	}
}

// connect uses the password that it has, or gets one.
func (m *member) connect(ctx context.Context) (*gatewaytest.Gateway, error) {
	select {
	case m.f.dialing <- struct{}{}:
		defer func() { <-m.f.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	m.mu.Lock()
	cfg := gatewaytest.Config{URL: m.f.urls[m.at], Key: m.f.key, Serial: m.serial, Roots: m.f.roots, Buffers: &m.f.buffers,
		Handle: m.handle}
	password := m.password
	m.mu.Unlock()
	if password == "" {
		var err error
		if password, err = gatewaytest.NewCredentials(ctx, cfg, engage.Seal(m.f.key, m.serial, time.Now().UTC())); err != nil {
			return nil, fmt.Errorf("newCredentials: %w", err)
		}
		m.mu.Lock()
		m.password = password
		m.mu.Unlock()
	}
	g, err := gatewaytest.Connect(ctx, cfg, password)
	if err != nil {
		return nil, err
	}
	if err := g.WaitSubscribed(ctx); err != nil {
		g.Cut()
		return nil, err
	}
	return g, nil
}

// silentPath is a resource that is not answered.
const silentPath = "/edgeDevices/silent"

func (m *member) handle(r gatewaytest.Request) (int, string) {
	if r.Path == silentPath {
		return 0, ""
	}
	return 200, m.answer(r.Path)
}

// answer is what the gateway answers: nobody else does.
func (m *member) answer(path string) string {
	return fmt.Sprintf(`{"gateway":%q,"path":%q}`, m.serial, path)
}

// live sends events until the connection ends.
func (m *member) live(ctx context.Context, g *gatewaytest.Gateway) {
	m.mu.Lock()
	m.g, m.up = g, true
	m.connects++
	m.mu.Unlock()
	defer func() {
		g.Cut()
		m.mu.Lock()
		m.g, m.up = nil, false
		m.mu.Unlock()
	}()
	for ctx.Err() == nil {
		m.mu.Lock()
		first, last := m.acked+1, min(m.want, m.acked+perPing)
		m.mu.Unlock()
		if first > last {
			select {
			case <-ctx.Done():
			case <-g.Done():
				return
			case <-m.more:
			}
			continue
		}
		if err := m.send(ctx, g, first, last); err != nil {
			return
		}
	}
}

var eventTime = time.Date(2017, 11, 20, 10, 47, 17, 0, time.UTC)

// send writes events and waits for the pong.
func (m *member) send(ctx context.Context, g *gatewaytest.Gateway, first, last uint32) error {
	for i := first; i <= last; i++ {
		m.mu.Lock()
		m.sent = max(m.sent, i)
		m.mu.Unlock()
		if err := g.Write(gatewaytest.Audit(i, "a100000000002479", "dev00000", "07040000", eventTime)); err != nil {
			return err
		}
	}
	if err := g.Ping(ctx, strconv.FormatUint(uint64(last), 10)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked = last
	return nil
}

// push gives the gateway n more events to send.
func (m *member) push(n uint32) {
	m.mu.Lock()
	m.want += n
	m.mu.Unlock()
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// move cuts the connection; the gateway tries host next.
func (m *member) move(host int) {
	m.mu.Lock()
	m.at = host
	g := m.g
	m.mu.Unlock()
	if g != nil {
		g.Cut()
	}
}

// count returns how many gateways have the property.
func (f *fleet) count(has func(m *member) bool) int {
	n := 0
	for _, m := range f.members {
		m.mu.Lock()
		if has(m) {
			n++
		}
		m.mu.Unlock()
	}
	return n
}

// wait waits until all gateways have the property and returns how long it took.
func (f *fleet) wait(what string, limit time.Duration, has func(m *member) bool) time.Duration {
	f.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // other processes: nothing to wait on
		n := f.count(has)
		if n == len(f.members) {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			f.t.Fatalf("%s: %d of %d gateways after %s; attempts that failed: %v", what, n, len(f.members), limit, f.failures())
		}
	}
}

// failures sums the attempts that failed.
func (f *fleet) failures() []string {
	sum := map[string]int{}
	for _, m := range f.members {
		m.mu.Lock()
		for reason, n := range m.failures {
			sum[reason] += n
		}
		m.mu.Unlock()
	}
	var out []string
	for reason, n := range sum {
		out = append(out, fmt.Sprintf("%d times %s", n, reason))
	}
	slices.Sort(out)
	return out
}

func connected(m *member) bool { return m.up }

func allAcked(m *member) bool { return m.acked == m.want }

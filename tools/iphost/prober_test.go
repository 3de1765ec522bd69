package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// hang asks a gateway at the victim for what it does not answer. When the node
// is killed, the one that asked it says so.
func (x *trial) hang(victim int) <-chan ended {
	i := slices.IndexFunc(x.fleet.members, func(m *member) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.at == victim
	})
	node, done := x.other(victim), make(chan ended, 1)
	go func() {
		status, body, err := x.get(node, silentPath+"?gateway="+x.fleet.members[i].serial.String())
		if err == nil && (status != http.StatusBadGateway || !strings.Contains(string(body), "host was lost")) {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		done <- ended{err, time.Now()}
	}()
	return done
}

type ended struct {
	err error
	at  time.Time
}

// prober asks at the nodes that stay while one is killed.
type prober struct {
	x      *trial
	victim int
	lost   map[*member]bool // was connected to the victim

	mu      sync.Mutex // guards following
	killed  time.Time
	failed  int64
	last    time.Time // of a request that failed
	longest time.Duration
}

func (p *prober) mark(killed time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = killed
}

func (p *prober) run(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil {
		m := p.x.fleet.members[rnd.IntN(len(p.x.fleet.members))]
		began := time.Now()
		err := p.x.request((p.victim+1+rnd.IntN(2))%3, m)
		p.note(m, began, err)
		pause(ctx, 5*time.Millisecond)
	}
}

func (p *prober) note(m *member, began time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && !p.killed.IsZero():
		p.longest = max(p.longest, time.Since(began))
	case err != nil && (p.killed.IsZero() || !p.lost[m]):
		p.x.t.Errorf("gateway %s, which is not at the killed node: %v after %s", m.serial, err, time.Since(began))
	case err != nil:
		p.failed++
		p.last = time.Now()
	}
}

// request asks a gateway by the broker of a node and returns what is wrong with
// the answer.
func (x *trial) request(node int, m *member) error {
	path := "/edgeDevices/dev00000/lockStatus"
	status, body, err := x.get(node, path+"?gateway="+m.serial.String())
	if err == nil && (status != 200 || string(body) != m.answer(path)) {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return err
}

func (x *trial) get(node int, path string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(x.t.Context(), http.MethodGet, x.nodes[node].base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+x.token)
	res, err := x.nodes[node].client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// ask measures round trips from each node to gateways at the others, eight
// clients a time.
func (x *trial) ask() {
	const clients, each = 8, 100
	took := make([][]float64, clients)
	began := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		rnd := rand.New(rand.NewPCG(x.rnd.Uint64(), 0))
		wg.Go(func() {
			for range each {
				i := rnd.IntN(len(x.fleet.members))
				start := time.Now()
				if err := x.request((i+1+rnd.IntN(2))%3, x.fleet.members[i]); err != nil {
					x.t.Errorf("gateway %d: %v", i, err)
					return
				}
				took[c] = append(took[c], float64(time.Since(start).Microseconds())/1000)
			}
		})
	}
	wg.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if x.t.Failed() {
		x.t.FailNow()
	}
	x.result.RequestsPerSec = round(float64(len(all)) / time.Since(began).Seconds())
	x.result.RequestP50, x.result.RequestP99 = all[len(all)/2], all[len(all)*99/100]
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// loadRun is one run of a load.
type loadRun struct {
	o     loadOptions
	in    *installation
	fleet *fleet
	began time.Time
	log   io.Writer
	res   loadResult
}

func (r *loadRun) printf(format string, args ...any) { fmt.Fprintf(r.log, format+"\n", args...) }

// load does all of it.
func (o loadOptions) load(ctx context.Context, log io.Writer) (res loadResult, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done within %s (-limit)", o.limit))
	defer cancel()
	dir, err := os.MkdirTemp(o.dir, "ghload-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	in, err := o.installation(ctx, dir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, in.stop()) }()
	pool, err := in.pool()
	if err != nil {
		return res, err
	}
	r := &loadRun{o: o, in: in, began: time.Now(), log: log, res: newLoadResult(o.n),
		fleet: newFleet(in.hosts, o.path, in.key, pool, o.n, o.parallel)}
	r.res.Hosts = len(in.hosts)
	live, end := context.WithCancel(ctx)
	defer func() { end(); r.fleet.wait.Wait() }()
	err = r.phases(ctx, live)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	r.res.Failures, r.res.Load[1] = r.fleet.causes(), load()
	return r.res, err
}

// causes returns the failures so far.
func (f *fleet) causes() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]int{}
	for k, v := range f.failures {
		out[k] = v
	}
	return out
}

// phases are in the order of the help text. Gateways live as long as live.
func (r *loadRun) phases(ctx, live context.Context) error {
	if err := r.connect(ctx, live); err != nil {
		return err
	}
	var err error
	if r.res.Events, err = r.events(ctx); err != nil {
		return err
	}
	r.printf("events: %.0f a second", r.res.Events.PerSecond)
	if r.res.Requests, err = r.requests(ctx, r.o.requests, r.in.hosts); err != nil {
		return err
	}
	r.printf("requests: %.0f a second, p50 %.1f ms, p99 %.1f ms", r.res.Requests.PerSecond, r.res.Requests.P50, r.res.Requests.P99)
	if r.o.kill {
		if r.res.Recover, err = r.lose(ctx); err != nil {
			return err
		}
		r.printf("one host lost: %d gateways back in %.1f s", r.res.Recover.Away, r.res.Recover.Seconds)
	}
	return r.readBack(ctx)
}

// connect connects all gateways and looks at memory.
func (r *loadRun) connect(ctx, live context.Context) error {
	hosts, err := r.in.memory()
	if err != nil {
		return err
	}
	own := ownMemory()
	began := time.Now()
	r.fleet.start(live)
	if err := r.all(ctx, "connected"); err != nil {
		return err
	}
	took := time.Since(began)
	r.fleet.mu.Lock()
	r.res.Connect = newRate(r.o.n, took, r.fleet.joined)
	r.fleet.mu.Unlock()
	r.printf("connected: %.0f a second", r.res.Connect.PerSecond)
	select {
	case <-time.After(r.o.rest):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := r.in.memory()
	if err != nil {
		return err
	}
	m := &memory{LoadKiB: (float64(ownMemory()) - float64(own)) / float64(r.o.n) / 1024}
	if len(r.in.nodes) > 0 {
		m.HostKiB, m.HostMiB = (float64(after)-float64(hosts))/float64(r.o.n)/1024, mebibytes(after)
	}
	r.res.Memory = m
	return nil
}

// ownMemory is what this process's heap and stacks take.
func ownMemory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// all waits until every gateway is connected.
func (r *loadRun) all(ctx context.Context, what string) error {
	told := time.Now()
	for r.fleet.connected() < r.o.n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d gateways %s: %w; %v", r.fleet.connected(), r.o.n, what, ctx.Err(), r.fleet.causes())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			r.printf("%d of %d gateways %s", r.fleet.connected(), r.o.n, what)
		}
	}
	return nil
}

// work runs do for each of count jobs on a number of goroutines, and returns how
// long each took. The first error ends it.
func work(ctx context.Context, count, workers int, do func(ctx context.Context, i int) (time.Duration, error)) (samples, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	took := make([]samples, min(workers, count))
	var wg sync.WaitGroup
	for w := range took {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				d, err := do(ctx, i)
				if err != nil {
					cancel(err)
					return
				}
				took[w] = append(took[w], d)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return slices.Concat(took...), nil
}

// events lets each gateway send its events and wait for the host's answer.
func (r *loadRun) events(ctx context.Context) (*rate, error) {
	began := time.Now()
	s, err := work(ctx, r.o.n, r.o.writers, func(ctx context.Context, i int) (time.Duration, error) {
		return r.fleet.list[i].report(ctx, r.o.events)
	})
	return newRate(r.o.n*r.o.events, time.Since(began), s), err
}

// broker is a client of the hosts' broker.
type broker struct {
	web   *http.Client
	token string
}

func (r *loadRun) broker() broker {
	return broker{token: r.in.token, web: &http.Client{Timeout: 40 * time.Second,
		Transport: &http.Transport{TLSClientConfig: r.fleet.tls, MaxIdleConnsPerHost: r.o.clients}}}
}

// get returns the body of a 200.
func (b broker) get(ctx context.Context, at string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	resp, err := b.web.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", req.URL.Path, resp.Status, body)
	}
	return body, resp.Header, err
}

// requests asks random gateways through the brokers of hosts, any host for any
// gateway. Each answer must be that gateway's own.
func (r *loadRun) requests(ctx context.Context, count int, hosts []string) (*rate, error) {
	b := r.broker()
	defer b.web.CloseIdleConnections()
	ask := func(ctx context.Context, i int) (time.Duration, error) {
		g := r.fleet.list[rand.IntN(len(r.fleet.list))]
		began := time.Now()
		body, head, err := b.get(ctx, hosts[i%len(hosts)]+requestPath+"?gateway="+g.serial.String())
		took := time.Since(began)
		var got struct {
			Links []struct {
				Name string `json:"deviceName"`
			} `json:"linkList"`
		}
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		if err == nil && (len(got.Links) != 1 || got.Links[0].Name != g.serial.String() || head.Get("Iphost-From") != "gateway") {
			err = fmt.Errorf("gateway %s: the answer is %.200s", g.serial, body)
		}
		return took, err
	}
	for i := range r.o.clients { // connections that are not counted
		if _, err := ask(ctx, i); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	s, err := work(ctx, count, r.o.clients, ask)
	return newRate(count, time.Since(began), s), err
}

// lose ends a host while events are sent, and waits until its gateways are on the
// others.
func (r *loadRun) lose(ctx context.Context) (*recovery, error) {
	victim := r.in.nodes[len(r.in.nodes)-1]
	type outcome struct {
		rate *rate
		err  error
	}
	sent := make(chan outcome, 1)
	go func() {
		out, err := r.events(ctx)
		sent <- outcome{out, err}
	}()
	time.Sleep(100 * time.Millisecond) // in the middle of them
	before := time.Now()
	if err := victim.kill(); err != nil {
		return nil, errors.Join(err, (<-sent).err)
	}
	out := &recovery{}
	for end := time.Now().Add(10 * time.Second); r.fleet.connected() == r.o.n && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for now := r.fleet.connected(); ; now = r.fleet.connected() { // until no more are cut
		out.Away = max(out.Away, r.o.n-now)
		time.Sleep(5 * time.Millisecond)
		if r.fleet.connected() >= now {
			break
		}
	}
	err := r.all(ctx, "back")
	out.Seconds = time.Since(before).Seconds()
	o := <-sent
	out.Events = o.rate
	if err = errors.Join(err, o.err); err != nil {
		return nil, err
	}
	out.After, err = r.requests(ctx, min(r.o.requests, 2*r.o.n), r.in.hosts[:len(r.in.hosts)-1])
	return out, err
}

// readBack reads what the hosts have stored since the start and counts: each
// event that was answered for must be there.
func (r *loadRun) readBack(ctx context.Context) error {
	b := r.broker()
	defer b.web.CloseIdleConnections()
	seen := map[string][]bool{}
	st := &stored{}
	for _, g := range r.fleet.list {
		seen[g.serial.String()] = make([]bool, g.acked)
		st.Want += int(g.acked)
	}
	query := url.Values{"limit": {"1000"}, "from": {r.began.Add(-time.Minute).UTC().Format(time.RFC3339)}}
	for more := true; more; {
		var page struct {
			Events []struct {
				Gateway string `json:"gateway"`
				ID      uint32 `json:"eventId"`
			} `json:"events"`
			Next string `json:"next"`
		}
		body, err := r.page(ctx, b, query, st)
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil {
			return fmt.Errorf("stored events: %w", err)
		}
		for _, e := range page.Events {
			st.count(seen[e.Gateway], e.ID)
		}
		more = page.Next != ""
		query.Set("after", page.Next)
	}
	st.Absent = st.Want - st.Found
	r.res.Stored = st
	if st.Absent != 0 {
		return fmt.Errorf("%d of %d events that a host had answered for are not stored", st.Absent, st.Want)
	}
	r.printf("all %d events are stored, %d repeated", st.Found, st.Again)
	return nil
}

// pageWait is how long hosts may not answer after they have lost one.
const pageWait = 3 * time.Minute

// page reads a page of stored events, and again where a host cannot tell now.
func (r *loadRun) page(ctx context.Context, b broker, query url.Values, st *stored) ([]byte, error) {
	began, again := time.Now(), false
	for {
		body, _, err := b.get(ctx, r.in.hosts[0]+"/events?"+query.Encode())
		if err == nil && again {
			st.Waited += time.Since(began).Seconds()
		}
		if err == nil || ctx.Err() != nil || time.Since(began) > pageWait {
			return body, err
		}
		again = true
		r.fleet.fail(fmt.Errorf("stored events: %w", err))
		time.Sleep(500 * time.Millisecond)
	}
}

// count notes one stored event. Those of other loads are not looked at.
func (s *stored) count(seen []bool, id uint32) {
	i := int(id) - 1
	switch {
	case i < 0 || i >= len(seen):
	case seen[i]:
		s.Again++
	default:
		seen[i] = true
		s.Found++
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/tools/sitesim/lock"
)

// nightPlan is what `sitesim night` plays.
type nightPlan struct {
	url, siteKey, first, at, ca, model, zone string
	locks, parallel, dayEnd                  int
	over                                     time.Duration
	sole, changes, asJSON                    bool
}

// wave is what one call-in of every lock must bring.
type wave uint8

const (
	waveFull    wave = iota // a full door file
	waveSame                // no change
	waveChanges             // changes or none, never a full file
)

// nightResult is what came of it. Times are of whole call-ins (p50_ms and so on)
// and of single requests.
type nightResult struct {
	Locks        int      `json:"locks"`
	Calls        int      `json:"calls"` // call-ins
	Errors       int      `json:"errors"`
	Seconds      float64  `json:"seconds"`
	P50          float64  `json:"p50_ms"`
	P99          float64  `json:"p99_ms"`
	Max          float64  `json:"max_ms"`
	Requests     int      `json:"requests"`
	RequestP50   float64  `json:"request_p50_ms"`
	RequestP99   float64  `json:"request_p99_ms"`
	Bytes        int64    `json:"bytes"` // of bodies, both ways
	Users        int      `json:"users"` // of all locks together
	Full         int      `json:"full"`  // files; the other call-ins brought changes
	Deleted      int      `json:"deleted"`
	Updated      int      `json:"updated"`
	Added        int      `json:"added"`
	FirstErrors  []string `json:"first_errors,omitempty"`
	calls, parts []time.Duration
}

// maxNightErrors is how many errors a result shows.
const maxNightErrors = 8

func nightCommand() *cobra.Command {
	var n nightPlan
	c := &cobra.Command{Use: "night", Short: "A night of many Wi-Fi locks: each calls in twice, each answer is verified", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return n.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		}}
	f := c.Flags()
	f.StringVar(&n.url, "url", "", "the device server, as in http://127.0.0.1:8088")
	f.IntVar(&n.locks, "locks", 500, "how many locks")
	f.StringVar(&n.siteKey, "site-key", "", "the file with the site key")
	f.StringVar(&n.first, "first-serial", "", "32 hex digits; the others count up from it")
	f.StringVar(&n.at, "at", "once", "once: all together; spread: evenly over --over")
	f.DurationVar(&n.over, "over", time.Minute, "how long the locks of --at spread take to begin")
	f.IntVar(&n.parallel, "parallel", 0, "how many may call at the same time (0: all)")
	f.StringVar(&n.ca, "ca", "", "the certificate that an https URL is trusted by")
	f.StringVar(&n.model, "model", "le", "the locks' model")
	f.StringVar(&n.zone, "timezone", "Local", "of the locks' clocks")
	f.BoolVar(&n.sole, "sole-schedule", false, "crSch is one number")
	f.IntVar(&n.dayEnd, "day-end", 1439, "where the locks' day ends, 1439 or 1440")
	f.BoolVar(&n.changes, "changes", false, "when all have called once: print the result so far, wait for a line of input, then all call again, for changes")
	f.BoolVar(&n.asJSON, "json", false, "print the result as JSON")
	for _, name := range []string{"url", "site-key", "first-serial"} {
		_ = c.MarkFlagRequired(name) // fails for a flag that does not exist only
	}
	return c
}

// run plays the night and prints the result: of both call-ins together, or of each
// where the policy is to change between them. An error of a lock is one of the
// command, after the result.
func (n *nightPlan) run(ctx context.Context, in io.Reader, out io.Writer) error {
	locks, err := n.prepare()
	if err != nil {
		return err
	}
	if !n.changes {
		return n.tell(ctx, out, n.play(ctx, locks, waveFull, waveSame))
	}
	if err := n.tell(ctx, out, n.play(ctx, locks, waveFull)); err != nil {
		return err
	}
	if _, err := bufio.NewReader(in).ReadString('\n'); err != nil {
		return fmt.Errorf("night: a line of input is awaited: %w", err)
	}
	return n.tell(ctx, out, n.play(ctx, locks, waveChanges))
}

// tell prints a result.
func (n *nightPlan) tell(ctx context.Context, out io.Writer, r *nightResult) (err error) {
	if n.asJSON {
		err = json.NewEncoder(out).Encode(r)
	} else {
		_, err = fmt.Fprintf(out, "%d locks, %d call-ins, %d errors in %.2f s; a call-in p50 %.1f ms, p99 %.1f ms; a request p50 %.1f ms, p99 %.1f ms; %d bytes, %d users\n",
			r.Locks, r.Calls, r.Errors, r.Seconds, r.P50, r.P99, r.RequestP50, r.RequestP99, r.Bytes, r.Users)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && r.Errors > 0 {
		err = fmt.Errorf("night: %d errors, the first: %s", r.Errors, r.FirstErrors[0])
	}
	return err
}

// nightLock is one lock of the night.
type nightLock struct {
	lock   *lock.Lock
	caller *timedCaller
	client *http.Client
}

// prepare makes the locks. Nothing has been called when it returns.
func (n *nightPlan) prepare() ([]*nightLock, error) {
	w := &world{dir: "."}
	key, err := w.key(n.siteKey)
	if err != nil {
		return nil, err
	}
	if n.at != "once" && n.at != "spread" {
		return nil, fmt.Errorf("night: --at %q: want once or spread", n.at)
	}
	if n.locks < 1 || n.parallel < 0 {
		return nil, errors.New("night: --locks and --parallel must not be negative, --locks not 0")
	}
	zone, err := time.LoadLocation(n.zone)
	if err != nil {
		return nil, err
	}
	out := make([]*nightLock, n.locks)
	for i := range out {
		serial, err := serialAfter(n.first, uint64(i))
		if err != nil {
			return nil, err
		}
		cfg := lock.Config{Serial: serial, SiteKey: key, Model: n.model, Zone: zone, SoleSchedule: n.sole, DayEnd: n.dayEnd}
		if err := cfg.Check(); err != nil {
			return nil, err
		}
		client, err := rawClient(n.ca)
		if err != nil {
			return nil, err
		}
		out[i] = &nightLock{lock: lock.New(cfg), client: client,
			caller: &timedCaller{HTTPCaller: lock.HTTP(n.url, client, serial, key)}}
	}
	return out, nil
}

// serialAfter counts a serial up.
func serialAfter(first string, i uint64) (string, error) {
	raw, err := hex.DecodeString(first)
	if err != nil || len(raw) != 16 {
		return "", errors.New("night: the first serial is not 32 hex digits")
	}
	low := binary.BigEndian.Uint64(raw[8:])
	if low > math.MaxUint64-i {
		return "", errors.New("night: the serials end before the last lock")
	}
	binary.BigEndian.PutUint64(raw[8:], low+i)
	return fmt.Sprintf("%X", raw), nil
}

// play lets every lock call in once for each wave.
func (n *nightPlan) play(ctx context.Context, locks []*nightLock, waves ...wave) *nightResult {
	limit := n.parallel
	if limit == 0 {
		limit = len(locks)
	}
	room := make(chan struct{}, limit)
	r := &nightResult{Locks: len(locks)}
	var mu sync.Mutex // guards r
	var work sync.WaitGroup
	began := time.Now()
	for i, l := range locks {
		wait := time.Duration(0)
		if n.at == "spread" {
			wait = n.over * time.Duration(i) / time.Duration(len(locks))
		}
		work.Go(func() {
			if pause(ctx, wait) == nil {
				l.night(ctx, room, waves, func(took time.Duration, res lock.Result, err error) {
					mu.Lock()
					defer mu.Unlock()
					r.add(l, took, res, err)
				})
			}
			l.client.CloseIdleConnections()
			mu.Lock()
			defer mu.Unlock()
			r.Users += l.lock.Users()
			r.parts = append(r.parts, l.caller.times...)
			l.caller.times = nil
		})
	}
	work.Wait()
	r.Seconds = time.Since(began).Seconds()
	r.Requests = len(r.parts)
	r.P50, r.P99, r.Max = quantile(r.calls, 0.5), quantile(r.calls, 0.99), quantile(r.calls, 1)
	r.RequestP50, r.RequestP99 = quantile(r.parts, 0.5), quantile(r.parts, 0.99)
	return r
}

func (r *nightResult) add(l *nightLock, took time.Duration, res lock.Result, err error) {
	r.Calls++
	r.calls = append(r.calls, took)
	r.Bytes += res.Bytes
	r.Deleted, r.Updated, r.Added = r.Deleted+res.Deleted, r.Updated+res.Updated, r.Added+res.Added
	if res.Full {
		r.Full++
	}
	if err == nil {
		return
	}
	r.Errors++
	if len(r.FirstErrors) < maxNightErrors {
		r.FirstErrors = append(r.FirstErrors, l.lock.Serial()+": "+err.Error())
	}
}

// night is a call-in for each wave. The first one that fails is the last.
func (l *nightLock) night(ctx context.Context, room chan struct{}, waves []wave, done func(time.Duration, lock.Result, error)) {
	for _, w := range waves {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		before := l.lock.Version()
		began := time.Now()
		res, err := l.lock.CallIn(ctx, l.caller, began)
		took := time.Since(began)
		<-room
		if err == nil {
			err = w.check(res, before)
		}
		done(took, res, err)
		if err != nil {
			return
		}
	}
}

// check compares what a call-in brought with what it must bring. before is the
// version that the lock had.
func (w wave) check(res lock.Result, before string) error {
	switch {
	case w == waveFull && !res.Full:
		return errors.New("the first file was not a full one")
	case w == waveChanges && res.Full:
		return errors.New("the second file was a full one")
	case w == waveSame && (res.Full || res.Deleted+res.Updated+res.Added+res.Idle > 0):
		return fmt.Errorf("the second file had changes (full %v, %d deleted, %d updated, %d added)", res.Full, res.Deleted, res.Updated, res.Added)
	case w == waveSame && res.Version != before:
		return fmt.Errorf("the version went from %s to %s without a change", before, res.Version)
	}
	return nil
}

// timedCaller notes how long each request takes. One call-in at a time uses it.
type timedCaller struct {
	*lock.HTTPCaller
	times []time.Duration
}

func (t *timedCaller) Call(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	began := time.Now()
	defer func() { t.times = append(t.times, time.Since(began)) }()
	return t.HTTPCaller.Call(ctx, method, path, body)
}

// quantile returns the nearest-rank quantile in milliseconds; 0 of nothing.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	i := max(int(math.Ceil(q*float64(len(d))))-1, 0)
	return float64(d[i].Microseconds()) / 1000
}

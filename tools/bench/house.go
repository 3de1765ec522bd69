package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// maxCards is how many different cards the fixture's format has: 8 bits of
// facility, 16 of card number. The upper half is for imports over a site.
const maxCards = 1 << 23

// level is what every credential of a site has: a right at each door, by a
// schedule that always holds, so that a decision looks at level, schedule and
// holidays.
const (
	levelID    = "staff"
	scheduleID = "always"
)

var doorIDs = []site.DoorID{"front", "back", "yard", "office"}

var h10301, _ = card.Standard().ByName("H10301")

// cardNumber is card i of a site as an import names it.
func cardNumber(i int) card.Number {
	return card.Number{Facility: uint64(i >> 16), HasFacility: true, Card: uint64(i & 0xFFFF)}
}

// cardBits is card i of a site as a reader sends it.
func cardBits(i int) card.Bits {
	bits, err := h10301.Encode(cardNumber(i))
	if err != nil {
		return card.Bits{} // not below 1<<24
	}
	return bits
}

// csvSite writes the import of n credentials from card first on, each with a
// holder of its own.
type csvSite struct {
	first, n int
	at       int
	buf      []byte
}

// Read gives the next bytes of the file.
func (c *csvSite) Read(p []byte) (int, error) {
	for len(c.buf) < len(p) && c.at <= c.n {
		if c.at == 0 {
			c.buf = append(c.buf, "holder,format,facility,card,level\n"...)
			c.at++
			continue
		}
		i := c.first + c.at - 1
		num := cardNumber(i)
		c.buf = fmt.Appendf(c.buf, "Person %07d,H10301,%d,%d,%s\n", i, num.Facility, num.Card, levelID)
		c.at++
	}
	if len(c.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.buf)
	c.buf = append(c.buf[:0], c.buf[n:]...)
	return n, nil
}

// house is an open site: event log and store, with their tasks running.
type house struct {
	dir   string
	n     int
	log   *spool.Log
	store *store.Store
	stop  func() error
}

// openHouse opens or makes the site in dir.
func openHouse(dir string) (*house, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	log, _, err := spool.Open(spool.Config{Dir: filepath.Join(dir, "events"), Budget: 1 << 30}, spool.Options{})
	if err != nil {
		return nil, err
	}
	log.Register(spool.PolicyCopy)
	h := &house{dir: dir, log: log}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	wg.Go(func() { errs <- log.Run(ctx) })
	h.store, _, err = store.Open(store.Config{Dir: dir}, storeLog{log}, store.Options{
		OnCopied: func(seq site.EventSeq) { _ = log.Cursor(spool.PolicyCopy).Advance(seq) },
	})
	if err != nil {
		cancel()
		wg.Wait()
		return nil, errors.Join(err, log.Close())
	}
	sctx, stopStore := context.WithCancel(ctx)
	stored := make(chan struct{})
	wg.Go(func() { defer close(stored); errs <- h.store.Run(sctx) })
	h.stop = func() error {
		stopStore()
		<-stored
		err := h.store.Close()
		cancel()
		wg.Wait()
		return errors.Join(err, <-errs, <-errs, log.Close())
	}
	return h, nil
}

// site returns the open site with n credentials, making it first where it is
// not there.
func (b *bench) site(n int) (*house, error) {
	if h := b.sites[n]; h != nil {
		return h, nil
	}
	dir := b.siteDir(n)
	_, err := os.Stat(dir)
	made := err == nil
	h, err := openHouse(dir)
	if err != nil {
		return nil, err
	}
	b.sites[n] = h
	h.n = n
	if made {
		return h, nil
	}
	b.printf("  a site with %d credentials …", n)
	_, err = h.fill(b.ctx, n)
	return h, err
}

func (b *bench) siteDir(n int) string { return filepath.Join(b.dir, "site-"+strconv.Itoa(n)) }

// closeSites closes what is open; the folders stay until the end.
func (b *bench) closeSites() error {
	var err error
	for n, h := range b.sites {
		err = errors.Join(err, h.stop())
		delete(b.sites, n)
	}
	return err
}

// fill gives a new site its policy and n credentials, and returns how long the
// import took.
func (h *house) fill(ctx context.Context, n int) (time.Duration, error) {
	l := site.Level{ID: levelID, Name: "Staff"}
	for _, d := range doorIDs {
		l.Rights = append(l.Rights, site.Right{Door: d, Schedule: scheduleID})
	}
	_, err := h.store.Apply(ctx, "bench", store.Change{Source: site.SourceOperator, Ops: []store.Op{
		store.PutSchedule{Schedule: site.Schedule{ID: scheduleID, Name: "Always", IgnoreHolidays: true,
			Intervals: []site.Interval{{Days: site.AllDays, Start: 0, End: 24 * 60}}}},
		store.PutLevel{Level: l},
	}})
	if err != nil {
		return 0, err
	}
	took, err := h.importCards(ctx, 0, n)
	if err == nil && n <= smallImport {
		err = h.store.Copy(ctx)
	}
	return took, err
}

// smallImport is up to how many rows an import waits for the event log and not
// for a verified copy (package store).
const smallImport = 2000

// importCards imports n credentials from card first on, and returns how long
// that took.
func (h *house) importCards(ctx context.Context, first, n int) (time.Duration, error) {
	began := time.Now()
	rows, err := store.NewCSV(&csvSite{first: first, n: n})
	if err != nil {
		return 0, err
	}
	res, err := h.store.Import(ctx, "bench", site.SourceOperator, rows, store.ImportOptions{})
	if err == nil && res.Added != n {
		err = fmt.Errorf("%d of %d credentials were added", res.Added, n)
	}
	return time.Since(began), err
}

// storeLog is the event log as the store needs it.
type storeLog struct{ *spool.Log }

// Append returns when the event is durable.
func (l storeLog) Append(ctx context.Context, ev site.Event) (site.EventSeq, error) {
	return l.Log.Append(ev).Wait(ctx)
}

// Scan calls fn with each durable event from a number on.
func (l storeLog) Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error {
	var failed error
	err := l.Log.Scan(ctx, from, l.Last(), func(ev site.Event) bool {
		failed = fn(ev)
		return failed == nil
	})
	return errors.Join(failed, err)
}

// sink is the event log as doors and Hive devices need it.
type sink struct{ log *spool.Log }

// Append puts an event in the log's queue.
func (s sink) Append(ev site.Event) {
	if ev.Time.IsZero() {
		ev.Time, ev.Trusted = time.Now().UTC(), true
	}
	s.log.Append(ev)
}

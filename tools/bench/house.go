package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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

// writeCSV writes an import of n credentials from card first on, each with a
// holder of its own.
func writeCSV(path string, first, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = w.WriteString("holder,format,facility,card,level\n")
	for i := first; i < first+n && err == nil; i++ {
		num := cardNumber(i)
		_, err = fmt.Fprintf(w, "Person %07d,H10301,%d,%d,%s\n", i, num.Facility, num.Card, levelID)
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// house is an open site: event log and store, with their tasks running. The log
// holds what the store writes there.
type house struct {
	dir   string
	n     int
	store *store.Store
	stop  func() error
}

// openHouse opens or makes the site in dir.
func openHouse(dir string) (*house, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	log, stopLog, err := startLog(filepath.Join(dir, "events"))
	if err != nil {
		return nil, err
	}
	log.Register(spool.PolicyCopy)
	h := &house{dir: dir}
	h.store, _, err = store.Open(store.Config{Dir: dir}, storeLog{log}, store.Options{
		OnCopied: func(seq site.EventSeq) { _ = log.Cursor(spool.PolicyCopy).Advance(seq) },
	})
	if err != nil {
		return nil, errors.Join(err, stopLog())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.store.Run(ctx) }()
	h.stop = func() error {
		cancel()
		return errors.Join(<-done, h.store.Close(), stopLog())
	}
	return h, nil
}

// startLog opens the event log in dir and runs it until stop.
func startLog(dir string) (log *spool.Log, stop func() error, err error) {
	log, _, err = spool.Open(spool.Config{Dir: dir, Budget: 1 << 30}, spool.Options{})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	return log, func() error {
		cancel()
		return errors.Join(<-done, log.Close())
	}, nil
}

// doorLog is the event log of the doors that are measured. It is not that of
// the site: a start reads the end of it, and must find the same in each site.
func (b *bench) doorLog(name string) (*spool.Log, func() error, error) {
	return startLog(filepath.Join(b.dir, name+"-events"))
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
	path := filepath.Join(h.dir, "bench.csv")
	if err := writeCSV(path, first, n); err != nil {
		return 0, err
	}
	defer os.Remove(path)
	return h.importFile(ctx, path, n)
}

// importFile imports a file of n new credentials, and returns how long that
// took.
func (h *house) importFile(ctx context.Context, path string, n int) (time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	began := time.Now()
	rows, err := store.NewCSV(f)
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

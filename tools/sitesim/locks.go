package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"gatehouse/tools/sitesim/lock"
)

const (
	callTime = time.Minute      // how long a call-in may take
	dueGap   = 10 * time.Second // between two call-ins that a line asked for
)

// siteLock is one lock of the site, on Wi-Fi or on a line.
type siteLock struct {
	desc   lockDesc
	lock   *lock.Lock
	caller lock.Caller
	due    chan struct{} // its line said that it should call; capacity 1
	called chan struct{} // a call-in has ended, so the next may be another; capacity 1
}

// addLock makes a lock. One on a line must have been counted by lineOf before.
func (p *player) addLock(d lockDesc) error {
	key, err := p.w.key(d.SiteKeyFile)
	if err != nil {
		return err
	}
	zone := time.Local
	if d.Timezone != "" {
		if zone, err = time.LoadLocation(d.Timezone); err != nil {
			return err
		}
	}
	cfg := lock.Config{Serial: d.Serial, SiteKey: key, Name: d.ID, Model: d.Model, Zone: zone,
		SoleSchedule: d.SoleSchedule, DayEnd: d.DayEnd, NoHolidays: d.NoHolidays}
	if err := cfg.Check(); err != nil {
		return err
	}
	s := &siteLock{desc: d, lock: lock.New(cfg), due: make(chan struct{}, 1), called: make(chan struct{}, 1)}
	if d.URL != "" {
		client, err := rawClient(p.w.path(d.CAFile))
		if err != nil {
			return err
		}
		s.caller = lock.HTTP(d.URL, client, d.Serial, key)
	} else {
		deviceKey, err := p.w.key(d.KeyFile)
		if err != nil {
			return err
		}
		line, err := p.line(d.PTY)
		if err != nil {
			return err
		}
		s.caller = line.Add(lock.DeviceConfig{Name: d.Device, Key: deviceKey, Bus: p.shared[d.PTY] > 1, OnDue: s.isDue}, s.lock)
	}
	p.locks = append(p.locks, s)
	return nil
}

// rawClient is an HTTP client as a lock has one. caFile may be empty: the
// system's roots.
func rawClient(caFile string) (*http.Client, error) {
	t := new(lock.RawTransport)
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate: %s has none", caFile)
		}
		t.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t}, nil
}

func (s *siteLock) isDue() { poke(s.due) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// live calls in when the lock's last file said so, and when its line does, until
// ctx ends.
func (s *siteLock) live(ctx context.Context) {
	for {
		t := time.NewTimer(s.untilCall(time.Now()))
		select {
		case <-ctx.Done():
		case <-s.called:
		case <-t.C:
			s.callAlone(ctx)
		case <-s.due:
			s.callAlone(ctx)
			_ = pause(ctx, dueGap) // its end is seen below
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// untilCall returns how long it is until the lock's call time; where that has
// passed, until the same time of the next day.
func (s *siteLock) untilCall(now time.Time) time.Duration {
	next := s.lock.NextCall()
	if next.IsZero() {
		return math.MaxInt64
	}
	if late := now.Sub(next); late >= 0 {
		next = next.AddDate(0, 0, int(late/(24*time.Hour))+1)
	}
	return max(next.Sub(now), time.Second)
}

// callAlone is a call-in that nobody waits for.
func (s *siteLock) callAlone(ctx context.Context) {
	said, err := s.call(ctx)
	if err != nil {
		said = err.Error()
	}
	if ctx.Err() == nil {
		fmt.Printf("sitesim: lock %s called: %s\n", s.desc.ID, said)
	}
}

// call is a call-in.
func (s *siteLock) call(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	defer poke(s.called)
	r, err := s.lock.CallIn(ctx, s.caller, time.Now())
	if err != nil {
		return "", err
	}
	what := "no changes"
	switch {
	case r.Full:
		what = fmt.Sprintf("a full file of %d users", r.Added)
	case r.Deleted+r.Updated+r.Added > 0:
		what = fmt.Sprintf("%d deleted, %d updated, %d added", r.Deleted, r.Updated, r.Added)
	}
	return fmt.Sprintf("%s, version %s, %d audits acknowledged (%d)", what, r.Version, r.Audits, r.AuditStatus), nil
}

// whyNot says what the codes of a refusal mean (engage.md section 5).
var whyNot = map[string]string{
	"0508": "out of schedule", "0509": "before activation", "050A": "expired", "050B": "unknown card",
	"050C": "restricted", "050D": "locked out", "0540": "waits for a second card", "0541": "blocked",
	"0500": "locked down", "0501": "lockdown ended", "0514": "freeze flipped",
}

// card presents a 26-bit card at the lock, which decides by itself.
func (s *siteLock) card(facility, number uint64) (string, error) {
	digits, err := h10301(facility, number)
	if err != nil {
		return "", err
	}
	bits, err := hex.DecodeString(digits)
	if err != nil {
		return "", err
	}
	opens, code, err := s.lock.PresentCard(bits, 26, time.Now())
	if err != nil {
		return "", err
	}
	if opens {
		return "opened", nil
	}
	return strings.TrimSpace("denied: " + whyNot[code] + " (" + code + ")"), nil
}

// alerts are what `sitesim alert` can tell: code and data.
var alerts = map[string][2]string{"forced": {"0700", "0000"}, "tamper": {"0702", "0000"}, "low-battery": {"0100", "1194"}}

func (s *siteLock) alert(ctx context.Context, kind string) (string, error) {
	a, known := alerts[kind]
	if !known {
		return "", fmt.Errorf("alert %q is not known: forced, tamper or low-battery", kind)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := s.lock.Alert(ctx, s.caller, a[0], a[1], time.Now()); err != nil {
		return "", err
	}
	return kind + " was told", nil
}

// show is the lock's line of show.
func (s *siteLock) show() string {
	line := "wifi"
	if s.desc.URL == "" {
		line = "serial"
	}
	version := s.lock.Version()
	if version == "0" {
		version = "none"
	}
	return fmt.Sprintf("lock   %-12s %-9s %s, version %s, %d users, %d audits wait\n",
		s.desc.ID, s.lock.StateAt(time.Now()), line, version, s.lock.Users(), len(s.lock.Audits()))
}

// theLock finds a lock.
func (p *player) theLock(id string) (*siteLock, error) {
	for _, s := range p.locks {
		if s.desc.ID == id {
			return s, nil
		}
	}
	return nil, fmt.Errorf("lock %q is not in sitesim.json", id)
}

// start runs the lines and the locks until ctx ends or Close is called. It
// returns at once; the returned function waits for all.
func (p *player) start(ctx context.Context) (wait func()) {
	var work sync.WaitGroup
	for path, line := range p.lines {
		work.Go(func() {
			if err := line.Run(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrClosed) {
				fmt.Printf("sitesim: line %s: %v\n", path, err)
			}
		})
	}
	for _, s := range p.locks {
		work.Go(func() { s.live(ctx) })
	}
	return work.Wait
}

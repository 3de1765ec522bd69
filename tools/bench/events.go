package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

// window is how many events wait for the disk at any time.
const window = 1024

// sampleEvent is an access event as a door makes it.
func sampleEvent(i int) site.Event {
	return site.Event{Time: time.Date(2026, 11, 21, 8, 0, 0, i*1000, time.UTC), Trusted: true, Kind: site.KindAccess,
		Door: doorIDs[i%len(doorIDs)], Reader: "in", Reason: site.ReasonGranted, HolderID: site.HolderID(fmt.Sprintf("h%d", i)),
		Credential: site.CredentialID(fmt.Sprintf("%016x-26", i)), Card: site.CardRef{Last2: "42", Tag: "a41f0c"}, Source: site.SourceOperator}
}

// eventRows compares the event log with bbolt. Both take the same events, both
// flush before they acknowledge, both write all that waits in one go.
func eventRows(b *bench) (rows []row, err error) {
	log, stop, err := b.doorLog("spool")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	db, err := bbolt.Open(filepath.Join(b.dir, "events.db"), 0o600, &bbolt.Options{NoStatistics: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	per := pick(b, 50_000, 5000)
	events := make([]site.Event, per)
	payloads := make([][]byte, per)
	for i := range events {
		events[i] = sampleEvent(i)
		events[i].Log, events[i].Seq = log.ID(), site.EventSeq(i+1)
		if payloads[i], err = json.Marshal(events[i]); err != nil {
			return nil, err
		}
	}
	var mine, theirs []float64
	for range pick(b, 21, 5) {
		rate, err := spoolRate(b.ctx, log, events)
		if err != nil {
			return nil, err
		}
		mine = append(mine, rate)
		if rate, err = bboltRate(db, payloads); err != nil {
			return nil, err
		}
		theirs = append(theirs, rate)
	}
	flush, err := flushTime(db)
	return []row{{Name: "events_per_second", Value: median(mine), Yardstick: median(theirs), Bar: 0.8, AtLeast: true, Unit: "events/s",
		Detail: map[string]any{"events_a_round": per, "waiting": window, "event_bytes": len(payloads[0]),
			"spool": mine, "bbolt": theirs, "bbolt_empty_commit_us": micros(flush), "events_lost": log.Status().Lost}}}, err
}

// spoolRate appends the events with a window of them unacknowledged.
func spoolRate(ctx context.Context, log *spool.Log, events []site.Event) (float64, error) {
	pending := make(chan *spool.Receipt, window)
	var failed error
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		for r := range pending {
			if _, err := r.Wait(ctx); err != nil && failed == nil {
				failed = err
			}
		}
	}()
	for _, ev := range events {
		pending <- log.Append(ev)
	}
	close(pending)
	<-done
	return float64(len(events)) / time.Since(began).Seconds(), failed
}

// bboltRate puts the same bytes in order, each write transaction with all that
// waits, at most a window.
func bboltRate(db *bbolt.DB, payloads [][]byte) (float64, error) {
	queue := make(chan []byte, window)
	began := time.Now()
	go func() {
		defer close(queue)
		for _, p := range payloads {
			queue <- p
		}
	}()
	for {
		group := waiting(queue)
		if len(group) == 0 {
			return float64(len(payloads)) / time.Since(began).Seconds(), nil
		}
		if err := db.Update(func(tx *bbolt.Tx) error { return appendAll(tx, group) }); err != nil {
			for range queue { // its sender must end
			}
			return 0, err
		}
	}
}

// waiting waits for one and returns all that is there; none at the end.
func waiting(queue <-chan []byte) [][]byte {
	p, ok := <-queue
	if !ok {
		return nil
	}
	group := [][]byte{p}
	for len(group) < window {
		select {
		case p, ok := <-queue:
			if !ok {
				return group
			}
			group = append(group, p)
		default:
			return group
		}
	}
	return group
}

func appendAll(tx *bbolt.Tx, group [][]byte) error {
	b, err := tx.CreateBucketIfNotExists([]byte("events"))
	if err != nil {
		return err
	}
	b.FillPercent = 1 // they come in order: the best that it can
	for _, p := range group {
		seq, err := b.NextSequence()
		if err == nil {
			err = b.Put(binary.BigEndian.AppendUint64(nil, seq), p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// flushTime is what one small commit takes: how fast the disk is at flushes.
func flushTime(db *bbolt.DB) (time.Duration, error) {
	var s samples
	for i := range 50 {
		began := time.Now()
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("flush"))
			if err != nil {
				return err
			}
			return b.Put([]byte("k"), []byte{byte(i)})
		})
		if err != nil {
			return 0, err
		}
		s = append(s, time.Since(began))
	}
	return s.p50(), nil
}

package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// maxSealed is the largest content that goes into an event. A larger change is
// a bulk change: its event holds a digest and a count, and its acknowledgement
// waits for a verified copy.
const maxSealed = 32 << 10

// maxOps is the largest number of operations of a change.
const maxOps = 100_000

// Apply makes a change in the name of by: whole or not at all. It returns when
// the change is durable in the policy file and its event in the log.
//
// A *RecordError names the operation at fault, its field and why; then nothing
// was changed. ErrNotLogged and ErrNotCopied mean that the change holds. When
// ctx ends before the change is begun nothing is changed; after that ErrNotLogged
// says so.
func (s *Store) Apply(ctx context.Context, by string, ch Change) (Result, error) {
	res, err := s.apply(ctx, by, ch)
	if err != nil {
		return res, fmt.Errorf("store: change: %w", err)
	}
	return res, nil
}

func (s *Store) apply(ctx context.Context, by string, ch Change) (Result, error) {
	if len(ch.Ops) == 0 {
		return Result{}, errors.New("it has no operations")
	}
	if len(ch.Ops) > maxOps {
		return Result{}, fmt.Errorf("%d operations: at most %d", len(ch.Ops), maxOps)
	}
	src, err := sourceCode(ch.Source)
	if err != nil {
		return Result{}, err
	}
	if err := s.holdWriter(ctx); err != nil {
		return Result{}, err
	}
	res, bulk, err := s.applyHeld(by, src, ch)
	<-s.writer
	if err != nil {
		return Result{}, err
	}
	if res.Seq, err = s.writeLog(ctx, res.Change); err != nil {
		return res, err
	}
	if bulk {
		if err := s.copyUpTo(ctx, res.Change); err != nil {
			return res, fmt.Errorf("%w: %w", ErrNotCopied, err)
		}
	}
	return res, nil
}

// applyHeld makes the change in one transaction. The writer is held.
func (s *Store) applyHeld(by string, src byte, ch Change) (res Result, bulk bool, err error) {
	var c *change
	var h header
	err = s.policy.update(func(tx *bbolt.Tx) error {
		if h, err = getHeader(tx); err != nil {
			return err
		}
		res = Result{IDs: make([]string, 0, len(ch.Ops))}
		c = &change{s: s, tx: tx, h: &h, src: src, source: ch.Source, doors: ch.Doors, locks: s.newLockCheck(h.Change)}
		var text string
		for i, op := range ch.Ops {
			c.record = i + 1
			id, t, err := op.apply(c)
			if err != nil {
				if re, ok := errors.AsType[*RecordError](err); ok {
					re.Record = i + 1
				}
				return err
			}
			res.IDs = append(res.IDs, id)
			if i == 0 {
				text = t
			}
		}
		if err := c.checkAlone(); err != nil {
			return err
		}
		over, err := c.locks.check(tx, &h)
		if err != nil {
			return err
		}
		if len(over) > 0 {
			return &RecordError{Record: over[0].record, Err: over[0].err}
		}
		if n := len(ch.Ops) - 1; n > 0 {
			text = fmt.Sprintf("%s, and %d more", text, n)
		}
		if err := s.clearOutbox(tx); err != nil {
			return err
		}
		e := s.policyEvent(by, ch.Source, text)
		if bulk, err = s.putOutbox(tx, &h, e, c.content, len(ch.Ops)); err != nil {
			return err
		}
		return putHeader(tx, &h)
	})
	if err != nil {
		return res, false, err
	}
	res.Change = h.Change
	c.locks.done(h.Change)
	s.uses.reset(c.resets)
	if s.stage != nil {
		s.stage.touch(c.dirty)
	}
	err = s.reload()
	s.names.forget()
	return res, bulk, err
}

func (s *Store) policyEvent(by string, source site.Source, text string) site.Event {
	now, trusted := s.opt.Clock()
	return site.Event{Time: now, Trusted: trusted, Kind: site.KindPolicy, By: by, Source: source, Text: text}
}

// putOutbox numbers a change and keeps its event with it.
func (s *Store) putOutbox(tx *bbolt.Tx, h *header, e site.Event, content []byte, count int) (bulk bool, err error) {
	h.Change = max(h.Change, s.log.MaxChange()) + 1
	e.Change = h.Change
	if bulk = len(content) > maxSealed; bulk {
		sum := sha256.Sum256(content)
		e.Data, e.Count = fmt.Sprintf("%x", sum[:8]), uint64(count)
	} else if e.Sealed, err = s.keys.sealContent(h.Change, content); err != nil {
		return false, err
	}
	return bulk, putEvent(tx, bucketOutbox, h.Change, e)
}

// putEvent keeps an event under a number until it is in the log.
func putEvent(tx *bbolt.Tx, bucket []byte, n uint64, e site.Event) error {
	payload, err := json.Marshal(e)
	if err != nil {
		return err
	}
	key := binary.BigEndian.AppendUint64(nil, n)
	return tx.Bucket(bucket).Put(key, appendValue(nil, bucket[0], key, payload))
}

// pending is an event that waits in an outbox.
type pending struct {
	n uint64
	e site.Event
}

func readEvents(tx *bbolt.Tx, bucket []byte, above uint64) (out []pending, err error) {
	err = eachIn(tx, bucket, func(k, p []byte) error {
		if len(k) != 8 {
			return damaged("outbox key of %d bytes", len(k))
		}
		n := binary.BigEndian.Uint64(k)
		if n <= above {
			return nil
		}
		var e site.Event
		if err := json.Unmarshal(p, &e); err != nil {
			return damaged("outbox: %w", err)
		}
		out = append(out, pending{n, e})
		return nil
	})
	return out, err
}

// clearOutbox removes what is in the log.
func (s *Store) clearOutbox(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketOutbox)
	if b == nil {
		return damaged("outbox is missing")
	}
	done := s.logged.Load()
	c := b.Cursor()
	for k, _ := c.First(); len(k) == 8 && binary.BigEndian.Uint64(k) <= done; k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// writeLog appends the events of the outbox in order, up to and with change n,
// and returns the place of n (0 when somebody else wrote it). The end of ctx ends
// the wait alone: what was given to the log may still get its place there, so
// nobody gives it again before the log has answered.
func (s *Store) writeLog(ctx context.Context, n uint64) (site.EventSeq, error) {
	if err := hold(ctx, s.logger); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotLogged, err)
	}
	if s.logged.Load() >= n {
		<-s.logger
		return 0, nil
	}
	var at site.EventSeq
	done := make(chan error, 1)
	go func() { // ends with the log's answer, which comes at the latest when the log is closed
		var err error
		at, err = s.writeOutbox(context.WithoutCancel(ctx), n)
		<-s.logger
		done <- err
	}()
	select {
	case err := <-done:
		return at, err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", ErrNotLogged, ctx.Err())
	}
}

// writeOutbox is writeLog's work. The logger is held.
func (s *Store) writeOutbox(ctx context.Context, n uint64) (seq site.EventSeq, err error) {
	var list []pending
	err = s.policy.view(func(tx *bbolt.Tx) (err error) {
		list, err = readEvents(tx, bucketOutbox, s.logged.Load())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotLogged, err)
	}
	for _, p := range list {
		at, err := s.log.Append(ctx, p.e)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrNotLogged, err)
		}
		s.logged.Store(p.n)
		if p.n == n {
			seq = at
		}
	}
	return seq, nil
}

// AcceptIncomplete ends ErrIncomplete in the name of by: a person has seen that
// what was lost may have been a revocation or a block.
func (s *Store) AcceptIncomplete(ctx context.Context, by string) error {
	if err := s.holdWriter(ctx); err != nil {
		return storeErr("accept", err)
	}
	var n uint64
	err := s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		h.Incomplete = false
		e := s.policyEvent(by, site.SourceOperator, "incomplete policy accepted")
		if _, err := s.putOutbox(tx, &h, e, nil, 0); err != nil {
			return err
		}
		n = h.Change
		return putHeader(tx, &h)
	})
	if err == nil {
		err = s.reload()
	}
	<-s.writer
	if err == nil {
		_, err = s.writeLog(ctx, n)
	}
	return storeErr("accept", err)
}

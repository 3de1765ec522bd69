package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

const (
	flushEvery = 500 * time.Millisecond // uses
	retryEvery = 10 * time.Second       // events that the log did not take, a recovery that did not succeed
	trashBatch = 1000                   // records deleted in one transaction

	// checkAfter leaves the processors and the disk to the rest of a start:
	// the check of a large file comes when the doors are ready.
	checkAfter = 2 * time.Second
)

// pause waits and reports whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// String names the store to its supervisor.
func (s *Store) String() string { return "store" }

// Run does the background work until ctx ends: it writes to the log what a cut
// kept out of it, checks a large file, flushes uses, makes and checks copies,
// deletes old generations, and recovers from damage that a read has met. It
// returns nil when ctx ends, after all of it has stopped.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.maintain(ctx) })
	wg.Go(func() { s.copyLoop(ctx) })
	wg.Wait()
	return nil
}

func (s *Store) maintain(ctx context.Context) {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	s.catchUp(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case cause := <-s.wantCheck:
			s.recoverLive(ctx, cause)
		case cause := <-s.wantDevices:
			s.recoverDevicesLive(ctx, cause)
		case <-flush.C:
			s.report("flush uses", s.FlushUses(ctx))
		case <-retry.C:
			s.catchUp(ctx)
		}
	}
}

func (s *Store) report(op string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrFault) {
		s.lg.Error("store", "op", op, "err", err)
	}
}

// catchUp writes waiting events to the log and tries a failed recovery again.
func (s *Store) catchUp(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	if s.policy.db.Load() == nil {
		s.recoverLive(ctx, ErrFault)
	}
	if s.devices.db.Load() == nil {
		s.recoverDevicesLive(ctx, ErrFault)
	}
	s.report("catch up", s.CatchUp(ctx))
}

// CatchUp writes to the log what a cut or a failing log kept out of it: changes
// in their order, vends, and events of recovery. Run does it at its start and
// every ten seconds; who opens a store without Run calls it once.
func (s *Store) CatchUp(ctx context.Context) error {
	_, err := s.writeLog(ctx, s.Snapshot().Version)
	if !s.vendsReplayed.Load() {
		verr := s.replayVends(ctx)
		s.vendsReplayed.Store(verr == nil)
		err = errors.Join(err, verr)
	}
	s.eventsMu.Lock()
	list := s.events
	s.events = nil
	s.eventsMu.Unlock()
	for i, e := range list {
		if _, aerr := s.log.Append(ctx, e); aerr != nil {
			s.eventsMu.Lock()
			s.events = append(append([]site.Event(nil), list[i:]...), s.events...)
			s.eventsMu.Unlock()
			return errors.Join(err, aerr)
		}
	}
	return err
}

// hurt hands damage to Run. It never blocks; one report is enough.
func (s *Store) hurt(err error) {
	select {
	case s.wantCheck <- err:
	default:
	}
}

func (s *Store) hurtDevices(err error) {
	select {
	case s.wantDevices <- err:
	default:
	}
}

// recoverLive replaces the policy file while the agent runs, if it is really
// damaged: a panic alone may be a mistake of ours. From the moment that the
// damage is certain until the new file is in place every read is ErrFault.
func (s *Store) recoverLive(ctx context.Context, cause error) {
	if s.holdWriter(ctx) != nil {
		return
	}
	defer func() { <-s.writer }()
	if s.policy.db.Load() != nil {
		_, err := s.policy.inspectLive(ctx)
		if err == nil || !isDamage(err) {
			s.lg.Error("policy file was reported damaged and is not", "cause", cause, "check", err)
			s.report("reload", s.reload())
			return
		}
		cause = err
	} else if !s.recovering && s.reopen(ctx) {
		return
	}
	var rep Report
	s.recovering = true
	err := s.recoverPolicy(ctx, &rep, cause)
	if err == nil {
		err = s.ReplaceNonces()
		rep.NoncesReplaced = err == nil
	}
	if err == nil {
		err = s.endRecovery(policyRecovering)
	}
	if err != nil {
		_ = s.policy.close()
		s.lg.Error("policy file could not be recovered; doors refuse", "err", err)
	}
	s.recovering = err != nil
	s.uses.replaced()
	s.names.forget()
	s.drain(s.wantCheck)
	s.told(rep)
}

// reopen goes on with a policy file that was given up after a panic in the
// middle of a transaction, if it is sound: bbolt has written nothing then. The
// writer is held.
func (s *Store) reopen(ctx context.Context) bool {
	if CheckFile(ctx, s.policy.path) != nil {
		return false
	}
	var rep Report
	if err := s.takePolicy(ctx, s.policy.path, &rep, false); err != nil {
		s.lg.Error("policy file was given up, is sound, and could not be opened again", "err", err)
		return false
	}
	s.lg.Error("policy file was given up and is sound; it was opened again")
	s.uses.replaced()
	s.names.forget()
	s.drain(s.wantCheck)
	if rep.Damaged() {
		s.told(rep)
	}
	return true
}

func (s *Store) recoverDevicesLive(ctx context.Context, cause error) {
	if s.devices.db.Load() != nil {
		if _, err := s.devices.inspectLive(ctx); err == nil || !isDamage(err) {
			s.lg.Error("devices file was reported damaged and is not", "cause", cause, "check", err)
			return
		}
	}
	var rep Report
	if err := s.recoverDevices(ctx, &rep, cause); err != nil {
		_ = s.devices.close()
		s.lg.Error("devices file could not be recovered; nonces are refused", "err", err)
	}
	s.drain(s.wantDevices)
	s.told(rep)
}

func (s *Store) drain(c chan error) {
	select {
	case <-c:
	default:
	}
}

func (s *Store) told(rep Report) {
	s.lg.Error("store recovered", "policy", rep.PolicyDamage, "devices", rep.DevicesDamage,
		"rolled_forward", rep.RolledForward, "missing", rep.MissingChanges)
	if s.opt.OnFault != nil {
		s.opt.OnFault(rep)
	}
}

// copyLoop makes the copies that are due, checks a large file once and the
// copy every day, and deletes old generations.
func (s *Store) copyLoop(ctx context.Context) {
	if s.checkAll {
		if !pause(ctx, checkAfter) {
			return
		}
		_, err := s.policy.inspectLive(ctx) // damage goes to Run by itself
		s.report("check", err)
	}
	// A cut after a bulk change leaves a copy that lacks it.
	s.copied.Store(s.copyChange())
	have, err := exists(s.path(copyName))
	if have && s.copied.Load() == 0 && s.Snapshot().Version > 0 {
		s.checkCopy(ctx) // it cannot be read: do not just write over it
	}
	if err == nil && !have || s.copied.Load() < s.Snapshot().Version {
		s.copyDue(ctx, 0)
	}
	var due <-chan time.Time
	if s.cfg.CopyEvery > 0 {
		t := time.NewTicker(s.cfg.CopyEvery)
		defer t.Stop()
		due = t.C
	}
	check := time.NewTimer(checkAfter)
	defer check.Stop()
	for {
		s.report("delete old generation", s.clearUp(ctx))
		select {
		case <-ctx.Done():
			return
		case <-check.C:
			s.checkCopy(ctx)
			check.Reset(copyCheckEvery)
		case <-s.wantTrash:
		case <-due:
			if n := s.Snapshot().Version; n > s.copied.Load() {
				s.copyDue(ctx, n)
			}
		}
	}
}

// copyDue makes a copy in the background and tells where that fails.
func (s *Store) copyDue(ctx context.Context, n uint64) {
	err := s.copyUpTo(ctx, n)
	s.report("copy", err)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrFault) && s.opt.OnFault != nil {
		s.opt.OnFault(Report{Uncopied: err})
	}
}

// clearUp deletes what imports have left, unless one runs.
func (s *Store) clearUp(ctx context.Context) error {
	select {
	case s.importing <- struct{}{}:
		defer func() { <-s.importing }()
	default:
		return nil // it clears up by itself, and says so at its end
	}
	return errors.Join(s.dropHidden(ctx), s.emptyTrash(ctx))
}

// emptyTrash deletes old generations in short transactions.
func (s *Store) emptyTrash(ctx context.Context) error {
	for {
		if err := s.holdWriter(ctx); err != nil {
			return err
		}
		err := s.policy.update(trashSome)
		<-s.writer
		if errors.Is(err, errNothing) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func trashSome(tx *bbolt.Tx) error {
	trash := tx.Bucket(bucketTrash)
	if trash == nil {
		return damaged("trash is missing")
	}
	name, _ := trash.Cursor().First()
	if name == nil {
		return errNothing
	}
	b := trash.Bucket(name)
	if b == nil {
		return damaged("trash holds a record")
	}
	keys := make([][]byte, 0, trashBatch)
	c := b.Cursor()
	for k, _ := c.First(); k != nil && len(keys) < cap(keys); k, _ = c.Next() {
		keys = append(keys, append([]byte(nil), k...))
	}
	if len(keys) == 0 {
		return trash.DeleteBucket(append([]byte(nil), name...))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// dropHidden deletes the holders of an import that was not switched to, in
// short transactions. No import runs, or it is the one that calls.
func (s *Store) dropHidden(ctx context.Context) error {
	for {
		if err := s.holdWriter(ctx); err != nil {
			return err
		}
		err := s.policy.update(dropSomeHidden)
		<-s.writer
		if errors.Is(err, errNothing) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func dropSomeHidden(tx *bbolt.Tx) error {
	h, err := getHeader(tx)
	if err != nil {
		return err
	}
	if h.HiddenFrom >= h.HiddenTo {
		return errNothing
	}
	holders, names := tx.Bucket(bucketHolder), tx.Bucket(bucketName)
	if holders == nil || names == nil {
		return damaged("holders are missing")
	}
	end := min(h.HiddenFrom+trashBatch, h.HiddenTo)
	for n := h.HiddenFrom; n < end; n++ {
		k := holderKey(n)
		v := holders.Get(k)
		if v == nil {
			continue
		}
		p, err := openValue(codeHolder, k, v)
		if err != nil {
			return damaged("holder: %w", err)
		}
		src, name, err := decodeHolder(p)
		if err != nil {
			return asDamage(err)
		}
		if err := errors.Join(names.Delete(nameKey(src, name, n)), holders.Delete(k)); err != nil {
			return err
		}
	}
	if h.HiddenFrom = end; h.HiddenFrom >= h.HiddenTo {
		h.HiddenFrom, h.HiddenTo = 0, 0
	}
	return putHeader(tx, &h)
}

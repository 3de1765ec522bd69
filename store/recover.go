package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// openPolicy opens the policy file, or makes it (fresh), or recovers it.
func (s *Store) openPolicy(ctx context.Context, rep *Report, fresh bool) error {
	cause, err := s.cutRecovery(policyRecovering)
	if err != nil {
		return err
	}
	if cause != nil {
		return s.recoverPolicy(ctx, rep, cause)
	}
	path := s.path(policyName)
	have, err := exists(path)
	if err != nil {
		return err
	}
	haveCopy, err := exists(s.path(copyName))
	if err != nil {
		return err
	}
	if !have && (fresh || !haveCopy && s.log.MaxChange() == 0) {
		h := s.newHeader()
		h.Generation = 1
		if err := s.createBolt(path, policyBuckets, h); err != nil {
			return err
		}
		have = true
	}
	if !have {
		return s.recoverPolicy(ctx, rep, errors.New("the policy file is missing"))
	}
	metas, err := s.checkPolicy(ctx, path)
	if err == nil && metas < 2 {
		// bbolt would go on from the commit before, and write over what is damaged.
		err = damaged("%s: one of two meta pages is damaged", path)
		if ok, _, cerr := s.copyUsable(ctx); cerr != nil || !ok {
			rep.PolicyDamage, err = err, nil // there is nothing better
		}
	}
	if err == nil {
		err = s.takePolicy(ctx, path, rep, false)
	}
	if isDamage(err) && !errors.Is(err, ErrNewer) {
		return s.recoverPolicy(ctx, rep, err)
	}
	return err
}

// checkPolicy checks a file that is not open, a small one whole, and returns how
// many of its two meta pages are valid.
func (s *Store) checkPolicy(ctx context.Context, path string) (metas int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	m, metas, err := readMeta(f, fi.Size())
	if err != nil {
		return 0, damaged("%s: %w", path, err)
	}
	s.checkAll = int64(m.pages)*int64(m.pageSize) > fullCheckAtOpen
	if !s.checkAll {
		_, err = inspectFile(ctx, path)
	}
	return metas, err
}

// takePolicy opens the file, makes it current, and only then lets others read
// it: a copy knows nothing of what was revoked after it.
func (s *Store) takePolicy(ctx context.Context, path string, rep *Report, noBase bool) error {
	f := &boltFile{path: path, mapSize: s.policy.mapSize}
	db, err := openBolt(path, f.mapSize)
	if err != nil {
		return err
	}
	f.db.Store(db)
	if err = s.attach(db); err == nil {
		err = s.settle(ctx, f, rep, noBase)
	}
	if err != nil {
		_ = f.close()
		return err
	}
	s.policy.db.Store(f.db.Swap(nil))
	s.forgetLocks()
	return s.reload()
}

// attach checks that a file is this key's and brings it to this schema.
func (s *Store) attach(db *bbolt.DB) error {
	var h header
	err := viewDB(db, func(tx *bbolt.Tx) (err error) {
		h, err = getHeader(tx)
		return err
	})
	if err != nil {
		return err
	}
	if h.Check != s.keys.check {
		return fmt.Errorf("%s: %w", db.Path(), ErrKeyWrong)
	}
	return migrate(db, h)
}

// migrations bring a file from one schema to the next: migrations[0] from 1 to
// 2. Each runs in one transaction together with the new header.
var migrations = []func(*bbolt.Tx, *header) error{addIndex, addFiles}

// addIndex brings a file to schema 2: PINs of before do not open alone. A file of
// devices has no generation, and nothing to add.
func addIndex(tx *bbolt.Tx, h *header) error {
	if h.Generation == 0 {
		return nil
	}
	b := tx.Bucket(generation(h.Generation))
	if b == nil {
		return damaged("credentials bucket is missing")
	}
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if notAlone(v) {
			h.NotAlone++
		}
	}
	_, err := tx.CreateBucket(aloneIndex(h.Generation))
	return err
}

func migrate(db *bbolt.DB, h header) error {
	for h.Schema < schemaVersion {
		step, next := migrations[h.Schema-1], h
		err := guard(func() error {
			return db.Update(func(tx *bbolt.Tx) error {
				next = h
				if err := step(tx, &next); err != nil {
					return err
				}
				next.Schema++
				return putHeader(tx, &next)
			})
		})
		if err != nil {
			return fmt.Errorf("migrate to schema %d: %w", h.Schema+1, err)
		}
		h = next
	}
	return nil
}

// settle makes an attached file current: it puts left-over generations into
// the trash and rolls forward what the log has and the file does not.
func (s *Store) settle(ctx context.Context, f *boltFile, rep *Report, noBase bool) error {
	var h header
	err := f.update(func(tx *bbolt.Tx) (err error) {
		if h, err = getHeader(tx); err != nil {
			return err
		}
		moved, err := trashFiles(tx)
		if err != nil {
			return err
		}
		if err = trashOthers(tx, h.Generation); moved && errors.Is(err, errNothing) {
			err = nil
		}
		return err
	})
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	if h, err = s.readHeader(f); err != nil {
		return err
	}
	if err := s.rollForward(ctx, f, rep, h, noBase); err != nil {
		return err
	}
	if h, err = s.readHeader(f); err != nil {
		return err
	}
	rep.Incomplete = h.Incomplete
	s.logged.Store(min(s.log.MaxChange(), h.Change))
	return nil
}

// trashOthers moves every generation that is not live into the trash.
func trashOthers(tx *bbolt.Tx, live uint32) error {
	var names [][]byte
	err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		code, _ := codeOf([][]byte{name})
		old := code == codeCredential && string(name) != string(generation(live)) ||
			code == codeAlone && string(name) != string(aloneIndex(live))
		if old && len(name) == 5 {
			names = append(names, append([]byte(nil), name...))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return errNothing
	}
	return trashAll(tx, names)
}

func trashAll(tx *bbolt.Tx, names [][]byte) error {
	for _, n := range names {
		if err := tx.MoveBucket(n, nil, tx.Bucket(bucketTrash)); err != nil {
			return err
		}
	}
	return nil
}

// rollForward applies the changes of the log that the file lacks, and counts
// the uses that it lacks. Contents are absolute and the mark says which uses
// are counted, so nothing that the file has is done twice.
func (s *Store) rollForward(ctx context.Context, f *boltFile, rep *Report, h header, noBase bool) error {
	top := s.log.MaxChange()
	changes := rep.FromCopy || noBase || top > h.Change
	applied := make(map[uint64]bool)
	base := h.Change
	var at, marked site.EventSeq
	err := f.update(func(tx *bbolt.Tx) error {
		clear(applied)
		h.Change = base
		r, exact, err := s.recounterFor(tx, &h, rep.FromCopy, noBase)
		if err != nil {
			return err
		}
		from := r.from
		if changes {
			from = min(from, site.EventSeq(h.CopySeq))
		}
		err = s.log.Scan(ctx, from+1, func(e site.Event) error {
			if e.Kind == site.KindPolicy && e.Change > base && len(e.Sealed) > 0 && !applied[e.Change] {
				if err := s.applySealed(r, e); err != nil {
					s.lg.Error("change not rolled forward", "change", e.Change, "err", err)
					return nil
				}
				applied[e.Change] = true
			}
			return r.event(&e)
		})
		if err != nil {
			return err
		}
		at, marked = r.at, r.from
		if !changes && exact && r.added == 0 && r.at < r.from+markEvery {
			return errNothing
		}
		if marked = at; changes {
			h.Change = max(base, top)
		}
		if noBase && uint64(len(applied)) < h.Change {
			h.Incomplete = true
		}
		return errors.Join(putMark(tx, useMark{seq: at}), putHeader(tx, &h))
	})
	if err != nil && !errors.Is(err, errNothing) {
		return fmt.Errorf("roll forward: %w", err)
	}
	s.uses.began(at, marked)
	rep.RolledForward += len(applied)
	if top > base {
		rep.MissingChanges += top - base - uint64(len(applied))
	}
	return nil
}

// recounterFor begins at the file's mark; exact says that the mark needs not be
// written anew. A file of before there were marks is taken to be complete. A
// mark above all of the log is of another one, which was lost: all that is in
// this one is older than the counts.
func (s *Store) recounterFor(tx *bbolt.Tx, h *header, fromCopy, noBase bool) (r *recounter, exact bool, err error) {
	last := s.log.Last()
	m, found, err := getMark(tx)
	if err != nil {
		return nil, false, err
	}
	switch {
	case found:
	case fromCopy:
		m.seq = site.EventSeq(h.CopySeq)
	case !noBase:
		m.seq = last
	}
	exact = found && len(m.waiting) == 0 && m.seq <= last
	m.seq = min(m.seq, last)
	return &recounter{s: s, tx: tx, h: h, from: m.seq, prev: m.seq, waiting: m.waiting, at: last}, exact, nil
}

// applySealed makes a change of the log.
func (s *Store) applySealed(r *recounter, e site.Event) error {
	content, err := s.keys.openContent(e.Change, e.Sealed)
	if err != nil {
		return err
	}
	// All entries are checked before the first is applied.
	if err := eachContent(content, func(byte, []byte, []byte) error { return nil }); err != nil {
		return err
	}
	return eachContent(content, func(code byte, key, value []byte) error {
		if code == codeUsed && len(key) == len(credKey{}) {
			delete(r.waiting, credKey(key)) // its count begins anew
		}
		return applyRaw(r.tx, r.h, code, key, value)
	})
}

// recoverPolicy sets the policy file aside and goes on from the copy, rolled
// forward. Without a copy it begins with nothing and takes all that the log
// has; if that does not reach back to the first change, Lookup refuses. Nothing
// is moved before it is certain what it goes on from and that the key is right.
// Its caller replaces the nonces and ends it with endRecovery; what is cut short
// before that is done again.
func (s *Store) recoverPolicy(ctx context.Context, rep *Report, cause error) error {
	// Nothing is looked up until the file and what was read from it agree.
	fault := error(ErrFault)
	s.status.Store(&fault)
	_ = s.policy.close()
	rep.PolicyDamage = cause
	ok, copyDamage, err := s.copyUsable(ctx)
	if err == nil {
		err = s.othersKey(ctx)
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := s.beginRecovery(policyRecovering, cause); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := s.quarantine(rep, policyName); err != nil {
		return err
	}
	if copyDamage != nil {
		s.lg.Error("copy of the policy is damaged", "err", copyDamage)
		if err := s.quarantine(rep, copyName); err != nil {
			return err
		}
	}
	path := s.path(policyName)
	rep.FromCopy = ok
	if ok {
		err = writeWhole(path, func(f *os.File) error {
			c, err := os.Open(s.path(copyName))
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = io.Copy(f, c)
			return err
		})
	} else {
		h := s.newHeader()
		h.Generation = 1
		err = s.createBolt(path, policyBuckets, h)
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := s.takePolicy(ctx, path, rep, !ok); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	s.queueFault("policy file", rep)
	return nil
}

// copyUsable checks the copy whole and moves nothing. damage says what is wrong
// with one that may be set aside; err, that it cannot be judged or is another
// key's.
func (s *Store) copyUsable(ctx context.Context) (ok bool, damage, err error) {
	path := s.path(copyName)
	have, err := exists(path)
	if err != nil || !have {
		return false, nil, err
	}
	in, err := inspectFile(ctx, path)
	switch {
	case err == nil && in.header.Check != s.keys.check:
		return false, nil, fmt.Errorf("%s: %w", path, ErrKeyWrong)
	case err == nil:
		return true, nil, nil
	case errors.Is(err, ErrNewer) || !isDamage(err):
		return false, nil, err
	}
	return false, err, nil
}

// othersKey looks whether a sound devices file is of another key: then the key
// is what is wrong, and a policy made anew under it would be lost with it.
func (s *Store) othersKey(ctx context.Context) error {
	if s.devices.db.Load() != nil {
		return nil // it was opened with the key
	}
	path := s.path(devicesName)
	if in, err := inspectFile(ctx, path); err == nil && in.header.Check != s.keys.check {
		return fmt.Errorf("%s: %w", path, ErrKeyWrong)
	}
	return ctx.Err()
}

// quarantine moves a file aside under the time; it is never deleted.
func (s *Store) quarantine(rep *Report, name string) error {
	have, err := exists(s.path(name))
	if err != nil || !have {
		return err
	}
	dir := s.path(quarantineName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	stamp := s.opt.Now().UTC().Format("20060102T150405.000Z")
	for i := 0; ; i++ {
		to := filepath.Join(dir, fmt.Sprintf("%s-%s-%d", name, stamp, i))
		if have, err := exists(to); err != nil {
			return err
		} else if have {
			continue
		}
		if err := os.Rename(s.path(name), to); err != nil {
			return err
		}
		rep.Quarantined = append(rep.Quarantined, to)
		break
	}
	return errors.Join(syncDir(dir), syncDir(s.cfg.Dir))
}

// queueFault keeps the event of a recovery until Run writes it to the log.
func (s *Store) queueFault(what string, rep *Report) {
	text := what + " damaged"
	for _, q := range rep.Quarantined {
		text += ", set aside as " + filepath.Base(q)
	}
	if what == "policy file" {
		from := "without a copy"
		if rep.FromCopy {
			from = "from the verified copy"
		}
		text += fmt.Sprintf("; goes on %s, %d changes rolled forward, %d missing", from, rep.RolledForward, rep.MissingChanges)
	} else {
		text += "; nonces and counters are new"
	}
	s.queueEvent(text)
}

// queueEvent keeps the event of a fault until Run writes it to the log.
func (s *Store) queueEvent(text string) {
	now, trusted := s.opt.Clock()
	s.eventsMu.Lock()
	s.events = append(s.events, site.Event{Time: now, Trusted: trusted, Kind: site.KindFault, Text: text, Source: site.SourceOperator})
	s.eventsMu.Unlock()
}

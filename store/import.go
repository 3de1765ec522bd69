package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"go.etcd.io/bbolt"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// ImportOptions are what Import may be given. The zero value is good.
type ImportOptions struct {
	DryRun  bool
	Formats *card.Set              // nil: card.Standard
	Doors   func(site.DoorID) bool // nil: every well-formed id is accepted
	// Progress is told now and then how many rows of how many are done; total
	// is 0 while the rows are read. Nil: nobody.
	Progress func(done, total int)
}

// ImportResult is what an import did, or would do.
type ImportResult struct {
	Rows         int
	Added        int
	Changed      int
	Unchanged    int
	Holders      int    // new ones
	StillBlocked int    // rows of credentials that are and stay revoked or blocked
	Change       uint64 // its number; 0 for a dry run and for one that changed nothing
	Seq          site.EventSeq
}

// ImportError lists the records at fault. Nothing was changed.
type ImportError struct {
	Records []*RecordError // the first ones, in the order in which they were found
	More    int            // how many follow
}

// maxImportErrors is how many faults an import lists.
const maxImportErrors = 100

// Error returns the first fault and how many more there are.
func (e *ImportError) Error() string {
	n := len(e.Records) - 1 + e.More
	if n == 0 {
		return e.Records[0].Error()
	}
	return fmt.Sprintf("%v (and %d more)", e.Records[0], n)
}

// Unwrap returns the faults.
func (e *ImportError) Unwrap() []error {
	out := make([]error, len(e.Records))
	for i, r := range e.Records {
		out[i] = r
	}
	return out
}

func (e *ImportError) add(r *RecordError) {
	if len(e.Records) >= maxImportErrors {
		e.More++
		return
	}
	e.Records = append(e.Records, r)
}

// directRows is the largest import that is made in one transaction, like a
// change. A larger one is built beside the live records and switched to.
const directRows = 2000

// mergeRows is how many records one transaction of a large import writes.
const mergeRows = 8192

// Import adds or updates the credentials of source by rows, and makes the
// holders that are missing: all or nothing. It never removes, and what is
// revoked or blocked stays so. It returns when the import is durable and a
// verified copy, or for a small one the event log, holds it. Decisions and
// changes go on meanwhile; a credential that another changes meanwhile has
// both changes.
//
// The error is an *ImportError where records are at fault, ErrBusy while
// another import runs. ErrNotLogged and ErrNotCopied mean that it holds.
func (s *Store) Import(ctx context.Context, by string, source site.Source, rows Rows, opt ImportOptions) (ImportResult, error) {
	res, err := s.runImport(ctx, by, source, rows, opt)
	if err != nil {
		return res, fmt.Errorf("store: import: %w", err)
	}
	return res, nil
}

// importer is an import that runs.
type importer struct {
	s      *Store
	ctx    context.Context // of Import, for as long as it runs
	opt    ImportOptions
	by     string
	src    byte
	source site.Source
	st     *stage
	res    ImportResult
	faults ImportError
	count  uint64 // records in the new generation
	alone  []alonePIN
	// notAlone is header.NotAlone of the new generation.
	notAlone uint64
	settled  map[credKey]bool // brought up to date in this transaction
	resets   []credKey
	arena    []byte
	// locked is what locks are to hold after a large import, and begun the last change
	// before it; nil: to be counted when it is switched to.
	locked *lockImport
	begun  uint64
}

func (s *Store) runImport(ctx context.Context, by string, source site.Source, rows Rows, opt ImportOptions) (ImportResult, error) {
	src, err := sourceCode(source)
	if err != nil {
		return ImportResult{}, err
	}
	if s.isImport.Swap(true) {
		return ImportResult{}, ErrBusy
	}
	defer s.isImport.Store(false)
	if err := hold(ctx, s.importing); err != nil { // Run may be clearing up
		return ImportResult{}, err
	}
	defer func() {
		<-s.importing
		select {
		case s.wantTrash <- struct{}{}:
		default:
		}
	}()
	if opt.Formats == nil {
		opt.Formats = card.Standard()
	}
	if opt.Progress == nil {
		opt.Progress = func(int, int) {}
	}
	st, err := newStage(s.path(stageName))
	if err != nil {
		return ImportResult{}, err
	}
	defer st.close()
	im := &importer{s: s, ctx: ctx, opt: opt, by: by, src: src, source: source, st: st}
	if err := im.read(rows); err != nil {
		return im.res, err
	}
	big := len(st.index) > directRows
	switch {
	case len(st.index) == 0:
		return im.res, nil
	case opt.DryRun:
		return im.res, im.dryRun()
	case big:
		err = im.large()
		defer debug.FreeOSMemory() // the index and the names were much
	default:
		big, err = im.small()
	}
	if err != nil || im.res.Change == 0 {
		return im.res, err
	}
	if im.res.Seq, err = s.writeLog(ctx, im.res.Change); err != nil {
		return im.res, err
	}
	if big {
		if err := s.copyUpTo(ctx, im.res.Change); err != nil {
			return im.res, fmt.Errorf("%w: %w", ErrNotCopied, err)
		}
	}
	return im.res, nil
}

func (im *importer) verdict() error {
	if len(im.faults.Records) == 0 {
		return nil
	}
	slices.SortStableFunc(im.faults.Records, func(a, b *RecordError) int { return a.Record - b.Record })
	return &im.faults
}

// one merges a row over what is live, and counts what that does. The holder is
// the number of the row's holder, 0 for a new one or none.
func (im *importer) one(tx *bbolt.Tx, e *stageEntry, row *stagedRow, live *credential, holder uint64) (credential, error) {
	if live != nil && row.holder != 0 && holder != live.Holder {
		name, err := holderNameIn(tx, live.Holder)
		if err != nil {
			return credential{}, err
		}
		if name != im.st.names[row.holder-1] {
			return credential{}, fieldErr("card", "is credential %s, held by %q, and here by %q", e.key.id(), name, im.st.names[row.holder-1])
		}
	}
	rec, err := row.merge(live, holder)
	if err != nil {
		return rec, err
	}
	switch {
	case live == nil:
		im.res.Added++
	case bytes.Equal(appendCredential(nil, live), appendCredential(nil, &rec)):
		im.res.Unchanged++
	default:
		im.res.Changed++
	}
	if live != nil && live.State != site.CredentialActive {
		im.res.StillBlocked++
	}
	if live == nil || live.Uses != rec.Uses || live.Function != rec.Function {
		used, err := usedIn(tx, &e.key)
		if err != nil {
			return rec, err
		}
		if im.s.uses.most(&e.key, used) > 0 {
			im.resets = append(im.resets, e.key)
		}
	}
	return rec, nil
}

func holderNameIn(tx *bbolt.Tx, n uint64) (string, error) {
	b := tx.Bucket(bucketHolder)
	if b == nil {
		return "", damaged("holders are missing")
	}
	k := holderKey(n)
	v := b.Get(k)
	if v == nil {
		return "", nil
	}
	p, err := openValue(codeHolder, k, v)
	if err != nil {
		return "", damaged("holder: %w", err)
	}
	_, name, err := decodeHolder(p)
	return name, asDamage(err)
}

// fault notes a fault of a record; any other error ends the import.
func (im *importer) fault(e *stageEntry, err error) error {
	re, ok := errors.AsType[*RecordError](err)
	if !ok {
		return err
	}
	re.Record = int(e.record)
	im.faults.add(re)
	return nil
}

// liveRecord returns the live record of a key, or nil.
func (im *importer) liveRecord(b *bbolt.Bucket, key *credKey) (*credential, error) {
	v := b.Get(key[:])
	if v == nil {
		return nil, nil
	}
	rec := new(credential)
	return rec, im.s.decodeCredential(key[:], v, rec)
}

// resolve finds the numbers of the holders that exist; 0 for the others.
func (im *importer) resolve(tx *bbolt.Tx, h *header) {
	im.st.holders = make([]uint64, len(im.st.names))
	im.res.Holders = 0
	for i, name := range im.st.names {
		if im.st.holders[i] = holderByName(tx, h, im.src, name); im.st.holders[i] == 0 {
			im.res.Holders++
		}
	}
}

func (im *importer) holderOf(row *stagedRow) uint64 {
	if row.holder == 0 {
		return 0
	}
	return im.st.holders[row.holder-1]
}

// dryRun merges without writing, in short transactions.
func (im *importer) dryRun() error {
	err := im.s.policy.view(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		im.resolve(tx, &h)
		return err
	})
	if err != nil {
		return err
	}
	for i := range im.st.holders {
		if im.st.holders[i] == 0 {
			im.st.holders[i] = 1<<64 - 1 // would be made
		}
	}
	total := len(im.st.index)
	for at := 0; at < total; at += mergeRows {
		if err := im.ctx.Err(); err != nil {
			return err
		}
		part := im.st.index[at:min(at+mergeRows, total)]
		err := im.s.viewCredentials(func(tx *bbolt.Tx, b *bbolt.Bucket) error {
			var row stagedRow
			for i := range part {
				if err := im.try(tx, b, &part[i], &row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		im.opt.Progress(at+len(part), total)
	}
	err = im.s.policy.view(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		return im.noteLive(tx, h.Generation)
	})
	if err != nil {
		return err
	}
	im.checkAlone()
	if err := im.checkLocks(0); err != nil {
		return err
	}
	return im.verdict()
}

func (im *importer) try(tx *bbolt.Tx, b *bbolt.Bucket, e *stageEntry, row *stagedRow) error {
	if err := im.st.row(e, &im.s.in, row); err != nil {
		return err
	}
	live, err := im.liveRecord(b, &e.key)
	if err != nil {
		return err
	}
	rec, err := im.one(tx, e, row, live, im.holderOf(row))
	if err != nil {
		return im.fault(e, err)
	}
	im.noteAlone(&e.key, &rec)
	return nil
}

// small makes the import as one change. bulk says that the change is too large
// for an event, so that only a copy keeps it.
func (im *importer) small() (bulk bool, err error) {
	s := im.s
	if err := s.holdWriter(im.ctx); err != nil {
		return false, err
	}
	defer func() { <-s.writer }()
	var c *change
	base := im.res
	err = s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		im.res, im.faults, im.resets, im.alone = base, ImportError{}, nil, nil
		c = &change{s: s, tx: tx, h: &h, src: im.src, source: im.source, doors: im.opt.Doors, locks: s.newLockCheck(h.Change)}
		if err := im.put(c); err != nil {
			return err
		}
		if im.res.Added+im.res.Changed+im.res.Holders == 0 {
			return errNothing
		}
		if err := s.clearOutbox(tx); err != nil {
			return err
		}
		if bulk, err = s.putOutbox(tx, &h, im.event(), c.content, im.res.Rows); err != nil {
			return err
		}
		im.res.Change = h.Change
		return putHeader(tx, &h)
	})
	if errors.Is(err, errNothing) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.locks.done(im.res.Change)
	s.uses.reset(c.resets)
	err = s.reload()
	s.names.forget()
	return bulk, err
}

func (im *importer) event() site.Event {
	return im.s.policyEvent(im.by, im.source, fmt.Sprintf("import: %d credentials added, %d changed, %d unchanged, %d holders added",
		im.res.Added, im.res.Changed, im.res.Unchanged, im.res.Holders))
}

// put makes the records of a small import inside a change.
func (im *importer) put(c *change) error {
	if err := im.s.flushUsesIn(c.tx); err != nil {
		return err
	}
	im.resolve(c.tx, c.h)
	b, err := c.creds()
	if err != nil {
		return err
	}
	for i, name := range im.st.names {
		if im.st.holders[i] == 0 {
			if im.st.holders[i], err = c.makeHolder(name); err != nil {
				return err
			}
		}
	}
	var row stagedRow
	for i := range im.st.index {
		e := &im.st.index[i]
		if err := im.st.row(e, &im.s.in, &row); err != nil {
			return err
		}
		live, err := im.liveRecord(b, &e.key)
		if err != nil {
			return err
		}
		unchanged := im.res.Unchanged
		rec, err := im.one(c.tx, e, &row, live, im.holderOf(&row))
		if err != nil {
			if err = im.fault(e, err); err != nil {
				return err
			}
			continue
		}
		im.noteAlone(&e.key, &rec)
		if im.res.Unchanged > unchanged {
			continue
		}
		c.record = int(e.record)
		if err := c.putCredential(&e.key, &rec); err != nil {
			return err
		}
	}
	for _, k := range im.resets {
		if err := c.resetUses(&k); err != nil {
			return err
		}
	}
	if err := im.noteLive(c.tx, c.h.Generation); err != nil {
		return err
	}
	im.checkAlone()
	over, err := c.locks.check(c.tx, c.h)
	if err != nil {
		return err
	}
	im.overFull(over)
	return im.verdict()
}

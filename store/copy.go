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

// Copy makes a verified copy of the policy file now: one read transaction,
// written beside, read back and checked whole, flushed, put in place of the
// one before. Decisions and changes go on meanwhile.
func (s *Store) Copy(ctx context.Context) error {
	return storeErr("copy", s.copyUpTo(ctx, 0))
}

// copyUpTo makes a copy unless one of another caller, made while this one
// waited, holds change n already. 0 makes one always.
func (s *Store) copyUpTo(ctx context.Context, n uint64) error {
	if err := hold(ctx, s.copying); err != nil {
		return err
	}
	defer func() { <-s.copying }()
	if n != 0 && s.copied.Load() >= n {
		return nil
	}
	seq, err := s.tagCopy(ctx)
	if err != nil {
		return err
	}
	tmp := s.path(copyName + ".tmp")
	in, err := s.writeCopy(ctx, tmp)
	if err != nil {
		_ = os.Remove(tmp)
		if isDamage(err) && ctx.Err() == nil {
			s.hurt(err)
		}
		return err
	}
	if err := os.Rename(tmp, s.path(copyName)); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(tmp)); err != nil {
		return err
	}
	s.copied.Store(in.header.Change)
	s.lg.Info("policy copied", "records", in.records, "change", in.header.Change)
	if s.opt.OnCopied != nil {
		s.opt.OnCopied(seq)
	}
	return nil
}

// tagCopy writes the log's position into the policy file. The copy that is
// begun after this holds every change and every use whose event is at or below
// it.
func (s *Store) tagCopy(ctx context.Context) (site.EventSeq, error) {
	if err := s.holdWriter(ctx); err != nil {
		return 0, err
	}
	defer func() { <-s.writer }()
	seq := s.log.Last()
	if err := s.flushUses(ctx); err != nil {
		return 0, err
	}
	return seq, s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		h.CopySeq = uint64(seq)
		return putHeader(tx, &h)
	})
}

func (s *Store) writeCopy(ctx context.Context, tmp string) (inspection, error) {
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return inspection{}, err
	}
	err = s.policy.view(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(&ctxWriter{ctx, f})
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = damaged("%s: shorter than its pages: %w", s.policy.path, err)
		}
		return err
	})
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return inspection{}, err
	}
	in, err := inspectFile(ctx, tmp)
	if err == nil && (in.header.Check != s.keys.check || in.metas < 2) {
		err = damaged("%s: its header is another store's, or one of two meta pages is damaged", tmp)
	}
	if err != nil {
		return in, fmt.Errorf("verify: %w", err)
	}
	return in, nil
}

// ctxWriter stops a long write when ctx ends.
type ctxWriter struct {
	ctx context.Context
	f   *os.File
}

func (w *ctxWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.f.Write(p)
}

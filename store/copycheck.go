package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// copyCheckEvery is the time between checks of the copy. What damages it is the
// age of the disk; a day bounds how long the site has none without knowing.
const copyCheckEvery = 24 * time.Hour

// copyChange returns the change that the copy on disk holds, 0 where there is
// none that can be read.
func (s *Store) copyChange() (n uint64) {
	_ = guard(func() error {
		db, err := bbolt.Open(s.path(copyName), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second, NoStatistics: true})
		if err != nil {
			return err
		}
		defer db.Close()
		return viewDB(db, func(tx *bbolt.Tx) error {
			h, err := getHeader(tx)
			n = h.Change
			return err
		})
	})
	return n
}

// checkCopy reads the copy whole. A damaged one is set aside and told of, and a
// new one is made at once, as where there is none.
func (s *Store) checkCopy(ctx context.Context) {
	f, err := os.Open(s.path(copyName))
	if errors.Is(err, fs.ErrNotExist) {
		s.copyDue(ctx, 0) // none could be made, or it was deleted
		return
	}
	if err != nil {
		s.report("check of the copy", err)
		return
	}
	defer f.Close()
	in, err := inspectOpen(ctx, f, &gentleReader{r: f, ctx: ctx})
	switch {
	case ctx.Err() != nil:
		return
	case err == nil && in.metas < 2:
		err = damaged("%s: one of two meta pages is damaged", f.Name())
	case err == nil && in.header.Check != s.keys.check:
		err = damaged("%s: its header is another store's", f.Name())
	}
	if err == nil {
		return
	}
	rep := Report{CopyDamage: err}
	if moved, err := s.dropCopy(ctx, f, &rep); err != nil {
		s.report("set the copy aside", err)
	} else if !moved {
		return
	}
	s.lg.Error("copy of the policy is damaged", "err", rep.CopyDamage)
	text := "copy of the policy file damaged"
	for _, q := range rep.Quarantined {
		text += ", set aside as " + filepath.Base(q)
	}
	s.queueEvent(text + "; a new one is made")
	if s.opt.OnFault != nil {
		s.opt.OnFault(rep)
	}
	s.copyDue(ctx, 0)
}

// dropCopy sets the copy aside if it is still the file that was checked: a new
// one may have taken its place meanwhile.
func (s *Store) dropCopy(ctx context.Context, checked *os.File, rep *Report) (moved bool, err error) {
	if err := hold(ctx, s.copying); err != nil {
		return false, nil
	}
	defer func() { <-s.copying }()
	was, err := checked.Stat()
	if err != nil {
		return true, err
	}
	is, err := os.Stat(s.path(copyName))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(was, is) {
		return false, nil
	}
	s.copied.Store(0) // whoever waits for a copy needs a new one
	if err := s.quarantine(rep, copyName); err != nil {
		return true, fmt.Errorf("quarantine: %w", err)
	}
	return true, nil
}

// gentleReader leaves most of the disk and of a processor to others: it rests
// for three times as long as it worked.
type gentleReader struct {
	r     io.ReaderAt
	ctx   context.Context // of the check
	since time.Time       // the end of the last rest
}

// gentleSlice is how long a gentleReader works without a rest.
const gentleSlice = 10 * time.Millisecond

// ReadAt reads after a rest if one is due.
func (g *gentleReader) ReadAt(p []byte, off int64) (int, error) {
	if g.since.IsZero() {
		g.since = time.Now()
	}
	if worked := time.Since(g.since); worked >= gentleSlice {
		if !pause(g.ctx, min(3*worked, time.Second)) {
			return 0, g.ctx.Err()
		}
		g.since = time.Now()
	}
	return g.r.ReadAt(p, off)
}

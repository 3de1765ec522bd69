package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// pageRows is how many records a read transaction of a listing reads at most.
const pageRows = 2000

// Filter chooses credentials. Zero fields choose all.
type Filter struct {
	Holder site.HolderID
	Source site.Source
	State  site.CredentialState
	// Door chooses those that have a right there, by themselves or by a level.
	Door site.DoorID
}

// Credentials calls fn with each credential that fits, in the order of ids. It
// reads in short transactions, so fn may be slow; a record that is changed
// meanwhile is shown as it was or as it is. It ends early when fn returns an
// error, which it returns. At the end come the cards of door files, one for each
// door that has them: they share an id.
func (s *Store) Credentials(ctx context.Context, f Filter, fn func(site.Credential) error) error {
	if err := s.eachChosen(ctx, f, func(_ *credKey, c site.Credential) error { return fn(c) }); err != nil {
		return err
	}
	return s.eachFileCredential(ctx, f, fn)
}

// eachChosen is Credentials with the keys.
func (s *Store) eachChosen(ctx context.Context, f Filter, fn func(*credKey, site.Credential) error) error {
	var holder uint64
	if f.Holder != "" {
		var err error
		if holder, err = holderNumber(f.Holder); err != nil {
			return err
		}
	}
	return s.eachPage(ctx, nil, func(k credKey, rec *credential, used uint32) error {
		if f.State != site.CredentialInvalid && rec.State != f.State || holder != 0 && rec.Holder != holder {
			return nil
		}
		var out site.Credential
		s.present(&k, rec, &out)
		out.Used = s.uses.most(&k, used)
		if f.Source != "" && out.Source != f.Source || f.Door != "" && !s.reaches(rec, f.Door) {
			return nil
		}
		return fn(&k, out)
	})
}

func (s *Store) reaches(rec *credential, door site.DoorID) bool {
	at := func(r site.Right) bool { return r.Door == door }
	if slices.ContainsFunc(rec.Rights, at) {
		return true
	}
	for _, l := range s.Snapshot().Levels {
		if slices.Contains(rec.Levels, l.ID) && slices.ContainsFunc(l.Rights, at) {
			return true
		}
	}
	return false
}

type credRow struct {
	key  credKey
	rec  credential
	used uint32
}

// eachPage walks the live credentials after a key in short transactions and
// calls fn outside of them.
func (s *Store) eachPage(ctx context.Context, after []byte, fn func(credKey, *credential, uint32) error) error {
	rows := make([]credRow, 0, pageRows)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.viewCredentials(func(tx *bbolt.Tx, b *bbolt.Bucket) error {
			rows = rows[:0]
			c := b.Cursor()
			k, v := c.Seek(after)
			for ; k != nil && len(rows) < cap(rows); k, v = c.Next() {
				if slices.Equal(k, after) {
					continue
				}
				if len(k) != len(credKey{}) {
					return damaged("credential key of %d bytes", len(k))
				}
				row := credRow{key: credKey(k)}
				if err := s.decodeCredential(k, v, &row.rec); err != nil {
					return err
				}
				var err error
				if counted(&row.rec) {
					if row.used, err = usedIn(tx, &row.key); err != nil {
						return err
					}
				}
				rows = append(rows, row)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range rows {
			if err := fn(rows[i].key, &rows[i].rec, rows[i].used); err != nil {
				return err
			}
		}
		if len(rows) < pageRows {
			return nil
		}
		last := rows[len(rows)-1].key
		after = last[:]
	}
}

// Holders calls fn with each holder, oldest first, as Credentials does.
func (s *Store) Holders(ctx context.Context, fn func(site.Holder) error) error {
	var after uint64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var page []site.Holder
		err := s.policy.view(func(tx *bbolt.Tx) error {
			page = page[:0]
			head, err := getHeader(tx)
			if err != nil {
				return err
			}
			b := tx.Bucket(bucketHolder)
			if b == nil {
				return damaged("holders are missing")
			}
			c := b.Cursor()
			for k, v := c.Seek(holderKey(after + 1)); k != nil && len(page) < pageRows; k, v = c.Next() {
				h, err := readHolder(k, v)
				if err != nil {
					return err
				}
				if after = binary.BigEndian.Uint64(k); !head.hidden(after) {
					page = append(page, h)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, h := range page {
			if err := fn(h); err != nil {
				return err
			}
		}
		if len(page) < pageRows {
			return nil
		}
	}
}

func readHolder(k, v []byte) (site.Holder, error) {
	p, err := openValue(codeHolder, k, v)
	if err != nil || len(k) != 8 {
		return site.Holder{}, damaged("holder: %w", errRecord)
	}
	code, name, err := decodeHolder(p)
	if err != nil {
		return site.Holder{}, damaged("holder: %w", err)
	}
	src, err := sourceOf(code)
	if err != nil {
		return site.Holder{}, damaged("holder: %w", err)
	}
	return site.Holder{ID: holderID(binary.BigEndian.Uint64(k)), Source: src, Name: name}, nil
}

// Holder returns a holder, or ErrNotFound.
func (s *Store) Holder(id site.HolderID) (out site.Holder, err error) {
	n, err := holderNumber(id)
	if err != nil {
		return out, err
	}
	err = s.policy.view(func(tx *bbolt.Tx) error {
		head, err := getHeader(tx)
		if err != nil {
			return err
		}
		b := tx.Bucket(bucketHolder)
		if b == nil {
			return damaged("holders are missing")
		}
		k := holderKey(n)
		v := b.Get(k)
		if v == nil || head.hidden(n) {
			return fmt.Errorf("holder %s: %w", id, ErrNotFound)
		}
		out, err = readHolder(k, v)
		return err
	})
	return out, err
}

// FindHolder returns the holder of that id or, failing that, of that name in
// the source. Of several with one name the oldest is returned.
func (s *Store) FindHolder(source site.Source, idOrName string) (site.Holder, error) {
	h, err := s.Holder(site.HolderID(idOrName))
	if err == nil || !errors.Is(err, ErrNotFound) {
		return h, err
	}
	code, err := sourceCode(source)
	if err != nil {
		return h, err
	}
	var n uint64
	err = s.policy.view(func(tx *bbolt.Tx) error {
		head, err := getHeader(tx)
		n = holderByName(tx, &head, code, idOrName)
		return err
	})
	if err != nil {
		return h, err
	}
	if n == 0 {
		return h, fmt.Errorf("holder %.64q: %w", idOrName, ErrNotFound)
	}
	return s.Holder(holderID(n))
}

// nameCache keeps names of holders for the join of events.
type nameCache struct {
	mu sync.Mutex // guards the following
	m  map[site.HolderID]string
}

const maxNames = 1024

func (c *nameCache) forget() {
	c.mu.Lock()
	c.m = nil
	c.mu.Unlock()
}

// HolderName returns the name of a holder for showing an event, or "" where
// there is none (any more).
func (s *Store) HolderName(id site.HolderID) string {
	if id == "" {
		return ""
	}
	s.names.mu.Lock()
	name, ok := s.names.m[id]
	s.names.mu.Unlock()
	if ok {
		return name
	}
	version := s.Snapshot().Version
	h, err := s.Holder(id)
	if err != nil {
		return ""
	}
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	if s.Snapshot().Version != version {
		return h.Name // renamed meanwhile: do not keep it
	}
	if s.names.m == nil || len(s.names.m) >= maxNames {
		s.names.m = make(map[site.HolderID]string)
	}
	s.names.m[id] = h.Name
	return h.Name
}

// Counts is how much the store holds.
type Counts struct {
	Credentials uint64
	Change      uint64 // number of the last change
	Logged      uint64 // number of the last change known to be in the log
	Bytes       int64  // size of the policy file
}

// Counts returns how much the store holds. It is cheap.
func (s *Store) Counts() (c Counts, err error) {
	err = s.policy.view(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		c = Counts{Credentials: h.Count, Change: h.Change, Logged: s.logged.Load(), Bytes: tx.Size()}
		return err
	})
	return c, err
}

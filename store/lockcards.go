package store

import (
	"bytes"
	"context"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Seal returns the block of a card as the store keeps it: encrypted under the device
// key. What is kept of a card outside of the store is kept so.
func (s *Store) Seal(block card.Block) [16]byte { return s.enc(block) }

// OpenBlock is the reverse of Seal. What comes out is a card: keep it in memory only.
func (s *Store) OpenBlock(sealed [16]byte) (block card.Block) {
	s.keys.blocks.Decrypt(block[:], sealed[:])
	return block
}

// CardsAt calls fn once for each card and door that may concern each other: where any
// record of the card, of whatever source, length and state, has a right at the door
// by itself or by a level, or the door's file has the card. records are all that
// LookupAt has under the block for that door, of all lengths; the record of the file
// is the last, with its rights as the file says them, whatever holiday is now. They
// are good until fn returns.
//
// It is one pass over the store for all doors, in short read transactions, so fn may
// be slow; for each door the calls come in the order of Seal. What is changed
// meanwhile is given as it was or as it is: read the policy's version first, and
// where it is another at the end, ask again. It ends early with ctx, with the error
// of fn, and with those of Lookup (ErrFault, ErrIncomplete, ErrClosed).
func (s *Store) CardsAt(ctx context.Context, doors []site.DoorID, fn func(door site.DoorID, block card.Block, records []site.Credential) error) error {
	if len(doors) == 0 {
		return nil
	}
	r := &cardReader{s: s, doors: doors}
	var records []site.Credential
	for from, more := []byte(nil), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if st := s.status.Load(); st != nil {
			return *st
		}
		var err error
		if from, err = r.page(from); err != nil {
			return err
		}
		more = from != nil
		for i := range r.found {
			f := &r.found[i]
			records = append(records[:0], r.records[f.first:f.last]...)
			if f.file >= 0 {
				records = append(records, r.records[f.file])
			}
			if err := fn(doors[f.door], s.OpenBlock(f.enc), records); err != nil {
				return err
			}
		}
	}
	return nil
}

// cardReader reads pages of CardsAt.
type cardReader struct {
	s     *Store
	doors []site.DoorID
	pol   *lockPolicy

	found   []foundCard
	records []site.Credential
	limited bool // a count of uses was read
}

// foundCard is a call of fn: records first to last, and that of the door's file.
type foundCard struct {
	enc         [16]byte
	door        int32
	first, last int
	file        int // -1: none
}

// Bounds of one transaction: records that it looks at, and those that it keeps.
const (
	cardsSeen = 8192
	cardsKept = 1024
)

// page reads the next cards from a key on, and returns the one to go on from, nil at
// the end.
func (r *cardReader) page(from []byte) (next []byte, err error) {
	for {
		epoch := r.s.uses.epoch.Load()
		err := r.s.policy.view(func(tx *bbolt.Tx) (err error) {
			r.found, r.records, r.limited = r.found[:0], r.records[:0], false
			next, err = r.read(tx, from)
			return err
		})
		if err != nil || !r.limited || r.s.uses.epoch.Load() == epoch {
			return next, err
		}
	}
}

func (r *cardReader) read(tx *bbolt.Tx, from []byte) (next []byte, err error) {
	h, err := getHeader(tx)
	if err != nil {
		return nil, err
	}
	if r.pol == nil || r.pol.version != h.Change {
		p, err := r.s.readPolicy(tx, h)
		if err != nil {
			return nil, err
		}
		r.pol = newLockPolicy(&p, r.doors, newScheduleNames())
	}
	rows, err := credentialRows(tx, h.Generation)
	if err != nil {
		return nil, err
	}
	again, err := credentialRows(tx, h.Generation)
	if err != nil {
		return nil, err
	}
	w := newBlockWalk(tx, r.pol, rows, noTime)
	w.any = true
	if err := w.seek(from); err != nil {
		return nil, err
	}
	for {
		more, err := w.next()
		if err != nil || !more {
			return nil, err
		}
		if w.seen > cardsSeen || len(r.records) > cardsKept {
			return bytes.Clone(w.enc[:]), nil
		}
		if len(w.claims) == 0 {
			continue
		}
		if err := r.keep(tx, w, again); err != nil {
			return nil, err
		}
	}
}

// keep reads all records of the walk's block.
func (r *cardReader) keep(tx *bbolt.Tx, w *blockWalk, rows *bucketRows) error {
	first := len(r.records)
	if err := rows.seek(w.enc[:]); err != nil {
		return err
	}
	for rows.k != nil && [16]byte(rows.k) == w.enc {
		if err := r.credential(tx, rows); err != nil {
			return err
		}
		if err := rows.next(); err != nil {
			return err
		}
	}
	last := len(r.records)
	door := int32(-1)
	for _, c := range w.claims {
		if c.door == door {
			continue
		}
		door = c.door
		f := foundCard{enc: w.enc, door: door, first: first, last: last, file: -1}
		b, err := w.cards(int(door))
		if err != nil {
			return err
		}
		if b != nil {
			if v := b.Get(w.enc[:]); v != nil {
				f.file = len(r.records)
				if err := r.card(tx, w.pol.files[door], w.enc, v); err != nil {
					return err
				}
			}
		}
		r.found = append(r.found, f)
	}
	return nil
}

func (r *cardReader) credential(tx *bbolt.Tx, rows *bucketRows) error {
	var rec credential
	if err := r.s.decodeCredential(rows.k, rows.v, &rec); err != nil {
		return err
	}
	key := credKey(rows.k)
	r.records = append(r.records, site.Credential{})
	out := &r.records[len(r.records)-1]
	r.s.present(&key, &rec, out)
	if !counted(&rec) {
		return nil
	}
	r.limited = true
	used, err := usedIn(tx, &key)
	out.Used = r.s.uses.most(&key, used)
	return err
}

func (r *cardReader) card(tx *bbolt.Tx, v *fileView, enc [16]byte, value []byte) error {
	var rec fileCard
	if err := openFileCard(enc[:], value, &rec); err != nil {
		return err
	}
	r.records = append(r.records, site.Credential{})
	limited, err := r.s.presentFile(tx, v, &rec, time.Time{}, &r.records[len(r.records)-1])
	r.limited = r.limited || limited
	return err
}

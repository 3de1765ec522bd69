package store

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// alonePIN is a PIN of an import that opens alone, or of a live credential that
// stays beside it.
type alonePIN struct {
	hash    [16]byte
	key     credKey
	holder  uint64
	field   string
	revoked bool
}

// noteAlone notes the PINs of a record that will be.
func (im *importer) noteAlone(key *credKey, rec *credential) {
	for i, hash := range rec.hashes() {
		if hash != [16]byte{} {
			im.alone = append(im.alone, alonePIN{hash, *key, rec.Holder, pinFields[i], rec.State == site.CredentialRevoked})
		}
	}
}

// noteAloneRaw is noteAlone for a record as it is stored.
func (im *importer) noteAloneRaw(k, v []byte) error {
	if _, flags := peek(v); flags&flagAlone == 0 {
		return nil
	}
	var rec credential
	if err := im.s.decodeCredential(k, v, &rec); err != nil {
		return err
	}
	key := credKey(k)
	im.noteAlone(&key, &rec)
	return nil
}

// noteLive adds the live credentials that have one of the PINs that were noted
// and that the import does not touch, where it did not walk over them.
func (im *importer) noteLive(tx *bbolt.Tx, gen uint32) error {
	creds, idx, err := generationIn(tx, gen)
	if err != nil {
		return err
	}
	for _, p := range slices.Clone(im.alone) {
		err := eachAlone(idx, p.hash, func(k credKey) error {
			if im.st.find(k) != nil {
				return nil
			}
			return im.noteAloneRaw(k[:], creds.Get(k[:]))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkAlone sorts the PINs as the index has them and notes the faults of those
// that are of two.
func (im *importer) checkAlone() {
	slices.SortFunc(im.alone, func(a, b alonePIN) int {
		return cmp.Or(bytes.Compare(a.hash[:], b.hash[:]), bytes.Compare(a.key[:], b.key[:]))
	})
	im.alone = slices.CompactFunc(im.alone, func(a, b alonePIN) bool { return a.hash == b.hash && a.key == b.key })
	for i := 0; i < len(im.alone); {
		end := i + 1
		for end < len(im.alone) && im.alone[end].hash == im.alone[i].hash {
			end++
		}
		im.checkShared(im.alone[i:end])
		i = end
	}
}

// checkShared compares those that have one PIN with the first of them, and those
// that are not revoked with the first of these.
func (im *importer) checkShared(same []alonePIN) {
	alive := -1
	for i := range same {
		p := &same[i]
		switch {
		case i > 0 && !shared(&same[0], p):
			im.aloneFault(&same[0], p)
		case p.revoked:
		case alive < 0:
			alive = i
		case !shared(&same[alive], p):
			im.aloneFault(&same[alive], p)
		}
	}
}

func shared(a, b *alonePIN) bool {
	state := func(p *alonePIN) site.CredentialState {
		if p.revoked {
			return site.CredentialRevoked
		}
		return site.CredentialActive
	}
	return sharePIN(&a.key, &b.key, &credential{Holder: a.holder, State: state(a)}, &credential{Holder: b.holder, State: state(b)})
}

// aloneFault blames the later of the two records that the import has.
func (im *importer) aloneFault(a, b *alonePIN) {
	blamed, other := im.st.find(b.key), im.st.find(a.key)
	if blamed == nil || other != nil && other.record > blamed.record {
		a, b = b, a
		blamed, other = other, blamed
	}
	if blamed == nil {
		return // both are as they were
	}
	err := ErrPINTaken
	if other != nil {
		err = fmt.Errorf("is the PIN of record %d as well, and opens without a card: choose another", other.record)
	}
	im.faults.add(&RecordError{Record: int(blamed.record), Field: b.field, Err: err})
}

// writeAlone writes the index of the new generation in the order of its keys.
func (im *importer) writeAlone(gen uint32) error {
	for part := range slices.Chunk(im.alone, mergeRows) {
		err := im.step(func(tx *bbolt.Tx, _ *header) error {
			idx := tx.Bucket(aloneIndex(gen))
			if idx == nil {
				return damaged("index of PINs is missing")
			}
			idx.FillPercent = fillPercent
			for i := range part {
				if err := putAlone(idx, makeAloneKey(part[i].hash, &part[i].key)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// putFresh puts a record of the new generation in place of another, with its PINs.
// Whoever has one of them may be waiting to be brought up to date himself, and is
// then compared with this one; else that is a fault of the import's record.
func (im *importer) putFresh(tx *bbolt.Tx, gen uint32, k *credKey, rec *credential) error {
	creds, idx, err := generationIn(tx, gen)
	if err != nil {
		return err
	}
	value := appendValue(nil, codeCredential, k[:], appendCredential(nil, rec))
	if err := im.replaceFresh(tx, creds, gen, k, value); err != nil {
		return err
	}
	by, err := im.s.taken(creds, idx, k, rec, func(other credKey) bool {
		_, waits := im.st.dirty[other]
		return waits && !im.settled[other]
	})
	if err != nil || by == nil {
		return err
	}
	blamed := im.st.find(*k)
	if blamed == nil {
		blamed = im.st.find(by.key)
	}
	if blamed == nil {
		return nil // no row of the import
	}
	return im.fault(blamed, &RecordError{Field: by.field, Err: ErrPINTaken})
}

// replaceFresh puts or, with nil, removes a record of the new generation and
// keeps its counts.
func (im *importer) replaceFresh(tx *bbolt.Tx, creds *bbolt.Bucket, gen uint32, k *credKey, value []byte) error {
	h := header{NotAlone: im.notAlone}
	old := creds.Get(k[:])
	if err := reindex(tx, &h, gen, k[:], old, value); err != nil {
		return err
	}
	im.notAlone = h.NotAlone
	if old != nil {
		im.count--
	}
	if value == nil {
		return creds.Delete(k[:])
	}
	im.count++
	return creds.Put(k[:], value)
}

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// A PIN that opens without a card is found by a keyed hash over the PIN alone.
// The record of its credential has that hash, and each generation of credentials
// an index of them: the hash and the credential's key, for every hash of every
// record. So the index follows from the records, and whatever puts a record in
// place, a change, its replay or an import, keeps it right.

// aloneKey is a key of the index.
type aloneKey [16 + len(credKey{})]byte

func makeAloneKey(hash [16]byte, k *credKey) (a aloneKey) {
	copy(a[:], hash[:])
	copy(a[16:], k[:])
	return a
}

// aloneIndex returns the name of the index of a generation.
func aloneIndex(n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{codeAlone}, n)
}

// aloneHashes are the hashes of a record that are in the index: of its PIN and
// its duress PIN, zero for none.
type aloneHashes [2][16]byte

func (rec *credential) hashes() aloneHashes { return aloneHashes{rec.Alone, rec.AloneDuress} }

// hashesIn returns those of a record as it is stored; nil has none.
func hashesIn(value []byte) (aloneHashes, error) {
	if _, flags := peek(value); flags&flagAlone == 0 {
		return aloneHashes{}, nil
	}
	var rec credential
	if err := decodeCredential(value[sumSize:], nil, &rec); err != nil {
		return aloneHashes{}, damaged("credential: %w", err)
	}
	return rec.hashes(), nil
}

// peek returns state and flags of a record as it is stored.
func peek(value []byte) (site.CredentialState, byte) {
	if len(value) < sumSize+3 {
		return site.CredentialInvalid, 0
	}
	return site.CredentialState(value[sumSize+1] & 0x0F), value[sumSize+2]
}

// notAlone reports whether a record, as it is stored, has a PIN that does not
// open alone.
func notAlone(value []byte) bool {
	state, flags := peek(value)
	return flags&(flagPIN|flagAlone) == flagPIN && state != site.CredentialRevoked
}

// reindex keeps index and header for a record that was old and becomes value; nil
// is none.
func reindex(tx *bbolt.Tx, h *header, gen uint32, key, old, value []byte) error {
	if notAlone(old) && h.NotAlone > 0 {
		h.NotAlone--
	}
	if notAlone(value) {
		h.NotAlone++
	}
	before, err := hashesIn(old)
	if err != nil {
		return err
	}
	after, err := hashesIn(value)
	if err != nil || before == after {
		return err
	}
	idx := tx.Bucket(aloneIndex(gen))
	if idx == nil {
		return damaged("index of PINs is missing")
	}
	k := credKey(key)
	for _, hash := range before {
		if a := makeAloneKey(hash, &k); hash != [16]byte{} {
			if err := idx.Delete(a[:]); err != nil {
				return err
			}
		}
	}
	for _, hash := range after {
		if hash != [16]byte{} {
			if err := putAlone(idx, makeAloneKey(hash, &k)); err != nil {
				return err
			}
		}
	}
	return nil
}

func putAlone(idx *bbolt.Bucket, a aloneKey) error {
	return idx.Put(a[:], appendValue(nil, codeAlone, a[:], nil))
}

// eachAlone calls fn with the credentials that a hash is of.
func eachAlone(idx *bbolt.Bucket, hash [16]byte, fn func(credKey) error) error {
	c := idx.Cursor()
	for k, v := c.Seek(hash[:]); bytes.HasPrefix(k, hash[:]); k, v = c.Next() {
		if len(k) != len(aloneKey{}) {
			return damaged("index of PINs: key of %d bytes", len(k))
		}
		if _, err := openValue(codeAlone, k, v); err != nil {
			return damaged("index of PINs: %w", err)
		}
		if err := fn(credKey(k[16:])); err != nil {
			return err
		}
	}
	return nil
}

// generationIn returns the credentials of a generation and their index.
func generationIn(tx *bbolt.Tx, gen uint32) (creds, idx *bbolt.Bucket, err error) {
	creds, idx = tx.Bucket(generation(gen)), tx.Bucket(aloneIndex(gen))
	if creds == nil || idx == nil {
		err = damaged("credentials or the index of PINs are missing")
	}
	return creds, idx, err
}

// indexed returns a credential that the index names.
func (s *Store) indexed(creds *bbolt.Bucket, hash [16]byte, k *credKey, rec *credential) error {
	v := creds.Get(k[:])
	if v == nil {
		return damaged("index of PINs: credential %s is missing", k.id())
	}
	if err := s.decodeCredential(k[:], v, rec); err != nil {
		return err
	}
	if !equal(rec.Alone, hash) && !equal(rec.AloneDuress, hash) {
		return damaged("index of PINs: credential %s has another", k.id())
	}
	return nil
}

// sharePIN reports whether two credentials may have one PIN that opens alone:
// records of one card may, and what replaces a revoked one of the same holder. A
// revoked credential of somebody else keeps his PIN from all others, for he knows
// it.
func sharePIN(a, b *credKey, first, second *credential) bool {
	revoked := first.State == site.CredentialRevoked || second.State == site.CredentialRevoked
	return [16]byte(a[:16]) == [16]byte(b[:16]) || revoked && first.Holder == second.Holder
}

// taker is a credential that has a PIN which another wants.
type taker struct {
	key   credKey
	field string // which PIN is wanted
}

// taken returns who else has a PIN of rec that opens alone, nil for nobody. free
// says of whom it does not matter; nil is of nobody.
func (s *Store) taken(creds, idx *bbolt.Bucket, key *credKey, rec *credential, free func(credKey) bool) (by *taker, err error) {
	for i, hash := range rec.hashes() {
		if hash == [16]byte{} {
			continue
		}
		err := eachAlone(idx, hash, func(k credKey) error {
			if k == *key || by != nil || free != nil && free(k) {
				return nil
			}
			var other credential
			if err := s.indexed(creds, hash, &k, &other); err != nil {
				return err
			}
			if !sharePIN(key, &k, rec, &other) {
				by = &taker{k, pinFields[i]}
			}
			return nil
		})
		if err != nil || by != nil {
			return by, err
		}
	}
	return nil, nil
}

// pinFields are the fields of aloneHashes.
var pinFields = [len(aloneHashes{})]string{"pin", "duress_pin"}

// LookupPIN appends to dst the records of the credential that a PIN opens without
// a card, and returns dst. None is not an error: the PIN is nobody's, or was set
// while Config.PINAlone was not. With them come the operator's records of the same
// card that refuse, for what he has revoked or blocked is refused however it comes.
// A revoked credential is found as long as its PIN is not taken away. duress says
// that it is the duress PIN.
//
// The caller judges a lock-out before, and counts PINs that are nobody's. The
// error is that of Lookup.
func (s *Store) LookupPIN(pin site.PIN, dst []site.Credential) (found []site.Credential, duress bool, err error) {
	if st := s.status.Load(); st != nil {
		return dst, false, *st
	}
	if !s.cfg.PINAlone || checkPIN("pin", string(pin)) != nil {
		return dst, false, nil
	}
	hash := s.keys.aloneHash(string(pin))
	n := len(dst)
	for {
		epoch := s.uses.epoch.Load()
		l := pinLookup{s: s, hash: hash, dst: dst[:n]}
		if err := s.policy.view(l.run); err != nil {
			return dst[:n], false, err
		}
		if dst = l.dst; !l.limited || s.uses.epoch.Load() == epoch {
			return dst, l.duress, nil
		}
	}
}

// pinLookup is one look-up by a PIN alone.
type pinLookup struct {
	s       *Store
	hash    [16]byte
	dst     []site.Credential
	duress  bool
	limited bool // a record counts its uses
}

func (l *pinLookup) run(tx *bbolt.Tx) error {
	h, err := getHeader(tx)
	if err != nil {
		return err
	}
	creds, idx, err := generationIn(tx, h.Generation)
	if err != nil {
		return err
	}
	var keys []credKey
	var recs []credential
	alive := false
	err = eachAlone(idx, l.hash, func(k credKey) error {
		var rec credential
		err := l.s.indexed(creds, l.hash, &k, &rec)
		keys, recs = append(keys, k), append(recs, rec)
		alive = alive || rec.State != site.CredentialRevoked
		return err
	})
	if err != nil {
		return err
	}
	var first *credKey
	for i := range keys {
		if alive && recs[i].State == site.CredentialRevoked {
			continue
		}
		if first == nil {
			first = &keys[i]
		} else if [16]byte(first[:16]) != [16]byte(keys[i][:16]) && alive {
			return fmt.Errorf("PIN: %w credential", ErrAmbiguous)
		}
		l.duress = l.duress || equal(recs[i].AloneDuress, l.hash)
		if err := l.add(tx, &keys[i], &recs[i]); err != nil {
			return err
		}
	}
	if first == nil {
		return nil
	}
	return l.vetoes(tx, creds, *first)
}

func (l *pinLookup) add(tx *bbolt.Tx, k *credKey, rec *credential) error {
	l.dst = append(l.dst, site.Credential{})
	out := &l.dst[len(l.dst)-1]
	l.s.present(k, rec, out)
	if !counted(rec) {
		return nil
	}
	l.limited = true
	used, err := usedIn(tx, k)
	out.Used = l.s.uses.most(k, used)
	return err
}

// vetoes adds the operator's records that refuse the card of a credential.
func (l *pinLookup) vetoes(tx *bbolt.Tx, creds *bbolt.Bucket, of credKey) error {
	c := creds.Cursor()
	for k, v := c.Seek(of[:16]); bytes.HasPrefix(k, of[:16]); k, v = c.Next() {
		if len(k) != len(credKey{}) {
			return damaged("credential key of %d bytes", len(k))
		}
		key := credKey(k)
		if src, err := sourceOf(key[16]); err != nil || src != site.SourceOperator || key[17] != of[17] && key[17] != 0 && of[17] != 0 {
			continue
		}
		var rec credential
		if err := l.s.decodeCredential(k, v, &rec); err != nil {
			return err
		}
		refuses := rec.State != site.CredentialActive || rec.Function == site.FunctionBlocked
		if !refuses || equal(rec.Alone, l.hash) || equal(rec.AloneDuress, l.hash) {
			continue
		}
		if err := l.add(tx, &key, &rec); err != nil {
			return err
		}
	}
	return nil
}

// PINsNotAlone returns how many credentials, revoked ones aside, have a PIN that
// does not open without a card because it was set before Config.PINAlone was: a
// hash over card and PIN says nothing of the PIN alone. It is 0 where
// Config.PINAlone is not set.
func (s *Store) PINsNotAlone() int {
	if !s.cfg.PINAlone {
		return 0
	}
	return int(s.notAlone.Load())
}

package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Lookup appends to dst the records under a card's block, of every source, that
// have the block's length in bits or know no length, and returns dst. None is
// not an error. With bits 0 all lengths are returned.
//
// It is one short read transaction that waits for no writer, no copy and no
// import. An error means that the decision cannot be made: ErrFault,
// ErrIncomplete or ErrClosed.
func (s *Store) Lookup(block card.Block, bits int, dst []site.Credential) ([]site.Credential, error) {
	return s.LookupAt("", block, bits, dst)
}

// LookupAt is Lookup for a decision at one door. Of the records that came in door
// files it returns that door's; only where nothing else is known of the card, one
// of another door, so that no_right can be told from an unknown card. Without a
// door it returns those of all doors, which takes longer with many files.
func (s *Store) LookupAt(door site.DoorID, block card.Block, bits int, dst []site.Credential) ([]site.Credential, error) {
	if st := s.status.Load(); st != nil {
		return dst, *st
	}
	var enc [16]byte
	s.keys.blocks.Encrypt(enc[:], block[:])
	n := len(dst)
	for {
		epoch := s.uses.epoch.Load()
		limited := false
		err := s.viewCredentials(func(tx *bbolt.Tx, b *bbolt.Bucket) error {
			dst, limited = dst[:n], false
			c := b.Cursor()
			for k, v := c.Seek(enc[:]); bytes.HasPrefix(k, enc[:]); k, v = c.Next() {
				if len(k) != len(credKey{}) {
					return damaged("credential key of %d bytes", len(k))
				}
				if bits != 0 && k[17] != 0 && int(k[17]) != bits {
					continue
				}
				var rec credential
				if err := s.decodeCredential(k, v, &rec); err != nil {
					return err
				}
				key := credKey(k)
				dst = append(dst, site.Credential{})
				s.present(&key, &rec, &dst[len(dst)-1])
				if counted(&rec) {
					limited = true
					used, err := usedIn(tx, &key)
					if err != nil {
						return err
					}
					dst[len(dst)-1].Used = s.uses.most(&key, used)
				}
			}
			once, err := s.lookupFiles(tx, door, enc, len(dst) == n, &dst)
			limited = limited || once
			return err
		})
		if err != nil {
			return dst[:n], err
		}
		if !limited || s.uses.epoch.Load() == epoch {
			return dst, nil
		}
	}
}

// LookupBits is Lookup for the bits of a card. It fails for more than 128 bits.
func (s *Store) LookupBits(bits card.Bits, dst []site.Credential) ([]site.Credential, error) {
	return s.LookupBitsAt("", bits, dst)
}

// LookupBitsAt is LookupAt for the bits of a card. It fails for more than 128 bits.
func (s *Store) LookupBitsAt(door site.DoorID, bits card.Bits, dst []site.Credential) ([]site.Credential, error) {
	block, err := bits.Block()
	if err != nil {
		return dst, err
	}
	return s.LookupAt(door, block, bits.Len(), dst)
}

// viewCredentials runs fn with the live credentials bucket. While an import
// switches, the file is ahead of s.live for a moment: then the file says which
// bucket is live.
func (s *Store) viewCredentials(fn func(*bbolt.Tx, *bbolt.Bucket) error) error {
	gen := s.live.Load()
	if gen == nil {
		return ErrFault
	}
	return s.policy.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(gen.name)
		if b == nil {
			h, err := getHeader(tx)
			if err != nil {
				return err
			}
			if b = tx.Bucket(generation(h.Generation)); b == nil {
				return damaged("credentials bucket is missing")
			}
		}
		return fn(tx, b)
	})
}

// decodeCredential checks and decodes one record.
func (s *Store) decodeCredential(key, value []byte, rec *credential) error {
	p, err := openValue(codeCredential, key, value)
	if err != nil {
		return damaged("credential: %w", err)
	}
	if err := decodeCredential(p, &s.in, rec); err != nil {
		return damaged("credential: %w", err)
	}
	return nil
}

// present makes the record that others see. Used is left to the caller.
func (s *Store) present(k *credKey, rec *credential, out *site.Credential) {
	src, err := sourceOf(k[16])
	if err != nil {
		src = "" // matches nothing
	}
	id := k.id()
	*out = site.Credential{
		ID: id, Source: src, Holder: holderID(rec.Holder),
		Bits: int(k[17]), Format: rec.Format,
		Card:  site.CardRef{Last2: rec.Last2, Tag: string(id[:tagLen])},
		State: rec.State, Function: rec.Function, ADA: rec.ADA,
		HasPIN: rec.PIN != [16]byte{}, Uses: rec.Uses,
		From: rec.From, Until: rec.Until, Rights: rec.Rights, Levels: rec.Levels,
	}
}

// Tag returns what people see of a card that may not be enrolled: its keyed
// tag. Last2 is left to the caller, who knows the formats.
func (s *Store) Tag(block card.Block) string {
	var enc [16]byte
	s.keys.blocks.Encrypt(enc[:], block[:])
	return hex.EncodeToString(enc[:tagLen/2])
}

// findKey returns the key of an id in the bucket of credentials, and its value.
func findKey(b *bbolt.Bucket, id site.CredentialID) (credKey, []byte, error) {
	prefix, source, bits, err := parseCredentialID(id)
	if err != nil {
		return credKey{}, nil, err
	}
	c := b.Cursor()
	for k, v := c.Seek(prefix[:]); bytes.HasPrefix(k, prefix[:]); k, v = c.Next() {
		if len(k) == len(credKey{}) && k[16] == source && int(k[17]) == bits {
			return credKey(k), v, nil
		}
	}
	return credKey{}, nil, fmt.Errorf("credential %.40q: %w", id, ErrNotFound)
}

// Credential returns one record, or ErrNotFound.
func (s *Store) Credential(id site.CredentialID) (out site.Credential, err error) {
	err = s.viewCredentials(func(tx *bbolt.Tx, b *bbolt.Bucket) error {
		key, v, err := findKey(b, id)
		if errors.Is(err, ErrNotFound) {
			return s.fileCredential(tx, id, &out)
		}
		if err != nil {
			return err
		}
		var rec credential
		if err := s.decodeCredential(key[:], v, &rec); err != nil {
			return err
		}
		s.present(&key, &rec, &out)
		used, err := usedIn(tx, &key)
		out.Used = s.uses.most(&key, used)
		return err
	})
	return out, err
}

// FindCredential returns the one credential whose id starts with prefix: at
// least 4 hex digits, or more of an id. It fails with ErrNotFound and
// ErrAmbiguous. An id given whole is always found, even where it begins
// another.
func (s *Store) FindCredential(prefix string) (site.Credential, error) {
	if c, err := s.Credential(site.CredentialID(prefix)); err == nil {
		return c, nil
	}
	digits, _, _ := strings.Cut(prefix, "-")
	raw, err := hex.DecodeString(digits[:len(digits)/2*2])
	if err != nil || len(digits) < 4 || len(digits) > 16 {
		return site.Credential{}, fmt.Errorf("credential %.40q: %w", prefix, ErrNotFound)
	}
	var found site.CredentialID
	err = s.viewCredentials(func(tx *bbolt.Tx, b *bbolt.Bucket) error {
		found = ""
		c := b.Cursor()
		for k, _ := c.Seek(raw); bytes.HasPrefix(k, raw); k, _ = c.Next() {
			if len(k) != len(credKey{}) {
				return damaged("credential key of %d bytes", len(k))
			}
			key := credKey(k)
			id := key.id()
			if !strings.HasPrefix(string(id), prefix) {
				continue
			}
			if found != "" {
				return fmt.Errorf("credential %.40q: %w", prefix, ErrAmbiguous)
			}
			found = id
		}
		return s.eachFileCard(tx, raw, func(key credKey, _ *fileView, _ *fileCard) error {
			id := key.id()
			if !strings.HasPrefix(string(id), prefix) {
				return nil
			}
			if found != "" && found != id {
				return fmt.Errorf("credential %.40q: %w", prefix, ErrAmbiguous)
			}
			found = id
			return nil
		})
	})
	if err != nil {
		return site.Credential{}, err
	}
	if found == "" {
		return site.Credential{}, fmt.Errorf("credential %.40q: %w", prefix, ErrNotFound)
	}
	return s.Credential(found)
}

// CheckPIN compares a PIN with those of a credential. A duress PIN is ok as
// well. The caller counts failures and asks nothing while locked out.
func (s *Store) CheckPIN(id site.CredentialID, pin string) (ok, duress bool, err error) {
	err = s.viewCredentials(func(_ *bbolt.Tx, b *bbolt.Bucket) error {
		key, v, err := findKey(b, id)
		if err != nil {
			return err
		}
		var rec credential
		if err := s.decodeCredential(key[:], v, &rec); err != nil {
			return err
		}
		h := s.keys.pinHash(key[:16], pin)
		var zero [16]byte
		ok = rec.PIN != zero && equal(h, rec.PIN)
		duress = rec.Duress != zero && equal(h, rec.Duress)
		ok = ok || duress
		return nil
	})
	return ok, duress, err
}

// clearBlock decrypts the block of a credential.
func (s *Store) clearBlock(id site.CredentialID) (block card.Block, bits int, err error) {
	err = s.viewCredentials(func(_ *bbolt.Tx, b *bbolt.Bucket) error {
		key, _, err := findKey(b, id)
		if err != nil {
			return err
		}
		s.keys.blocks.Decrypt(block[:], key[:16])
		bits = int(key[17])
		return nil
	})
	return block, bits, err
}

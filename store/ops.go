package store

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// change is a change that is being made: a write transaction with the list of
// records that it leaves.
type change struct {
	s       *Store
	tx      *bbolt.Tx
	h       *header
	src     byte
	source  site.Source
	doors   func(site.DoorID) bool
	content []byte
	dirty   []credKey // credentials touched
	resets  []credKey // credentials whose count of uses starts anew
	record  int       // the operation that is made, or the row, from 1
	alone   []alonePut
	locks   *lockCheck // nil: there is none to ask
}

// alonePut is a credential that was put with a PIN that opens alone.
type alonePut struct {
	record int
	key    credKey
}

func (c *change) put(code byte, key, payload []byte) error {
	value := appendValue(nil, code, key, payload)
	c.content = appendContent(c.content, 'p', code, key, value)
	return c.raw(code, key, value)
}

func (c *change) del(code byte, key []byte) error {
	c.content = appendContent(c.content, 'd', code, key, nil)
	return c.raw(code, key, nil)
}

func (c *change) raw(code byte, key, value []byte) error {
	c.locks.note(code, key, c.record)
	if code == codeCredential {
		c.dirty = append(c.dirty, credKey(key))
	}
	return applyRaw(c.tx, c.h, code, key, value)
}

func (c *change) creds() (*bbolt.Bucket, error) {
	return contentBucket(c.tx, c.h, codeCredential)
}

// get returns the checked payload of a record, or nil.
func (c *change) get(code byte, key []byte) ([]byte, error) {
	b, err := contentBucket(c.tx, c.h, code)
	if err != nil {
		return nil, err
	}
	v := b.Get(key)
	if v == nil {
		return nil, nil
	}
	p, err := openValue(code, key, v)
	if err != nil {
		return nil, damaged("bucket %c: %w", code, err)
	}
	return p, nil
}

// maxName is the longest name, in characters; it fits 255 bytes.
const maxName = 120

func checkName(field, name string) error {
	switch {
	case name == "":
		return fieldErr(field, "is empty")
	case !utf8.ValidString(name):
		return fieldErr(field, "is not UTF-8")
	case utf8.RuneCountInString(name) > maxName || len(name) > 240:
		return fieldErr(field, "is longer than %d characters or 240 bytes", maxName)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7F {
			return fieldErr(field, "holds a control character")
		}
	}
	return nil
}

func (o PutHolder) apply(c *change) (string, string, error) {
	if err := checkName("name", o.Name); err != nil {
		return "", "", err
	}
	if o.ID == "" {
		id, err := c.makeHolder(o.Name)
		return string(holderID(id)), "holder " + string(holderID(id)) + " added", err
	}
	n, old, err := c.ownHolder(o.ID)
	if err != nil {
		return "", "", err
	}
	if err := c.del(codeName, nameKey(c.src, old, n)); err != nil {
		return "", "", err
	}
	return string(o.ID), "holder " + string(o.ID) + " renamed", c.putHolder(n, o.Name)
}

func (c *change) makeHolder(name string) (uint64, error) {
	n := max(c.h.NextHolder, 1)
	c.h.NextHolder = n + 1
	return n, c.putHolder(n, name)
}

func (c *change) putHolder(n uint64, name string) error {
	if err := c.put(codeHolder, holderKey(n), appendHolder(nil, c.src, name)); err != nil {
		return err
	}
	return c.put(codeName, nameKey(c.src, name, n), nil)
}

// ownHolder returns a holder of the change's source.
func (c *change) ownHolder(id site.HolderID) (uint64, string, error) {
	n, err := holderNumber(id)
	if err != nil {
		return 0, "", fieldErr("holder", "%w", err)
	}
	p, err := c.get(codeHolder, holderKey(n))
	if err != nil {
		return 0, "", err
	}
	if p == nil {
		return 0, "", fieldErr("holder", "%s: %w", id, ErrNotFound)
	}
	src, name, err := decodeHolder(p)
	if err != nil {
		return 0, "", damaged("holder: %w", err)
	}
	if src != c.src {
		return 0, "", fieldErr("holder", "%s belongs to another source", id)
	}
	return n, name, nil
}

// holderByName returns the oldest holder of a name in the source, or 0.
func holderByName(tx *bbolt.Tx, h *header, source byte, name string) uint64 {
	b := tx.Bucket(bucketName)
	if b == nil {
		return 0
	}
	prefix := nameKey(source, name, 0)
	prefix = prefix[:len(prefix)-8]
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(k) == len(prefix)+8; k, _ = c.Next() {
		if n := binary.BigEndian.Uint64(k[len(prefix):]); !h.hidden(n) {
			return n
		}
	}
	return 0
}

func (o DeleteHolder) apply(c *change) (string, string, error) {
	n, name, err := c.ownHolder(o.ID)
	if err != nil {
		return "", "", err
	}
	err = c.eachCredential(func(k []byte, rec *credential) error {
		if rec.Holder == n {
			key := credKey(k)
			return fieldErr("holder", "%s still has credential %s", o.ID, key.id())
		}
		return nil
	})
	if err != nil {
		return "", "", err
	}
	if err := c.del(codeName, nameKey(c.src, name, n)); err != nil {
		return "", "", err
	}
	return string(o.ID), "holder " + string(o.ID) + " removed", c.del(codeHolder, holderKey(n))
}

// eachCredential reads all credentials inside the change. It takes a moment
// with very many; only the removal of what may be in use needs it.
func (c *change) eachCredential(fn func(k []byte, rec *credential) error) error {
	b, err := c.creds()
	if err != nil {
		return err
	}
	var rec credential
	return b.ForEach(func(k, v []byte) error {
		if err := c.s.decodeCredential(k, v, &rec); err != nil {
			return err
		}
		return fn(k, &rec)
	})
}

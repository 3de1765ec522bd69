package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// The content of a change is the list of records as they are after it, so that
// to apply it again changes nothing: 'p' code key value, or 'd' code key, each
// key and value with its length in front. Values carry their check.

func appendContent(dst []byte, op, code byte, key, value []byte) []byte {
	dst = append(dst, op, code)
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	if op == 'p' {
		dst = binary.AppendUvarint(dst, uint64(len(value)))
		dst = append(dst, value...)
	}
	return dst
}

// eachContent calls fn with each entry; value is nil for a removed record.
func eachContent(b []byte, fn func(code byte, key, value []byte) error) error {
	d := decoder{b: b}
	for len(d.b) > 0 && d.err == nil {
		op, code := d.byte(), d.byte()
		key := d.take(d.count(1 << 15))
		var value []byte
		switch op {
		case 'p':
			value = d.take(d.count(1 << 20))
			if d.err == nil {
				if _, err := openValue(code, key, value); err != nil {
					return err
				}
			}
		case 'd':
		default:
			return fmt.Errorf("content: operation %#x is not known", op)
		}
		if d.err != nil {
			break
		}
		if len(key) == 0 {
			return errors.New("content: empty key")
		}
		if err := fn(code, key, value); err != nil {
			return err
		}
	}
	return d.err
}

// contentBucket is the bucket of a code that a content may touch.
func contentBucket(tx *bbolt.Tx, h *header, code byte) (*bbolt.Bucket, error) {
	name := codes[code][:]
	switch code {
	case codeCredential:
		name = generation(h.Generation)
	case codeHolder, codeName, codeLevel, codeSchedule, codeHoliday, codeUsed:
	default:
		return nil, fmt.Errorf("content: bucket %#x is not known", code)
	}
	b := tx.Bucket(name)
	if b == nil {
		return nil, damaged("bucket %q is missing", name)
	}
	return b, nil
}

// applyRaw puts or removes one record as a content has it, and keeps the
// header's numbers.
func applyRaw(tx *bbolt.Tx, h *header, code byte, key, value []byte) error {
	switch code {
	case codeFile:
		return applyFile(tx, key, value)
	case codeFileCard:
		return applyFileCard(tx, key, value)
	}
	b, err := contentBucket(tx, h, code)
	if err != nil {
		return err
	}
	if code == codeCredential {
		old := b.Get(key)
		if err := reindex(tx, h, h.Generation, key, old, value); err != nil {
			return err
		}
		had := old != nil
		if had && value == nil {
			h.Count--
		} else if !had && value != nil {
			h.Count++
		}
	}
	if code == codeHolder && len(key) == 8 {
		h.NextHolder = max(h.NextHolder, binary.BigEndian.Uint64(key)+1)
	}
	if value == nil {
		return b.Delete(key)
	}
	return b.Put(append([]byte(nil), key...), append([]byte(nil), value...))
}

package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// inspection is what a check of a whole file found.
type inspection struct {
	metas   int // valid meta pages, of two
	header  header
	records int
}

// inspectFile checks a file that nobody writes: both metas, every page, every
// record. The error is a damageError when the file was read and is wrong.
func inspectFile(ctx context.Context, path string) (inspection, error) {
	f, err := os.Open(path)
	if err != nil {
		return inspection{}, err
	}
	defer f.Close()
	return inspectOpen(ctx, f, f)
}

// inspectOpen is inspectFile for an open file, read through r.
func inspectOpen(ctx context.Context, f *os.File, r io.ReaderAt) (inspection, error) {
	fi, err := f.Stat()
	if err != nil {
		return inspection{}, err
	}
	m, valid, err := readMeta(r, fi.Size())
	if err != nil {
		return inspection{}, damaged("%s: %w", f.Name(), err)
	}
	in, err := inspectTree(ctx, r, fi.Size(), m)
	in.metas = valid
	if err != nil && ctx.Err() == nil {
		err = damaged("%s: %w", f.Name(), err)
	}
	return in, err
}

// inspectTree checks all pages and records under one meta.
func inspectTree(ctx context.Context, r io.ReaderAt, size int64, m pageMeta) (inspection, error) {
	c := recordCheck{perGen: make(map[uint32]uint64), perPIN: make(map[uint32]pinTally), files: newFileTally()}
	if err := walkPages(r, size, m, c.visit, ctx.Err); err != nil {
		return inspection{}, err
	}
	in := inspection{header: c.header, records: c.records}
	switch {
	case !c.hasHeader:
		return in, errors.New("header record is missing")
	case c.header.Generation != 0 && c.perGen[c.header.Generation] != c.header.Count:
		return in, fmt.Errorf("%d credentials where the header says %d", c.perGen[c.header.Generation], c.header.Count)
	case c.header.Schema < 2:
		return in, nil // of before there was an index
	}
	if err := c.files.fault(); err != nil {
		return in, err
	}
	switch t := c.perPIN[c.header.Generation]; {
	case t.entries != 0 || t.sum != 0:
		return in, errors.New("the index of PINs is not that of the credentials")
	case t.notAlone != c.header.NotAlone:
		return in, fmt.Errorf("%d PINs that do not open alone where the header says %d", t.notAlone, c.header.NotAlone)
	}
	return in, nil
}

// inspectLive checks the file under an open database while others write. It
// holds one read transaction; the map is large enough for that.
func (f *boltFile) inspectLive(ctx context.Context) (in inspection, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		m, err := metaOf(tx)
		if err != nil {
			return err
		}
		r, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer r.Close()
		fi, err := r.Stat()
		if err != nil {
			return err
		}
		in, err = inspectTree(ctx, r, fi.Size(), m)
		if err != nil && ctx.Err() == nil {
			return damaged("%s: %w", f.path, err)
		}
		return err
	})
	return in, err
}

// metaOf returns the meta that a read transaction stands on: WriteTo writes it
// first.
func metaOf(tx *bbolt.Tx) (pageMeta, error) {
	var w firstPage
	if _, err := tx.WriteTo(&w); w.b == nil {
		return pageMeta{}, fmt.Errorf("meta of a transaction: %w", err)
	}
	return parseMeta(w.b)
}

type firstPage struct{ b []byte }

var errEnough = errors.New("enough")

func (w *firstPage) Write(p []byte) (int, error) {
	w.b = append([]byte(nil), p...)
	return 0, errEnough
}

// recordCheck checks every record of a file.
type recordCheck struct {
	header    header
	hasHeader bool
	records   int
	perGen    map[uint32]uint64
	cred      credential
	perPIN    map[uint32]pinTally
	files     fileTally
}

// pinTally compares the records of a generation with the index of their PINs: the
// number and the sum of all entries that there should be, less those that there
// are.
type pinTally struct {
	entries  int
	sum      uint64
	notAlone uint64
}

func (t *pinTally) add(n int, a aloneKey) {
	h := fnv.New64a()
	h.Write(a[:])
	t.entries += n
	t.sum += uint64(n) * h.Sum64()
}

func (c *recordCheck) visit(path [][]byte, key, value []byte) error {
	code, ok := codeOf(path)
	if !ok {
		return fmt.Errorf("record in unknown bucket %q", path)
	}
	payload, err := openValue(code, key, value)
	if err != nil {
		return fmt.Errorf("record of bucket %c: %w", code, err)
	}
	c.records++
	if err := c.payload(path, code, key, payload); err != nil {
		return fmt.Errorf("record of bucket %c: %w", code, err)
	}
	return nil
}

func (c *recordCheck) payload(path [][]byte, code byte, key, payload []byte) error {
	switch code {
	case codeMeta:
		c.hasHeader = true
		return c.header.decode(payload)
	case codeCredential:
		if len(key) != len(credKey{}) {
			return fmt.Errorf("key of %d bytes", len(key))
		}
		if err := decodeCredential(payload, nil, &c.cred); err != nil || len(path) != 1 {
			return err
		}
		c.tally(binary.BigEndian.Uint32(path[0][1:]), credKey(key))
	case codeAlone:
		if len(key) != len(aloneKey{}) || len(payload) != 0 {
			return fmt.Errorf("%d bytes under a key of %d", len(payload), len(key))
		}
		if len(path) == 1 {
			gen := binary.BigEndian.Uint32(path[0][1:])
			t := c.perPIN[gen]
			t.add(-1, aloneKey(key))
			c.perPIN[gen] = t
		}
	case codeUsed:
		if string(key) == string(keyMark) {
			return new(useMark).decode(payload)
		}
		if len(key) != len(credKey{}) || len(payload) != 4 {
			return fmt.Errorf("%d bytes under a key of %d", len(payload), len(key))
		}
	case codeFile, codeFileCard:
		return c.files.visit(path, key, payload)
	case codeHolder:
		_, _, err := decodeHolder(payload)
		return err
	case codeLevel:
		return decodeLevel(payload, nil, &site.Level{})
	case codeSchedule:
		return decodeSchedule(payload, nil, &site.Schedule{})
	case codeHoliday:
		return decodeHoliday(payload, nil, &site.Holiday{})
	}
	return nil
}

// tally counts the credential that was read.
func (c *recordCheck) tally(gen uint32, key credKey) {
	c.perGen[gen]++
	if c.cred.PIN == [16]byte{} && c.cred.Alone == [16]byte{} {
		return
	}
	t := c.perPIN[gen]
	for _, hash := range c.cred.hashes() {
		if hash != [16]byte{} {
			t.add(1, makeAloneKey(hash, &key))
		}
	}
	if c.cred.PIN != [16]byte{} && c.cred.Alone == [16]byte{} && c.cred.State != site.CredentialRevoked {
		t.notAlone++
	}
	c.perPIN[gen] = t
}

// CheckFile checks a file of a stopped store whole: every page, the form and
// the check of every record.
func CheckFile(ctx context.Context, path string) error {
	in, err := inspectFile(ctx, path)
	if err == nil && in.metas < 2 {
		err = damaged("%s: one of two meta pages is damaged", path)
	}
	return err
}

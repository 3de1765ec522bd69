package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// importRows times the import of the large site, from the CSV file's first byte to
// the acknowledgement, which waits for the verified copy; and the loading of
// the records that it made into an empty bbolt file.
func importRows(b *bench) ([]row, error) {
	var imports, loads []float64
	records, size := 0, 0
	for round := range pick(b, 3, 1) {
		dir := b.siteDir(b.n)
		if round > 0 { // the first is the one that the other rows use
			dir = filepath.Join(b.dir, "import-again")
		}
		took, err := importInto(b.ctx, dir, b.n)
		if err != nil {
			return nil, err
		}
		imports = append(imports, seconds(took))
		b.printf("  import of %d: %.2f s", b.n, seconds(took))
		all, err := readRecords(filepath.Join(dir, "policy.copy.db"), filepath.Join(b.dir, "records"))
		if err != nil {
			return nil, err
		}
		records, size = all.count, len(all.bytes)
		took, err = all.load(filepath.Join(b.dir, "load.db"))
		if err = errors.Join(err, all.close()); err != nil {
			return nil, err
		}
		loads = append(loads, seconds(took))
		b.printf("  bbolt, the same %d records: %.2f s", records, seconds(took))
		if round > 0 {
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
		}
	}
	return []row{{Name: "import_1m", Value: mean(imports), Yardstick: mean(loads), Bar: 2, Unit: "s",
		Detail: map[string]any{"credentials": b.n, "records": records, "record_bytes": size,
			"import_s": imports, "bbolt_s": loads, "credentials_per_s": float64(b.n) / mean(imports)}}}, nil
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(len(values), 1))
}

func importInto(ctx context.Context, dir string, n int) (took time.Duration, err error) {
	h, err := openHouse(dir)
	if err != nil {
		return 0, err
	}
	took, err = h.fill(ctx, n)
	return took, errors.Join(err, h.stop())
}

// recordSet is all records of a store, sorted, in a mapped file: for each the
// length of its bucket's name, of its key and of its value, then these. They
// are no memory of Go's, which would make its collector rarer for one side.
type recordSet struct {
	bytes []byte
	count int
}

const recordHead = 1 + 2 + 4

// readRecords copies the records of every bucket from the bbolt file at path to
// a file at to.
func readRecords(path, to string) (set recordSet, err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, NoStatistics: true})
	if err != nil {
		return set, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	f, err := os.Create(to)
	if err != nil {
		return set, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	size := 0
	var head []byte
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if v == nil {
					return nil // a bucket within: what waits to be deleted
				}
				head = append(head[:0], byte(len(name)))
				head = binary.LittleEndian.AppendUint16(head, uint16(len(k)))
				head = binary.LittleEndian.AppendUint32(head, uint32(len(v)))
				for _, part := range [][]byte{head, name, k, v} {
					size += len(part)
					if _, err := w.Write(part); err != nil {
						return err
					}
				}
				set.count++
				return nil
			})
		})
	})
	if err = errors.Join(err, w.Flush()); err != nil {
		return set, err
	}
	set.bytes, err = syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	return set, err
}

func (s recordSet) close() error { return syscall.Munmap(s.bytes) }

// next returns the first record of b and the rest.
func next(b []byte) (name, key, value, rest []byte) {
	n, k, v := int(b[0]), int(binary.LittleEndian.Uint16(b[1:])), int(binary.LittleEndian.Uint32(b[3:]))
	b = b[recordHead:]
	return b[:n], b[n : n+k], b[n+k : n+k+v], b[n+k+v:]
}

// loadGroup is how many records one transaction of the yardstick writes: as
// many as one of the store's import.
const loadGroup = 8192

// load puts the records into an empty file, flush honoured, and returns how
// long that took.
func (s recordSet) load(path string) (took time.Duration, err error) {
	began := time.Now()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoStatistics: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		return 0, err
	}
	for rest := s.bytes; len(rest) > 0 && err == nil; {
		err = db.Update(func(tx *bbolt.Tx) error {
			rest, err = putSome(tx, rest)
			return err
		})
	}
	err = errors.Join(err, db.Close())
	took = time.Since(began)
	return took, errors.Join(err, os.Remove(path))
}

func putSome(tx *bbolt.Tx, rest []byte) ([]byte, error) {
	var bucket *bbolt.Bucket
	var of []byte
	for n := 0; n < loadGroup && len(rest) > 0; n++ {
		var name, key, value []byte
		name, key, value, rest = next(rest)
		var err error
		if bucket == nil || !bytes.Equal(name, of) {
			bucket, err = tx.CreateBucketIfNotExists(name)
			of = name
		}
		if err == nil {
			err = bucket.Put(key, value)
		}
		if err != nil {
			return nil, fmt.Errorf("bbolt: %w", err)
		}
	}
	return rest, nil
}

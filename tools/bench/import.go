package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// importRows times the import of the large site, from the CSV's first byte to
// the acknowledgement, which waits for the verified copy; and the loading of
// the records that it made into an empty bbolt file.
func importRows(b *bench) ([]row, error) {
	var imports, loads []float64
	records, size := 0, 0
	for round := range pick(b, 2, 1) {
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
		all, err := readRecords(filepath.Join(dir, "policy.copy.db"))
		if err != nil {
			return nil, err
		}
		records, size = all.count, len(all.bytes)
		took, err = all.load(filepath.Join(b.dir, "load.db"))
		if err != nil {
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

// recordSet is all records of a store, sorted, in one piece of memory: for each
// the length of its bucket's name, of its key and of its value, then these.
type recordSet struct {
	bytes []byte
	count int
}

const recordHead = 1 + 2 + 4

// readRecords copies the records of every bucket.
func readRecords(path string) (recordSet, error) {
	var set recordSet
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, NoStatistics: true})
	if err != nil {
		return set, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if v == nil {
					return nil // a bucket within: what waits to be deleted
				}
				set.bytes = append(set.bytes, byte(len(name)))
				set.bytes = binary.LittleEndian.AppendUint16(set.bytes, uint16(len(k)))
				set.bytes = binary.LittleEndian.AppendUint32(set.bytes, uint32(len(v)))
				set.bytes = append(append(append(set.bytes, name...), k...), v...)
				set.count++
				return nil
			})
		})
	})
	return set, errors.Join(err, db.Close())
}

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
	for n := 0; n < loadGroup && len(rest) > 0; n++ {
		var name, key, value []byte
		name, key, value, rest = next(rest)
		b, err := tx.CreateBucketIfNotExists(name)
		if err == nil {
			err = b.Put(key, value)
		}
		if err != nil {
			return nil, fmt.Errorf("bbolt: %w", err)
		}
	}
	return rest, nil
}

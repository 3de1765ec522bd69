package store_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// manyRows is an import of n rows, 34-bit cards.
func manyRows(n int) *bytes.Buffer {
	var b bytes.Buffer
	b.WriteString("holder,format,facility,card,rights\n")
	for i := range n {
		fmt.Fprintf(&b, "Person %d,H10306,%d,%d,front@office;shed\n", i, i>>16, i&0xFFFF)
	}
	return &b
}

func benchSize() int {
	if n, err := strconv.Atoi(os.Getenv("STORE_BENCH_ROWS")); err == nil {
		return n
	}
	return 100_000
}

func office() store.Op {
	return store.PutSchedule{Schedule: site.Schedule{ID: "office", Intervals: []site.Interval{{Days: site.AllDays, Start: 1, End: 1080}}}}
}

func BenchmarkImport(b *testing.B) {
	n := benchSize()
	for range b.N {
		b.StopTimer()
		s, _ := storetest.New(b)
		apply(b, s, office())
		buf := manyRows(n)
		b.StartTimer()
		at := time.Now()
		rows, err := store.NewCSV(buf)
		if err != nil {
			b.Fatal(err)
		}
		last := time.Duration(0)
		_, err = s.Import(b.Context(), "bench", site.SourceOperator, rows, store.ImportOptions{Progress: func(done, total int) {
			if total > 0 && last == 0 {
				last = time.Since(at)
			}
		}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(at).Seconds(), "s")
		b.ReportMetric(last.Seconds(), "s-to-merge")
	}
}

// BenchmarkLookup compares a look-up with a bare Get in the same kind of
// transaction on the same file.
func BenchmarkLookup(b *testing.B) {
	n := benchSize()
	dir := b.TempDir()
	l := &storetest.Log{}
	s, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	apply(b, s, office())
	rows, err := store.NewCSV(manyRows(n))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Import(b.Context(), "bench", site.SourceOperator, rows, store.ImportOptions{}); err != nil {
		b.Fatal(err)
	}
	format, _ := card.Standard().ByName("H10306")
	cards := make([]card.Bits, 65536)
	for i := range cards {
		k := int(uint64(i) * 2654435761 % uint64(n))
		cards[i], err = format.Encode(card.Number{Facility: uint64(k >> 16), HasFacility: true, Card: uint64(k & 0xFFFF)})
		if err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	if st, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(st)) {
			if strings.HasPrefix(line, "RssAnon") {
				b.Log(strings.TrimSpace(line))
			}
		}
	}
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		var dst []site.Credential
		i := 0
		for b.Loop() {
			if dst, err = s.LookupBits(cards[i&0xFFFF], dst[:0]); err != nil || len(dst) != 1 {
				b.Fatal(err, len(dst))
			}
			i++
		}
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	db, err := bbolt.Open(dir+"/policy.db", 0o600, &bbolt.Options{NoStatistics: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var name []byte
	keys := make([][]byte, 0, 65536)
	_ = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(k []byte, bk *bbolt.Bucket) error {
			if len(k) == 5 && k[0] == 'c' {
				name = bytes.Clone(k)
				c := bk.Cursor()
				step := max(n/65536, 1)
				i := 0
				for k, _ := c.First(); k != nil; k, _ = c.Next() {
					if i++; i%step == 0 {
						keys = append(keys, bytes.Clone(k))
					}
				}
			}
			return nil
		})
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			k := keys[(i*40503)%len(keys)]
			err := db.View(func(tx *bbolt.Tx) error {
				if len(tx.Bucket(name).Get(k)) == 0 {
					return os.ErrNotExist
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkLoadSorted is the yardstick of BenchmarkImport: bbolt given the same
// records, sorted, in transactions of the same size.
func BenchmarkLoadSorted(b *testing.B) {
	dir := b.TempDir()
	s, _, err := store.Open(store.Config{Dir: dir}, &storetest.Log{}, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	apply(b, s, office())
	rows, err := store.NewCSV(manyRows(benchSize()))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Import(b.Context(), "bench", site.SourceOperator, rows, store.ImportOptions{}); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	from, err := bbolt.Open(dir+"/policy.db", 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	type record struct{ k, v []byte }
	buckets := map[string][]record{}
	_ = from.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bk *bbolt.Bucket) error {
			return bk.ForEach(func(k, v []byte) error {
				if v != nil {
					buckets[string(name)] = append(buckets[string(name)], record{k, v})
				}
				return nil
			})
		})
	})
	for b.Loop() {
		to, err := bbolt.Open(b.TempDir()+"/to.db", 0o600, &bbolt.Options{NoStatistics: true, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			b.Fatal(err)
		}
		at := time.Now()
		for name, list := range buckets {
			for part := range slices.Chunk(list, 8192) {
				err := to.Update(func(tx *bbolt.Tx) error {
					bk, err := tx.CreateBucketIfNotExists([]byte(name))
					if err != nil {
						return err
					}
					for _, r := range part {
						if err := bk.Put(r.k, r.v); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(time.Since(at).Seconds(), "s")
		if err := to.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

package store_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// lockedSite is a store with benchSize credentials and 20 locks, each with 4,000
// users, half of them by a level.
func lockedSite(b *testing.B, locks bool) *store.Store {
	b.Helper()
	var limits []store.LockLimit
	for i := range 20 {
		limits = append(limits, smallLock(b, site.DoorID(fmt.Sprintf("lock%d", i)), 5000, 16))
	}
	if !locks {
		limits = nil
	}
	s, _ := storetest.Open(b, store.Config{Dir: b.TempDir(), Locks: limits}, &storetest.Log{}, store.Options{})
	ops := []store.Op{hours("office", 8, 18), hours("night", 1, 5), store.PutLevel{Level: site.Level{ID: "guests", Rights: rights("front")}}}
	for i := range 20 {
		ops = append(ops, store.PutLevel{Level: site.Level{ID: site.LevelID(fmt.Sprintf("l%d", i)), Rights: rights("front", site.DoorID(fmt.Sprintf("lock%d@office", i)))}})
	}
	apply(b, s, ops...)
	n := benchSize()
	var buf bytes.Buffer
	buf.WriteString("holder,format,facility,card,level,rights\n")
	for i := range n {
		level, right := "", ""
		if i%25 < 10 {
			level = fmt.Sprintf("l%d", i%20)
		} else if i%25 < 20 {
			right = fmt.Sprintf(";lock%d@office", i%20)
		}
		fmt.Fprintf(&buf, "Person %d,H10306,%d,%d,%s,front@office;shed%s\n", i, i>>16, i&0xFFFF, level, right)
	}
	rows, err := store.NewCSV(&buf)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Import(b.Context(), "bench", site.SourceOperator, rows, store.ImportOptions{}); err != nil {
		b.Fatal(err)
	}
	return s
}

func benchCard(b *testing.B, i int) card.Bits {
	b.Helper()
	format, _ := card.Standard().ByName("H10306")
	bits, err := format.Encode(card.Number{Facility: uint64(i >> 16), HasFacility: true, Card: uint64(i & 0xFFFF)})
	if err != nil {
		b.Fatal(err)
	}
	return bits
}

// BenchmarkLockChange is one change of an operator, with locks and without: the ones
// that add are taken away again in the same change, so the locks stay as they are.
func BenchmarkLockChange(b *testing.B) {
	for _, locks := range []bool{false, true} {
		s := lockedSite(b, locks)
		at := func(i int) site.CredentialID { return lookup(b, s, benchCard(b, 25*(i%1000)+24))[0].ID }
		for _, op := range []struct {
			name string
			ops  func(i int) []store.Op
		}{
			{"no lock", func(i int) []store.Op {
				return []store.Op{store.AddRight{ID: at(i / 2), Right: rights("door9", "door8")[i%2]}}
			}},
			{"AddRight", func(i int) []store.Op {
				r := rights("lock7@office")[0]
				if i%2 == 1 {
					return []store.Op{store.RemoveRight{ID: at(i / 2), Right: r}}
				}
				return []store.Op{store.AddRight{ID: at(i / 2), Right: r}}
			}},
			{"PutCredential", func(i int) []store.Op {
				return []store.Op{store.PutCredential{Bits: benchCard(b, 1<<20+i%400), HolderName: "Person 1", Rights: rights("lock8")}}
			}},
			{"PutLevel", func(i int) []store.Op {
				r := rights("front", "lock9@office", "lock9@night")
				return []store.Op{store.PutLevel{Level: site.Level{ID: "l9", Rights: r[:2+i%2]}}}
			}},
			{"PutLevel of nobody", func(i int) []store.Op {
				return []store.Op{store.PutLevel{Level: site.Level{ID: "guests", Rights: rights("front", "lock9", "lock8")[:1+i%3]}}}
			}},
			{"PutSchedule", func(i int) []store.Op { return []store.Op{hours("office", 8, 18+i%2)} }},
		} {
			b.Run(fmt.Sprintf("%s/locks=%v", op.name, locks), func(b *testing.B) {
				i := 0
				for b.Loop() {
					b.StopTimer()
					ops := op.ops(i)
					b.StartTimer()
					apply(b, s, ops...)
					i++
				}
			})
		}
	}
}

// BenchmarkLockCold is the first change at a lock after a start, which counts all.
func BenchmarkLockCold(b *testing.B) {
	s := lockedSite(b, true)
	id := lookup(b, s, benchCard(b, 24))[0].ID
	for b.Loop() {
		b.StopTimer()
		rows, err := store.NewCSV(bytes.NewBufferString(fmt.Sprintf("holder,format,facility,card,rights\nP,H10306,99,%d,front\n", b.N%9999)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Import(b.Context(), "x", site.SourceOperator, rows, store.ImportOptions{}); err != nil {
			b.Fatal(err)
		}
		store.ForgetLocks(s)
		b.StartTimer()
		apply(b, s, store.AddRight{ID: id, Right: rights("lock7@office")[0]})
		b.StopTimer()
		apply(b, s, store.RemoveRight{ID: id, Right: rights("lock7@office")[0]})
		b.StartTimer()
	}
}

// BenchmarkCardsAt is one pass for all locks.
func BenchmarkCardsAt(b *testing.B) {
	s := lockedSite(b, false)
	var doors []site.DoorID
	for i := range 20 {
		doors = append(doors, site.DoorID(fmt.Sprintf("lock%d", i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := s.CardsAt(b.Context(), doors, func(site.DoorID, card.Block, []site.Credential) error { n++; return nil })
		if err != nil || math.Abs(float64(n)/float64(benchSize())-0.8) > 0.01 {
			b.Fatal(n, err)
		}
	}
}

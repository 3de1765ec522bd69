package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
)

// TestLockSchedule: a schedule that users of a lock have is not made one that the
// lock cannot hold; one that nobody has there may be any.
func TestLockSchedule(t *testing.T) {
	s := openLocks(t, smallLock(t, "room5", 9, 2))
	long := store.PutSchedule{Schedule: site.Schedule{ID: "a", Intervals: []site.Interval{
		{Days: 1, Start: 60, End: 120}, {Days: 1, Start: 1380, End: 60}}}}
	apply(t, s, hours("a", 8, 12), long, hours("a", 8, 12), hours("b", 8, 13),
		store.PutCredential{Bits: bits(t, 1, 1), HolderName: "A", Rights: rights("room5@a", "shed@b")})
	for range 2 { // the second time the lock is known
		err := change(t, s, site.SourceOperator, long)
		if err == nil || !strings.Contains(err.Error(), "lock room5: a lock of model nde takes 2 schedules") {
			t.Errorf("a longer one: %v", err)
		}
		apply(t, s, store.AddRight{ID: lookup(t, s, bits(t, 1, 1))[0].ID, Right: rights("room5@b")[0]})
	}
	long.Schedule.ID = "b"
	apply(t, s, store.RemoveRight{ID: lookup(t, s, bits(t, 1, 1))[0].ID, Right: rights("room5@b")[0]},
		store.RemoveRight{ID: lookup(t, s, bits(t, 1, 1))[0].ID, Right: rights("room5@a")[0]}, long)
}

// TestCardsAtErrors: it ends with the error of fn, with its context and when the
// store is closed, and is silent of doors that nobody has.
func TestCardsAtErrors(t *testing.T) {
	s := openLocks(t)
	fill(t, s, 10)
	apply(t, s, store.PutCredential{Bits: bits(t, 1, 1), HolderName: "A", Rights: rights("room5")})
	n, stop := 0, errors.New("stop")
	fn := func(site.DoorID, card.Block, []site.Credential) error { n++; return stop }
	if err := s.CardsAt(t.Context(), []site.DoorID{"room5"}, fn); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
	if err := errors.Join(s.CardsAt(t.Context(), []site.DoorID{"room6"}, fn), s.CardsAt(t.Context(), nil, fn)); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CardsAt(ctx, []site.DoorID{"room5"}, fn); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	closeStore(t, s)
	if err := s.CardsAt(t.Context(), []site.DoorID{"room5"}, fn); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
}

// TestCardsAtUsed: a card for one use that was used says so, before and after the
// count is in the file.
func TestCardsAtUsed(t *testing.T) {
	s := openLocks(t)
	apply(t, s, store.PutCredential{Bits: bits(t, 1, 1), HolderName: "A", Function: site.FunctionOneTime, Rights: rights("room5")})
	u := user(t, 1, bits(t, 1, 2))
	u.Function = site.FunctionOneTime
	mustFile(t, s, "room5", swordfish.Summary{DeleteAll: true, Schedules: always()}, fileRow{swordfish.OpAdd, u})
	for _, c := range []card.Bits{bits(t, 1, 1), bits(t, 1, 2)} {
		if _, err := s.CountUse(lookup(t, s, c)[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for key, records := range cardsAt(t, s, []site.DoorID{"room5"})["room5"] {
			if len(records) != 1 || records[0].Used != 1 {
				t.Errorf("%s: %+v", key, records)
			}
		}
		if err := s.FlushUses(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCardsAtWhileChanging: while changes, door files and a large import run, each
// call is in order, each card once, whole, and no card that nobody touches is missed.
func TestCardsAtWhileChanging(t *testing.T) {
	s := openLocks(t, smallLock(t, "room5", 5000, 16))
	const kept = 1500 // more than one page
	ops := []store.Op{store.PutLevel{Level: site.Level{ID: "staff", Rights: rights("room5", "shed")}}}
	for i := range kept {
		ops = append(ops, store.PutCredential{Bits: bits(t, 1, uint64(i)), HolderName: "A", Rights: rights("room5"), Levels: []site.LevelID{"staff"}})
	}
	apply(t, s, ops...)
	untouched := map[card.Block]bool{}
	for i := range kept {
		b, err := bits(t, 1, uint64(i)).Block()
		if err != nil {
			t.Fatal(err)
		}
		untouched[b] = true
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range 3 {
			var b strings.Builder
			b.WriteString("holder,format,facility,card,rights\n")
			for n := range 2500 {
				fmt.Fprintf(&b, "P,H10301,2,%d,%s\n", n, []string{"room5", "front", "shed"}[(n+i)%3])
			}
			if _, err := s.Import(t.Context(), "x", site.SourceOperator, csvRows(t, b.String()), store.ImportOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			apply(t, s, store.PutCredential{Bits: bits(t, 3, uint64(i%50)), HolderName: "B", Rights: rights([]site.DoorID{"room5", "front"}[i%2])},
				store.PutLevel{Level: site.Level{ID: "staff", Rights: rights([]site.DoorID{"shed", "room5"}[i%2])}})
			mustFile(t, s, "room5", swordfish.Summary{DeleteAll: true, Schedules: always()}, fileRow{swordfish.OpAdd, user(t, 1, bits(t, 4, uint64(i%9)))})
		}
	})
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		seen := 0
		var last [16]byte
		err := s.CardsAt(t.Context(), []site.DoorID{"room5"}, func(_ site.DoorID, block card.Block, records []site.Credential) error {
			sealed := s.Seal(block)
			if bytes.Compare(last[:], sealed[:]) >= 0 {
				return errors.New("out of order, or a card twice")
			}
			last = sealed
			if untouched[block] {
				seen++
			}
			if len(records) == 0 || untouched[block] && (len(records) != 1 || len(records[0].Rights) != 1) {
				return fmt.Errorf("not whole: %+v", records)
			}
			return nil
		})
		if err != nil || seen != kept {
			t.Errorf("%d of %d: %v", seen, kept, err)
			break
		}
	}
	wg.Wait()
}

// TestLockImportRace: an import that fits when it is begun, and not beside a change
// that came meanwhile, is refused; one that fits only then is taken.
func TestLockImportRace(t *testing.T) {
	tests := []struct {
		name   string
		during func(id site.CredentialID) store.Op
		rows   int // at the lock
		want   string
	}{
		{"a user more", func(site.CredentialID) store.Op {
			return store.PutCredential{Bits: bits(t, 9, 9), HolderName: "B", Rights: rights("room5")}
		}, 2, "lock room5: 4 users, model nde takes 3"},
		{"a level more", func(site.CredentialID) store.Op {
			return store.PutLevel{Level: site.Level{ID: "staff", Rights: rights("room5")}}
		}, 2, "lock room5: 4 users, model nde takes 3"},
		{"a user less", func(id site.CredentialID) store.Op { return store.SetState{ID: id, State: site.CredentialRevoked} }, 3, ""},
		{"another door", func(id site.CredentialID) store.Op { return store.AddRight{ID: id, Right: rights("front")[0]} }, 2, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openLocks(t, smallLock(t, "room5", 3, 2))
			apply(t, s, store.PutLevel{Level: site.Level{ID: "staff", Rights: rights("shed")}},
				store.PutCredential{Bits: bits(t, 9, 1), HolderName: "A", Rights: rights("room5")},
				store.PutCredential{Bits: bits(t, 9, 2), HolderName: "A", Levels: []site.LevelID{"staff"}})
			var b strings.Builder
			b.WriteString("holder,format,facility,card,rights\n")
			for i := range 2500 {
				door := "front"
				if i < tt.rows {
					door = "room5"
				}
				fmt.Fprintf(&b, "P,H10301,1,%d,%s\n", i, door)
			}
			once := sync.OnceFunc(func() { apply(t, s, tt.during(lookup(t, s, bits(t, 9, 1))[0].ID)) })
			_, err := s.Import(t.Context(), "x", site.SourceOperator, csvRows(t, b.String()), store.ImportOptions{Progress: func(done, total int) {
				if total > 0 {
					once()
				}
			}})
			_, is := errors.AsType[*store.ImportError](err)
			if got := len(lookup(t, s, bits(t, 1, 0))); (got == 1) != (tt.want == "") || is == (tt.want == "") || is && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%d of the import, %v, want %q", got, err, tt.want)
			}
		})
	}
}

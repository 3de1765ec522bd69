package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// smallLock is a lock of a model that takes few.
func smallLock(t testing.TB, door site.DoorID, users, schedules int) store.LockLimit {
	t.Helper()
	p, ok := swordfish.ProfileOf("nde")
	if !ok {
		t.Fatal("no profile")
	}
	p.Users, p.Schedules = users, schedules
	return store.LockLimit{Door: door, Profile: &p}
}

// lockNow is the time of stores under test here.
var lockNow = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func openLocks(t testing.TB, locks ...store.LockLimit) *store.Store {
	t.Helper()
	s, _ := storetest.Open(t, store.Config{Dir: t.TempDir(), Locks: locks}, &storetest.Log{},
		store.Options{Now: func() time.Time { return lockNow }})
	return s
}

// change makes a change of a source and returns its error.
func change(t testing.TB, s *store.Store, src site.Source, ops ...store.Op) error {
	t.Helper()
	_, err := s.Apply(t.Context(), "test", store.Change{Source: src, Ops: ops})
	return err
}

func rights(doors ...site.DoorID) (out []site.Right) {
	for _, d := range doors {
		door, schedule, _ := strings.Cut(string(d), "@")
		out = append(out, site.Right{Door: site.DoorID(door), Schedule: site.ScheduleID(schedule)})
	}
	return out
}

// hours is a schedule of every day from one hour to another.
func hours(id site.ScheduleID, from, to int) store.PutSchedule {
	return store.PutSchedule{Schedule: site.Schedule{ID: id, Intervals: []site.Interval{{Days: site.AllDays, Start: from * 60, End: to * 60}}}}
}

// dump is all that a store says of its policy.
func dump(t testing.TB, s *store.Store) (out []site.Credential, p store.Policy) {
	t.Helper()
	err := s.Credentials(t.Context(), store.Filter{}, func(c site.Credential) error {
		out = append(out, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, s.Snapshot()
}

// TestLockLimits: what a lock cannot hold is refused, with lock, number and limit;
// what takes away is not, and what is refused changes nothing.
func TestLockLimits(t *testing.T) {
	cards := make([]store.PutCredential, 6)
	for i := range cards {
		cards[i] = store.PutCredential{Bits: bits(t, 1, uint64(i)), HolderName: "Ada"}
	}
	with := func(i int, r ...site.Right) store.PutCredential {
		c := cards[i]
		c.Rights = r
		return c
	}
	level := func(i int, l ...site.LevelID) store.PutCredential {
		c := cards[i]
		c.Levels = l
		return c
	}
	put := func(i int, fn func(*store.PutCredential)) store.PutCredential {
		c := with(i, rights("room5")...)
		fn(&c)
		return c
	}
	id := func(s *store.Store, i int) site.CredentialID { return lookup(t, s, cards[i].Bits)[0].ID }
	const users, slots = "lock room5: 3 users, model nde takes 2", "lock room5: a lock of model nde takes 2 schedules"
	// Each test begins with two users of room5, card 0 by itself, card 1 by a level, and
	// with card 2, which has no right there.
	tests := []struct {
		name string
		src  site.Source // empty: the operator's
		ops  func(s *store.Store) []store.Op
		want string // in the error; empty: taken
		n    int    // record of the error
	}{
		{"a third user by a right", "", func(s *store.Store) []store.Op {
			return []store.Op{store.AddRight{ID: id(s, 2), Right: rights("room5")[0]}}
		}, users, 1},
		{"a third user by a level, at another door too", "", func(s *store.Store) []store.Op {
			return []store.Op{store.PutHolder{Name: "B"}, store.SetLevels{ID: id(s, 2), Levels: []site.LevelID{"staff"}}}
		}, users, 2},
		{"a level that gets the door", "", func(s *store.Store) []store.Op {
			return []store.Op{store.PutLevel{Level: site.Level{ID: "guests", Rights: rights("shed", "room5")}}}
		}, users, 1},
		{"a new card", "", func(*store.Store) []store.Op { return []store.Op{with(3, rights("room5")...)} }, users, 1},
		{"a new card of another source", site.SourceHive, func(*store.Store) []store.Op { return []store.Op{with(3, rights("room5")...)} }, users, 1},
		{"the same card of another source", site.SourceHive, func(*store.Store) []store.Op { return []store.Op{with(0, rights("room5")...)} }, "", 0},
		{"the same block in another length", site.SourceHive, func(*store.Store) []store.Op {
			c := with(0, rights("room5")...)
			block, _ := c.Bits.Block()
			c.Bits, c.Block = store.PutCredential{}.Bits, block
			return []store.Op{c}
		}, "", 0},
		{"a card that is blocked", "", func(*store.Store) []store.Op {
			return []store.Op{put(3, func(c *store.PutCredential) { c.State = site.CredentialBlocked })}
		}, "", 0},
		{"a card whose function is blocked", "", func(*store.Store) []store.Op {
			return []store.Op{put(3, func(c *store.PutCredential) { c.Function = site.FunctionBlocked })}
		}, "", 0},
		{"a card that is over", "", func(*store.Store) []store.Op {
			return []store.Op{put(3, func(c *store.PutCredential) { c.Until = lockNow })}
		}, "", 0},
		{"a card that begins later", "", func(*store.Store) []store.Op {
			return []store.Op{put(3, func(c *store.PutCredential) { c.From = lockNow.AddDate(1, 0, 0) })}
		}, users, 1},
		{"one for another", "", func(s *store.Store) []store.Op {
			return []store.Op{with(3, rights("room5")...), store.SetState{ID: id(s, 0), State: site.CredentialRevoked}}
		}, "", 0},
		{"another door", "", func(*store.Store) []store.Op { return []store.Op{with(3, rights("shed")...)} }, "", 0},
		{"schedules for two users, in two slots", "", func(*store.Store) []store.Op {
			return []store.Op{hours("a", 8, 12), with(0, rights("room5@a")...)}
		}, "", 0},
		{"three slots", "", func(*store.Store) []store.Op {
			return []store.Op{hours("a", 8, 12), hours("b", 9, 12), with(0, rights("room5@a", "room5@b")...)}
		}, slots, 3},
		{"a schedule in use that needs two slots more", "", func(*store.Store) []store.Op {
			return []store.Op{store.PutSchedule{Schedule: site.Schedule{ID: "day", Intervals: []site.Interval{
				{Days: 1, Start: 60, End: 120}, {Days: 1, Start: 180, End: 240}, {Days: 2, Start: 240, End: 300}}}},
				with(2, rights("shed@day")...), with(0, rights("room5@day")...)}
		}, slots, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openLocks(t, smallLock(t, "room5", 2, 2))
			apply(t, s, store.PutLevel{Level: site.Level{ID: "staff", Rights: rights("room5", "shed")}},
				store.PutLevel{Level: site.Level{ID: "guests", Rights: rights("shed")}},
				with(0, rights("room5")...), level(1, "staff"), level(2, "guests"))
			before, policy := dump(t, s)
			src := tt.src
			if src == "" {
				src = site.SourceOperator
			}
			err := change(t, s, src, tt.ops(s)...)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			re, ok := errors.AsType[*store.RecordError](err)
			if !ok || re.Record != tt.n || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want record %d and %q", err, tt.n, tt.want)
			}
			after, now := dump(t, s)
			if d := cmp.Diff(before, after); d != "" || now.Version != policy.Version {
				t.Errorf("version %d then %d (-before +after):\n%s", policy.Version, now.Version, d)
			}
		})
	}
}

// TestLockVeto: a card that the operator vetoes is none, and to take the veto away is
// to add a user.
func TestLockVeto(t *testing.T) {
	s := openLocks(t, smallLock(t, "room5", 1, 16))
	a, b := bits(t, 1, 1), bits(t, 1, 2)
	if err := change(t, s, site.SourceHive, store.PutCredential{Bits: a, HolderName: "A", Rights: rights("room5")}); err != nil {
		t.Fatal(err)
	}
	hive := lookup(t, s, a)[0].ID
	r := apply(t, s, store.SetState{ID: hive, State: site.CredentialBlocked})
	apply(t, s, store.PutCredential{Bits: b, HolderName: "B", Rights: rights("room5")})
	for _, op := range []store.Op{store.SetState{ID: site.CredentialID(r.IDs[0]), State: site.CredentialActive},
		store.DeleteCredential{ID: site.CredentialID(r.IDs[0])}} {
		if err := change(t, s, site.SourceOperator, op); err == nil || !strings.Contains(err.Error(), "lock room5: 2 users, model nde takes 1") {
			t.Errorf("%T: %v", op, err)
		}
	}
	apply(t, s, store.SetState{ID: lookup(t, s, b)[0].ID, State: site.CredentialBlocked})
	apply(t, s, store.SetState{ID: site.CredentialID(r.IDs[0]), State: site.CredentialActive})
}

// TestLockOverAlready: a lock that is named when it holds too much, with too many
// schedules, lets everything go that takes away, and takes nothing more.
func TestLockOverAlready(t *testing.T) {
	dir, l := t.TempDir(), &storetest.Log{}
	open := func(locks ...store.LockLimit) *store.Store {
		s, _, err := store.Open(store.Config{Dir: dir, Locks: locks}, l, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	ops := []store.Op{hours("a", 8, 12), hours("b", 9, 12), hours("c", 10, 12),
		store.PutLevel{Level: site.Level{ID: "all", Rights: rights("room5@a", "room5@b", "room5@c", "room5")}}}
	for i := range 5 {
		ops = append(ops, store.PutCredential{Bits: bits(t, 1, uint64(i)), HolderName: "A",
			Levels: []site.LevelID{"all"}, Rights: rights("room5@a", "room5@b", "room5@c")})
	}
	apply(t, s, ops...)
	closeStore(t, s)
	s = open(smallLock(t, "room5", 2, 2))
	ids := make([]site.CredentialID, 5)
	for i := range ids {
		ids[i] = lookup(t, s, bits(t, 1, uint64(i)))[0].ID
	}
	for i, op := range []store.Op{
		store.RemoveRight{ID: ids[0], Right: rights("room5@a")[0]},
		store.PutLevel{Level: site.Level{ID: "all", Rights: rights("room5@a", "room5@b", "room5@c")}},
		store.PutLevel{Level: site.Level{ID: "all", Rights: rights("room5@b")}},
		store.SetLevels{ID: ids[0]},
		store.SetState{ID: ids[0], State: site.CredentialBlocked},
		store.DeleteCredential{ID: ids[0]},
		hours("a", 8, 11),
		store.PutSchedule{Schedule: site.Schedule{ID: "a", Intervals: []site.Interval{
			{Days: site.AllDays, Start: 480, End: 500}, {Days: site.AllDays, Start: 510, End: 550}}}},
		store.PutHoliday{Holiday: site.Holiday{ID: "h", First: site.Date{Year: 2026, Month: 1, Day: 1}, Last: site.Date{Year: 2026, Month: 1, Day: 1}}},
		store.PutCredential{Bits: bits(t, 1, 1), HolderName: "A", Function: site.FunctionToggle, Rights: rights("room5@b")},
	} {
		if err := change(t, s, site.SourceOperator, op); err != nil {
			t.Errorf("%d, %T: %v", i, op, err)
		}
	}
	for i, op := range []store.Op{
		store.PutCredential{Bits: bits(t, 1, 9), HolderName: "A", Rights: rights("room5@a")},
		store.AddRight{ID: ids[1], Right: rights("room5")[0]},
		hours("b", 8, 12),
	} {
		if err := change(t, s, site.SourceOperator, op); err == nil || !strings.Contains(err.Error(), "lock room5: ") {
			t.Errorf("%d, %T: %v", i, op, err)
		}
	}
	// Users may be too many while the schedules fit: to give one another is no user more.
	one := []store.Op{}
	for _, id := range ids[2:] {
		one = append(one, store.SetLevels{ID: id}, store.RemoveRight{ID: id, Right: rights("room5@a")[0]},
			store.RemoveRight{ID: id, Right: rights("room5@c")[0]})
	}
	apply(t, s, one...)
	apply(t, s, store.AddRight{ID: ids[1], Right: rights("room5@c")[0]})
	apply(t, s, store.RemoveRight{ID: ids[1], Right: rights("room5@c")[0]})
	apply(t, s, store.SetLevels{ID: ids[1], Levels: []site.LevelID{"all"}})
	closeStore(t, s)
}

// TestLockImport: an import that a lock cannot hold is refused before anything of it
// holds, in a dry run, as one change and as one that is built beside.
func TestLockImport(t *testing.T) {
	for _, n := range []int{10, 2500} {
		for _, dry := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d rows, dry %v", n, dry), func(t *testing.T) {
				s := openLocks(t, smallLock(t, "room5", 3, 2), smallLock(t, "room6", 9, 2))
				apply(t, s, hours("a", 8, 12), hours("b", 9, 12), hours("c", 10, 12),
					store.PutCredential{Bits: bits(t, 1, 1), HolderName: "A", Rights: rights("room5")})
				rows := func(at ...string) store.Rows {
					var b strings.Builder
					b.WriteString("holder,format,facility,card,rights\n")
					for i := range n {
						door := "front"
						if i < len(at) {
							door = at[i]
						}
						fmt.Fprintf(&b, "P,H10301,1,%d,%s\n", i+2, door)
					}
					return csvRows(t, b.String())
				}
				imp := func(at ...string) error {
					_, err := s.Import(t.Context(), "x", site.SourceOperator, rows(at...), store.ImportOptions{DryRun: dry})
					return err
				}
				before, policy := dump(t, s)
				refused := func(err error, record int, want string) {
					t.Helper()
					ie, ok := errors.AsType[*store.ImportError](err)
					if !ok || ie.Records[0].Record != record || !strings.Contains(err.Error(), want) {
						t.Errorf("got %v, want record %d: %s", err, record, want)
					}
					after, now := dump(t, s)
					if d := cmp.Diff(before, after); d != "" || now.Version != policy.Version {
						t.Errorf("something of it holds: version %d then %d\n%s", policy.Version, now.Version, d)
					}
				}
				refused(imp("room5", "front", "room5", "room5"), 4, "lock room5: 4 users, model nde takes 3")
				refused(imp("room6@a", "room6@b", "room6@c"), 3, "lock room6: a lock of model nde takes 2 schedules")
				if err := imp("room5", "room5", "room6@a;room6@b"); err != nil {
					t.Error(err)
				}
				if dry {
					return
				}
				if err := change(t, s, site.SourceOperator, store.PutCredential{Bits: bits(t, 2, 1), HolderName: "A", Rights: rights("room6@c")}); err == nil {
					t.Error("a third schedule after the import")
				}
			})
		}
	}
}

// TestLockFile: a door file that its lock cannot hold is refused, small or large.
func TestLockFile(t *testing.T) {
	for _, n := range []int{4, 3000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := openLocks(t, smallLock(t, "room5", n, 2))
			apply(t, s, hours("a", 8, 9), store.PutCredential{Bits: bits(t, 9, 1), HolderName: "A", Rights: rights("room5")})
			file := func(n int) (rows []fileRow) {
				for i := range n {
					rows = append(rows, fileRow{swordfish.OpAdd, user(t, uint16(i+1), bits(t, 1, uint64(i)))})
				}
				return rows
			}
			all := swordfish.Summary{DeleteAll: true, Schedules: always()}
			_, err := putFile(t, s, "room5", all, file(n)...)
			f, ok := errors.AsType[*swordfish.Fault](err)
			if want := fmt.Sprintf("lock room5: %d users, model nde takes %d", n+1, n); !ok || f.Error() != want {
				t.Fatalf("got %v, want %s", err, want)
			}
			if got, p := dump(t, s); len(got) != 1 || len(p.Files) != 0 {
				t.Errorf("something of it holds: %v %+v", got, p.Files)
			}
			mustFile(t, s, "room5", all, file(n-1)...)
			mustFile(t, s, "shed", all, file(n)...)
			ua := user(t, uint16(n+1), bits(t, 1, uint64(n)))
			if _, err := putFile(t, s, "room5", swordfish.Summary{}, fileRow{swordfish.OpAdd, ua}); err == nil {
				t.Error("one more was taken")
			}
			// The operator's always, two of the host's schedules: three slots.
			ub := user(t, 1, bits(t, 1, 0))
			ub.Schedules = 0b10
			if _, err := putFile(t, s, "room5", swordfish.Summary{}, fileRow{swordfish.OpUpdate, ub}); err == nil || !strings.Contains(err.Error(), "lock room5: a lock of model nde takes 2 schedules") {
				t.Errorf("three slots: %v", err)
			}
			mustFile(t, s, "room5", swordfish.Summary{DeleteAll: true})
		})
	}
}

// TestLockConfig: what cannot be a lock is an error of Open.
func TestLockConfig(t *testing.T) {
	ok := smallLock(t, "room5", 1, 1)
	for name, locks := range map[string][]store.LockLimit{
		"twice": {ok, ok}, "no profile": {{Door: "room5"}}, "no door": {{Profile: ok.Profile}},
	} {
		s, _, err := store.Open(store.Config{Dir: t.TempDir(), Locks: locks}, &storetest.Log{}, store.Options{})
		if err == nil {
			t.Errorf("%s: taken", name)
			_ = s.Close()
		}
	}
}

// TestLockRollback: a change that is refused for a reason of its own, or cut, leaves
// what is known of a lock as it was.
func TestLockRollback(t *testing.T) {
	s := openLocks(t, smallLock(t, "room5", 2, 16))
	apply(t, s, store.PutCredential{Bits: bits(t, 1, 1), HolderName: "A", Rights: rights("room5")})
	for i := range 5 {
		err := change(t, s, site.SourceOperator, store.PutCredential{Bits: bits(t, 2, uint64(i)), HolderName: "A", Rights: rights("room5")},
			store.DeleteCredential{ID: "0000000000000000-26"})
		if err == nil || strings.Contains(err.Error(), "lock") {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Apply(ctx, "x", store.Change{Source: site.SourceOperator, Ops: []store.Op{
			store.PutCredential{Bits: bits(t, 2, uint64(i)), HolderName: "A", Rights: rights("room5")}}}); err == nil {
			t.Fatal("a change of a context that has ended")
		}
	}
	apply(t, s, store.PutCredential{Bits: bits(t, 1, 2), HolderName: "A", Rights: rights("room5")})
	if err := change(t, s, site.SourceOperator, store.PutCredential{Bits: bits(t, 1, 3), HolderName: "A", Rights: rights("room5")}); err == nil {
		t.Error("a third was taken")
	}
}

package store_test

import (
	"bytes"
	"cmp"
	"fmt"

	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// naiveLock is what a lock is to hold, counted by the full list.
type naiveLock struct {
	users     map[string]map[string]bool // block to the schedules that it has there
	always    bool
	sets      map[string][]site.Schedule
	schedules map[string]site.Schedule
}

// naive lists all records, by block, with the rights that each has at each door.
type naive struct {
	creds  []site.Credential
	files  map[site.DoorID][]site.Credential
	policy store.Policy
	now    time.Time
}

func naiveOf(t testing.TB, s *store.Store, now time.Time, doors []site.DoorID) naive {
	t.Helper()
	n := naive{files: map[site.DoorID][]site.Credential{}, policy: s.Snapshot(), now: now}
	all, _ := dump(t, s)
	for _, c := range all {
		if c.Source != site.SourceIPHost { // only files have those here
			n.creds = append(n.creds, c)
		}
	}
	for _, d := range doors {
		err := s.Credentials(t.Context(), store.Filter{Door: d, Source: site.SourceIPHost}, func(c site.Credential) error {
			n.files[d] = append(n.files[d], c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func blockOf(c site.Credential) string { return string(c.ID[:16]) }

// find finds what an id means to a record: of its own source, else the operator's.
func find[T any](list []T, source site.Source, is func(*T) (site.Source, bool)) *T {
	for _, s := range []site.Source{source, site.SourceOperator} {
		for i := range list {
			if src, ok := is(&list[i]); ok && src == s {
				return &list[i]
			}
		}
	}
	return nil
}

// rightsAt are the schedules of a record at a door: ids with the source that they are
// of, "always", or "never".
func (n *naive) rightsAt(c site.Credential, door site.DoorID) (out []string) {
	add := func(src site.Source, rs []site.Right) {
		for _, r := range rs {
			if r.Door != door {
				continue
			}
			v := find(n.policy.Schedules, src, func(v *site.Schedule) (site.Source, bool) { return v.Source, v.ID == r.Schedule })
			switch {
			case r.Schedule == "":
				out = append(out, "always")
			case v == nil:
				out = append(out, "never")
			default:
				out = append(out, string(v.Source)+"/"+string(v.ID))
			}
		}
	}
	add(c.Source, c.Rights)
	for _, id := range c.Levels {
		if l := find(n.policy.Levels, c.Source, func(l *site.Level) (site.Source, bool) { return l.Source, l.ID == id }); l != nil {
			add(l.Source, l.Rights)
		}
	}
	return out
}

func refuses(c site.Credential) bool {
	return c.State != site.CredentialActive || c.Function == site.FunctionBlocked
}

func (n *naive) lock(door site.DoorID) naiveLock {
	l := naiveLock{users: map[string]map[string]bool{}, sets: map[string][]site.Schedule{}, schedules: map[string]site.Schedule{}}
	for _, v := range n.policy.Schedules {
		l.schedules[string(v.Source)+"/"+string(v.ID)] = v
	}
	veto := map[string]bool{}
	for _, c := range n.creds {
		veto[blockOf(c)] = veto[blockOf(c)] || c.Source == site.SourceOperator && refuses(c)
	}
	groups := map[string]map[string]bool{}
	for _, c := range slices.Concat(n.creds, n.files[door]) {
		if veto[blockOf(c)] || refuses(c) || !c.Until.IsZero() && !c.Until.After(n.now) {
			continue
		}
		for i, r := range n.rightsAt(c, door) {
			if c.Source == site.SourceIPHost { // one that never ends counts as well
				r = string(c.Source) + "/" + string(c.Rights[i].Schedule)
				if c.Rights[i].Schedule == "" {
					r = string(c.Source) + "/" + string(door) + ".1"
				}
			}
			if l.users[blockOf(c)] == nil {
				l.users[blockOf(c)] = map[string]bool{}
			}
			l.users[blockOf(c)][r] = true
			g := fmt.Sprint(blockOf(c), c.Function, c.From.Unix(), c.Until.Unix())
			if groups[g] == nil {
				groups[g] = map[string]bool{}
			}
			groups[g][r] = true
		}
	}
	for g, rs := range groups {
		if rs["always"] {
			l.always = true
			continue
		}
		for r := range rs {
			if v, ok := l.schedules[r]; ok {
				l.sets[g] = append(l.sets[g], v)
			}
		}
	}
	return l
}

// refused says whether a change from before to after is to be refused at a lock.
func (l naiveLock) refused(before naiveLock, limit store.LockLimit) bool {
	grew := false
	for block, rs := range l.users {
		for r := range rs {
			_, had := before.users[block]
			grew = grew || !had || r != "never" && !before.users[block][r]
			a, b := l.schedules[r], before.schedules[r]
			grew = grew || minutes(a)&^minutes(b) != 0 && len(b.Intervals) > 0
		}
	}
	if len(l.users) > limit.Profile.Users && len(l.users) > len(before.users) {
		return true
	}
	sets := [][]site.Schedule{}
	for _, set := range l.sets {
		sets = append(sets, set)
	}
	return grew && limit.Profile.Fits(l.always, sets) != nil
}

// minutes is the one interval of a schedule as hours.
func minutes(s site.Schedule) (hours uint32) {
	for _, iv := range s.Intervals {
		for h := iv.Start / 60; h < iv.End/60; h++ {
			hours |= 1 << h
		}
	}
	return hours
}

// lockModel is a store with limits, and one without that shows what a change does.
type lockModel struct {
	t      *testing.T
	rnd    *rand.Rand
	now    time.Time
	s      *store.Store
	dir    string
	log    *storetest.Log
	locks  []store.LockLimit
	doors  []site.DoorID
	free   *store.Store // the same without limits, where it is not nil
	copies int
	large  bool // imports may be large ones
}

func (m *lockModel) open(dir string, l *storetest.Log, locks []store.LockLimit) *store.Store {
	m.t.Helper()
	s, rep, err := store.Open(store.Config{Dir: dir, Locks: locks}, l, store.Options{Now: func() time.Time { return m.now }})
	if err != nil || rep.Damaged() {
		m.t.Fatal(err, rep)
	}
	return s
}

// freeStore opens a copy of the store, without limits.
func (m *lockModel) freeStore() *store.Store {
	m.t.Helper()
	if m.free == nil {
		m.copies++
		dir := filepath.Join(m.t.TempDir(), "free")
		copyDir(m.t, m.dir, dir)
		m.free = m.open(dir, m.log.Clone(), nil)
	}
	return m.free
}

func (m *lockModel) pick(list ...string) string { return list[m.rnd.IntN(len(list))] }

func (m *lockModel) rights() (out []site.Right) {
	for range m.rnd.IntN(3) {
		r := site.Right{Door: m.doors[m.rnd.IntN(len(m.doors))], Schedule: site.ScheduleID(m.pick("", "a", "b", "c", "d"))}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func (m *lockModel) levels() (out []site.LevelID) {
	for _, l := range []site.LevelID{"x", "y"} {
		if m.rnd.IntN(5) == 0 {
			out = append(out, l)
		}
	}
	return out
}

// text is a card of a few blocks, in one of two lengths.
func (m *lockModel) text() string {
	n := m.rnd.IntN(12)
	return m.pick(fmt.Sprintf("24:0000%02x", n), fmt.Sprintf("32:0000%02xff", n))
}

func (m *lockModel) bits() card.Bits {
	m.t.Helper()
	out, err := card.ParseBits(m.text())
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *lockModel) op(ids []site.CredentialID) store.Op {
	id := site.CredentialID("0000000000000000-26")
	if len(ids) > 0 {
		id = ids[m.rnd.IntN(len(ids))]
	}
	switch m.rnd.IntN(14) {
	case 0, 1, 2, 3:
		c := store.PutCredential{Bits: m.bits(), HolderName: "P", Rights: m.rights(), Levels: m.levels(), Move: true,
			Function: []site.Function{site.FunctionNorm, site.FunctionNorm, site.FunctionToggle, site.FunctionBlocked}[m.rnd.IntN(4)]}
		if m.rnd.IntN(3) == 0 {
			c.Until = m.now.AddDate(0, 0, m.rnd.IntN(9)-2)
		}
		if m.rnd.IntN(6) == 0 {
			c.Block, _ = c.Bits.Block()
			c.Bits = card.Bits{}
		}
		return c
	case 4, 5:
		return store.SetState{ID: id, State: site.CredentialState(1 + m.rnd.IntN(2))}
	case 6, 7:
		return store.AddRight{ID: id, Right: append(m.rights(), site.Right{Door: "lock1"})[0]}
	case 8:
		return store.RemoveRight{ID: id, Right: append(m.rights(), site.Right{Door: "lock1"})[0]}
	case 9:
		return store.SetLevels{ID: id, Levels: m.levels()}
	case 10:
		return store.DeleteCredential{ID: id}
	case 11, 12:
		return store.PutLevel{Level: site.Level{ID: site.LevelID(m.pick("x", "y")), Rights: m.rights()}}
	default:
		from := m.rnd.IntN(12)
		return hours(site.ScheduleID(m.pick("a", "b", "c", "d")), from, from+1+m.rnd.IntN(11))
	}
}

// step makes one random change and returns how to make it.
func (m *lockModel) step() (name string, do func(s *store.Store, dry bool) error) {
	ctx := m.t.Context()
	switch m.rnd.IntN(12) {
	case 0: // an import
		var b strings.Builder
		b.WriteString("holder,format,bits,rights\n")
		for range 1 + m.rnd.IntN(4) {
			var rs []string
			for _, r := range m.rights() {
				rs = append(rs, strings.TrimSuffix(string(r.Door)+"@"+string(r.Schedule), "@"))
			}
			fmt.Fprintf(&b, "P,raw,%s,%s\n", m.text(), strings.Join(rs, ";"))
		}
		if m.large && m.rnd.IntN(2) == 0 {
			for i := range 2001 {
				fmt.Fprintf(&b, "P,raw,40:%010x,\n", i)
			}
		}
		return "import", func(s *store.Store, dry bool) error {
			_, err := s.Import(ctx, "m", site.SourceOperator, csvRows(m.t, b.String()), store.ImportOptions{DryRun: dry})
			return err
		}
	case 1, 2: // a door file
		door := m.doors[m.rnd.IntN(len(m.doors))]
		var rows []fileRow
		for i := range m.rnd.IntN(4) {
			u := user(m.t, uint16(i+1), m.bits())
			u.Schedules = uint16(m.rnd.IntN(4))
			rows = append(rows, fileRow{swordfish.OpAdd, u})
		}
		lists := always()
		(*lists)[1].Start = 60 * m.rnd.IntN(12)
		sum := swordfish.Summary{DeleteAll: true, Schedules: lists}
		return "file", func(s *store.Store, dry bool) error {
			if dry {
				return nil
			}
			_, err := putFile(m.t, s, door, sum, rows...)
			return err
		}
	}
	var ids []site.CredentialID
	all, _ := dump(m.t, m.s)
	src := []site.Source{site.SourceOperator, site.SourceOperator, site.SourceHive}[m.rnd.IntN(3)]
	for _, c := range all {
		if c.Source == src && c.Bits < 40 {
			ids = append(ids, c.ID)
		}
	}
	ops := []store.Op{m.op(ids)}
	for m.rnd.IntN(3) == 0 {
		ops = append(ops, m.op(ids))
	}
	return fmt.Sprintf("%v %+v", src, ops), func(s *store.Store, dry bool) error {
		if dry {
			return nil
		}
		_, err := s.Apply(ctx, "m", store.Change{Source: src, Ops: ops})
		return err
	}
}

// TestLockModel compares, over random changes of all kinds, what the store refuses
// with a count over the full list of a store without limits, and what CardsAt gives
// with that list; with restarts and a clock that goes on.
func TestLockModel(t *testing.T) {
	m := &lockModel{t: t, rnd: seeded(t), now: lockNow, dir: filepath.Join(t.TempDir(), "0"), log: &storetest.Log{},
		locks: []store.LockLimit{smallLock(t, "lock1", 3, 3), smallLock(t, "lock2", 4, 2), smallLock(t, "lock3", 2, 16)},
		doors: []site.DoorID{"lock1", "lock2", "lock3", "front"}}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.s = m.open(m.dir, m.log, m.locks)
	for _, src := range []site.Source{site.SourceOperator, site.SourceHive} {
		for i, id := range []site.ScheduleID{"a", "b", "c", "d"} {
			if err := change(t, m.s, src, hours(id, 6+i, 9+i)); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []site.LevelID{"x", "y"} {
			if err := change(t, m.s, src, store.PutLevel{Level: site.Level{ID: id}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	taken, refused, over := 0, 0, 0
	steps, _ := strconv.Atoi(os.Getenv("STORE_LOCK_STEPS"))
	steps = cmp.Or(steps, 160)
	for step := 0; step < steps || over < 5 && step < 10*steps; step++ { // longer where few changes met a limit
		m.large = step%160 > 152 // the list is long from then on
		switch m.rnd.IntN(25) {
		case 0:
			m.now = m.now.AddDate(0, 0, 1)
		case 1:
			closeStore(t, m.s)
			m.s = m.open(m.dir, m.log, m.locks)
		}
		name, do := m.step()
		before := naiveOf(t, m.s, m.now, m.doors)
		ferr := do(m.freeStore(), false)
		after := naiveOf(t, m.free, m.now, m.doors)
		want := false
		for _, l := range m.locks {
			want = want || after.lock(l.Door).refused(before.lock(l.Door), l)
		}
		derr := do(m.s, true)
		err := do(m.s, false)
		if (err != nil) != (ferr != nil || want) || ferr == nil && (err != nil) != strings.Contains(fmt.Sprint(err), "lock lock") {
			t.Fatalf("step %d: %s: %v, without limits %v, want refused %v", step, name, err, ferr, want)
		}
		// Of two rows of one card, the one that changes nothing may be named.
		number := regexp.MustCompile(`record \d+`)
		if name == "import" && number.ReplaceAllString(fmt.Sprint(derr), "") != number.ReplaceAllString(fmt.Sprint(err), "") {
			t.Fatalf("step %d: dry run %v, then %v", step, derr, err)
		}
		truth := after
		if err != nil {
			truth = before
			refused++
			if want {
				over++
			}
			closeStore(t, m.free)
			m.free = nil
		} else {
			taken++
		}
		if got := naiveOf(t, m.s, m.now, m.doors); err != nil && diff.Diff(truth, got, diff.AllowUnexported(naive{}, store.DoorFile{})) != "" {
			t.Fatalf("step %d: %s: refused, and something changed", step, name)
		}
		if step%10 == 0 {
			m.compareCards(truth)
		}
	}
	t.Logf("%d taken, %d refused, %d by a limit", taken, refused, over)
	if taken < 50 || over < 5 {
		t.Error("the changes are no test")
	}
	closeStore(t, m.s)
	if m.free != nil {
		closeStore(t, m.free)
	}
	if err := storetest.Check(m.dir); err != nil {
		t.Fatal(err)
	}
}

// compareCards compares CardsAt with the full list.
func (m *lockModel) compareCards(n naive) {
	m.t.Helper()
	byBlock := map[string][]site.Credential{}
	for _, c := range n.creds {
		byBlock[blockOf(c)] = append(byBlock[blockOf(c)], c)
	}
	for _, doors := range [][]site.DoorID{m.doors, m.doors[:1]} {
		want := map[site.DoorID]map[string][]site.Credential{}
		for _, d := range doors {
			want[d] = map[string][]site.Credential{}
			for block, list := range byBlock {
				if slices.ContainsFunc(list, func(c site.Credential) bool { return len(n.rightsAt(c, d)) > 0 }) {
					want[d][block] = list
				}
			}
			for _, c := range n.files[d] {
				want[d][blockOf(c)] = append(slices.Clone(byBlock[blockOf(c)]), c)
			}
		}
		got := cardsAt(m.t, m.s, doors)
		if d := diff.Diff(want, got); d != "" {
			m.t.Fatalf("CardsAt %v (-want +got):\n%s", doors, d)
		}
	}
}

// cardsAt collects CardsAt and checks its order.
func cardsAt(t testing.TB, s *store.Store, doors []site.DoorID) map[site.DoorID]map[string][]site.Credential {
	t.Helper()
	got := map[site.DoorID]map[string][]site.Credential{}
	last := map[site.DoorID][16]byte{}
	for _, d := range doors {
		got[d] = map[string][]site.Credential{}
	}
	err := s.CardsAt(t.Context(), doors, func(door site.DoorID, block card.Block, records []site.Credential) error {
		sealed := s.Seal(block)
		if s.OpenBlock(sealed) != block {
			t.Error("what was sealed does not open")
		}
		if prev, some := last[door]; some && bytes.Compare(prev[:], sealed[:]) >= 0 {
			t.Errorf("%s: out of order", door)
		}
		last[door] = sealed
		key := fmt.Sprintf("%x", sealed[:8])
		if len(records) == 0 || blockOf(records[0]) != key {
			t.Errorf("%s: records of another card: %v", door, records)
		}
		got[door][key] = slices.Clone(records)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

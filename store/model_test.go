package store_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// TestModel compares the store with a plain map over random changes, with
// restarts, copies, imports and crashes in between. A crash is a copy of the
// files as they are at that moment, opened with a log as it is then.
func TestModel(t *testing.T) {
	rnd := seeded(t)
	type rec struct {
		state  site.CredentialState
		rights int
		uses   uint32
		limit  uint32
		pin    string // opens alone; empty: none
	}
	model := map[card.Bits]rec{}
	dir := filepath.Join(t.TempDir(), "0")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &storetest.Log{}
	open := func() (*store.Store, store.Report) {
		s, rep, err := store.Open(store.Config{Dir: dir, PINAlone: true}, l, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s, rep
	}
	s, _ := open()
	pin := func() string { return fmt.Sprint(1000 + rnd.IntN(20)) }
	owner := func(pin string) (c card.Bits, found bool) {
		for c, m := range model {
			if m.pin == pin {
				return c, true
			}
		}
		return card.Bits{}, false
	}
	cards := make([]card.Bits, 60)
	for i := range cards {
		cards[i] = bits(t, 5, uint64(i))
	}
	check := func(step int) {
		t.Helper()
		for i, c := range cards {
			want, known := model[c]
			got, err := s.LookupBits(c, nil)
			if err != nil || len(got) != map[bool]int{true: 1}[known] {
				t.Fatalf("step %d: card %d: %v %v, want %v", step, i, got, err, known)
			}
			if known && (rec{got[0].State, len(got[0].Rights), got[0].Used, got[0].Uses, want.pin}) != want {
				t.Fatalf("step %d: card %d: %+v, want %+v", step, i, got[0], want)
			}
		}
		for n := range 20 {
			p := fmt.Sprint(1000 + n)
			got, duress, err := s.LookupPIN(site.PIN(p), nil)
			c, taken := owner(p)
			if err != nil || duress || len(got) != map[bool]int{true: 1}[taken] || taken && got[0].ID != lookup(t, s, c)[0].ID {
				t.Fatalf("step %d: PIN %s: %+v %v, want %v %v", step, p, got, err, taken, c)
			}
		}
	}
	for step := range 250 {
		c := cards[rnd.IntN(len(cards))]
		m, known := model[c]
		var id site.CredentialID
		if known {
			id = lookup(t, s, c)[0].ID
		}
		switch k := rnd.IntN(24); {
		case k < 6:
			n := rnd.IntN(4)
			rights := make([]site.Right, n)
			for i := range rights {
				rights[i].Door = site.DoorID(fmt.Sprintf("door%d", i))
			}
			apply(t, s, store.PutCredential{Bits: c, HolderName: "P" + c.Text()[3:], Uses: 100, Rights: rights})
			if !known {
				m = rec{state: site.CredentialActive}
			}
			if m.limit == 0 {
				m.uses, m.limit = 0, 100
			}
			m.rights = n
			model[c] = m
		case k < 9 && known:
			st := site.CredentialState(1 + rnd.IntN(3))
			_, err := s.Apply(t.Context(), "m", store.Change{Source: site.SourceOperator, Ops: []store.Op{store.SetState{ID: id, State: st}}})
			if refused := m.state == site.CredentialRevoked && st != m.state; refused != (err != nil) {
				t.Fatalf("step %d: %v to %v: %v", step, m.state, st, err)
			} else if !refused {
				m.state = st
				model[c] = m
			}
		case k < 11 && known:
			apply(t, s, store.DeleteCredential{ID: id})
			delete(model, c)
		case k < 13 && known:
			if m.limit > 0 {
				m.uses++
			}
			if n, err := s.CountUse(id); err != nil || n != m.uses {
				t.Fatal(n, err)
			}
			model[c] = m
		case k >= 20 && known: // each holder has one card, so a PIN is one card's
			p := pin()
			at, taken := owner(p)
			op := store.SetPIN{ID: id, PIN: p}
			if k == 23 {
				op, p, taken = store.SetPIN{ID: id, ClearPIN: true}, "", false
			}
			_, err := s.Apply(t.Context(), "m", store.Change{Source: site.SourceOperator, Ops: []store.Op{op}})
			if refused := taken && at != c; refused != (err != nil) {
				t.Fatalf("step %d: PIN %s of %v, taken %v: %v", step, p, at, taken, err)
			} else if !refused {
				m.pin = p
				model[c] = m
			}
		case k == 13:
			var b strings.Builder
			b.WriteString("holder,format,facility,card,rights\n")
			for i, c := range cards[:30] {
				fmt.Fprintf(&b, "P%s,H10301,5,%d,front\n", c.Text()[3:], i)
				m, known := model[c]
				if !known {
					m.state = site.CredentialActive
				}
				m.rights = 1
				model[c] = m
			}
			if rnd.IntN(3) == 0 { // a large one
				for i := range 2100 {
					fmt.Fprintf(&b, "Q,H10301,6,%d,front\n", i)
				}
			}
			if _, err := s.Import(t.Context(), "m", site.SourceOperator, csvRows(t, b.String()), store.ImportOptions{}); err != nil {
				t.Fatal(err)
			}
		case k == 14:
			if err := s.Copy(t.Context()); err != nil {
				t.Fatal(err)
			}
		case k == 15:
			closeStore(t, s)
			if err := storetest.Check(dir); err != nil {
				t.Fatal(err)
			}
			s, _ = open()
		case k == 16: // crash; uses that were not flushed may be lost
			if err := s.FlushUses(t.Context()); err != nil {
				t.Fatal(err)
			}
			next := filepath.Join(t.TempDir(), "crash")
			copyDir(t, dir, next)
			closeStore(t, s)
			dir, l = next, l.Clone()
			var rep store.Report
			if s, rep = open(); rep.Damaged() {
				t.Fatalf("step %d: %+v", step, rep)
			}
		}
		check(step)
	}
	closeStore(t, s)
	if err := storetest.Check(dir); err != nil {
		t.Fatal(err)
	}
}

// diskLog is a log on disk for the child that is killed: one line an event.
type diskLog struct {
	storetest.Log
	f *os.File
}

func (d *diskLog) Append(ctx context.Context, e site.Event) (site.EventSeq, error) {
	if _, err := fmt.Fprintf(d.f, "%d %x\n", e.Change, e.Sealed); err != nil {
		return 0, err
	}
	if err := d.f.Sync(); err != nil {
		return 0, err
	}
	return d.Log.Append(ctx, e)
}

// load reads what a killed child has left; a line that was cut is no event.
func (d *diskLog) load(t testing.TB, path string) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	d.f = f
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		e := site.Event{Kind: site.KindPolicy}
		if _, err := fmt.Sscanf(line, "%d %x", &e.Change, &e.Sealed); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Log.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

const childDir = "STORE_TEST_CHILD"

// TestKilledChild is the child of TestKill: it enrols, revokes and uses nonces
// until it is killed, and says on its output what was acknowledged.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("run by TestKill")
	}
	l := &diskLog{}
	l.load(t, filepath.Join(dir, "log"))
	s, rep, err := store.Open(store.Config{Dir: dir, CopyEvery: 20 * time.Millisecond}, l, store.Options{})
	if err != nil || rep.Damaged() {
		t.Fatal(err, rep)
	}
	go func() { _ = s.Run(context.Background()) }()
	nonce, err := s.Nonce("shed")
	if err != nil {
		t.Fatal(err)
	}
	first := s.Snapshot().Version
	for i := uint64(0); ; i++ {
		n := (first + i) % 65536
		b := bits(t, 1, n)
		r := apply(t, s, store.PutCredential{Bits: b, HolderName: fmt.Sprintf("P%d", n)})
		fmt.Printf("added %d\n", n)
		if i%3 == 0 {
			apply(t, s, store.SetState{ID: site.CredentialID(r.IDs[0]), State: site.CredentialRevoked})
			fmt.Printf("revoked %d\n", n)
		}
		old := nonce
		if nonce, _, err = s.UseNonce(t.Context(), "shed", nonce); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("used %x\n", old)
	}
}

// TestKill kills a process in the middle of its work, several times over the
// same store: all that it acknowledged is there, no used nonce is taken.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	rnd := seeded(t)
	dir := t.TempDir()
	states := map[uint64]site.CredentialState{}
	var used []string
	for range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-test.v")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 5 + rnd.IntN(60); lines.Scan(); {
			var n uint64
			var x string
			line := lines.Text()
			if _, err := fmt.Sscanf(line, "added %d", &n); err == nil {
				states[n] = site.CredentialActive
			} else if _, err := fmt.Sscanf(line, "revoked %d", &n); err == nil {
				states[n] = site.CredentialRevoked
			} else if _, err := fmt.Sscanf(line, "used %s", &x); err == nil {
				used = append(used, x)
			} else if strings.Contains(line, "FAIL") {
				t.Error(line)
			}
			if left--; left == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = cmd.Wait() // killed
		l := &diskLog{}
		l.load(t, filepath.Join(dir, "log"))
		s, rep, err := store.Open(store.Config{Dir: dir}, l, store.Options{})
		if err != nil || rep.Damaged() {
			t.Fatal(err, rep)
		}
		for n, want := range states {
			got := lookup(t, s, bits(t, 1, n))
			// The change after the last line may have been made as well.
			if len(got) != 1 || want == site.CredentialRevoked && got[0].State != want {
				t.Fatalf("card %d: %+v, want %v", n, got, want)
			}
		}
		for _, x := range used {
			raw, err := hex.DecodeString(x)
			if err != nil || len(raw) != 16 {
				t.Fatal(x, err)
			}
			if _, ok, err := s.UseNonce(t.Context(), "shed", [16]byte(raw)); ok || err != nil {
				t.Fatalf("a used nonce: %v %v", ok, err)
			}
		}
		closeStore(t, s)
		if err := storetest.Check(dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(used) == 0 {
		t.Error("the child did nothing")
	}
}

// TestCounters: no number twice over restarts and many goroutines.
func TestCounters(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	seen := map[uint64]bool{}
	for range 3 {
		s, _ := openStore(t, dir, l)
		out := make(chan uint64, 100)
		for range 4 {
			go func() {
				for range 700 {
					n, err := s.NextCounter("lock")
					if err != nil {
						t.Error(err)
					}
					out <- n
				}
			}()
		}
		for range 4 * 700 {
			n := <-out
			if n == 0 || seen[n] {
				t.Fatalf("counter %d came twice", n)
			}
			seen[n] = true
		}
		closeStore(t, s)
	}
}

// TestNonceOnce: of many that bring the same nonce at once, one passes.
func TestNonceOnce(t *testing.T) {
	s, _ := storetest.New(t)
	nonce, err := s.Nonce("shed")
	if err != nil {
		t.Fatal(err)
	}
	const n = 16
	oks := make(chan bool, n)
	for range n {
		go func() {
			_, ok, err := s.UseNonce(context.Background(), "shed", nonce)
			if err != nil {
				t.Error(err)
			}
			oks <- ok
		}()
	}
	passed := 0
	for range n {
		if <-oks {
			passed++
		}
	}
	if seen, err := s.Version2Seen("shed"); passed != 1 || !seen || err != nil {
		t.Errorf("%d passed, seen %v, %v", passed, seen, err)
	}
}

// TestOutboxOnce: a caller that does not wait for a slow log, and what comes after
// him, do not bring an event into the log twice.
func TestOutboxOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &storetest.Log{}
		s, _ := openStore(t, t.TempDir(), l)
		release := l.Hold()
		impatient, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := s.Apply(impatient, "test", store.Change{Source: site.SourceOperator, Ops: []store.Op{office()}})
			left <- err
		}()
		synctest.Wait() // for the log
		leave()
		if err := <-left; !errors.Is(err, store.ErrNotLogged) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		after := make(chan error, 2)
		go func() { after <- s.CatchUp(t.Context()) }()
		go func() {
			_, err := s.Apply(t.Context(), "test", store.Change{Source: site.SourceOperator, Ops: []store.Op{store.PutHolder{Name: "Ada"}}})
			after <- err
		}()
		synctest.Wait()
		release()
		for range 2 {
			if err := <-after; err != nil {
				t.Error(err)
			}
		}
		var got []uint64
		for _, e := range l.Events() {
			got = append(got, e.Change)
		}
		if d := cmp.Diff([]uint64{1, 2}, got); d != "" {
			t.Errorf("changes in the log (-want +got):\n%s", d)
		}
		closeStore(t, s)
	})
}

// TestOutbox: a change whose event the log did not take holds, and its event
// comes later, in order and once.
func TestOutbox(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	b := bits(t, 1, 1)
	l.Fail(errors.New("disk full"))
	ch := store.Change{Source: site.SourceOperator, Ops: []store.Op{store.PutCredential{Bits: b, HolderName: "Ada"}}}
	if _, err := s.Apply(t.Context(), "test", ch); !errors.Is(err, store.ErrNotLogged) {
		t.Fatalf("got %v", err)
	}
	if len(lookup(t, s, b)) != 1 {
		t.Error("the change does not hold")
	}
	closeStore(t, s)
	l.Fail(nil)
	s, _ = openStore(t, dir, l)
	apply(t, s, office())
	if err := s.CatchUp(t.Context()); err != nil {
		t.Error(err)
	}
	closeStore(t, s)
	for i, e := range l.Events() {
		if e.Change != uint64(i)+1 || e.Kind != site.KindPolicy || len(e.Sealed) == 0 {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if len(l.Events()) != 2 {
		t.Errorf("%d events", len(l.Events()))
	}
}

// TestVend: never twice for one nonce, and the event comes after a restart
// where the log did not take it.
func TestVend(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	holder := site.HolderID(apply(t, s, store.PutHolder{Name: "Ada"}).IDs[0])
	nonce, err := s.Nonce("soda")
	if err != nil {
		t.Fatal(err)
	}
	v := store.Vend{Device: "soda", Nonce: &nonce, Holder: holder, Initial: 2,
		Event: func(bool, uint32) site.Event { return site.Event{Item: "cola"} }}
	l.Fail(errors.New("disk full"))
	r, err := s.Vend(t.Context(), v)
	if !errors.Is(err, store.ErrNotLogged) || !r.Taken || r.Left != 1 || !r.NonceOK {
		t.Fatalf("%+v %v", r, err)
	}
	l.Fail(nil)
	if r, err := s.Vend(t.Context(), v); r.NonceOK || r.Taken || err != nil {
		t.Errorf("the same nonce again: %+v %v", r, err)
	}
	closeStore(t, s)
	for range 2 {
		s, _ = openStore(t, dir, l)
		if err := s.CatchUp(t.Context()); err != nil {
			t.Error(err)
		}
		if n, err := s.Credits(holder, 2); n != 1 || err != nil {
			t.Errorf("%d credits: %v", n, err)
		}
		closeStore(t, s)
	}
	vends := 0
	for _, e := range l.Events() {
		if e.Kind == site.KindVend {
			vends++
			if e.Count != 1 || e.HolderID != holder || e.Item != "cola" {
				t.Errorf("event %+v", e)
			}
		}
	}
	if vends != 1 {
		t.Errorf("%d vend events", vends)
	}
	// The devices file is lost: the credit is taken from the log.
	if err := os.Remove(filepath.Join(dir, "devices.db")); err != nil {
		t.Fatal(err)
	}
	s, rep := openStore(t, dir, l)
	defer closeStore(t, s)
	if n, err := s.Credits(holder, 2); n != 1 || err != nil || !rep.DevicesLost {
		t.Errorf("%d credits: %v, %+v", n, err, rep)
	}
}

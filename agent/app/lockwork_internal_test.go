package app

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// TestTableWork: a pass over the store is made with a place only, lets others have it
// on the way, and gives it back.
func TestTableWork(t *testing.T) { synctest.Test(t, testTableWork) }

func testTableWork(t *testing.T) {
	const users = 3 * addsAtOnce
	st, _ := storetest.Open(t, store.Config{Dir: t.TempDir()}, &storetest.Log{}, store.Options{})
	format, _ := card.Standard().ByName("H10301")
	ops := []store.Op{}
	for i := range users {
		bits, err := format.Encode(card.Number{Facility: 1, HasFacility: true, Card: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, store.PutCredential{Bits: bits, HolderName: fmt.Sprint("Person ", i), Rights: []site.Right{{Door: "room"}}})
	}
	if _, err := st.Apply(t.Context(), "test", store.Change{Source: site.SourceOperator, Ops: ops}); err != nil {
		t.Fatal(err)
	}
	profile, _ := swordfish.ProfileOf("le")
	cfg := &config.Config{}
	cfg.Site.Zone = time.UTC
	clock := func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }
	tables := &lockTables{policy: &policyHolder{cfg: cfg, store: st}, clock: clock, busy: make(chan struct{}, 1),
		profiles: map[site.DoorID]*swordfish.Profile{"room": &profile}}
	got := make(chan swordfish.Table, 1)
	tables.busy <- struct{}{}
	go func() {
		table, err := tables.Table(t.Context(), "room")
		if err != nil {
			t.Error(err)
		}
		got <- table
	}()
	synctest.Wait()
	if len(got) > 0 {
		t.Error("a table was made without a place")
	}
	<-tables.busy
	turns := 0
	for {
		select {
		case tables.busy <- struct{}{}: // has a turn between cards, or at the end
			turns++
			<-tables.busy
			continue
		case table := <-got:
			if len(table.Entries) != users {
				t.Errorf("%d users, want %d", len(table.Entries), users)
			}
		}
		break
	}
	if turns == 0 || len(tables.busy) != 0 {
		t.Errorf("%d turns, %d places held", turns, len(tables.busy))
	}
	if cap(lockWork()) < 1 {
		t.Error("there is no place at all")
	}
}

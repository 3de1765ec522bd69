package store_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// TestDoorGone: a right at a door that is in the settings no more holds up no change of
// the others; a right that is new at such a door is refused.
func TestDoorGone(t *testing.T) {
	put := func(r ...site.DoorID) store.Op {
		return store.PutCredential{Bits: bits(t, 1, 1), Format: "H10301", HolderName: "Ada", Rights: rights(r...)}
	}
	add := func(r site.DoorID) func(site.CredentialID) store.Op {
		return func(id site.CredentialID) store.Op { return store.AddRight{ID: id, Right: rights(r)[0]} }
	}
	for _, tt := range []struct {
		name string
		op   func(site.CredentialID) store.Op
		want []site.Right // nil: refused
	}{
		{"a right at another door", add("front"), rights("gone", "front")},
		{"another right at the door that is gone", add("gone@office"), nil},
		{"the right that it has", add("gone"), nil},
		{"the whole credential anew", func(site.CredentialID) store.Op { return put("front", "gone") }, rights("front", "gone")},
		{"the whole credential with a new right there", func(site.CredentialID) store.Op { return put("gone@office") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := storetest.New(t)
			apply(t, s, office(), put("gone"))
			_, err := s.Apply(t.Context(), "test", store.Change{Source: site.SourceOperator, Ops: []store.Op{tt.op(lookup(t, s, bits(t, 1, 1))[0].ID)},
				Doors: func(d site.DoorID) bool { return d == "front" }})
			if (tt.want == nil) != errors.Is(err, store.ErrNotFound) || tt.want != nil && err != nil {
				t.Fatalf("got %v", err)
			}
			want := tt.want
			if want == nil {
				want = rights("gone")
			}
			got := slices.Clone(lookup(t, s, bits(t, 1, 1))[0].Rights)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

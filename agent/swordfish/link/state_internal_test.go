package link

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/swordfish"
)

// Inside, for the forms of the files cannot be seen from outside.

func someState() *state {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	return &state{
		ident: "wifi 0000000000000000A100000000002479", seq: 77, unsure: true,
		token:  token{at: at, first: at, addr: "192.0.2.7", cipher: [32]byte{1, 2, 3}},
		called: at, callIn: at, next: at.Add(time.Hour), late: true, refused: "why", since: at,
		name: "n", model: "m", firmware: "f", battery: "low", main: 4.95, li: 3, drift: -time.Second, driftKnown: true,
		mode: "passage", alarms: 5, lastTime: at,
		history: history{
			sent: []sent{{digest{1}, true}, {digest{2}, false}, {digest{3}, false}}, starts: []start{{0, false}, {2, true}},
			ids: []named{{digest{4}, digest{5}, true}}, alerts: []digest{{6}}, last: []digest{{6}, {7}, {6}}, lastAt: at,
		},
	}
}

func someTables() *tables {
	users := []user{{[16]byte{1}, 7, digest{1}}, {[16]byte{2}, 9, digest{2}}}
	return &tables{ident: "line 1", other: true,
		has:   known{version: 5, basis: digest{1}, lists: digest{2}, config: [16]byte{3}, at: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), users: users},
		offer: known{version: 6, users: users[:1]}}
}

// TestStateComesBack: what is written is what is read.
func TestStateComesBack(t *testing.T) {
	got, err := decodeState(someState().encode())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*someState(), got, cmp.AllowUnexported(state{}, token{}, history{}, sent{}, start{}, named{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	tab, err := decodeTables(someTables().encode())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*someTables(), tab, cmp.AllowUnexported(tables{}, known{}, user{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestStateOfOneAlert: a state of a call with one alert is as it was before calls were
// kept whole, so that files of before are read.
func TestStateOfOneAlert(t *testing.T) {
	s := someState()
	several := len(s.encode())
	s.history.last = s.history.last[:1]
	b := s.encode()
	if len(b) != several-4-2*sizeAlert {
		t.Errorf("%d bytes, of three %d", len(b), several)
	}
	got, err := decodeState(b)
	if d := cmp.Diff(s.history.last, got.history.last); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
}

// TestEveryByte: any byte that changed and any cut is found, in each file; of a table
// also where only its head is read, or when it is read whole.
func TestEveryByte(t *testing.T) {
	files := map[string][]byte{"state": someState().encode(), "tables": someTables().encode(), "config": encodeBody([16]byte{1}, []byte(`{"a":1}`))}
	taken := func(name string, b []byte) bool {
		var err error
		switch name {
		case "state":
			_, err = decodeState(b)
		case "tables":
			_, err = decodeTables(b)
		default:
			_, _, err = decodeBody(b)
		}
		return err == nil
	}
	for name, whole := range files {
		if !taken(name, whole) {
			t.Fatalf("%s: not taken", name)
		}
		for i := range whole {
			for _, x := range []byte{1, 0x80, 0xFF} {
				b := slices.Clone(whole)
				if b[i] ^= x; taken(name, b) {
					t.Errorf("%s: byte %d changed, and it was taken", name, i)
				}
			}
			if taken(name, whole[:i]) {
				t.Errorf("%s: cut to %d bytes, and it was taken", name, i)
			}
			path := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(path, whole[:i], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := readHead(path); err == nil {
				t.Errorf("%s: the head of %d bytes was taken", name, i)
			}
		}
		if taken(name, append(slices.Clone(whole), 0)) {
			t.Errorf("%s: a byte more was taken", name)
		}
	}
}

// FuzzDecodeState: no bytes crash it, and what it takes is written as the same bytes.
func FuzzDecodeState(f *testing.F) {
	f.Add(someState().encode())
	f.Add((&state{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		comesBack(t, b, func(b []byte) ([]byte, error) { s, err := decodeState(b); return s.encode(), err })
	})
}

// FuzzDecodeTables: so too.
func FuzzDecodeTables(f *testing.F) {
	f.Add(someTables().encode())
	f.Add((&tables{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		comesBack(t, b, func(b []byte) ([]byte, error) { s, err := decodeTables(b); return s.encode(), err })
	})
}

// comesBack tries bytes as they are and with checks that are right.
func comesBack(t *testing.T, b []byte, decode func([]byte) ([]byte, error)) {
	sealed := putter(slices.Clone(b))
	if n := headLen(b); n > 4 && n <= len(b) {
		head := putter(slices.Clone(b[:n-4]))
		head.seal()
		copy(sealed, head)
	}
	if len(sealed) >= 4 {
		sealed = sealed[:len(sealed)-4]
	}
	sealed.seal()
	for _, in := range [][]byte{b, sealed} {
		if out, err := decode(in); err == nil && !bytes.Equal(out, in) {
			t.Errorf("%x came back as %x", in, out)
		}
	}
}

// FuzzDecodeBody: so too.
func FuzzDecodeBody(f *testing.F) {
	f.Add(encodeBody([16]byte{1}, []byte("{}")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, text, err := decodeBody(b); err == nil && !bytes.Equal(encodeBody(id, text), b) {
			t.Error("it does not come back")
		}
	})
}

// FuzzConfigOf: what a host sends as a config is taken as an object or not at all.
func FuzzConfigOf(f *testing.F) {
	for _, s := range []string{`{}`, `{"config":{"a":1}}`, `{"config":1}`, `null`, `[`, `{"config":{},"b":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := configOf(b)
		if err == nil && (len(out) < 2 || out[0] != '{' || out[len(out)-1] != '}') {
			t.Errorf("%q was taken as %q", b, out)
		}
	})
}

// FuzzRouteOf: a path never finds a route that is not below the prefix.
func FuzzRouteOf(f *testing.F) {
	for _, s := range []string{"/swordfish/lock/Config", "/swordfish/lock/db/0", "/swordfish/lock/certificates/current", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := routeOf(s)
		if ok && (len(s) <= len(Prefix) || s[:len(Prefix)] != Prefix || r.method == "") {
			t.Errorf("%q: %+v", s, r)
		}
	})
}

// TestHistoryModel: a lock that appends to its log and sends it again in whole, from
// its last upload on, or with its oldest dropped, over lost answers: each audit that
// differs from all others is new exactly once, in its order. (Equal ones are in the
// table of TestRepeats.)
func TestHistoryModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var h history
		var log []heard    // of the lock, all that it ever had
		from, next := 0, 0 // what it sends from; the first that was not sent
		var got []string
		for range 40 {
			for range r.IntN(4) {
				log = append(log, heard{Audit: swordfish.Audit{Code: "0502", Time: time.Unix(int64(len(log)), 0).UTC().Format("20060102150405")}})
			}
			up := log[from:]
			isNew, after := h.upload(up)
			h = after
			for i, n := range isNew {
				if n {
					got = append(got, up[i].Time)
				}
			}
			if s, err := decodeState((&state{history: h}).encode()); err != nil {
				t.Fatal(err)
			} else {
				h = s.history
			}
			sent := len(log)
			switch r.IntN(3) {
			case 0: // the answer was lost
			case 1: // it came
				from = sent
			case 2: // it was lost, and the lock dropped its oldest but the last two
				from = max(from, sent-2-r.IntN(3))
			}
			next = max(next, sent)
		}
		var want []string
		for _, a := range log[:next] {
			want = append(want, a.Time)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("seed %d: (-want +got)\n%s", seed, d)
		}
	}
}

// TestHistoryIsBounded: whatever a lock sends.
func TestHistoryIsBounded(t *testing.T) {
	var h history
	for i := range 300 {
		var up []heard
		for j := range 50 {
			a := heard{Audit: swordfish.Audit{Code: "0502", Time: time.Unix(int64(i*50+j), 0).UTC().Format("20060102150405")}}
			if i%2 == 0 {
				a.ID = a.Time
			}
			up = append(up, a)
		}
		_, h = h.upload(up)
		alerts := make([]heard, 300)
		for j := range alerts {
			alerts[j].Audit = swordfish.Audit{Code: "0700", Time: up[0].Time}
			if j%2 == 0 {
				alerts[j].ID = fmt.Sprint(i, j)
			}
		}
		_, h, _ = h.alert(alerts, time.Unix(int64(i), 0))
		if _, err := decodeState((&state{history: h}).encode()); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.sent) > maxSent || len(h.ids) > maxIDs || len(h.alerts) > maxAlerts || len(h.starts) > maxStarts || len(h.last) > maxAlerts {
		t.Errorf("%d %d %d %d %d", len(h.sent), len(h.ids), len(h.alerts), len(h.starts), len(h.last))
	}
}

// TestUsrIDsRunOut: when no usrID is free in both tables all are numbered anew in a
// full file.
func TestUsrIDsRunOut(t *testing.T) {
	m := maker{cards: clear{}}
	kept := &tables{has: known{version: 1}}
	for i := range 40000 {
		kept.has.users = append(kept.has.users, user{sealed: [16]byte{byte(i >> 8), byte(i)}, id: uint16(i + 1)})
	}
	table := swordfish.Table{}
	for i := range 40000 {
		table.Entries = append(table.Entries, swordfish.Entry{Block: [16]byte{0xFF, byte(i >> 8), byte(i)}})
	}
	p, err := m.plan(kept, 1, &table, nil, time.Unix(0, 0))
	if err != nil || !p.file.Full || len(p.file.Add) != 40000 || p.file.Version <= 1 {
		t.Fatalf("%v, %d", err, len(p.file.Add))
	}
	seen := map[uint16]bool{}
	for _, u := range p.next.users {
		if u.id == 0 || u.id > swordfish.MaxUserID || seen[u.id] {
			t.Fatalf("usrID %d", u.id)
		}
		seen[u.id] = true
	}
}

// clear seals nothing.
type clear struct{}

func (clear) Seal(b card.Block) [16]byte { return b }
func (clear) Open(b [16]byte) card.Block { return b }
func (clear) Tag(card.Block) string      { return "" }

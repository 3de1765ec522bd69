package link

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"gatehouse/agent/swordfish"
)

// plan is the answer to a lock that says what it has.
type plan struct {
	file    swordfish.File
	next    known // what the lock has once it stored the file
	same    bool  // it lacks nothing
	again   bool  // the file is the one that it was answered last
	changes int   // that it lacks; -1: a full file
}

// hostConfig is a config that waits; nil: none.
type hostConfig struct {
	id   [16]byte
	text json.RawMessage
}

// maker makes door files of one lock.
type maker struct {
	cards Sealer
	basis digest
}

// basisOf names how a lock's files are written. What a lock got by another basis is
// not comparable: it gets a full file.
func basisOf(key SiteKey, zone *time.Location, p *swordfish.Profile) digest {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("gatehouse lock table"))
	// fmt writes maps in the order of their keys.
	return digestOf(string(mac.Sum(nil)), zone.String(),
		fmt.Sprint(p.Model, p.SoleSchedule, p.DayEnd, p.Holidays, p.Auto), fmt.Sprint(p.Functions), fmt.Sprint(p.Actions))
}

// contentOfLists names the lists of a file.
func contentOfLists(t *swordfish.Table) digest {
	h := sha256.New()
	for _, s := range t.Schedules {
		fmt.Fprintf(h, "s%d %d %d\n", s.Days, s.Start, s.End)
	}
	for _, v := range t.Holidays {
		fmt.Fprintf(h, "h%d %d %d\n", v.Start.Unix(), v.End.Unix(), v.Action)
	}
	for _, a := range t.Auto {
		fmt.Fprintf(h, "a%t %d %d\n", a.Unlock, a.Days, a.Minute)
	}
	return digest(h.Sum(nil)[:8])
}

// contentOfEntry names all that a lock is told of a user but its card.
func contentOfEntry(e *swordfish.Entry) digest {
	when := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return strconv.FormatInt(t.Unix(), 10)
	}
	return digestOf(string(e.Function), strconv.FormatBool(e.ADA), strconv.Itoa(int(e.Schedules)), when(e.From), when(e.Until))
}

// find returns the user with a card.
func (k *known) find(sealed *[16]byte) *user {
	i, ok := slices.BinarySearchFunc(k.users, sealed, func(u user, s *[16]byte) int { return bytes.Compare(u.sealed[:], s[:]) })
	if !ok {
		return nil
	}
	return &k.users[i]
}

var errNoIDs = errors.New("no usrID is free")

// numbers gives usrIDs: a card keeps the one that it has in either table, a new one
// gets one that is free in both (engage.md section 5).
type numbers struct {
	taken [1<<16/64 + 1]uint64
	next  int
}

func (n *numbers) take(id uint16) bool {
	w, b := id/64, uint64(1)<<(id%64)
	if n.taken[w]&b != 0 {
		return false
	}
	n.taken[w] |= b
	return true
}

func (n *numbers) free() (uint16, error) {
	for n.next < swordfish.MaxUserID {
		n.next++
		if n.take(uint16(n.next)) {
			return uint16(n.next), nil
		}
	}
	return 0, errNoIDs
}

// number gives each entry of the table its usrID.
func (m *maker) number(t *tables, entries []swordfish.Entry) (ids []uint16, sealed [][16]byte, err error) {
	ids, sealed = make([]uint16, len(entries)), make([][16]byte, len(entries))
	var n, given numbers
	for _, k := range []*known{&t.has, &t.offer} {
		for i := range k.users {
			n.take(k.users[i].id)
		}
	}
	for i := range entries {
		sealed[i] = m.cards.Seal(entries[i].Block)
		u := t.has.find(&sealed[i])
		if u == nil {
			u = t.offer.find(&sealed[i])
		}
		if u != nil && given.take(u.id) {
			ids[i] = u.id
		}
	}
	for i := range entries {
		if ids[i] == 0 {
			if ids[i], err = n.free(); err != nil {
				return nil, nil, err
			}
		}
	}
	return ids, sealed, nil
}

// plan works out what to answer to a lock that says it has claimed. now makes the
// version of a new file.
func (m *maker) plan(t *tables, claimed uint64, table *swordfish.Table, cfg *hostConfig, now time.Time) (plan, error) {
	ids, sealed, err := m.number(t, table.Entries)
	if errors.Is(err, errNoIDs) { // number all anew: then nothing that it has counts
		t = &tables{ident: t.ident, has: known{version: t.has.version}, offer: known{version: t.offer.version}}
		claimed = swordfish.VersionAll
		ids, sealed, err = m.number(t, table.Entries)
	}
	if err != nil {
		return plan{}, err
	}
	p := plan{next: known{basis: m.basis, lists: contentOfLists(table), at: now}}
	p.file = swordfish.File{Schedules: table.Schedules, Holidays: table.Holidays, Auto: table.Auto}
	if cfg != nil && (t.has.version == 0 || t.has.config != cfg.id) {
		p.next.config, p.file.Config = cfg.id, cfg.text
	}
	p.next.users = usersOf(table.Entries, ids, sealed)
	p.again = t.offer.sameAs(&p.next)
	full := claimed == swordfish.VersionAll || claimed != t.has.version || t.has.basis != m.basis
	// It was answered something else since, and may have stored that without its
	// version: then changes since has would leave it in the table.
	full = full || t.offer.version != 0 && !p.again
	if !full {
		full = !m.differ(&p, t, table, ids, sealed)
	}
	if full {
		m.all(&p, table, ids)
	}
	m.version(&p, t, claimed, now)
	return p, nil
}

// sameAs reports whether a file was answered and has the content of another.
func (k *known) sameAs(o *known) bool {
	return k.version != 0 && k.basis == o.basis && k.lists == o.lists && k.config == o.config && slices.Equal(k.users, o.users)
}

// answer takes a new file in place of the one that was answered last. A lock that did
// not say that it has that one may have stored it all the same, so from then on what
// it has is all of both, and no changes are made to it: it gets full files until it
// says that it has one.
func (t *tables) answer(next known) {
	if t.offer.version != 0 {
		t.has.basis = digest{}
		for _, u := range t.offer.users {
			at, there := slices.BinarySearchFunc(t.has.users, &u.sealed, func(v user, s *[16]byte) int { return bytes.Compare(v.sealed[:], s[:]) })
			if !there && len(t.has.users) < maxKnown {
				t.has.users = slices.Insert(t.has.users, at, u)
			}
		}
	}
	t.offer = next
}

// differ puts the changes into the file. It is false when they are too many.
func (m *maker) differ(p *plan, t *tables, table *swordfish.Table, ids []uint16, sealed [][16]byte) bool {
	kept := make([]bool, len(t.has.users))
	f := &p.file
	for i := range table.Entries {
		u := t.has.find(&sealed[i])
		n := swordfish.Numbered{ID: ids[i], Entry: table.Entries[i]}
		switch {
		case u == nil:
			f.Add = append(f.Add, n)
		case u.id != ids[i]:
			return false // two cards had one number: nothing that this program writes
		case u.what != contentOfEntry(&n.Entry):
			f.Update = append(f.Update, n)
		}
		if u != nil {
			at, _ := slices.BinarySearchFunc(t.has.users, &sealed[i], func(v user, s *[16]byte) int { return bytes.Compare(v.sealed[:], s[:]) })
			kept[at] = true
		}
		if len(f.Add)+len(f.Update) > swordfish.MaxChanges {
			return false
		}
	}
	for i, u := range t.has.users {
		if !kept[i] {
			f.Delete = append(f.Delete, swordfish.Card{ID: u.id, Block: m.cards.Open(u.sealed)})
		}
	}
	p.changes = len(f.Add) + len(f.Update) + len(f.Delete)
	if p.changes > swordfish.MaxChanges {
		return false
	}
	slices.SortFunc(f.Delete, func(a, b swordfish.Card) int { return bytes.Compare(a.Block[:], b.Block[:]) })
	// Lists alone count as one change.
	if p.next.lists != t.has.lists {
		p.changes = max(p.changes, 1)
	}
	p.same = p.changes == 0 && f.Config == nil
	return true
}

// all makes the file a full one.
func (m *maker) all(p *plan, table *swordfish.Table, ids []uint16) {
	f := &p.file
	f.Full, f.Delete, f.Update = true, nil, nil
	f.Add = make([]swordfish.Numbered, len(table.Entries))
	for i := range table.Entries {
		f.Add[i] = swordfish.Numbered{ID: ids[i], Entry: table.Entries[i]}
	}
	p.changes, p.same = -1, false
}

func usersOf(entries []swordfish.Entry, ids []uint16, sealed [][16]byte) []user {
	users := make([]user, len(entries))
	for i := range entries {
		users[i] = user{sealed: sealed[i], id: ids[i], what: contentOfEntry(&entries[i])}
	}
	slices.SortFunc(users, func(a, b user) int { return bytes.Compare(a.sealed[:], b.sealed[:]) })
	return users
}

// maxClaim is the largest version of a lock that a new one is made to be above. A
// larger one is none of ours, which count time.
const maxClaim = 1 << 62

// version gives the file its number: the one that the lock has where it lacks
// nothing, the one that it was answered last where the content is the same.
func (m *maker) version(p *plan, t *tables, claimed uint64, now time.Time) {
	switch {
	case p.same:
		p.next, p.again = t.has, false
	case p.again:
		p.next = t.offer
	default:
		last := max(t.has.version, t.offer.version)
		if claimed < maxClaim {
			last = max(last, claimed)
		}
		p.next.version = swordfish.NextVersion(last, now)
	}
	p.file.Version = p.next.version
}

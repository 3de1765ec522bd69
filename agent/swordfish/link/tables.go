package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// tableMagic begins the file of a lock's tables. Its last byte is the version of
// the form.
var tableMagic = []byte("GHTABLE\x01")

// tables is what a lock is known to have and what it was answered last.
type tables struct {
	ident string
	has   known // the file that it said it stored
	offer known // the file that it was answered since; version 0: none
	// other: at its last call it said that it has none of both, so has is what it
	// may still hold and no more.
	other bool
}

// known is the content of one door file.
type known struct {
	version uint64 // nxtDbVerTS; 0: none
	basis   digest // how it was written: the site key, the zone, the profile
	lists   digest // schedules, holidays, autoUnlock
	config  [16]byte
	at      time.Time // when it was answered
	users   []user    // ascending by sealed, no two equal
}

// user is one user of a lock: whose card it is is sealed under the device key.
type user struct {
	sealed [16]byte
	id     uint16
	what   digest // of all that a lock is told of it
}

// summary is what is held in memory of tables.
type summary struct {
	has, offer uint64
	users      int
	sent       time.Time
	other      bool
}

func (t *tables) summary() summary {
	return summary{has: t.has.version, offer: t.offer.version, users: len(t.has.users), sent: t.offer.at, other: t.other}
}

// Sizes in the file of tables. maxKnown is above what any lock takes.
const (
	sizeUser  = 26
	sizeKnown = 8 + 8 + 8 + 16 + 8 + 4
	maxKnown  = 1 << 16
)

// encode writes the head (identity and both versions, with a check of its own), the
// users of both, and a check of all.
func (t *tables) encode() []byte {
	p := make(putter, 0, 256+(len(t.has.users)+len(t.offer.users))*sizeUser)
	p.raw(tableMagic)
	p.str(t.ident)
	p.bool(t.other)
	for _, k := range []*known{&t.has, &t.offer} {
		p.u64(k.version)
		p.raw(k.basis[:])
		p.raw(k.lists[:])
		p.raw(k.config[:])
		p.time(k.at)
		p.u32(uint32(len(k.users)))
	}
	p.seal()
	for _, k := range []*known{&t.has, &t.offer} {
		for i := range k.users {
			u := &k.users[i]
			p.raw(u.sealed[:])
			p.u16(u.id)
			p.raw(u.what[:])
		}
	}
	p.seal()
	return p
}

// decodeHead reads the head and returns how many users the rest has in all.
func (t *tables) decodeHead(head []byte) (has, offer int, err error) {
	body, err := unseal(head)
	if err != nil || !bytes.HasPrefix(body, tableMagic) {
		return 0, 0, errState
	}
	in := &taker{b: body[len(tableMagic):]}
	t.ident, t.other = in.str(), in.bool()
	counts := [2]int{}
	for i, k := range []*known{&t.has, &t.offer} {
		k.version, k.basis, k.lists = in.u64(), in.digest(), in.digest()
		copy(k.config[:], in.raw(len(k.config)))
		k.at = in.time()
		counts[i] = int(in.u32())
		in.bad = in.bad || counts[i] > maxKnown
	}
	return counts[0], counts[1], in.end()
}

// headLen is how long the head is, by its first bytes; -1: it is none.
func headLen(b []byte) int {
	if len(b) < len(tableMagic)+2 || !bytes.HasPrefix(b, tableMagic) {
		return -1
	}
	ident := int(binary.LittleEndian.Uint16(b[len(tableMagic):]))
	return len(tableMagic) + 2 + ident + 1 + 2*sizeKnown + crc32.Size
}

// decodeTables reads what encode wrote, and nothing else.
func decodeTables(b []byte) (t tables, err error) {
	n := headLen(b)
	body, err := unseal(b)
	if err != nil || n < 0 || n > len(body) {
		return tables{}, errState
	}
	has, offer, err := t.decodeHead(body[:n])
	if err != nil {
		return tables{}, err
	}
	in := &taker{b: body[n:]}
	if len(in.b) != (has+offer)*sizeUser {
		return tables{}, errState
	}
	t.has.decodeUsers(in, has)
	t.offer.decodeUsers(in, offer)
	if err := in.end(); err != nil {
		return tables{}, err
	}
	return t, nil
}

func (k *known) decodeUsers(in *taker, n int) {
	k.users = make([]user, n)
	for i := range k.users {
		u := &k.users[i]
		copy(u.sealed[:], in.raw(len(u.sealed)))
		u.id, u.what = in.u16(), in.digest()
		if u.id == 0 || i > 0 && bytes.Compare(u.sealed[:], k.users[i-1].sealed[:]) <= 0 {
			in.bad = true
		}
	}
}

// readHead reads only the head of a file of tables, so that a start does not read
// the tables of all locks. The users of both stay empty.
func readHead(path string) (t tables, users int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return tables{}, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return tables{}, 0, err
	}
	b := make([]byte, 512+maxText)
	got, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return tables{}, 0, err
	}
	n := headLen(b[:got])
	if n < 0 || n > got {
		return tables{}, 0, errState
	}
	has, offer, err := t.decodeHead(b[:n])
	if err == nil && info.Size() != int64(n+(has+offer)*sizeUser+crc32.Size) {
		err = errState
	}
	if err != nil {
		return tables{}, 0, err
	}
	return t, has, nil
}

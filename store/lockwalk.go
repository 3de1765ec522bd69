package store

import (
	"bytes"
	"cmp"

	"math"
	"slices"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// rowSource gives credentials in the order of their keys.
type rowSource interface {
	seek(from []byte) error
	key() []byte // nil: no more
	payload() ([]byte, error)
	next() error
}

// bucketRows are the credentials of a generation.
type bucketRows struct {
	c    *bbolt.Cursor
	k, v []byte
}

func (r *bucketRows) seek(from []byte) error {
	r.k, r.v = r.c.Seek(from)
	return r.check()
}

func (r *bucketRows) next() error {
	r.k, r.v = r.c.Next()
	return r.check()
}

func (r *bucketRows) check() error {
	if r.k != nil && len(r.k) != len(credKey{}) {
		return damaged("credential key of %d bytes", len(r.k))
	}
	return nil
}

func (r *bucketRows) key() []byte { return r.k }

func (r *bucketRows) payload() ([]byte, error) {
	p, err := openValue(codeCredential, r.k, r.v)
	if err != nil {
		return nil, damaged("credential: %w", err)
	}
	return p, nil
}

// claim is a right that a block has at a door, by records of one kind.
type claim struct{ door, kind, schedule int32 }

func (c claim) compare(o claim) int {
	return cmp.Or(cmp.Compare(c.door, o.door), cmp.Compare(c.kind, o.kind), cmp.Compare(c.schedule, o.schedule))
}

// userKind is what an entry of a lock says beside its schedules. A lock has one
// function for a card; records of one function that hold at the same time go into one
// entry.
type userKind struct {
	function    site.Function
	from, until int64 // Unix; 0: none
}

// meets reports whether there is a time at which both are one entry.
func (k userKind) meets(o userKind) bool {
	return k.function == o.function && (k.until == 0 || o.from < k.until) && (o.until == 0 || k.from < o.until)
}

// blockWalk reads, block by block, what a block has at the doors of a policy: all
// credentials of the block beside its cards in the doors' files, in the order of the
// encrypted blocks. It belongs to one transaction.
type blockWalk struct {
	pol  *lockPolicy
	rows rowSource
	tx   *bbolt.Tx
	// any asks for rights of records in every state; else only what a lock is to
	// hold: nothing of what is not active, over at now, or vetoed by the operator.
	any bool
	now int64

	// old is the policy before, where only levels and schedules are others: then was
	// is what the claims were by it.
	old *lockPolicy

	enc    [16]byte
	claims []claim // of enc: sorted, each once
	was    []claim
	seen   int // records so far

	veto  bool
	kinds []userKind
	files []fileCursor // a heap by k
}

// noTime judges no end.
const noTime = math.MinInt64

func newBlockWalk(tx *bbolt.Tx, pol *lockPolicy, rows rowSource, now int64) *blockWalk {
	return &blockWalk{pol: pol, rows: rows, tx: tx, now: now}
}

// credentialRows returns the rows of a generation.
func credentialRows(tx *bbolt.Tx, gen uint32) (*bucketRows, error) {
	b := tx.Bucket(generation(gen))
	if b == nil {
		return nil, damaged("credentials bucket is missing")
	}
	return &bucketRows{c: b.Cursor()}, nil
}

// fileCursor walks over the cards of one door's file.
type fileCursor struct {
	door int32
	c    *bbolt.Cursor
	k, v []byte
}

// cards returns the bucket of a door's file, nil where it has none.
func (w *blockWalk) cards(door int) (*bbolt.Bucket, error) {
	v := w.pol.files[door]
	if v == nil {
		return nil, nil
	}
	b := w.tx.Bucket(v.bucket)
	if b == nil && v.Cards > 0 {
		return nil, damaged("cards of a door file are missing")
	}
	return b, nil
}

// seek goes to the first block from a key on; next reads it.
func (w *blockWalk) seek(from []byte) error {
	w.files = w.files[:0]
	for door := range w.pol.files {
		b, err := w.cards(door)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		f := fileCursor{door: int32(door), c: b.Cursor()}
		if f.k, f.v = f.c.Seek(from); f.k != nil {
			w.files = append(w.files, f)
		}
	}
	for i := len(w.files)/2 - 1; i >= 0; i-- {
		w.sink(i)
	}
	return w.rows.seek(from)
}

// sink puts an entry of the heap where it belongs.
func (w *blockWalk) sink(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(w.files); c++ {
			if bytes.Compare(w.files[c].k, w.files[least].k) < 0 {
				least = c
			}
		}
		if least == i {
			return
		}
		w.files[i], w.files[least] = w.files[least], w.files[i]
		i = least
	}
}

// next reads the next block; false: there is none.
func (w *blockWalk) next() (bool, error) {
	k := w.rows.key()
	if len(w.files) > 0 && (k == nil || bytes.Compare(w.files[0].k, k[:16]) < 0) {
		k = w.files[0].k
	}
	if k == nil {
		return false, nil
	}
	if len(k) < 16 {
		return false, damaged("card of a door file: key of %d bytes", len(k))
	}
	w.begin([16]byte(k))
	if err := w.credentials(); err != nil {
		return false, err
	}
	for len(w.files) > 0 && bytes.Equal(w.files[0].k, w.enc[:]) {
		f := &w.files[0]
		if err := w.card(f.door, f.k, f.v); err != nil {
			return false, err
		}
		if f.k, f.v = f.c.Next(); f.k == nil {
			last := len(w.files) - 1
			w.files[0] = w.files[last]
			w.files = w.files[:last]
		}
		w.sink(0)
	}
	w.end()
	return true, nil
}

// load reads one block.
func (w *blockWalk) load(enc [16]byte) error {
	w.begin(enc)
	if err := w.rows.seek(enc[:]); err != nil {
		return err
	}
	if err := w.credentials(); err != nil {
		return err
	}
	for door := range w.pol.files {
		b, err := w.cards(door)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		if v := b.Get(enc[:]); v != nil {
			if err := w.card(int32(door), enc[:], v); err != nil {
				return err
			}
		}
	}
	w.end()
	return nil
}

func (w *blockWalk) begin(enc [16]byte) {
	w.enc, w.claims, w.was, w.kinds, w.veto = enc, w.claims[:0], w.was[:0], w.kinds[:0], false
}

func (w *blockWalk) end() {
	if w.veto {
		w.claims, w.was = w.claims[:0], w.was[:0]
		return
	}
	w.claims, w.was = sortClaims(w.claims), sortClaims(w.was)
}

func sortClaims(c []claim) []claim {
	if len(c) < 2 {
		return c
	}
	slices.SortFunc(c, claim.compare)
	return slices.Compact(c)
}

// credentials reads the records of the block that the rows stand at.
func (w *blockWalk) credentials() error {
	for k := w.rows.key(); k != nil && [16]byte(k) == w.enc; k = w.rows.key() {
		p, err := w.rows.payload()
		if err == nil {
			err = w.skim(k[16], p)
		}
		if err == nil {
			err = w.rows.next()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skim reads of a record only what counts at a lock. It reads what appendCredential
// writes; much of a scan over all credentials is spent here.
func (w *blockWalk) skim(source byte, payload []byte) error {
	w.seen++
	if _, err := sourceOf(source); err != nil {
		return damaged("credential: %w", err)
	}
	d := decoder{b: payload}
	if v := d.byte(); v != credentialVersion {
		return damaged("credential record version %d is not known", v)
	}
	sf, flags := d.byte(), d.byte()
	state, kind := site.CredentialState(sf&0x0F), userKind{function: site.Function(sf >> 4)}
	active := state == site.CredentialActive && kind.function < site.FunctionBlocked
	if !w.any && !active {
		w.veto = w.veto || source == srcOperator
		return nil
	}
	d.uvarint()
	d.take(int(d.byte()))
	if flags&flagLast2 != 0 {
		d.take(2)
	}
	if flags&flagUses != 0 {
		d.uvarint()
	}
	if flags&flagFrom != 0 {
		kind.from = notZero(d.varint())
	}
	if flags&flagUntil != 0 {
		kind.until = notZero(d.varint())
	}
	for _, h := range hashSizes {
		if flags&h.flag != 0 {
			d.take(h.size)
		}
	}
	if !w.counts(kind) {
		return nil
	}
	number := w.number(kind)
	for range d.count(maxLevels) {
		id := d.take(int(d.byte()))
		for _, r := range w.pol.levels[source][site.LevelID(id)] {
			w.claims = append(w.claims, claim{r.door, number, r.schedule})
		}
		if w.old == nil {
			continue
		}
		for _, r := range w.old.levels[source][site.LevelID(id)] {
			w.was = append(w.was, claim{r.door, number, r.schedule})
		}
	}
	for range d.count(maxRights) {
		door, schedule := d.take(int(d.byte())), d.take(int(d.byte()))
		if n, ok := w.pol.doors[site.DoorID(door)]; ok {
			w.claim(n, number, w.pol.scheduleNamed(source, schedule))
		}
	}
	if err := d.end(); err != nil {
		return damaged("credential: %w", err)
	}
	return nil
}

// hashSizes are the hashes of PINs that a record may have.
var hashSizes = [...]struct {
	flag byte
	size int
}{{flagPIN, 16}, {flagDuress, 16}, {flagAlone, 32}}

// notZero keeps 0 for no time.
func notZero(unix int64) int64 {
	if unix == 0 {
		return 1
	}
	return unix
}

// counts reports whether a record of a kind is not over.
func (w *blockWalk) counts(kind userKind) bool {
	return w.any || kind.until == 0 || kind.until > w.now
}

// number is that of a kind among those of the block.
func (w *blockWalk) number(kind userKind) int32 {
	i := slices.Index(w.kinds, kind)
	if i < 0 {
		i = len(w.kinds)
		w.kinds = append(w.kinds, kind)
	}
	return int32(i)
}

// claim notes a right that no level gives.
func (w *blockWalk) claim(door, kind, schedule int32) {
	w.claims = append(w.claims, claim{door, kind, schedule})
	if w.old != nil {
		w.was = append(w.was, claim{door, kind, schedule})
	}
}

// card reads a card of a door's file.
func (w *blockWalk) card(door int32, k, v []byte) error {
	w.seen++
	var rec fileCard
	if err := openFileCard(k, v, &rec); err != nil {
		return err
	}
	if !w.any && rec.function == site.FunctionBlocked {
		return nil
	}
	kind := userKind{rec.function, rec.from, rec.until}
	if !w.counts(kind) {
		return nil
	}
	number := w.number(kind)
	for i, schedule := range w.pol.fileSchedules[door] {
		if rec.schedules&(1<<i) != 0 {
			w.claim(door, number, schedule)
		}
	}
	if w.any && rec.schedules == 0 {
		w.claim(door, number, atNever)
	}
	return nil
}

package store

import (
	"context"
	"encoding/binary"
	"errors"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// The mark ties the counts of uses in the policy file to a place in the event
// log. It is one record of their bucket, written in the same transaction: the
// position (u64) and, for each credential with uses that the file counts and
// whose events were not met up to there, its key and how many (u32).
//
// A use is counted before its event goes to the log. So when the position is
// read first and the counts after it, every use with an event up to the
// position is in the counts; what the counts are ahead is what waits. After a
// crash the granted accesses above the position, less those that waited, are
// what the file lacks: exactly, as often as it is done.

var keyMark = []byte("mark")

const (
	// markEvery is how far the log may go on before the mark follows where
	// nothing is counted. It bounds what Open reads.
	markEvery = 1024
	// maxWaiting is how many uses may wait for their events. It is more than
	// the log queues, so beyond it events are lost and not late.
	maxWaiting = 10_000
	// markEntry is the size of what is kept of one credential.
	markEntry = len(credKey{}) + 4
)

// useMark is the mark, decoded.
type useMark struct {
	seq     site.EventSeq
	waiting map[credKey]uint32
}

func (m useMark) encode() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(m.waiting)*markEntry), uint64(m.seq))
	for k, n := range m.waiting {
		b = binary.LittleEndian.AppendUint32(append(b, k[:]...), n)
	}
	return b
}

func (m *useMark) decode(b []byte) error {
	if len(b) < 8 || (len(b)-8)%markEntry != 0 {
		return errors.New("mark of uses of an unknown form")
	}
	m.seq = site.EventSeq(binary.LittleEndian.Uint64(b))
	m.waiting = make(map[credKey]uint32)
	for b = b[8:]; len(b) > 0; b = b[markEntry:] {
		m.waiting[credKey(b[:len(credKey{})])] = binary.LittleEndian.Uint32(b[len(credKey{}):])
	}
	return nil
}

func putMark(tx *bbolt.Tx, m useMark) error {
	b := tx.Bucket(bucketUsed)
	if b == nil {
		return damaged("bucket of uses is missing")
	}
	return b.Put(keyMark, appendValue(nil, codeUsed, keyMark, m.encode()))
}

func getMark(tx *bbolt.Tx) (m useMark, found bool, err error) {
	b := tx.Bucket(bucketUsed)
	if b == nil {
		return m, false, damaged("bucket of uses is missing")
	}
	v := b.Get(keyMark)
	if v == nil {
		return m, false, nil
	}
	p, err := openValue(codeUsed, keyMark, v)
	if err == nil {
		err = m.decode(p)
	}
	if err != nil {
		return m, false, damaged("mark of uses: %w", err)
	}
	return m, true, nil
}

// forgetWaiting takes a credential whose count begins anew out of the mark: an
// event that never comes must not hide one of after it.
func forgetWaiting(tx *bbolt.Tx, k *credKey) error {
	m, found, err := getMark(tx)
	if _, waits := m.waiting[*k]; err != nil || !found || !waits {
		return err
	}
	delete(m.waiting, *k)
	return putMark(tx, m)
}

// countedUse reports whether an event is one that CountUse may have counted.
func countedUse(e *site.Event) bool {
	return e.Kind == site.KindAccess && e.Reason.Grants() && e.Credential != ""
}

// observeUses reads on in the log and finds the events of the uses that wait
// for them. The writer is held.
func (s *Store) observeUses(ctx context.Context) error {
	last := s.log.Last() // before anything else: what it covers was counted
	from, ids := s.uses.expected(last)
	if from >= last {
		return nil
	}
	err := s.log.Scan(ctx, from+1, func(e site.Event) error {
		if e.Seq > last {
			return errEnough
		}
		s.uses.saw(&e, ids)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	s.uses.sawAll(last)
	return nil
}

// expected returns whose events are waited for and from where on. Where none
// are, nothing up to last needs to be read.
func (u *useCounts) expected(last site.EventSeq) (from site.EventSeq, ids map[site.CredentialID]credKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.waiting == 0 {
		u.seen = max(u.seen, last)
		return u.seen, nil
	}
	ids = make(map[site.CredentialID]credKey)
	for k, n := range u.m {
		if n.waiting > 0 {
			ids[k.id()] = k
		}
	}
	return u.seen, ids
}

// saw takes notice of one event.
func (u *useCounts) saw(e *site.Event, ids map[site.CredentialID]credKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if e.Seq <= u.seen {
		return
	}
	u.seen = e.Seq
	if !countedUse(e) {
		return
	}
	k, ok := ids[e.Credential]
	if n := u.m[k]; ok && n.waiting > 0 {
		n.waiting--
		u.m[k] = n
		u.waiting--
	}
}

func (u *useCounts) sawAll(last site.EventSeq) {
	u.mu.Lock()
	u.seen = max(u.seen, last)
	u.mu.Unlock()
}

// began says that the file was counted up to the position at; its mark says
// marked. Uses that wait in a running agent are in memory and go on waiting.
func (u *useCounts) began(at, marked site.EventSeq) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.waiting == 0 {
		u.seen = max(u.seen, at)
	}
	u.marked = marked
}

// recounter counts what the file lacks from the log.
type recounter struct {
	s       *Store
	tx      *bbolt.Tx
	h       *header
	from    site.EventSeq      // events up to this are counted
	waiting map[credKey]uint32 // uses that are counted and have their event after it
	prev    site.EventSeq      // the event before, above from
	at      site.EventSeq      // how far the log was read
	added   int
}

// event counts an event of the log if it is a use that the file lacks. Where
// events are gone, those that a use waited for may be among them: none is left
// out after that, for a use too many is counted rather than one too few.
func (r *recounter) event(e *site.Event) error {
	r.at = max(r.at, e.Seq)
	if e.Seq <= r.from {
		return nil
	}
	if e.Seq != r.prev+1 || e.Kind == site.KindEventsLost {
		clear(r.waiting)
	}
	r.prev = e.Seq
	if !countedUse(e) {
		return nil
	}
	b, err := contentBucket(r.tx, r.h, codeCredential)
	if err != nil {
		return err
	}
	key, v, err := findKey(b, e.Credential)
	if errors.Is(err, ErrNotFound) {
		key, ok, err := r.s.fileUse(r.tx, e)
		if err != nil || !ok {
			return err
		}
		return r.count(key)
	}
	if err != nil {
		return nil // gone since
	}
	var rec credential
	if err := r.s.decodeCredential(key[:], v, &rec); err != nil || !counted(&rec) {
		return err
	}
	return r.count(key)
}

// count counts a use that waits no more, or one that the file lacks.
func (r *recounter) count(key credKey) error {
	if r.waiting[key] > 0 {
		r.waiting[key]--
		return nil
	}
	used, err := usedIn(r.tx, &key)
	if err != nil {
		return err
	}
	r.added++
	return putUsed(r.tx, &key, used+1)
}

package store

import (
	"bytes"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// fileSet is the door files of a policy, to look up in.
type fileSet struct {
	byDoor map[site.DoorID]*fileView
	list   []*fileView
}

// fileView is one door's.
type fileView struct {
	*DoorFile
	bucket     []byte
	ids        [swordfish.MaxSchedules]site.ScheduleID // empty: always
	restricted site.ScheduleID                         // of a schedule that there is not
	restricts  bool                                    // some holiday does
}

func newFileSet(files []DoorFile) *fileSet {
	set := &fileSet{byDoor: make(map[site.DoorID]*fileView, len(files))}
	for i := range files {
		v := newFileView(&files[i])
		set.byDoor[v.Door] = v
		set.list = append(set.list, v)
	}
	return set
}

func newFileView(f *DoorFile) *fileView {
	v := &fileView{DoorFile: f, bucket: fileBucket(f.gen), restricted: site.ScheduleID(string(f.Door) + ".restricted")}
	for i := range v.ids {
		// A schedule that never ends is none: it holds while the clock is not
		// trusted as well, as it does in a lock.
		if i >= len(f.Schedules) || !allWeek(f.Schedules[i]) {
			v.ids[i] = fileSchedule(f.Door, i+1)
		}
	}
	for _, h := range f.Holidays {
		v.restricts = v.restricts || h.Action == swordfish.HolidayRestricted
	}
	return v
}

func (s *Store) fileViews() []*fileView {
	if set := s.files.Load(); set != nil {
		return set.list
	}
	return nil
}

// lookupFiles appends what the door files have of a card: at the door, or where
// nothing else is known, at any other; without a door at all of them. counted says
// that a count of uses was read.
func (s *Store) lookupFiles(tx *bbolt.Tx, door site.DoorID, enc [16]byte, unknown bool, dst *[]site.Credential) (counted bool, err error) {
	set := s.files.Load()
	if set == nil || len(set.list) == 0 {
		return false, nil
	}
	if door != "" {
		if v := set.byDoor[door]; v != nil {
			found, limited, err := s.lookupFile(tx, v, enc, dst)
			if found || err != nil {
				return limited, err
			}
		}
		if !unknown {
			return false, nil
		}
	}
	for _, v := range set.list {
		if v.Door == door {
			continue
		}
		found, limited, err := s.lookupFile(tx, v, enc, dst)
		counted = counted || limited
		if err != nil || found && door != "" {
			return counted, err
		}
	}
	return counted, nil
}

// lookupFile looks in one file. While a file is switched the transaction may be
// ahead of the view for a moment: then the table says which bucket is live.
func (s *Store) lookupFile(tx *bbolt.Tx, v *fileView, enc [16]byte, dst *[]site.Credential) (found, limited bool, err error) {
	b := tx.Bucket(v.bucket)
	if b == nil {
		f, there, err := tableEntry(tx, string(v.Door))
		if err != nil || !there {
			return false, false, err
		}
		v = newFileView(&f)
		if b = tx.Bucket(v.bucket); b == nil {
			if f.Cards == 0 {
				return false, false, nil
			}
			return false, false, damaged("cards of a door file are missing")
		}
	}
	val := b.Get(enc[:])
	if val == nil {
		return false, false, nil
	}
	var rec fileCard
	if err := openFileCard(enc[:], val, &rec); err != nil {
		return false, false, err
	}
	var now time.Time
	if v.restricts {
		now, _ = s.opt.Clock()
	}
	*dst = append(*dst, site.Credential{})
	limited, err = s.presentFile(tx, v, &rec, now, &(*dst)[len(*dst)-1])
	return true, limited, err
}

// presentFile makes the record that others see. In a holiday that restricts at now,
// nobody passes but with pass_through. limited says that a count of uses was read.
func (s *Store) presentFile(tx *bbolt.Tx, v *fileView, rec *fileCard, now time.Time, out *site.Credential) (limited bool, err error) {
	key := makeCredKey(rec.enc, srcIPHost, 0)
	id := key.id()
	*out = site.Credential{
		// A door file names no person: the card stands for its holder.
		ID: id, Source: site.SourceIPHost, Holder: site.HolderID(id), Card: site.CardRef{Tag: string(id[:tagLen])},
		State: site.CredentialActive, Function: rec.function, ADA: rec.ada,
	}
	if rec.from != 0 {
		out.From = time.Unix(rec.from, 0).UTC()
	}
	if rec.until != 0 {
		out.Until = time.Unix(rec.until, 0).UTC()
	}
	closed := false
	if v.restricts && rec.function != site.FunctionPassThrough {
		h := v.holiday(now)
		closed = h != nil && h.Action == swordfish.HolidayRestricted
	}
	for i := range v.ids {
		switch {
		case rec.schedules&(1<<i) == 0:
		case closed:
			out.Rights = []site.Right{{Door: v.Door, Schedule: v.restricted}}
		default:
			out.Rights = append(out.Rights, site.Right{Door: v.Door, Schedule: v.ids[i]})
		}
	}
	if rec.function != site.FunctionOneTime {
		return false, nil
	}
	used, err := usedIn(tx, &key)
	out.Used = s.uses.most(&key, used)
	return true, err
}

// eachFileCard calls fn with the cards of all door files whose encrypted block
// begins with prefix.
func (s *Store) eachFileCard(tx *bbolt.Tx, prefix []byte, fn func(key credKey, v *fileView, rec *fileCard) error) error {
	for _, v := range s.fileViews() {
		b := tx.Bucket(v.bucket)
		if b == nil {
			continue
		}
		c := b.Cursor()
		for k, val := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, val = c.Next() {
			var rec fileCard
			if err := openFileCard(k, val, &rec); err != nil {
				return err
			}
			if err := fn(makeCredKey(rec.enc, srcIPHost, 0), v, &rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// ofFile returns the block of an id that a card of a door file can have.
func ofFile(id site.CredentialID) (prefix [8]byte, ok bool) {
	prefix, src, bits, err := parseCredentialID(id)
	return prefix, err == nil && src == srcIPHost && bits == 0
}

// fileCredential finds the card of that id with the rights of all doors. What the
// doors do not share is that of the first.
func (s *Store) fileCredential(tx *bbolt.Tx, id site.CredentialID, out *site.Credential) error {
	notFound := fmt.Errorf("credential %.40q: %w", id, ErrNotFound)
	prefix, ok := ofFile(id)
	if !ok {
		return notFound
	}
	found := false
	err := s.eachFileCard(tx, prefix[:], func(_ credKey, v *fileView, rec *fileCard) error {
		var one site.Credential
		if _, err := s.presentFile(tx, v, rec, time.Time{}, &one); err != nil {
			return err
		}
		if found {
			out.Rights = append(out.Rights, one.Rights...)
			return nil
		}
		*out, found = one, true
		return nil
	})
	if err == nil && !found {
		err = notFound
	}
	return err
}

// fileCredential finds a card of a door file for the operator, who may put a record
// of his own over it.
func (c *change) fileCredential(id site.CredentialID) (key credKey, rec *credential, ok bool, err error) {
	prefix, can := ofFile(id)
	if !can || c.source != site.SourceOperator {
		return key, nil, false, nil
	}
	err = c.s.eachFileCard(c.tx, prefix[:], func(k credKey, _ *fileView, _ *fileCard) error {
		key, ok = k, true
		return nil
	})
	return key, &credential{State: site.CredentialActive}, ok, err
}

// countedRecord finds the credential of which a use is counted. One that came in a
// door file is counted where any door's record has one use.
func (s *Store) countedRecord(tx *bbolt.Tx, b *bbolt.Bucket, id site.CredentialID) (key credKey, rec credential, err error) {
	key, v, err := findKey(b, id)
	if err == nil {
		err = s.decodeCredential(key[:], v, &rec)
		return key, rec, err
	}
	prefix, ok := ofFile(id)
	if !ok {
		return key, rec, err
	}
	found := false
	ferr := s.eachFileCard(tx, prefix[:], func(k credKey, _ *fileView, c *fileCard) error {
		key, found = k, true
		if c.function == site.FunctionOneTime {
			rec.Function = c.function
		}
		return nil
	})
	if ferr != nil || found {
		return key, rec, ferr
	}
	return key, rec, err
}

// fileUse reports whether an access of the log was a use of a card that its door's
// file has for one use.
func (s *Store) fileUse(tx *bbolt.Tx, e *site.Event) (key credKey, ok bool, err error) {
	prefix, can := ofFile(e.Credential)
	if !can {
		return key, false, nil
	}
	f, found, err := tableEntry(tx, string(e.Door))
	if err != nil || !found {
		return key, false, err
	}
	b := tx.Bucket(fileBucket(f.gen))
	if b == nil {
		return key, false, nil
	}
	k, v := b.Cursor().Seek(prefix[:])
	if !bytes.HasPrefix(k, prefix[:]) {
		return key, false, nil
	}
	var rec fileCard
	if err := openFileCard(k, v, &rec); err != nil {
		return key, false, err
	}
	return makeCredKey(rec.enc, srcIPHost, 0), rec.function == site.FunctionOneTime, nil
}

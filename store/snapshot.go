package store

import (
	"gatehouse/agent/site"

	"go.etcd.io/bbolt"
)

// Policy is the small part of the policy that a decision wants compiled. Its
// slices are shared by all callers and must not be changed.
type Policy struct {
	// Version is the number of the last change; 0 means that there never was
	// a policy, and no door opens (no_policy).
	Version   uint64
	Schedules []site.Schedule
	Levels    []site.Level
	Holidays  []site.Holiday
	// Files are the door files of the IP host. Schedules has their schedules as
	// well, under ids such as front.1 for the first one of door front.
	Files []DoorFile
}

// Snapshot returns the policy as of the last change. It costs nothing. Take
// the channel of Changed first, so that no change is missed in between.
func (s *Store) Snapshot() Policy {
	if p := s.snap.Load(); p != nil {
		return *p
	}
	return Policy{}
}

// Changed returns a channel that is closed at the next change of the policy.
func (s *Store) Changed() <-chan struct{} {
	s.changedMu.Lock()
	defer s.changedMu.Unlock()
	return s.changed
}

func (s *Store) announce() {
	s.changedMu.Lock()
	defer s.changedMu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// reload reads the snapshot, the live generation and whether Lookup may answer.
// It is called with the writer held, or before anybody else has the store.
func (s *Store) reload() error {
	var p Policy
	var h header
	err := s.policy.view(func(tx *bbolt.Tx) (err error) {
		if h, err = getHeader(tx); err != nil {
			return err
		}
		p, err = s.readPolicy(tx, h)
		return err
	})
	if err != nil {
		return err
	}
	s.publish(p, h)
	return nil
}

func (s *Store) publish(p Policy, h header) {
	if g := s.live.Load(); g == nil || g.n != h.Generation {
		s.live.Store(&liveGen{h.Generation, generation(h.Generation)})
	}
	s.snap.Store(&p)
	s.files.Store(newFileSet(p.Files))
	s.notAlone.Store(h.NotAlone)
	if h.Incomplete {
		err := error(ErrIncomplete)
		s.status.Store(&err)
	} else {
		s.status.Store(nil)
	}
	s.announce()
}

// eachIn calls fn with every checked record of a bucket.
func eachIn(tx *bbolt.Tx, bucket []byte, fn func(k, payload []byte) error) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return damaged("bucket %q is missing", bucket)
	}
	return b.ForEach(func(k, v []byte) error {
		p, err := openValue(bucket[0], k, v)
		if err != nil {
			return damaged("bucket %q: %w", bucket, err)
		}
		return fn(k, p)
	})
}

// splitID takes a key of idKey apart.
func splitID(k []byte) (site.Source, string, error) {
	if len(k) < 2 {
		return "", "", damaged("key of %d bytes", len(k))
	}
	src, err := sourceOf(k[0])
	if err != nil {
		return "", "", damaged("key: %w", err)
	}
	return src, string(k[1:]), nil
}

func (s *Store) readPolicy(tx *bbolt.Tx, h header) (Policy, error) {
	p := Policy{Version: h.Change}
	err := eachIn(tx, bucketSchedule, func(k, b []byte) error {
		src, id, err := splitID(k)
		v := site.Schedule{ID: site.ScheduleID(id), Source: src}
		if err == nil {
			err = decodeSchedule(b, &s.in, &v)
		}
		p.Schedules = append(p.Schedules, v)
		return asDamage(err)
	})
	if err != nil {
		return p, err
	}
	err = eachIn(tx, bucketLevel, func(k, b []byte) error {
		src, id, err := splitID(k)
		v := site.Level{ID: site.LevelID(id), Source: src}
		if err == nil {
			err = decodeLevel(b, &s.in, &v)
		}
		p.Levels = append(p.Levels, v)
		return asDamage(err)
	})
	if err != nil {
		return p, err
	}
	err = eachIn(tx, bucketHoliday, func(k, b []byte) error {
		src, id, err := splitID(k)
		v := site.Holiday{ID: site.HolidayID(id), Source: src}
		if err == nil {
			err = decodeHoliday(b, &s.in, &v)
		}
		p.Holidays = append(p.Holidays, v)
		return asDamage(err)
	})
	if err != nil {
		return p, err
	}
	return p, s.readFiles(tx, &p)
}

func asDamage(err error) error {
	if err == nil || isDamage(err) {
		return err
	}
	return &damageError{err}
}

package store

import (
	"context"
	"errors"
	"os"

	"go.etcd.io/bbolt"
)

// openDevices opens the file of nonces, counters and door states, makes it
// (create), or begins anew where it is damaged or gone.
func (s *Store) openDevices(ctx context.Context, rep *Report, create bool) error {
	path := s.path(devicesName)
	cause, err := s.cutRecovery(devicesRecovering)
	if err != nil {
		return err
	}
	if cause != nil {
		return s.recoverDevices(ctx, rep, cause)
	}
	if create {
		if err := s.createBolt(path, deviceBuckets, s.newHeader()); err != nil {
			return err
		}
	}
	in, err := inspectFile(ctx, path)
	if errors.Is(err, os.ErrNotExist) {
		err = damaged("the devices file is missing")
	}
	if err == nil && in.metas < 2 {
		// bbolt would go on from the commit before: a nonce that was used up
		// could be used again.
		err = damaged("%s: one of two meta pages is damaged", path)
	}
	if err == nil {
		var db *bbolt.DB
		if db, err = openBolt(path, s.devices.mapSize); err == nil {
			if err = s.attach(db); err != nil {
				_ = closeBolt(db)
			} else {
				s.devices.db.Store(db)
			}
		}
	}
	if isDamage(err) && !errors.Is(err, ErrNewer) {
		return s.recoverDevices(ctx, rep, err)
	}
	return err
}

// recoverDevices sets the devices file aside and makes a new one: random
// nonces, counters above all that could have been sent, credits from the log. It
// is done when the caller has kept the doors again (DoorsKept).
func (s *Store) recoverDevices(ctx context.Context, rep *Report, cause error) error {
	_ = s.devices.close()
	rep.DevicesDamage, rep.DevicesLost, rep.NoncesReplaced = cause, true, true
	if err := s.beginRecovery(devicesRecovering, cause); err != nil {
		return err
	}
	if err := s.quarantine(rep, devicesName); err != nil {
		return err
	}
	h := s.newHeader()
	h.CopySeq = s.counterBase()
	path := s.path(devicesName)
	if err := s.createBolt(path, deviceBuckets, h); err != nil {
		return err
	}
	db, err := openBolt(path, s.devices.mapSize)
	if err != nil {
		return err
	}
	s.devices.db.Store(db)
	s.cnt.forget()
	if err := s.rebuildCredits(ctx); err != nil {
		return err
	}
	s.queueFault("devices file", rep)
	return nil
}

// counterBase is where counters begin after the file that held them is lost:
// above 2^20 numbers for each second since 2000 and for each event of the log,
// so that it grows even where the clock does not, and below 2^53.
func (s *Store) counterBase() uint64 {
	const year2000 = 946684800
	sec := max(s.opt.Now().Unix()-year2000, 0)
	return (max(uint64(sec), uint64(s.log.Last())) + 1) << 20
}

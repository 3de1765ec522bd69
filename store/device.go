package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// deviceRec is what is kept of a Hive device.
type deviceRec struct {
	nonce   [16]byte
	version bool   // an accepted packet of version 2 came
	counter uint64 // every counter given is below it
}

// counterBlock is how many numbers of a counter are reserved by one flush.
const counterBlock = 1024

func (r *deviceRec) encode() []byte {
	b := append([]byte{1, 0}, r.nonce[:]...)
	if r.version {
		b[1] = 1
	}
	return binary.LittleEndian.AppendUint64(b, r.counter)
}

func (r *deviceRec) decode(b []byte) error {
	if len(b) != 26 || b[0] != 1 || b[1] > 1 {
		return errors.New("device record of an unknown form")
	}
	r.version, r.nonce, r.counter = b[1] == 1, [16]byte(b[2:18]), binary.LittleEndian.Uint64(b[18:])
	return nil
}

// maxDeviceName bounds a device's name as a key.
const maxDeviceName = 255

func deviceKeyOf(name site.DeviceName) ([]byte, error) {
	if name == "" || len(name) > maxDeviceName {
		return nil, fmt.Errorf("device name of %d bytes: want 1 to %d", len(name), maxDeviceName)
	}
	return []byte(name), nil
}

func getDevice(tx *bbolt.Tx, key []byte) (r deviceRec, found bool, err error) {
	b := tx.Bucket(bucketDevice)
	if b == nil {
		return r, false, damaged("devices are missing")
	}
	v := b.Get(key)
	if v == nil {
		return r, false, nil
	}
	p, err := openValue(codeDevice, key, v)
	if err == nil {
		err = r.decode(p)
	}
	return r, true, asDamage(err)
}

// newDevice is the record of a device that was not seen yet: a random nonce,
// and counters above all that a lost file may have given out.
func newDevice(tx *bbolt.Tx) (deviceRec, error) {
	h, err := getHeader(tx)
	r := deviceRec{counter: h.CopySeq}
	_, rerr := rand.Read(r.nonce[:])
	return r, errors.Join(err, rerr)
}

func putDevice(tx *bbolt.Tx, key []byte, r *deviceRec) error {
	return tx.Bucket(bucketDevice).Put(key, appendValue(nil, codeDevice, key, r.encode()))
}

// Nonce returns the nonce that the device must send next. The first call for a
// device makes one, durably.
func (s *Store) Nonce(device site.DeviceName) (nonce [16]byte, err error) {
	r, err := s.device(device)
	return r.nonce, err
}

// Version2Seen reports whether the device ever had a version-2 packet accepted.
func (s *Store) Version2Seen(device site.DeviceName) (bool, error) {
	r, err := s.device(device)
	return r.version, err
}

func (s *Store) device(device site.DeviceName) (r deviceRec, err error) {
	key, err := deviceKeyOf(device)
	if err != nil {
		return r, fmt.Errorf("store: %w", err)
	}
	found := false
	err = s.devices.view(func(tx *bbolt.Tx) (err error) {
		r, found, err = getDevice(tx, key)
		return err
	})
	if err != nil || found {
		return r, storeErr("device", err)
	}
	err = s.devices.batch(func(tx *bbolt.Tx) (err error) {
		if r, found, err = getDevice(tx, key); err != nil || found {
			return err
		}
		if r, err = newDevice(tx); err != nil {
			return err
		}
		return putDevice(tx, key, &r)
	})
	return r, storeErr("device", err)
}

func storeErr(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %s: %w", op, err)
}

// UseNonce uses up a device's nonce. With ok the old one is gone, durably, and
// next is the new one: only now may the packet take effect. Without, nothing
// moved and next is the one that is still wanted. Calls that come together
// share a flush.
func (s *Store) UseNonce(ctx context.Context, device site.DeviceName, nonce [16]byte) (next [16]byte, ok bool, err error) {
	r, err := s.device(device)
	if err != nil || !equal(r.nonce, nonce) {
		return r.nonce, false, err
	}
	if err := ctx.Err(); err != nil {
		return r.nonce, false, err
	}
	key := []byte(device)
	err = s.devices.batch(func(tx *bbolt.Tx) error {
		next, ok, err = useNonce(tx, key, nonce)
		return err
	})
	if err != nil {
		return r.nonce, false, storeErr("nonce", err)
	}
	return next, ok, nil
}

func useNonce(tx *bbolt.Tx, key []byte, nonce [16]byte) (next [16]byte, ok bool, err error) {
	r, found, err := getDevice(tx, key)
	if err != nil {
		return next, false, err
	}
	if !found {
		if r, err = newDevice(tx); err != nil {
			return next, false, err
		}
	} else if equal(r.nonce, nonce) {
		if _, err := rand.Read(r.nonce[:]); err != nil {
			return next, false, err
		}
		r.version, ok = true, true
	} else {
		return r.nonce, false, nil
	}
	return r.nonce, ok, putDevice(tx, key, &r)
}

// ReplaceNonces gives every device a new random nonce and makes its counters
// go on above all that were reserved. A restore calls it.
func (s *Store) ReplaceNonces() error {
	s.cnt.forget()
	err := s.devices.update(func(tx *bbolt.Tx) error {
		var keys [][]byte
		err := eachIn(tx, bucketDevice, func(k, _ []byte) error {
			keys = append(keys, append([]byte(nil), k...))
			return nil
		})
		if err != nil {
			return err
		}
		for _, k := range keys {
			r, _, err := getDevice(tx, k)
			if err != nil {
				return err
			}
			if _, err := rand.Read(r.nonce[:]); err != nil {
				return err
			}
			r.counter += counterBlock
			if err := putDevice(tx, k, &r); err != nil {
				return err
			}
		}
		return nil
	})
	return storeErr("replace nonces", err)
}

// counters are the numbers reserved and not given yet.
type counters struct {
	mu sync.Mutex // guards the following
	m  map[site.DeviceName]*reserved
	// vends are the numbers of vends whose events are in the log.
	vends []uint64
}

type reserved struct {
	mu          sync.Mutex // guards the following; held while a block is reserved
	next, limit uint64
}

func (c *counters) init() { c.m = make(map[site.DeviceName]*reserved) }

func (c *counters) forget() {
	c.mu.Lock()
	c.m = make(map[site.DeviceName]*reserved)
	c.mu.Unlock()
}

func (c *counters) of(d site.DeviceName) *reserved {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.m[d]
	if r == nil {
		r = &reserved{}
		c.m[d] = r
	}
	return r
}

// NextCounter returns the next number of a device's counter, from 1 up. Numbers
// are never given twice; a restart leaves a gap of up to 1024, a lost file a
// very large one.
func (s *Store) NextCounter(device site.DeviceName) (uint64, error) {
	key, err := deviceKeyOf(device)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	c := s.cnt.of(device)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next >= c.limit {
		err := s.devices.batch(func(tx *bbolt.Tx) error {
			r, found, err := getDevice(tx, key)
			if err == nil && !found {
				r, err = newDevice(tx)
			}
			if err != nil {
				return err
			}
			c.next = max(r.counter, 1)
			r.counter = c.next + counterBlock
			c.limit = r.counter
			return putDevice(tx, key, &r)
		})
		if err != nil {
			c.next, c.limit = 0, 0
			return 0, storeErr("counter", err)
		}
	}
	c.next++
	return c.next - 1, nil
}

// DoorKept returns what was kept of each door.
func (s *Store) DoorKept() (map[site.DoorID]site.DoorKept, error) {
	out := make(map[site.DoorID]site.DoorKept)
	err := s.devices.view(func(tx *bbolt.Tx) error {
		return eachIn(tx, bucketDoor, func(k, p []byte) error {
			var v site.DoorKept
			if err := json.Unmarshal(p, &v); err != nil {
				return damaged("door: %w", err)
			}
			out[site.DoorID(k)] = v
			return nil
		})
	})
	return out, storeErr("doors", err)
}

// KeepDoor keeps the part of a door's state that survives a restart, durably.
// An empty one removes it.
func (s *Store) KeepDoor(ctx context.Context, id site.DoorID, kept site.DoorKept) error {
	if err := site.CheckID(string(id)); err != nil {
		return storeErr("keep door", err)
	}
	if err := ctx.Err(); err != nil {
		return storeErr("keep door", err)
	}
	payload, err := json.Marshal(kept)
	if err != nil {
		return storeErr("keep door", err)
	}
	key := []byte(id)
	return storeErr("keep door", s.devices.batch(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketDoor)
		if b == nil {
			return damaged("doors are missing")
		}
		if kept == (site.DoorKept{}) {
			return b.Delete(key)
		}
		return b.Put(key, appendValue(nil, codeDoor, key, payload))
	}))
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// Names in STATE.
const (
	policyName     = "policy.db"
	copyName       = "policy.copy.db"
	devicesName    = "devices.db"
	keyName        = "device.key"
	lockName       = "store.lock"
	quarantineName = "quarantine"
	stageName      = "import.stage"
)

// fullCheckAtOpen is the largest file that Open checks whole before it returns, for
// which doors wait; a larger one is checked by Run.
const fullCheckAtOpen = 2 << 20

// Store is the open store. Its methods may be called from any goroutine.
type Store struct {
	cfg Config
	opt Options
	log Log
	lg  *slog.Logger

	keys    *secrets
	in      interner
	policy  boltFile
	devices boltFile
	lock    *os.File

	live   atomic.Pointer[liveGen] // which credentials bucket is live
	snap   atomic.Pointer[Policy]
	files  atomic.Pointer[fileSet] // the door files of snap, to look up in
	status atomic.Pointer[error]   // nil, or why Lookup refuses

	notAlone atomic.Uint64 // PINs that do not open alone

	changedMu sync.Mutex // guards changed
	changed   chan struct{}

	writer chan struct{} // capacity 1: held by whoever changes the policy
	logger chan struct{} // capacity 1: held by whoever writes the outbox to the log
	logged atomic.Uint64 // highest change known to be in the log

	names nameCache
	uses  useCounts
	cnt   counters

	isImport  atomic.Bool
	importing chan struct{} // capacity 1: held by an import and by what clears up after one
	stage     *stage        // guarded by writer; nil: no import is staged

	filing chan struct{} // capacity 1: held by a door file on its way in

	locks lockState // guarded by writer

	copying   chan struct{} // capacity 1: held by whoever makes a copy
	copied    atomic.Uint64 // the change that the copy holds
	wantCheck chan error    // capacity 1: damage for Run to look at
	// wantDevices is the same for the devices file, wantTrash says that an old
	// generation is to be deleted. Both have capacity 1.
	wantDevices chan error
	wantTrash   chan struct{}
	checkAll    bool // the file was too large for Open's check
	recovering  bool // guarded by writer: a recovery was begun and has not succeeded

	vendsBefore   uint64 // vends up to this number are of an earlier run
	vendsReplayed atomic.Bool
	eventsMu      sync.Mutex // guards events
	events        []site.Event

	done      chan struct{} // closed by Close
	closeOnce sync.Once
}

type liveGen struct {
	n    uint32
	name []byte
}

// Open opens the store in cfg.Dir, which must exist, or makes a new one there
// with a new device key. It repairs what it can, see Report, and starts
// nothing: the caller runs Run, and Close at the end.
//
// The error is ErrKeyMissing, ErrKeyWrong, ErrNewer or ErrInUse where a person
// must act; then nothing was changed.
func Open(cfg Config, log Log, opt Options) (*Store, Report, error) {
	s := newStore(cfg, log, opt)
	if log == nil {
		return nil, Report{}, errors.New("store: open: no event log")
	}
	if err := checkLocksConfig(cfg.Locks); err != nil {
		return nil, Report{}, fmt.Errorf("store: open: %w", err)
	}
	var rep Report
	if err := s.open(&rep); err != nil {
		_ = s.policy.close()
		_ = s.devices.close()
		s.unlock()
		return nil, rep, fmt.Errorf("store: open: %w", err)
	}
	if rep.Damaged() {
		s.lg.Error("store recovered", "policy", rep.PolicyDamage, "devices", rep.DevicesDamage,
			"rolled_forward", rep.RolledForward, "missing", rep.MissingChanges)
	}
	return s, rep, nil
}

func newStore(cfg Config, log Log, opt Options) *Store {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Clock == nil {
		opt.Clock = func() (time.Time, bool) { return opt.Now(), true }
	}
	s := &Store{
		cfg: cfg, opt: opt, log: log, lg: opt.Logger,
		changed:   make(chan struct{}),
		writer:    make(chan struct{}, 1),
		logger:    make(chan struct{}, 1),
		importing: make(chan struct{}, 1),
		filing:    make(chan struct{}, 1),
		copying:   make(chan struct{}, 1),
		done:      make(chan struct{}),
		wantCheck: make(chan error, 1),

		wantDevices: make(chan error, 1),
		wantTrash:   make(chan struct{}, 1),
	}
	s.policy = boltFile{path: s.path(policyName), mapSize: policyMapSize(cfg.MapSize), hurt: s.hurt}
	s.devices = boltFile{path: s.path(devicesName), mapSize: deviceMap, hurt: s.hurtDevices}
	s.uses.init()
	s.cnt.init()
	return s
}

func (s *Store) path(name string) string { return filepath.Join(s.cfg.Dir, name) }

func (s *Store) open(rep *Report) error {
	if err := s.takeLock(); err != nil {
		return err
	}
	havePolicy, err := exists(s.path(policyName))
	if err != nil {
		return err
	}
	haveCopy, err := exists(s.path(copyName))
	if err != nil {
		return err
	}
	haveDevices, err := exists(s.path(devicesName))
	if err != nil {
		return err
	}
	fresh := !havePolicy && !haveCopy && !haveDevices && s.log.MaxChange() == 0
	key, err := deviceKey(s.path(keyName), fresh)
	if err != nil {
		return err
	}
	if s.keys, err = newSecrets(key); err != nil {
		return err
	}
	s.sweep()
	rep.Created = fresh
	ctx := context.Background()
	if err := s.openPolicy(ctx, rep, fresh); err != nil {
		return err
	}
	if err := s.openDevices(ctx, rep, !haveDevices && (fresh || s.header0().Change == 0 && rep.PolicyDamage == nil)); err != nil {
		return err
	}
	if rep.PolicyDamage != nil && !rep.NoncesReplaced {
		if err := s.ReplaceNonces(); err != nil {
			return err
		}
		rep.NoncesReplaced = true
	}
	if err := s.endRecovery(policyRecovering); err != nil {
		return err
	}
	h, err := s.readHeader(&s.devices)
	s.vendsBefore = h.Change
	return err
}

// header0 returns the policy's header as it was last read.
func (s *Store) header0() header {
	h, err := s.readHeader(&s.policy)
	if err != nil {
		return header{}
	}
	return h
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// takeLock keeps a second process away while files are checked and replaced;
// bbolt's own lock goes with each file.
func (s *Store) takeLock() error {
	f, err := os.OpenFile(s.path(lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%s: %w", s.cfg.Dir, ErrInUse)
		}
		return err
	}
	s.lock = f
	return nil
}

func (s *Store) unlock() {
	if s.lock != nil {
		_ = s.lock.Close() // and with it the lock
		s.lock = nil
	}
}

// sweep removes what an interrupted run left half made.
func (s *Store) sweep() {
	for _, n := range []string{policyName, copyName, devicesName, keyName, policyRecovering, devicesRecovering} {
		_ = os.Remove(s.path(n + ".tmp"))
	}
	_ = os.Remove(s.path(stageName))
}

// createBolt makes a new file with its buckets and header: whole or not at all.
func (s *Store) createBolt(path string, buckets [][]byte, h header) error {
	tmp := path + ".tmp"
	_ = os.Remove(tmp)
	db, err := bbolt.Open(tmp, 0o600, &bbolt.Options{Timeout: time.Second, NoStatistics: true})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		if h.Generation != 0 {
			if err := createGeneration(tx, h.Generation); err != nil {
				return err
			}
		}
		return putHeader(tx, &h)
	})
	if err == nil {
		err = db.Sync()
	}
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("create %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// createGeneration makes the buckets of a generation of credentials.
func createGeneration(tx *bbolt.Tx, n uint32) error {
	_, err := tx.CreateBucket(generation(n))
	_, ierr := tx.CreateBucket(aloneIndex(n))
	return errors.Join(err, ierr)
}

func (s *Store) newHeader() header {
	return header{Schema: schemaVersion, Check: s.keys.check, NextHolder: 1}
}

func putHeader(tx *bbolt.Tx, h *header) error {
	return tx.Bucket(bucketMeta).Put(keyStore, appendValue(nil, codeMeta, keyStore, h.encode()))
}

// getHeader reads and checks the header of either file.
func getHeader(tx *bbolt.Tx) (h header, err error) {
	b := tx.Bucket(bucketMeta)
	if b == nil {
		return h, damaged("meta bucket is missing")
	}
	v := b.Get(keyStore)
	if v == nil {
		return h, damaged("header is missing")
	}
	p, err := openValue(codeMeta, keyStore, v)
	if err != nil {
		return h, damaged("header: %w", err)
	}
	if err := h.decode(p); err != nil {
		if errors.Is(err, ErrNewer) {
			return h, err
		}
		return h, damaged("header: %w", err)
	}
	return h, nil
}

func (s *Store) readHeader(f *boltFile) (h header, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		h, err = getHeader(tx)
		return err
	})
	return h, err
}

// Close waits for what changes the policy at the moment, writes what is open,
// and closes the files; whatever is called after that gives ErrClosed. Run must
// have returned.
func (s *Store) Close() error {
	var err error
	s.closeOnce.Do(func() {
		s.writer <- struct{}{} // never given back: no change after this
		close(s.done)
		if err = s.flushUses(context.Background()); errors.Is(err, ErrFault) {
			err = nil // said before; the file is set aside at the next start
		}
		closed := error(ErrClosed)
		s.status.Store(&closed)
		err = errors.Join(err, s.policy.close(), s.devices.close())
		s.unlock()
	})
	return err
}

// hold takes a token channel, or gives up with ctx.
func hold(ctx context.Context, c chan struct{}) error {
	select {
	case c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) holdWriter(ctx context.Context) error {
	select {
	case <-s.done:
		return ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err // a select would choose at random
	}
	select {
	case s.writer <- struct{}{}:
		return nil
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

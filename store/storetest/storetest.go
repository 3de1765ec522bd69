package storetest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"gatehouse/store"
)

// New opens a new store in a folder of its own with a log of its own. At the
// end of the test it closes the store and checks its files whole.
func New(t testing.TB) (*store.Store, *Log) {
	t.Helper()
	l := &Log{}
	s, _ := Open(t, store.Config{Dir: t.TempDir()}, l, store.Options{})
	return s, l
}

// Open opens a store and closes and checks it at the end of the test. A store
// that the test has closed already is checked as well.
func Open(t testing.TB, cfg store.Config, l store.Log, opt store.Options) (*store.Store, store.Report) {
	t.Helper()
	s, rep, err := store.Open(cfg, l, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := Check(cfg.Dir); err != nil {
			t.Error(err)
		}
	})
	return s, rep
}

// Run runs the store's background work until the test ends or stop is called,
// which waits for its end. Call it after Open, so that it ends before Close.
func Run(t testing.TB, s *store.Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// Check checks the closed files of a store with the store's own check and with
// bbolt's.
func Check(dir string) error {
	for _, name := range []string{"policy.db", "devices.db"} {
		path := filepath.Join(dir, name)
		if err := store.CheckFile(context.Background(), path); err != nil {
			return err
		}
		if err := boltCheck(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func boltCheck(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}

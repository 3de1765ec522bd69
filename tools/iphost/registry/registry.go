// Package registry is what all hosts of an installation know together: sites
// and their keys, gateways and their passwords, where each gateway is
// connected, the broker's tokens, and the root certificate. It lives in
// JetStream buckets; nothing in one process's memory is the truth.
//
// A gateway belongs to the site whose key it proved first; another site's key
// cannot take it over until it is forgotten. Passwords and tokens are kept as
// SHA-256 hashes (both are random and long). Site keys and the CA's key, which
// the host must use, are sealed with a key of a file that is not in the buckets
// (Seal); where the hosts were given none they lie in clear, and the state folder
// and the bus are to be guarded like a key file.
package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gatehouse/tools/iphost/bus"
)

// Errors that callers branch on.
var (
	// ErrNotFound is returned for a name that nobody added.
	ErrNotFound = errors.New("not found")
	// ErrExists is returned when a name is taken.
	ErrExists = errors.New("exists already")
	// ErrName is returned for a name that is not of the allowed form.
	ErrName = errors.New("want 1 to 32 of a-z, 0-9 and '-', beginning with a letter or digit")
	// ErrReplay is returned for credentials whose cipher text was used before.
	ErrReplay = errors.New("this cipher text was used before")
)

// seenFor is how long a cipher text is remembered. Its time may be read as UTC
// or as a zone's time, up to 14 hours apart, so it is good twice within 28
// hours and two windows.
const seenFor = 48 * time.Hour

// HostTTL is how long a host that stopped telling so is taken for alive. It is
// much longer than a bucket can be without a leader.
const HostTTL = 30 * time.Second

// Registry holds the buckets. Its methods may be called at the same time.
type Registry struct {
	sites, gateways, sessions, tokens, roots, seen, hosts jetstream.KeyValue

	sealer *sealer // nil: nothing is sealed

	now     func() time.Time
	listing chan struct{} // of 1: who lists the sites for all

	// mu guards following: the sites as read a moment ago.
	mu      sync.Mutex
	cached  []Site
	cacheAt time.Time
}

// Open makes or takes the buckets, as long as ctx lasts.
func Open(ctx context.Context, b *bus.Bus) (*Registry, error) {
	r := &Registry{now: time.Now, listing: make(chan struct{}, 1)}
	for _, x := range []struct {
		name string
		ttl  time.Duration
		kv   *jetstream.KeyValue
	}{
		{"iphost_sites", 0, &r.sites}, {"iphost_gateways", 0, &r.gateways}, {"iphost_sessions", 0, &r.sessions},
		{"iphost_tokens", 0, &r.tokens}, {"iphost_roots", 0, &r.roots}, {"iphost_seen", seenFor, &r.seen},
		{"iphost_hosts", HostTTL, &r.hosts},
	} {
		kv, err := b.Bucket(ctx, x.name, x.ttl)
		if err != nil {
			return nil, err
		}
		*x.kv = kv
	}
	return r, nil
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// CheckName reports whether a name of a site or a token is allowed; the error
// wraps ErrName.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name %.40q: %w", name, ErrName)
	}
	return nil
}

// entry is a value with its revision; revision 0 means that there is none.
type entry[T any] struct {
	value T
	rev   uint64
}

func get[T any](ctx context.Context, kv jetstream.KeyValue, key string) (entry[T], error) {
	var out entry[T]
	var e jetstream.KeyValueEntry
	err := bus.Again(ctx, func(ctx context.Context) (err error) {
		e, err = kv.Get(ctx, key)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrKeyDeleted) {
		return out, ErrNotFound
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", kv.Bucket(), err)
	}
	if err := json.Unmarshal(e.Value(), &out.value); err != nil {
		return out, fmt.Errorf("%s: %w", kv.Bucket(), err)
	}
	out.rev = e.Revision()
	return out, nil
}

// put writes where the revision is still rev, and returns the new one. conflict
// reports that somebody else was faster. Nobody else may write the same value
// under the key: it is by its value that put knows what it wrote itself, where
// the answer was lost.
func put[T any](ctx context.Context, kv jetstream.KeyValue, key string, v T, rev uint64) (newRev uint64, conflict bool, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return 0, false, err
	}
	unsure := false // an earlier try may have written it
	err = bus.Again(ctx, func(ctx context.Context) (err error) {
		if rev == 0 {
			newRev, err = kv.Create(ctx, key, b)
		} else {
			newRev, err = kv.Update(ctx, key, b, rev)
		}
		if unsure && errors.Is(err, jetstream.ErrKeyExists) {
			e, err2 := kv.Get(ctx, key)
			if err2 == nil && bytes.Equal(e.Value(), b) {
				newRev, err = e.Revision(), nil
			} else if bus.Unanswered(err2) {
				err = err2
			}
		}
		unsure = unsure || bus.Unanswered(err)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyExists) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", kv.Bucket(), err)
	}
	return newRev, false, nil
}

// change reads, changes and writes until nobody was faster.
func change[T any](ctx context.Context, kv jetstream.KeyValue, key string, f func(e *entry[T]) error) (old T, rev uint64, err error) {
	for {
		e, err := get[T](ctx, kv, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return old, 0, err
		}
		old = e.value
		if err := f(&e); err != nil {
			return old, 0, err
		}
		rev, conflict, err := put(ctx, kv, key, e.value, e.rev)
		if err != nil {
			return old, 0, err
		}
		if !conflict {
			return old, rev, nil
		}
	}
}

// listTime bounds a listing: a million entries take some ten seconds.
const listTime = 2 * time.Minute

// list calls f for each entry of a bucket.
func list[T any](ctx context.Context, kv jetstream.KeyValue, f func(key string, v T) error) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	w, err := watch(ctx, kv)
	if err != nil {
		return fmt.Errorf("%s: %w", kv.Bucket(), err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", kv.Bucket(), ctx.Err())
		case e, open := <-w.Updates():
			if !open { // not the end of the list
				return fmt.Errorf("%s: the listing was cut: %w", kv.Bucket(), cmp.Or(ctx.Err(), nats.ErrConnectionClosed))
			}
			if e == nil {
				return nil
			}
			var v T
			if err := json.Unmarshal(e.Value(), &v); err != nil {
				return fmt.Errorf("%s: %s: %w", kv.Bucket(), e.Key(), err)
			}
			if err := f(e.Key(), v); err != nil {
				return err
			}
		}
	}
}

// watch begins a listing, which ends with ctx.
func watch(ctx context.Context, kv jetstream.KeyValue) (w jetstream.KeyWatcher, err error) {
	err = bus.Again(ctx, func(once context.Context) error {
		// What it is made with must last as long as the listing.
		made, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(once, cancel)
		w, err = kv.WatchAll(made, jetstream.IgnoreDeletes())
		if err == nil && !stop() {
			w.Stop()
			err = once.Err()
		}
		if err != nil {
			cancel()
			return cmp.Or(once.Err(), err)
		}
		context.AfterFunc(ctx, cancel)
		return nil
	})
	return w, err
}

// remove deletes a key that is there.
func remove(ctx context.Context, kv jetstream.KeyValue, key string) error {
	found := false
	err := bus.Again(ctx, func(ctx context.Context) error {
		e, err := kv.Get(ctx, key)
		if err != nil {
			return err
		}
		found = true
		return kv.Delete(ctx, key, jetstream.LastRevision(e.Revision()))
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		if found { // by an earlier try, whose answer was lost
			return nil
		}
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kv.Bucket(), err)
	}
	return nil
}

// Instance returns a name for a run of a host: no earlier run has it, so what
// an earlier one left behind is not taken for this one's.
func Instance(name, random string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name) + "_" + random
}

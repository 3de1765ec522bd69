package registry

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
)

// forgetful writes and does not say so, as a leader that dies just then.
type forgetful struct {
	jetstream.KeyValue
	lose   int    // answers to lose
	before func() // if not nil, runs before a write
}

func (k *forgetful) answer(rev uint64, err error) (uint64, error) {
	if err == nil && k.lose > 0 {
		k.lose--
		return 0, context.DeadlineExceeded
	}
	return rev, err
}

func (k *forgetful) Create(ctx context.Context, key string, v []byte, o ...jetstream.KVCreateOpt) (uint64, error) {
	if k.before != nil {
		k.before()
	}
	return k.answer(k.KeyValue.Create(ctx, key, v, o...))
}

func (k *forgetful) Update(ctx context.Context, key string, v []byte, rev uint64) (uint64, error) {
	return k.answer(k.KeyValue.Update(ctx, key, v, rev))
}

func (k *forgetful) Delete(ctx context.Context, key string, o ...jetstream.KVDeleteOpt) error {
	_, err := k.answer(0, k.KeyValue.Delete(ctx, key, o...))
	return err
}

func openForgetful(t *testing.T) *Registry {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r, err := Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range []*jetstream.KeyValue{&r.sites, &r.gateways, &r.sessions, &r.seen} {
		*kv = &forgetful{KeyValue: *kv, lose: 1}
	}
	return r
}

// TestLostAnswers: a write whose answer is lost is done once, and is no
// conflict with itself.
func TestLostAnswers(t *testing.T) {
	r, ctx := openForgetful(t), t.Context()
	key, serial := engage.NewSiteKey(), engage.Serial{15: 7}
	if err := r.AddSite(ctx, "demo", key, ""); err != nil {
		t.Fatalf("add a site: %v", err)
	}
	sealed, err := engage.ParseCredentials([]byte(engage.Seal(key, serial, time.Now().UTC())))
	if err != nil {
		t.Fatal(err)
	}
	password, err := r.NewPassword(ctx, sealed, time.Minute)
	if err != nil {
		t.Fatalf("credentials: %v", err)
	}
	if site, err := r.CheckPassword(ctx, serial, password); site != "demo" || err != nil {
		t.Errorf("the password: site %q, %v", site, err)
	}
	if _, err := r.NewPassword(ctx, sealed, time.Minute); !errors.Is(err, ErrReplay) {
		t.Errorf("the same cipher text: %v, want %v", err, ErrReplay)
	}
	for _, s := range []Session{{ID: "first", Host: "a"}, {ID: "second", Host: "b"}} {
		s.Serial = serial
		before, err := r.Begin(ctx, s)
		if want := map[string]string{"first": "", "second": "first"}[s.ID]; err != nil || before.ID != want {
			t.Errorf("session %s follows %q, %v; want %q", s.ID, before.ID, err, want)
		}
		r.sessions.(*forgetful).lose = 1
	}
	r.gateways.(*forgetful).lose = 1
	if err := r.ForgetGateway(ctx, serial); err != nil {
		t.Errorf("forget: %v", err)
	}
}

// TestLostRace: where somebody else was faster, a lost answer does not hide it.
func TestLostRace(t *testing.T) {
	r, ctx := openForgetful(t), t.Context()
	k := r.sessions.(*forgetful)
	k.before = func() {
		k.before = nil
		if _, err := k.KeyValue.Create(ctx, "x", []byte(`"other"`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, conflict, err := put(ctx, r.sessions, "x", "mine", 0); !conflict || err != nil {
		t.Errorf("conflict %t, %v", conflict, err)
	}
}

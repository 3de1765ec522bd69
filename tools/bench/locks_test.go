package main

import (
	"maps"
	"strings"
	"testing"

	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// TestLocksSite: each lock has as many users as the benchmark says, by the levels that
// the import gives to cards, and the settings are good ones.
func TestLocksSite(t *testing.T) {
	for _, task := range []locksTask{{N: 10_000, Locks: 60}, {N: 10_000, Locks: 60, Large: 2}, {N: 100_000, Locks: 500, Large: 2}} {
		cards := map[string]int{}
		for i := range task.N {
			for l := range strings.SplitSeq(task.cardLevels(i), ";") {
				cards[l]++
			}
		}
		users := map[site.DoorID]int{}
		for _, op := range task.levels() {
			l := op.(store.PutLevel).Level
			for _, r := range l.Rights {
				users[r.Door] += cards[string(l.ID)]
			}
		}
		want := map[site.DoorID]int{}
		for i := range lockGates {
			want[gateID(i)] = task.N
		}
		sum := 0
		for i := range task.Locks {
			n := lockUsers
			if i >= task.Locks-task.Large {
				n = hallUsers
			}
			want[lockID(i)] = n
			sum += n
		}
		if !maps.Equal(users, want) || task.users() != sum {
			t.Errorf("%+v: users %v, %d in all", task, users, task.users())
		}
		task.Dir = t.TempDir()
		cfg, issues := config.Parse([]byte(task.settings()), "bench.yaml", config.Options{})
		if cfg == nil || len(cfg.Locks) != task.Locks {
			t.Errorf("settings: %.300v", issues)
		}
	}
	if _, err := (locksTask{Dir: t.TempDir(), N: 400, Locks: 1}).fill(t.Context()); err == nil {
		t.Error("a site with too few cards was made")
	}
}

// TestLocksFault: a call that failed and a change that did not arrive are no figures.
func TestLocksFault(t *testing.T) {
	good := func() *locksRun {
		r := &locksRun{locksTask: locksTask{Locks: 3}}
		r.full = nightResult{Calls: 3, Users: 1500, Full: 3, Added: 1500}
		r.changes = nightResult{Calls: 3, Users: 1500, Deleted: 30, Added: 30}
		return r
	}
	for _, tt := range []struct {
		name, want string
		change     func(*locksRun)
	}{
		{"as it must be", "", func(*locksRun) {}},
		{"an error", "1 calls failed, the first: busy", func(r *locksRun) { r.full.Errors, r.full.FirstErrors = 1, []string{"busy"} }},
		{"a call that is missing", "2 calls and 1500 users", func(r *locksRun) { r.changes.Calls = 2 }},
		{"users that are missing", "3 calls and 1499 users", func(r *locksRun) { r.full.Users = 1499 }},
		{"a full file", "1 full files", func(r *locksRun) { r.changes.Full = 1 }},
		{"a card that was not taken away", "29 deleted", func(r *locksRun) { r.changes.Deleted = 29 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(r)
			if got := r.fault(); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

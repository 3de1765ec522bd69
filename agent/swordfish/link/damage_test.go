package link_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish/link"
)

// TestDamage: a state or a table that was damaged, or cut short, is set aside and told;
// then nothing is known, so the next file is full; audits that are in the log are not
// recorded again. That damage is found at every byte is TestEveryByte's.
func TestDamage(t *testing.T) {
	base := newWorld(t, func(c *link.Config) { c.Locks = c.Locks[:1] })
	base.policy.set("room5", 1, 2)
	lock := &testLock{}
	base.get(serial1, lock, false)
	base.policy.set("room5", 2, 3)
	base.get(serial1, lock, false)
	base.upload(201, "05020000 20260302110000", "05020000 20260302110001")
	if err := base.srv.PutConfig("room5", []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if a := base.call(serial1, "PUT", "/swordfish/lock/Config", `{"name":"x"}`); a.status != 200 {
		t.Fatal(a.status)
	}
	files := []string{"room5.lock", "room5.table", "room5.pending", "room5.config"}
	whole := map[string][]byte{}
	for _, f := range files {
		whole[f] = readFile(t, filepath.Join(base.cfg.Dir, f))
	}
	for _, name := range files {
		n := len(whole[name])
		for i := 0; i <= 2*n; i += 1 + n/12 {
			b := slices.Clone(whole[name])
			if i < n {
				b[i] ^= 0x41
			} else {
				if i == 2*n {
					i--
				}
				b = b[:i-n]
			}
			damaged(t, base, name, whole, b)
		}
	}
}

func damaged(t *testing.T, base *world, name string, whole map[string][]byte, b []byte) {
	t.Helper()
	dir := t.TempDir()
	for f, v := range whole {
		if f == name {
			v = b
		}
		writeFile(t, filepath.Join(dir, f), v)
	}
	w := &world{t: t, cfg: base.cfg, log: &eventLog{events: slices.Clone(base.log.events)}, policy: base.policy, now: start, trusted: true}
	w.cfg.Dir = dir
	w.open()
	if name == "room5.config" {
		if _, err := w.srv.Params("room5"); err == nil {
			t.Fatalf("%s: a damaged Config was given", name)
		}
		return
	}
	w.upload(202, "05020000 20260302110000", "05020000 20260302110001")
	if name == "room5.table" {
		// What the lock holds is not known: it may be any card.
		if h := w.srv.Holders(blockOf(77)); len(h) != 1 || !h[0].Unsure || h[0].Door != "room5" {
			t.Fatalf("holders %v", h)
		}
	}
	lock := &testLock{version: strings.ToUpper("0x0000000000000001"), users: map[int]string{}}
	if f := w.get(serial1, lock, false); f.DB.Records.DeleteAll != 1 || !slices.Equal(lock.holds(), []int{2, 3}) {
		t.Fatalf("%s: holds %v", name, lock.holds())
	}
	w.get(serial1, lock, false)
	if h := w.srv.Holders(blockOf(77)); len(h) != 0 {
		t.Fatalf("%s: holders %v after the lock said what it has", name, h)
	}
	if got := len(w.log.audits()); got != 2 {
		t.Fatalf("%s: %d audits", name, got)
	}
	var told []site.Event
	for _, e := range w.log.of(site.KindFault) {
		if e.Door == "room5" && strings.Contains(e.Text, name) {
			told = append(told, e)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, name+".damaged")); err != nil || len(told) != 1 {
		t.Fatalf("%s: not set aside, or not told: %v, %v", name, err, told)
	}
}

// TestSettings: what New refuses.
func TestSettings(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name   string
		change func(*link.Config)
		want   string
	}{
		{"a serial that is none", func(c *link.Config) { c.Locks[0].Serial = "12" }, "32 hex digits"},
		{"one serial twice", func(c *link.Config) { c.Locks[1].Serial = c.Locks[0].Serial }, "is that of lock room5"},
		{"one id twice", func(c *link.Config) { c.Locks[1].ID = "room5" }, "named twice"},
		{"one device twice", func(c *link.Config) { c.Locks[1].Device = "line1" }, "is that of lock"},
		{"a key of another length", func(c *link.Config) { c.SiteKey = c.SiteKey[:16] }, "16 bytes"},
		{"a window past midnight", func(c *link.Config) { c.Window = [2]int{0, 1441} }, "window"},
		{"an auth that is none", func(c *link.Config) { c.Auth = 7 }, "auth(7)"},
		{"an id that is no name of a file", func(c *link.Config) { c.Locks[0].ID = "../x" }, "not allowed"},
	}
	for _, tt := range tests {
		c := w.cfg
		c.Locks = slices.Clone(c.Locks)
		tt.change(&c)
		if _, err := link.New(c, link.Deps{Cards: sealer{}, Events: w.log}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := link.New(w.cfg, link.Deps{}); err == nil {
		t.Error("no dependencies were taken")
	}
}

// TestFullDisk: the folder is moved away, for modes do not hold root back. What cannot be kept is not acknowledged, and nothing is lost.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	aside := w.cfg.Dir + "-aside"
	if err := os.Rename(w.cfg.Dir, aside); err != nil {
		t.Fatal(err)
	}
	w.upload(503, "05020000 20260302110000")
	if a := w.call(serial1, "GET", "/swordfish/lock/db/0", ""); a.status != 503 || a.body != "" {
		t.Errorf("db: %d", a.status)
	}
	if a := w.call(serial1, "PUT", "/swordfish/lock/Config", "{}"); a.status != 503 {
		t.Errorf("Config: %d", a.status)
	}
	if err := w.srv.PutConfig("room5", []byte("{}")); err == nil {
		t.Error("a config was kept nowhere")
	}
	if err := os.Rename(aside, w.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	w.upload(201, "05020000 20260302110000")
	// Now there is a state, so the events are kept before the new one fails.
	if err := os.Rename(w.cfg.Dir, aside); err != nil {
		t.Fatal(err)
	}
	w.upload(503, "05020000 20260302110001")
	if err := os.Rename(aside, w.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	w.upload(202, "05020000 20260302110001")
	w.open()
	w.upload(202, "05020000 20260302110001")
	if got := w.kept(); len(got) != 2 {
		t.Errorf("kept %v", got)
	}
}

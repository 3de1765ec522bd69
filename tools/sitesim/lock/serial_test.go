package lock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/tools/sitesim/lock"
	"gatehouse/tools/sitesim/wire"
)

// large is a full file of n users that needs several parts.
func large(t *testing.T, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(user(i+1, lock.Seal(unhex(t, siteKeyHex), i)))
	}
	return strings.Replace(changes("0x9d1707d1ebcb056", "", "", b.String()), `"deleteAll":0`, `"deleteAll":1`, 1)
}

// TestCallOverLine: a short file as an object, a long one and long audits in
// parts, on a line of its own and on a bus, with an acknowledgement that is lost
// and nonces that are wrong.
func TestCallOverLine(t *testing.T) {
	for _, bus := range [][]string{nil, {"north", "south"}} {
		t.Run(fmt.Sprintf("%d on a bus", len(bus)), func(t *testing.T) {
			line, a := openLine(t)
			l := lock.New(config(t))
			north := a.add(line, lock.DeviceConfig{Name: "north", Bus: bus != nil}, l)
			a.add(line, lock.DeviceConfig{Name: "south", Bus: bus != nil}, lock.New(config(t)))
			a.run(t, line)
			a.badNonce, a.loseAck = 1, true
			call := func() (res lock.Result) {
				t.Helper()
				if err := a.serve(bus, func() (err error) {
					res, err = l.CallIn(t.Context(), north, wednesday)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				return res
			}
			if res := call(); !res.Full || l.Users() != 2 || a.partsOut != 0 {
				t.Errorf("%+v, %d parts", res, a.partsOut)
			}
			for i := range 200 {
				l.Present([16]byte{}, wednesday.Add(time.Duration(i)*time.Second))
			}
			l.Reset()
			a.server.files = []string{large(t, 200)}
			if res := call(); !res.Full || l.Users() != 200 || a.partsOut < 5 || a.partsIn < 2 || res.Audits < 201 {
				t.Errorf("%+v, %d users, %d parts out, %d in", res, l.Users(), a.partsOut, a.partsIn)
			}
			if a.unasked > 0 {
				t.Errorf("%d lines came without a poll", a.unasked)
			}
			if line.Bad() != 0 {
				t.Errorf("%d bad lines", line.Bad())
			}
		})
	}
}

// TestCommands gives a lock orders and looks at what it did.
func TestCommands(t *testing.T) {
	line, a := openLine(t)
	now := wednesday
	var due atomic.Int32
	l := lock.New(config(t))
	d := a.add(line, lock.DeviceConfig{Name: "north", Counter: 40, OnDue: func() { due.Add(1) }, Clock: func() time.Time { return now }}, l)
	a.counter = 40
	a.run(t, line)
	for _, tt := range []struct {
		name, op string
		more     map[string]any
		want     string // of response, error, locked, mode
	}{
		{"status", "status", nil, "true  locked=true mode=secured battery=6000"},
		{"unlock", "unlock", map[string]any{"seconds": 5}, "true  locked=false mode=secured battery=6000"},
		{"unlock for no time", "unlock", map[string]any{"seconds": 0}, "false seconds is out of range"},
		{"unlock for text", "unlock", map[string]any{"seconds": "x"}, "silence"},
		{"passage", "mode", map[string]any{"mode": "passage"}, "true  locked=false mode=passage battery=6000"},
		{"frozen passage", "mode", map[string]any{"mode": "frozen_passage"}, "true  locked=false mode=frozen_passage battery=6000"},
		{"lockdown", "mode", map[string]any{"mode": "lockdown"}, "true  locked=true mode=lockdown battery=6000"},
		{"unlock in lockdown", "unlock", map[string]any{"seconds": 5}, "false the lock is in mode lockdown"},
		{"an unknown mode", "mode", map[string]any{"mode": "ajar"}, `false mode "ajar" is not known`},
		{"an unknown operation", "explode", nil, `false operation "explode" is not known`},
		{"a part that nobody awaits", "part", map[string]any{"part": 1, "parts": 1, "text": "{}"}, "false no long answer is awaited"},
		{"an old counter", "unlock", map[string]any{"seconds": 5, "counter": 40}, "false counter"},
		{"no counter", "unlock", map[string]any{"seconds": 5, "counter": nil}, "false a command needs counter and random"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a.t = t; tt.want == "silence" {
				a.patience = 200 * time.Millisecond
			}
			answer := a.command("north", tt.op, tt.more)
			a.patience = 0
			got := "silence"
			if answer != nil {
				got = fmt.Sprint(answer["response"], " ")
				if text, ok := answer["error"]; ok {
					got += fmt.Sprint(text)
				} else {
					got += fmt.Sprintf(" locked=%v mode=%v battery=%v", answer["locked"], answer["mode"], answer["battery"])
				}
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	a.t = t
	t.Run("afterwards", func(t *testing.T) { afterCommands(t, a, d, l, now, &due) })
}

// afterCommands looks at what the orders left, and at commands that go unheard.
func afterCommands(t *testing.T, a *lineAgent, d *lock.Device, l *lock.Lock, now time.Time, due *atomic.Int32) {
	a.t = t
	if l.Present(block(t, "26831000", 26), now); l.State() != lock.Lockdown || d.Counter() != 51 {
		t.Errorf("mode %s, counter %d", l.State(), d.Counter())
	}
	if got := a.command("north", "poll", map[string]any{"due": true}); got["operation"] != "idle" || due.Load() != 1 {
		t.Errorf("poll: %v, due %d times", got, due.Load())
	}
	a.patience = 200 * time.Millisecond
	d.LoseAnswers(1)
	if got := a.command("north", "mode", map[string]any{"mode": "secured"}); got != nil || l.State() != lock.Secured {
		t.Errorf("a lost answer: %v, mode %s", got, l.State())
	}
	d.Mute(true)
	if got := a.command("north", "mode", map[string]any{"mode": "passage"}); got != nil || l.State() != lock.Secured {
		t.Errorf("an unplugged lock: %v, mode %s", got, l.State())
	}
}

// TestUnlockEnds: a momentary unlock is over after its seconds.
func TestUnlockEnds(t *testing.T) {
	l := loaded(t)
	if err := l.Unlock(5*time.Second, wednesday.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if l.Status(wednesday.Add(4*time.Second-time.Hour)).Locked || !l.Status(wednesday.Add(5*time.Second-time.Hour)).Locked {
		t.Error("it was not unlocked for five seconds")
	}
	l.SetOpen(true, wednesday)
	l.SetOpen(true, wednesday)
	if n := len(l.Audits()); !l.Status(wednesday).Open || n != 2 {
		t.Errorf("%+v, %d audits", l.Status(wednesday), n)
	}
}

// TestNoise: what is no message, too long, signed with another key or another's
// is skipped, and the next line is heard.
func TestNoise(t *testing.T) {
	line, a := openLine(t)
	l := lock.New(config(t))
	a.add(line, lock.DeviceConfig{Name: "north"}, l)
	a.run(t, line)
	other, err := wire.Seal("north", []byte("key of somebody else"), map[string]any{"to": "north", "operation": "unlock", "seconds": 5, "counter": 7, "random": wire.Challenge()})
	if err != nil {
		t.Fatal(err)
	}
	a.keys["west"] = a.keys["north"]
	misled, err := wire.Seal("north", a.keys["north"], map[string]any{"to": "west", "operation": "unlock", "seconds": 5, "counter": 8, "random": wire.Challenge()})
	if err != nil {
		t.Fatal(err)
	}
	for _, noise := range []string{"\x00\xff\x80{{{\n", strings.Repeat("x", 70000) + "\n", string(other) + "\n", string(misled) + "\n", "\n\n"} {
		if _, err := io.WriteString(a.port, noise); err != nil {
			t.Fatal(err)
		}
	}
	a.send("west", map[string]any{"to": "west", "operation": "unlock", "seconds": 5, "counter": 9, "random": wire.Challenge()})
	a.counter = 2
	if got := a.command("north", "status", nil); got == nil || got["locked"] != true {
		t.Errorf("after the noise: %v", got)
	}
	if line.Bad() != 3 {
		t.Errorf("%d bad lines, want 3", line.Bad())
	}
}

// TestWrongParts: parts out of order, and more text than announced, are refused
// and the call fails as a whole.
func TestWrongParts(t *testing.T) {
	line, a := openLine(t)
	l := lock.New(config(t))
	d := a.add(line, lock.DeviceConfig{Name: "north"}, l)
	a.run(t, line)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := l.CallIn(ctx, d, wednesday)
		done <- err
	}()
	for {
		req := a.next(5 * time.Second)
		if req == nil {
			t.Fatal("no request")
		}
		if path, _ := req["path"].(string); strings.Contains(path, "/db/") {
			a.nonces["north"]++
			a.send("north", map[string]any{"response": true, "random_response": req["random_response"], "nonce_valid": true,
				"new_nonce": a.nonce("north"), "status": 200, "parts": 3, "size": 10})
			break
		}
		a.answer(req)
	}
	for _, tt := range []struct {
		part, parts int
		text, want  string
	}{
		{2, 3, "x", "part 2 after 0"}, {1, 4, "x", "parts 4, not 3"}, {1, 3, strings.Repeat("x", 11), "more text than size said"},
		{1, 3, strings.Repeat("x", 4097), "a text of 4097 bytes"}, {1, 3, "{", ""}, {1, 3, "{", ""}, {3, 3, "{", "part 3 after 1"}, {2, 3, "{", ""},
		{3, 3, "}", "3 bytes came where 10 were announced"},
	} {
		got := a.command("north", "part", map[string]any{"part": tt.part, "parts": tt.parts, "text": tt.text})
		text, _ := got["error"].(string)
		if (got["response"] == true) != (tt.want == "") || !strings.Contains(text, tt.want) {
			t.Errorf("part %d of %d: %v, want %q", tt.part, tt.parts, got, tt.want)
		}
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "3 bytes came where 10") || l.Users() != 0 {
		t.Errorf("%v, %d users", err, l.Users())
	}
}

// TestLineEnds: a call on a line that ends is told so.
func TestLineEnds(t *testing.T) {
	line := lock.NewLine(struct {
		io.Reader
		io.Writer
	}{strings.NewReader("\n"), io.Discard})
	d := line.Add(lock.DeviceConfig{Name: "d", Key: []byte("0123456789abcdef"), Bus: true}, nil)
	if err := line.Run(t.Context()); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if _, _, _, err := d.Call(t.Context(), "GET", "/", nil); err == nil || !strings.Contains(err.Error(), "the line has ended") {
		t.Error(err)
	}
}

//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// far is the outside of a machine's serial port.
type far struct {
	t     *testing.T
	port  *os.File
	lines *bufio.Scanner
}

// boot gives process 1's orders a terminal, as the kernel's serial port is one.
func boot(t *testing.T) *far {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	near, err := openPort(slave.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- obeyAll(near) }()
	t.Cleanup(func() {
		if err := master.Close(); err != nil {
			t.Error(err)
		}
		<-ended // the line is gone
		if err := near.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &far{t, master, bufio.NewScanner(master)}
	if w := f.next(); !w.Ready {
		t.Fatalf("first word %+v", w)
	}
	return f
}

func (f *far) order(text string) {
	f.t.Helper()
	if _, err := io.WriteString(f.port, text+"\n"); err != nil {
		f.t.Fatal(err)
	}
}

func (f *far) next() word {
	f.t.Helper()
	if !f.lines.Scan() {
		f.t.Fatalf("the line ended: %v", f.lines.Err())
	}
	text, ok := strings.CutPrefix(f.lines.Text(), "@")
	var w word
	if err := json.Unmarshal([]byte(text), &w); !ok || err != nil {
		f.t.Fatalf("%q: %v", f.lines.Text(), err)
	}
	return w
}

// program reads words until a program ended.
func (f *far) program(id int) (out, errs []string, exit int) {
	f.t.Helper()
	for {
		w := f.next()
		switch {
		case w.ID != id:
			f.t.Fatalf("word of %d: %+v", w.ID, w)
		case w.Out != nil:
			out = append(out, *w.Out)
		case w.Err != nil:
			errs = append(errs, *w.Err)
		case w.Exit != nil:
			return out, errs, *w.Exit
		}
	}
}

func TestOrders(t *testing.T) {
	f := boot(t)
	for i, tt := range []struct {
		name  string
		argv  []string
		out   []string
		errs  []string
		exit  int
		alike bool // errs has the beginnings
	}{
		{name: "both outputs and the exit code are told", argv: []string{"sh", "-c", "echo one; echo; echo two; echo three >&2; exit 3"},
			out: []string{"one", "", "two"}, errs: []string{"three"}, exit: 3},
		{name: "a program that a signal ended has 128 and its number", argv: []string{"sh", "-c", "kill -9 $$"}, exit: 137},
		{name: "a program that is not there has 127", argv: []string{"/no/such"}, errs: []string{"fork/exec /no/such"}, exit: 127, alike: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.t = t
			line, err := json.Marshal(order{ID: i + 1, Run: tt.argv})
			if err != nil {
				t.Fatal(err)
			}
			f.order(string(line))
			out, errs, exit := f.program(i + 1)
			if tt.alike && len(errs) == 1 && strings.HasPrefix(errs[0], tt.errs[0]) {
				errs = tt.errs
			}
			if d := cmp.Diff([]any{tt.out, tt.errs, tt.exit}, []any{out, errs, exit}); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestSignal: a program is signalled by its number, and one that ended is not there
// any more.
func TestSignal(t *testing.T) {
	f := boot(t)
	f.order(`{"id":7,"run":["sh","-c","trap 'echo told; exit 4' TERM; echo up; while :; do sleep 0.01; done"]}`)
	if w := f.next(); w.Out == nil || *w.Out != "up" {
		t.Fatalf("word %+v", w)
	}
	f.order(`{"id":7,"signal":15}`)
	out, _, exit := f.program(7)
	if d := cmp.Diff([]string{"told"}, out); d != "" || exit != 4 {
		t.Errorf("exit %d: %s", exit, d)
	}
	f.order(`{"id":7,"signal":15}`)
	f.order(`{"id":8,"run":["true"]}`)
	if _, _, exit := f.program(8); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

// TestNoOrder: a line that is no order is told, and the next one is obeyed.
func TestNoOrder(t *testing.T) {
	f := boot(t)
	f.order("{")
	if w := f.next(); w.Err == nil || *w.Err == "" {
		t.Errorf("word %+v", w)
	}
	f.order(`{"id":1,"run":["true"]}`)
	if _, _, exit := f.program(1); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"boil"}, {"kill", "9"}, {"kill", "nine", "name"}, {"hold", "LINE"}, {"watch"}} {
		if err := run(args); err != errUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := kill("0", fmt.Sprint("no program is named so ", t.Name())); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("got %v", err)
	}
}

package spool_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

const childEnv = "SPOOL_TEST_CHILD"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child appends until it is killed and prints each acknowledged number and
// text.
func child(dir string) error {
	l, _, err := spool.Open(spool.Config{Dir: dir, Budget: 1 << 20}, spool.Options{})
	if err != nil {
		return err
	}
	l.Register("uplink")
	ctx := context.Background()
	go func() { _ = l.Run(ctx) }()
	var mu sync.Mutex // keeps lines whole
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				ev := site.Event{Time: time.Now(), Kind: site.KindAccess, Text: fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)}
				seq, err := l.Append(ev).Wait(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				fmt.Printf("%d %s\n", seq, ev.Text)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

// TestKill kills a real process at random moments, many times on one log: all
// that it acknowledged is there, once, in order, under one log id.
func TestKill(t *testing.T) {
	rnd := seeded(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "events")
	acked := map[string]site.EventSeq{}
	var id site.LogID
	for range 12 {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(5+rnd.IntN(60))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if err == io.EOF {
				break // a part of a line is not an acknowledgement that arrived
			}
			var seq site.EventSeq
			var text string
			if _, err := fmt.Sscanf(line, "%d %s", &seq, &text); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			acked[text] = seq
		}
		_ = cmd.Wait() // it was killed
		kill.Stop()
		l, rep, err := spool.Open(spool.Config{Dir: dir, Budget: 1 << 20}, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if rep.NewLog || rep.Lost > 0 || len(rep.Damaged) > 0 || id != "" && l.ID() != id && len(acked) > 0 {
			t.Fatalf("after a kill: %+v, log %s, was %s", rep, l.ID(), id)
		}
		if l.Last() > 0 {
			id = l.ID()
		}
		checkAcked(t, l, acked)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) == 0 {
		t.Error("no event was ever acknowledged")
	}
	t.Logf("%d events acknowledged", len(acked))
}

func checkAcked(t *testing.T, l *spool.Log, acked map[string]site.EventSeq) {
	t.Helper()
	got := map[string]site.EventSeq{}
	next, lost := site.EventSeq(1), site.EventSeq(0)
	for _, ev := range readAll(t, l, 1) {
		if ev.Kind == site.KindEventsLost && strings.Contains(ev.Text, "budget") {
			next, lost = ev.Seq+1, ev.Seq
			continue
		}
		if ev.Seq != next || got[ev.Text] != 0 {
			t.Fatalf("number %d (%s) where %d is due", ev.Seq, ev.Text, next)
		}
		got[ev.Text], next = ev.Seq, ev.Seq+1
	}
	for text, seq := range acked {
		if got[text] != seq && seq > lost {
			t.Fatalf("%s was acknowledged as %d and is %d", text, seq, got[text])
		}
	}
}

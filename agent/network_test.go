package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noNetwork are the ways into a network namespace of its own, which has no
// interface but a loopback that is down: as root, and in a user namespace.
func noNetwork() []*syscall.SysProcAttr {
	id := func(host int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: host, Size: 1}}
	}
	return []*syscall.SysProcAttr{
		{Cloneflags: syscall.CLONE_NEWNET},
		{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER, UidMappings: id(os.Getuid()), GidMappings: id(os.Getgid())},
	}
}

// TestNoNetwork runs the agent where there is no network at all: a card opens
// its door, another does not, and an operator is served.
func TestNoNetwork(t *testing.T) {
	dir, err := os.MkdirTemp("", "gh") // t.TempDir's paths may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(dir+"/site.yaml", []byte(killSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	var v *victim
	for _, attr := range noNetwork() {
		var err error
		if v, err = startVictimIn(t, dir, attr); err == nil {
			break
		}
		if !errors.Is(err, syscall.EPERM) {
			t.Fatal(err)
		}
	}
	if v == nil {
		t.Fatal("this test wants a network namespace: run it as root, or allow user namespaces")
	}
	t.Cleanup(v.stop)
	pid := v.waitReady()
	isolated(t, pid)
	enrol(t, dir)
	board := dialBoard(t, dir)
	board.ask(`{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":26,"hex":"26831140","us":300}}`)
	if took, opened := board.waitLevel("GPIO24", 1, 300*time.Millisecond); opened {
		t.Errorf("an unknown card energised the strike after %v", took)
	}
	if !board.present() {
		t.Error("the card did not open the door")
	}
	if _, ok := board.waitLevel("GPIO24", 0, 6*time.Second); !ok {
		t.Error("the pulse did not end")
	}
}

// isolated checks that the process has a network namespace of its own with
// nothing in it but loopback, and no route.
func isolated(t *testing.T, pid int) {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil || its == own {
		t.Fatalf("the agent's network namespace is %s, ours %s: %v", its, own, err)
	}
	dev, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(dev)) {
		if name, _, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) != "lo" {
			t.Errorf("the agent has interface %s", name)
		}
	}
	routes, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/route", pid))
	if err != nil || strings.Count(string(routes), "\n") > 1 {
		t.Errorf("the agent has routes: %s, %v", routes, err)
	}
}

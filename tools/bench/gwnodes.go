package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/agent/uplink"
)

// node is one iphost that the load started.
type node struct {
	cmd    *exec.Cmd
	dir    string
	base   string // https://HOST:PORT
	stderr bytes.Buffer
	told   <-chan string // its address, once
	ended  chan error
}

// installation is the hosts of a load, and what is needed to use them.
type installation struct {
	nodes []*node // those that the load started
	hosts []string
	root  []byte // PEM
	key   uplink.SiteKey
	token string
}

// buildHost compiles tools/iphost into dir.
func buildHost(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	exe := filepath.Join(dir, "iphost")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", exe, "./tools/iphost")
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(out)))
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./tools/iphost: %w: %.2000s", err, text)
	}
	return exe, nil
}

// startNodes starts count hosts on loopback that are one installation, with a
// site and a token.
func startNodes(ctx context.Context, dir string, count int) (in *installation, err error) {
	exe, err := buildHost(ctx, dir)
	if err != nil {
		return nil, err
	}
	in = &installation{key: bytes.Repeat([]byte{0x11, 0x22}, 16)}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.stop())
		}
	}()
	args := make([][]string, count)
	if count > 1 {
		if args, err = clusterArgs(dir, count); err != nil {
			return nil, err
		}
	}
	for i := range count {
		n := &node{dir: filepath.Join(dir, fmt.Sprintf("n%d", i)), ended: make(chan error, 1)}
		if err := n.start(exe, fmt.Sprintf("n%d", i), args[i]); err != nil {
			return in, err
		}
		in.nodes = append(in.nodes, n)
	}
	for _, n := range in.nodes {
		if err := n.await(ctx); err != nil {
			return in, err
		}
		in.hosts = append(in.hosts, n.base)
	}
	return in, in.furnish(ctx, exe, dir)
}

// furnish makes the site and the token, and reads the root.
func (in *installation) furnish(ctx context.Context, exe, dir string) error {
	first := in.nodes[0]
	keyFile := filepath.Join(dir, "site.key")
	if err := os.WriteFile(keyFile, fmt.Appendf(nil, "%x\n", []byte(in.key)), 0o600); err != nil {
		return err
	}
	// A new cluster may still elect who answers.
	err := again(ctx, func(int) error {
		_, err := manage(ctx, exe, first.dir, "site", "add", "bench", "--key-file", keyFile)
		if err != nil && strings.Contains(err.Error(), "exists") {
			return nil // the try before was not answered, and done
		}
		return err
	})
	if err != nil {
		return err
	}
	err = again(ctx, func(try int) error {
		token, err := manage(ctx, exe, first.dir, "token", "add", fmt.Sprintf("bench%d", try))
		in.token = strings.TrimSpace(token)
		return err
	})
	if err != nil {
		return err
	}
	in.root, err = os.ReadFile(filepath.Join(first.dir, "root.pem"))
	return err
}

// settleWait is how long a new installation may take until it answers.
const settleWait = 30 * time.Second

// again does something until it succeeds or settleWait is over.
func again(ctx context.Context, do func(try int) error) error {
	for began, try := time.Now(), 0; ; try++ {
		err := do(try)
		if err == nil || ctx.Err() != nil || time.Since(began) > settleWait {
			return err
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// manage runs a command of iphost on a state folder.
func manage(ctx context.Context, exe, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, exe, append([]string{"--state", dir}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("iphost %s %s: %w: %s", args[0], args[1], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// clusterArgs are the flags with which each host finds the others.
func clusterArgs(dir string, count int) ([][]string, error) {
	secret := filepath.Join(dir, "cluster.secret")
	if err := os.WriteFile(secret, []byte("only for this benchmark\n"), 0o600); err != nil {
		return nil, err
	}
	var addrs []string
	var held []net.Listener
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		addrs = append(addrs, l.Addr().String())
	}
	for _, l := range held {
		_ = l.Close() // the hosts take the addresses
	}
	out := make([][]string, count)
	for i := range out {
		var routes []string
		for j, a := range addrs {
			if j != i {
				routes = append(routes, a)
			}
		}
		out[i] = []string{"--cluster", addrs[i], "--routes", strings.Join(routes, ","), "--cluster-secret", secret}
	}
	return out, nil
}

// start runs the host. It is not ready yet.
func (n *node) start(exe, name string, args []string) error {
	n.cmd = exec.Command(exe, append([]string{"--state", n.dir, "run", "--name", name, "--listen", "127.0.0.1:0", "--ca-listen", "off", "--log-level", "error"}, args...)...)
	n.cmd.Stderr = &n.stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	told := make(chan string, 1)
	go func() {
		for lines.Scan() {
			if at, ok := strings.CutPrefix(lines.Text(), "broker "); ok {
				told <- strings.TrimSpace(at)
			}
		}
		close(told)
		n.ended <- n.cmd.Wait()
	}()
	n.told = told
	return nil
}

// await waits until the host serves.
func (n *node) await(ctx context.Context) error {
	select {
	case base, ok := <-n.told:
		if !ok {
			return fmt.Errorf("iphost ended: %w: %s", <-n.ended, strings.TrimSpace(n.stderr.String()))
		}
		n.base = base
		return nil
	case <-time.After(time.Minute):
		return errors.New("iphost does not serve after a minute")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the host as a power cut would.
func (n *node) kill() error { return errors.Join(n.cmd.Process.Kill(), n.wait()) }

// wait waits for the end; that it was killed is none of its faults.
func (n *node) wait() error {
	select {
	case <-n.ended:
		n.cmd = nil
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("iphost does not end")
	}
}

// memory returns the resident memory of the hosts that run, in bytes.
func (in *installation) memory() (uint64, error) {
	sum := uint64(0)
	for _, n := range in.nodes {
		if n.cmd == nil {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		_, all, err := parseStatus(string(b))
		if err != nil {
			return 0, err
		}
		sum += all
	}
	return sum, nil
}

// stop ends the hosts that the load started.
func (in *installation) stop() error {
	var err error
	for _, n := range in.nodes {
		if n.cmd != nil {
			err = errors.Join(err, n.cmd.Process.Signal(os.Interrupt))
		}
	}
	for _, n := range in.nodes {
		if n.cmd == nil {
			continue
		}
		if e := n.wait(); e != nil {
			err = errors.Join(err, e, n.kill())
		}
	}
	return err
}

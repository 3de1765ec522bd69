package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gatehouse/agent/control"
)

// demo holds what a demo run needs.
type demo struct {
	e      *env
	dir    string
	config string
	whole  bool // the settings have what demoRules speaks of
	locks  bool // and what demoLocks speaks of
	host   *demoHost
}

// newDemo makes the folder and its files where they are missing. It changes
// nothing that is there.
func newDemo(e *env, dir string) (*demo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &demo{e: e, dir: dir, config: filepath.Join(dir, "gatehouse.yaml")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if _, err := os.Stat(d.config); !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	for name, size := range map[string]int{"hive-shed.key": 16, "hive-kiosk.key": 16, "hive-vault.key": 16, demoKey: 32} {
		key := make([]byte, size)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	addr, err := freeAddresses("127.0.0.1:8443", "127.0.0.1:8480", "127.0.0.1:8080", "127.0.0.1:8081")
	if err != nil {
		return nil, err
	}
	zone := localZone()
	world := fmt.Sprintf(demoWorld, "http://"+addr[1], zone)
	if err := os.WriteFile(filepath.Join(dir, "sitesim.json"), []byte(world), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	// The settings come last: a folder with them is complete.
	if err := os.WriteFile(d.config, fmt.Appendf(nil, demoSettings, zone, addr[0], addr[1], addr[2], addr[3]), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return d, nil
}

// localZone is the machine's time zone where it has a name, else UTC.
func localZone() string {
	if name := time.Local.String(); name != "Local" && name != "" {
		return name
	}
	if target, err := os.Readlink("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(target, "/zoneinfo/"); ok {
			if _, err := time.LoadLocation(name); err == nil {
				return name
			}
		}
	}
	return "UTC"
}

// freeAddresses returns the addresses, each with another port where its own is
// taken.
func freeAddresses(want ...string) ([]string, error) {
	var got []string
	for _, addr := range want {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			return nil, fmt.Errorf("demo: no free port beside %s: %w", addr, err)
		}
		defer l.Close() // when all are found: no two are equal
		got = append(got, l.Addr().String())
	}
	return got, nil
}

// attend waits for the agent, enrols the demo's people the first time and prints
// where to look. sim is the program that plays the site; empty: it is missing.
func (d *demo) attend(ctx context.Context, sim string, missing error) error {
	c := control.Dial(filepath.Join(d.dir, "control.sock"))
	st, err := d.waitReady(ctx, c)
	if err != nil {
		return err
	}
	if st.Store.Version == 0 {
		if err := d.enrol(ctx, c); err != nil {
			return fmt.Errorf("demo: enrol: %w", err)
		}
	}
	d.explain(st, sim, missing)
	return nil
}

// demoStart bounds the wait for the first answer.
const demoStart = 30 * time.Second

func (d *demo) waitReady(ctx context.Context, c *control.Client) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, demoStart)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var st control.Status
		if err := c.Get(ctx, "/v1/status", nil, &st); err == nil && st.Ready {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, fmt.Errorf("demo: the agent did not become ready: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (d *demo) enrol(ctx context.Context, c *control.Client) error {
	return c.Stream(ctx, http.MethodPost, "/v1/credentials/import", nil, strings.NewReader(demoPolicy), func([]byte) error { return nil })
}

// companion finds a program that stands beside this one.
func (d *demo) companion(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not beside gatehouse", name)
	}
	return path, nil
}

// play runs sitesim until ctx ends.
func (d *demo) play(ctx context.Context, path string) {
	for ctx.Err() == nil {
		err := d.beside(ctx, path, "run", "--state", d.dir)
		d.again(ctx, "sitesim", err)
	}
}

// beside runs a program until it ends or ctx does. It ends with this process,
// whatever that dies of.
func (d *demo) beside(ctx context.Context, path string, args ...string) error {
	// The kernel takes the death of the starting thread for the parent's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = d.e.err
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd.Run()
}

// again tells that a program ended and waits before it is started again.
func (d *demo) again(ctx context.Context, name string, err error) {
	if ctx.Err() != nil {
		return
	}
	fmt.Fprintf(d.e.err, "demo: %s ended (%v); starting it again\n", name, err)
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

// waitPlaying waits a moment for sitesim's socket: its pseudo-terminal should be
// there before the agent looks for it.
func (d *demo) waitPlaying(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		c, err := net.Dial("unix", filepath.Join(d.dir, "sitesim.sock"))
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

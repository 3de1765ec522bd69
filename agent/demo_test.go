package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

const demoSerial = "0000000000000000A0B1000000000206"

// demoRun is a running `gatehouse run --demo` with iphost beside it, and an
// integrator at the host's broker.
type demoRun struct {
	*victim
	broker, auth string
	client       *http.Client
}

// startDemo builds iphost beside a copy of this binary, which starts it.
func startDemo(t *testing.T) *demoRun {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh") // t.TempDir's paths may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "iphost"), "gatehouse/tools/iphost").CombinedOutput(); err != nil {
		t.Fatalf("build iphost: %v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "gatehouse")
	if err := os.WriteFile(program, data, 0o700); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, dir: filepath.Join(dir, "demo"), cmd: exec.Command(program, "run", "--demo", "--state", filepath.Join(dir, "demo"))}
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if v.output, err = os.Create(filepath.Join(v.dir, "output.txt")); err != nil {
		t.Fatal(err)
	}
	v.cmd.Env = append(os.Environ(), commandEnv+"=1")
	v.cmd.Stdout, v.cmd.Stderr = v.output, v.output
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.stop)
	v.waitReady()
	return &demoRun{victim: v}
}

// status is what the agent says of itself.
func (d *demoRun) status() (st control.Status) {
	d.t.Helper()
	if err := control.Dial(filepath.Join(d.dir, "control.sock")).Get(d.t.Context(), "/v1/status", nil, &st); err != nil {
		d.t.Fatal(err)
	}
	return st
}

// until polls other processes for something.
func (d *demoRun) until(what string, limit time.Duration, done func() bool) {
	d.t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("not within %v: %s\n%s", limit, what, d.story(0))
		}
	}
}

func (d *demoRun) linked(want bool) {
	d.t.Helper()
	d.until(fmt.Sprintf("the link is up: %t", want), 45*time.Second, func() bool {
		u := d.status().Uplink
		return u != nil && u.Connected == want && (!want || len(u.Subscribed) == 2)
	})
}

// integrate reads what the host wrote for curl.
func (d *demoRun) integrate() {
	t := d.t
	t.Helper()
	d.broker = "https://" + strings.TrimSuffix(strings.TrimPrefix(d.status().Uplink.Server, "wss://"), "/engage_wss")
	header, err := os.ReadFile(filepath.Join(d.dir, "iphost-auth"))
	if err != nil {
		t.Fatal(err)
	}
	name, value, _ := strings.Cut(strings.TrimSpace(string(header)), ": ")
	if name != "Authorization" || !strings.HasPrefix(value, "Bearer ") {
		t.Fatalf("iphost-auth holds a header %q", name)
	}
	d.auth = value
	pem, err := os.ReadFile(filepath.Join(d.dir, "iphost", "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in root.pem")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(tr.CloseIdleConnections)
	d.client = &http.Client{Transport: tr, Timeout: 35 * time.Second}
}

// ask asks the broker.
func (d *demoRun) ask(method, path, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.broker+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", d.auth)
	res, err := d.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, data)
	}
	return data, err
}

// hostPID is the process of iphost; 0: none runs.
func (d *demoRun) hostPID() int {
	for _, p := range childrenOf(d.cmd.Process.Pid) {
		args, err := os.ReadFile("/proc/" + p + "/cmdline")
		if name, _, _ := strings.Cut(string(args), "\x00"); err == nil && filepath.Base(name) == "iphost" {
			pid, err := strconv.Atoi(p)
			if err == nil {
				return pid
			}
		}
	}
	return 0
}

// stored returns the numbers of the host's events, oldest first.
func (d *demoRun) stored() (ids []site.EventSeq, err error) {
	for after := ""; ; {
		data, err := d.ask(http.MethodGet, "/events?limit=1000"+after, "")
		if err != nil {
			return nil, err
		}
		var page struct {
			Events []struct{ EventID site.EventSeq }
			Next   string
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			ids = append(ids, e.EventID)
		}
		if page.Next == "" {
			return ids, nil
		}
		after = "&after=" + page.Next
	}
}

// log returns the agent's events.
func (d *demoRun) log() (events []site.Event) {
	d.t.Helper()
	c := control.Dial(filepath.Join(d.dir, "control.sock"))
	err := c.Stream(d.t.Context(), http.MethodGet, "/v1/events", nil, nil, func(line []byte) error {
		var ev site.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return err
		}
		events = append(events, ev)
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return events
}

// cards shows cards, granted and refused, and waits until each is in the log.
func (d *demoRun) cards(board *boardConn, n int) {
	d.t.Helper()
	count := func() (n int) {
		for _, e := range d.log() {
			if e.Kind == site.KindAccess {
				n++
			}
		}
		return n
	}
	before := count()
	for i := range n {
		hex := []string{"26831000", "1b957440", "26831140"}[i%3]
		board.ask(`{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":26,"hex":"` + hex + `","us":300}}`)
		time.Sleep(60 * time.Millisecond) // a reader's pause between two cards
	}
	d.until("the cards are in the log", 10*time.Second, func() bool { return count() >= before+n*9/10 }) // a busy machine cuts a frame now and then
}

// TestDemoCloud runs the demo as `make run` does, with real processes: the link
// comes up, a request at the host's broker opens a door, and what happens while
// the host is killed or unplugged is in its store afterwards, in order and once.
func TestDemoCloud(t *testing.T) {
	if testing.Short() {
		t.Skip("builds iphost and waits for a link to come back: half a minute")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("GATEHOUSE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d (GATEHOUSE_SEED repeats it)", seed)
	rnd := rand.New(rand.NewPCG(seed, 4))
	d := startDemo(t)
	d.linked(true)
	d.integrate()
	board := dialBoard(t, d.dir)

	// A request at the broker opens the front door.
	body := `{"lockControl":{"lockState":{"nextLockState":"momentaryUnlock"}}}`
	if _, err := d.ask(http.MethodPut, "/edgeDevices/dev00000/lockControl?gateway="+demoSerial, body); err != nil {
		t.Fatal(err)
	}
	if took, ok := board.waitLevel("GPIO24", 1, 2*time.Second); !ok {
		t.Fatalf("the strike is not energised %v after the request", took)
	}
	if _, ok := board.waitLevel("GPIO24", 0, 7*time.Second); !ok {
		t.Fatal("the pulse did not end")
	}

	// The host is killed while cards are shown; the demo starts it again.
	killed := d.hostPID()
	time.AfterFunc(time.Duration(rnd.Int64N(int64(time.Second))), func() { _ = syscall.Kill(killed, syscall.SIGKILL) })
	d.cards(board, 24)
	d.until("the host runs again", 10*time.Second, func() bool { p := d.hostPID(); return p != 0 && p != killed })
	d.linked(true)

	// The plug is pulled: doors go on, the agent says where the link fails.
	plug := filepath.Join(d.dir, "unplugged")
	if err := os.WriteFile(plug, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.until("the host is stopped", 10*time.Second, func() bool { return d.hostPID() == 0 })
	if _, ok := board.waitLevel("GPIO24", 0, 7*time.Second); !ok || !board.present() {
		t.Fatal("no card opens the door without a host")
	}
	d.cards(board, 12)
	d.until("tcp is the stage that fails", 10*time.Second, func() bool {
		for _, s := range d.status().Uplink.Stages {
			if s.Name == "tcp" {
				return s.State == "failed" && s.Do != ""
			}
		}
		return false
	})
	if u := d.status().Uplink; u.Waiting == 0 {
		t.Errorf("nothing waits: %+v", u)
	}
	if err := os.Remove(plug); err != nil {
		t.Fatal(err)
	}
	d.linked(true)
	d.complete()

	// What runs beside the demo does not outlive it.
	last := d.hostPID()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	waitGone(t, last)
}

// complete waits until the host has the log's last card, and compares.
func (d *demoRun) complete() {
	t := d.t
	t.Helper()
	log := d.log()
	var last site.EventSeq
	for _, e := range log {
		if e.Kind == site.KindAccess {
			last = e.Seq
		}
	}
	var ids []site.EventSeq
	d.until("the host has the last card", 30*time.Second, func() bool {
		var err error
		ids, err = d.stored()
		return err == nil && len(ids) > 0 && ids[len(ids)-1] >= last
	})
	at := map[site.EventSeq]bool{}
	for i, id := range ids {
		if i > 0 && id <= ids[i-1] {
			t.Errorf("event %d is stored after %d", id, ids[i-1])
		}
		at[id] = true
	}
	kinds := map[site.Kind]int{}
	for _, e := range log {
		switch e.Kind {
		case site.KindStart, site.KindPolicy, site.KindFault, site.KindUnused, site.KindArea: // of no vendor's code
			continue
		}
		if e.Seq <= last && !at[e.Seq] {
			t.Errorf("the host lacks event %d, %s", e.Seq, e.Kind)
		}
		kinds[e.Kind]++
	}
	if kinds[site.KindAccess] < 30 {
		t.Errorf("too few cards: %v", kinds)
	}
	t.Logf("%d events at the host, of the log's %d: %v", len(ids), len(log), kinds)
}

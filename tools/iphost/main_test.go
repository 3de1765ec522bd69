package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/gatewaytest"
	"gatehouse/tools/iphost/journal"
)

// asCommand makes the test's binary the command.
const asCommand = "IPHOST_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

const serialA = "0000000000000000A0B1000000000206"

// stateDir is a folder whose path is short enough for a unix socket.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "iphost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// command runs a command line in this process.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

// must runs a command line that should succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := command(t, args...)
	if code != 0 || errs != "" {
		t.Fatalf("%v: code %d: %s", args, code, errs)
	}
	return strings.TrimSpace(out)
}

func TestCommandsOfAStoppedHost(t *testing.T) {
	dir := stateDir(t)
	key := must(t, "site", "add", "demo", "--state", dir)
	if _, err := engage.ParseSiteKey(key); err != nil {
		t.Fatalf("site add printed %q", key)
	}
	file := filepath.Join(dir, "key")
	if err := os.WriteFile(file, []byte(engage.NewSiteKey().Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "site", "add", "other", "--key-file", file, "--zone", "Europe/Berlin", "--state", dir); out != "" {
		t.Errorf("a key that was given is printed: %q", out)
	}
	if out := must(t, "site", "list", "--state", dir); !strings.Contains(out, "other  Europe/Berlin") || strings.Contains(out, key) {
		t.Errorf("site list:\n%s", out)
	}
	token := must(t, "token", "add", "tok", "--site", "demo", "--state", dir)
	if !strings.HasPrefix(token, "tok.") || len(token) < 40 {
		t.Errorf("token add printed %q", token)
	}
	must(t, "gateway", "add", serialA, "--site", "demo", "--state", dir)
	var gateways []struct {
		Gateway, Site string
		Connected     bool
	}
	if err := json.Unmarshal([]byte(must(t, "gateway", "list", "--json", "--state", dir)), &gateways); err != nil || len(gateways) != 1 || gateways[0].Gateway != serialA || gateways[0].Connected {
		t.Errorf("gateway list: %v, %v", gateways, err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"site", "add", "demo"}, 1, "exists already"},
		{[]string{"site", "add", "Bad Name"}, 1, "want 1 to 32"},
		{[]string{"site", "add", "x", "--zone", "Mars/Base"}, 1, "Mars/Base"},
		{[]string{"site", "add", "again", "--key-file", file}, 1, "same key"},
		{[]string{"site", "remove", "demo"}, 1, "1 gateways belong to it"},
		{[]string{"token", "add", "t2", "--site", "nowhere"}, 1, "not found"},
		{[]string{"token", "revoke", "nobody"}, 1, "not found"},
		{[]string{"gateway", "forget", "12"}, 1, "not a serial"},
		{[]string{"gateway", "add", "12", "--site", "demo"}, 2, "not a serial"},
		{[]string{"root", "show"}, 1, "not found"},
		{[]string{"site", "add"}, 2, "accepts 1 arg"},
		{[]string{"nothing"}, 2, "unknown command"},
		{[]string{"run", "--bad"}, 2, "unknown flag"},
		{[]string{"run", "--sync", "maybe"}, 2, "--sync"},
		{[]string{"run", "--cert", "x"}, 2, "--key"},
		{[]string{"run", "--cluster", "127.0.0.1:1"}, 2, "--routes"},
		{[]string{"run", "--nats", "nats://x", "--cluster", "127.0.0.1:1", "--routes", "127.0.0.1:2"}, 2, "choose"},
		{[]string{"run", "--events-budget", "10GB"}, 2, "size"},
	} {
		code, out, errs := command(t, append(tt.args, "--state", dir)...)
		if code != tt.code || !strings.Contains(errs, tt.want) || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%v: code %d, want %d; %q, want %q in one line", tt.args, code, tt.code, errs, tt.want)
		}
	}
	must(t, "token", "revoke", "tok", "--state", dir)
	must(t, "gateway", "forget", serialA, "--state", dir)
	must(t, "site", "remove", "demo", "--state", dir)
	if err := os.WriteFile(filepath.Join(dir, "mode.json"), []byte(`{"cluster":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "site", "list", "--state", dir); code != 1 || !strings.Contains(errs, "must run") {
		t.Errorf("a stopped host of a cluster: code %d, %s", code, errs)
	}
}

// process is a host in a process of its own.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	lines          io.Reader
	log            string // file of its standard error
	gateways, root string
}

// run starts a host alone and waits until it serves.
func run(t *testing.T, dir string) *process {
	t.Helper()
	p := launch(t, dir, "--listen", "127.0.0.1:0", "--ca-listen", "127.0.0.1:0")
	p.await()
	return p
}

// launch starts a host and does not wait.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, log: filepath.Join(dir, "log.txt"), cmd: exec.Command(os.Args[0], append([]string{"run", "--state", dir}, args...)...)}
	p.cmd.Env = append(os.Environ(), asCommand+"=1")
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the process has its own
	p.cmd.Stderr = log
	if p.lines, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(p.log)
			t.Logf("the end of what %s logged:\n%s", dir, b[max(0, len(b)-20_000):])
		}
		p.kill()
	})
	return p
}

// await waits until the host serves.
func (p *process) await() {
	p.t.Helper()
	lines := bufio.NewScanner(p.lines)
	for p.root == "" {
		if !lines.Scan() {
			p.kill()
			b, _ := os.ReadFile(p.log)
			p.t.Fatalf("the host did not start:\n%s", b)
		}
		what, where, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "gateways":
			p.gateways = strings.TrimSpace(where)
		case "root":
			p.root = strings.TrimSpace(where)
		}
	}
	go io.Copy(io.Discard, p.lines)
}

// kill ends the process as a crash does, if it still runs.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// TestSealedFolder: a stopped host's folder has no site key in its buckets, and is of
// no use without the key file.
func TestSealedFolder(t *testing.T) {
	dir := stateDir(t)
	key := must(t, "site", "add", "demo", "--state", dir)
	files := 0
	err := filepath.WalkDir(filepath.Join(dir, "nats"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(key)) {
			t.Errorf("the key is in %s", path)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files, %v", files, err)
	}
	if err := os.Rename(filepath.Join(dir, "seal.key"), filepath.Join(dir, "kept")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"site", "list"}, {"run", "--listen", "127.0.0.1:0", "--ca-listen", "off", "--log-level", "error"}} {
		code, _, errs := command(t, append(args, "--state", dir)...)
		if code != 1 || !strings.Contains(errs, "sealed with another key") || !strings.Contains(errs, "seal.key") {
			t.Errorf("%v without the key file: code %d, %s", args, code, errs)
		}
	}
	mode := filepath.Join(dir, "mode.json")
	if err := os.WriteFile(mode, []byte(`{"seal_key":"`+filepath.Join(dir, "kept")+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "site", "list", "--state", dir); !strings.Contains(out, "demo") {
		t.Errorf("with the file elsewhere: %s", out)
	}
}

// TestKilledProcess: what a killed process had answered is there at its next
// start, and managed while it runs.
func TestKilledProcess(t *testing.T) {
	dir := stateDir(t)
	key, err := engage.ParseSiteKey(must(t, "site", "add", "demo", "--state", dir))
	if err != nil {
		t.Fatal(err)
	}
	serial, err := engage.ParseSerial(serialA)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connect := func(p *process, late time.Duration) *gatewaytest.Gateway {
		return connectLate(ctx, p, key, serial, late)
	}
	send := func(g *gatewaytest.Gateway, from, to uint32) { sendAudits(ctx, t, g, from, to) }
	p := run(t, dir)
	g := connect(p, 0)
	send(g, 1, 100)
	p.kill()
	<-g.Done()

	p = run(t, dir)
	token := must(t, "token", "add", "tok", "--state", dir)
	refuseSecond(t, dir)
	g = connect(p, time.Second)
	send(g, 91, 120) // as if the last batch had not been answered
	if out := must(t, "gateway", "list", "--state", dir); !strings.Contains(out, serialA) || strings.Contains(out, " - ") {
		t.Errorf("gateway list:\n%s", out)
	}
	events := readEvents(t, p, dir, token)
	for i, e := range events {
		if e.EventID != uint32(i+1) {
			t.Fatalf("event %d has eventId %d", i, e.EventID)
		}
	}
	if len(events) != 120 {
		t.Errorf("%d events, want 120", len(events))
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("stopped: %v", err)
	}
	<-g.Done()
}

// connectLate fetches the root and connects a gateway whose clock is ahead.
func connectLate(ctx context.Context, p *process, key engage.SiteKey, serial engage.Serial, late time.Duration) *gatewaytest.Gateway {
	p.t.Helper()
	cert, err := gatewaytest.FetchRoot(ctx, p.root, key, serial)
	if err != nil {
		p.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	g, err := gatewaytest.Dial(ctx, gatewaytest.Config{URL: p.gateways, Key: key, Serial: serial, Roots: roots,
		Wall: func() time.Time { return time.Now().UTC().Add(late) }})
	if err == nil {
		err = g.WaitSubscribed(ctx)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return g
}

func sendAudits(ctx context.Context, t *testing.T, g *gatewaytest.Gateway, from, to uint32) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := g.Write(gatewaytest.Audit(i, "a100000000002479", "dev00000", "07040000", eventTime)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Ping(ctx, fmt.Sprint(to)); err != nil {
		t.Fatal(err)
	}
}

// refuseSecond runs a second host in the folder of a running one: it is refused
// and changes nothing.
func refuseSecond(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "mode.json")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "run", "--state", dir, "--cluster", "127.0.0.1:1", "--routes", "127.0.0.1:2"); code != 1 || !strings.Contains(errs, "another iphost") {
		t.Errorf("a second host in the folder: code %d, %s", code, errs)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
		t.Errorf("a second host changed mode.json from %s to %s, %v", before, now, err)
	}
}

// readEvents asks the broker, trusting what root show prints.
func readEvents(t *testing.T, p *process, dir, token string) []journal.Event {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(must(t, "root", "show", "--state", dir))) {
		t.Fatal("root show prints no certificate")
	}
	r, err := http.NewRequest("GET", strings.TrimSuffix(p.gateways, "/engage_wss")+"/events?limit=1000", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var page journal.Page
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	return page.Events
}

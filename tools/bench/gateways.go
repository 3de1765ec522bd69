package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gatehouse/agent/uplink"
)

// gatewaysCommand is the load generator: many gateways in one process.
const gatewaysCommand = "gateways"

const gatewaysHelp = `bench gateways connects many gateways to tools/iphost with real TLS and the real
protocol (protocols/engage.md, 1 and 2), and measures. The result is one JSON
value on standard output, progress goes to standard error.

Without -host it builds iphost and starts -nodes of it on loopback, in a folder
that goes at the end. With -host it uses hosts that run, and needs:

  -site-key-file  the key of a site (iphost site add NAME --key-file FILE)
  -token-file     a broker's token (iphost token add NAME)
  -root           the root certificate, PEM (STATE/root.pem)

What it does: connect all; send -events of each gateway and wait until the host
has stored them; -requests through the broker; with -kill, end one host in the
middle of as many events again and wait until its gateways are on the others;
read all events back and count. It ends with 1 when a gateway, a request or an
event is missing.

`

// loadOptions are the command line of the load.
type loadOptions struct {
	n, parallel       int
	events, writers   int
	requests, clients int
	nodes             int
	kill              bool
	hosts             []string
	path              string
	keyFile, token    string
	root, dir         string
	rest, limit       time.Duration
}

func parseLoad(args []string, stderr io.Writer) (o loadOptions, err error) {
	f := flag.NewFlagSet("bench gateways", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, gatewaysHelp)
		f.PrintDefaults()
	}
	hosts := ""
	f.IntVar(&o.n, "n", 1000, "gateways")
	f.IntVar(&o.parallel, "parallel", 64, "gateways that connect at a time")
	f.IntVar(&o.events, "events", 20, "events of each gateway")
	f.IntVar(&o.writers, "writers", 256, "gateways that send events at a time")
	f.IntVar(&o.requests, "requests", 10_000, "requests through the broker")
	f.IntVar(&o.clients, "clients", 16, "clients of the broker")
	f.IntVar(&o.nodes, "nodes", 1, "hosts to start, where -host is not given")
	f.BoolVar(&o.kill, "kill", false, "end one of the hosts that were started, as a power cut would")
	f.StringVar(&hosts, "host", "", "URLs of hosts that run, https://HOST:PORT, with commas between")
	f.StringVar(&o.path, "path", drainPath, "path of their WebSocket")
	f.StringVar(&o.keyFile, "site-key-file", "", "file with the site key, 64 hex digits")
	f.StringVar(&o.token, "token-file", "", "file with the broker's token")
	f.StringVar(&o.root, "root", "", "file with the root certificate, PEM")
	f.StringVar(&o.dir, "dir", "", "where the temporary folder of started hosts is made (default: the system's)")
	f.DurationVar(&o.rest, "rest", 5*time.Second, "how long connected gateways rest before memory is read")
	f.DurationVar(&o.limit, "limit", 20*time.Minute, "for all of it")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("bench gateways: %q is not understood", f.Arg(0))
	}
	if hosts != "" {
		if o.hosts, err = checkHosts(hosts); err != nil {
			return o, fmt.Errorf("bench gateways: %w", err)
		}
	}
	return o, o.check()
}

// maxGateways is how many serial numbers the load has.
const maxGateways = 1 << 24

func (o loadOptions) check() error {
	for _, v := range []struct {
		name        string
		value, most int
	}{{"n", o.n, maxGateways}, {"parallel", o.parallel, 10_000}, {"events", o.events, 100_000}, {"writers", o.writers, 100_000},
		{"requests", o.requests, 1 << 30}, {"clients", o.clients, 10_000}, {"nodes", o.nodes, 9}} {
		if v.value < 1 || v.value > v.most {
			return fmt.Errorf("bench gateways: -%s %d: want 1 to %d", v.name, v.value, v.most)
		}
	}
	switch given := o.keyFile != "" && o.token != "" && o.root != ""; {
	case len(o.hosts) > 0 && !given:
		return errors.New("bench gateways: -host wants -site-key-file, -token-file and -root")
	case len(o.hosts) > 0 && o.kill:
		return errors.New("bench gateways: -kill ends a host that was started here, not one of -host")
	case o.kill && o.nodes < 3:
		return errors.New("bench gateways: -kill wants -nodes 3 or more: two of three must agree")
	}
	return nil
}

// files is how many open files this process needs at least.
func (o loadOptions) files() uint64 {
	return uint64(o.n) + 2*uint64(min(o.parallel, o.n)) + 2*uint64(o.clients) + 64
}

// checkFiles refuses a load for which there are not enough open files. A host
// needs as many; one that is started here has the same limit.
func checkFiles(need, limit uint64, n int) error {
	if need <= limit {
		return nil
	}
	return fmt.Errorf("bench gateways: %d gateways want %d open files, the limit is %d: raise it (ulimit -Hn, LimitNOFILE) or ask for fewer", n, need, limit)
}

// loadMain is the sub-command. It returns the exit code.
func loadMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseLoad(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var limit syscall.Rlimit
	if err == nil {
		err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) // Go has raised it as far as it may
	}
	if err == nil {
		err = checkFiles(o.files(), limit.Cur, o.n)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	res, err := o.load(ctx, stderr)
	if err == nil || res.Gateways > 0 {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = errors.Join(err, e.Encode(res))
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench gateways:", err)
		return 1
	}
	return 0
}

// loadResult is what a load prints.
type loadResult struct {
	Go       string     `json:"go"`
	OS       string     `json:"os"`
	Arch     string     `json:"arch"`
	CPUs     int        `json:"cpus"`
	Commit   string     `json:"commit"`
	Load     [2]float64 `json:"load"`
	Gateways int        `json:"gateways"`
	Hosts    int        `json:"hosts"`

	Connect  *rate     `json:"connect,omitempty"` // credentials, upgrade, subscription
	Memory   *memory   `json:"memory,omitempty"`
	Events   *rate     `json:"events,omitempty"` // a second: stored; times: of a gateway's batch
	Requests *rate     `json:"requests,omitempty"`
	Recover  *recovery `json:"recover,omitempty"`
	Stored   *stored   `json:"stored,omitempty"`
	// Failures counts what was tried again, by cause.
	Failures map[string]int `json:"failures,omitempty"`
}

// rate is how often a second something was done, and how long single ones took.
type rate struct {
	Count     int     `json:"count"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Longest   float64 `json:"longest_ms"`
}

func newRate(count int, took time.Duration, s samples) *rate {
	return &rate{Count: count, PerSecond: float64(count) / took.Seconds(), P50: millis(s.p50()), P99: millis(s.p99()), Longest: millis(s.longest())}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// memory is of gateways that are connected and at rest.
type memory struct {
	// HostKiB is resident memory of the hosts that were started here, less what
	// they had before the first gateway; 0 for others.
	HostKiB float64 `json:"host_kib_a_gateway,omitempty"`
	HostMiB float64 `json:"hosts_mib,omitempty"`
	LoadKiB float64 `json:"load_kib_a_gateway"` // heap and stacks of this process
}

// recovery is what the end of one host cost.
type recovery struct {
	Away    int     `json:"gateways_away"` // at most at a time
	Seconds float64 `json:"seconds_until_all_are_back"`
	Events  *rate   `json:"events"` // those meanwhile
	After   *rate   `json:"requests_after"`
}

// stored is what was read back.
type stored struct {
	Want   int `json:"want"` // events that a host had answered for
	Found  int `json:"found"`
	Again  int `json:"repeated"`
	Absent int `json:"missing"`
	// Waited is how long the hosts could not tell; after the end of one.
	Waited float64 `json:"seconds_without_answer,omitempty"`
}

func newLoadResult(n int) loadResult {
	return loadResult{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		Commit: commit(), Load: [2]float64{load(), 0}, Gateways: n}
}

// installation returns the hosts of the command line, or starts some.
func (o loadOptions) installation(ctx context.Context, dir string) (*installation, error) {
	if len(o.hosts) == 0 {
		return startNodes(ctx, dir, o.nodes)
	}
	in := &installation{hosts: o.hosts}
	var texts [3][]byte
	for i, name := range []string{o.keyFile, o.token, o.root} {
		var err error
		if texts[i], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(texts[0])))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s: want 64 hex digits", o.keyFile)
	}
	in.key, in.token, in.root = uplink.SiteKey(key), strings.TrimSpace(string(texts[1])), texts[2]
	return in, nil
}

func (in *installation) pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(in.root) {
		return nil, errors.New("root: no certificate in PEM")
	}
	return pool, nil
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/host"
)

// runFlags are the flags of run as they were typed.
type runFlags struct {
	cfg host.Config

	nats, natsCreds, natsCA    string
	cluster                    string
	routes                     []string
	secretFile                 string
	routeCert, routeKey, caPEM string
	plain                      bool
	sync, budget               string
	subscribe                  []string
	level, format              string
}

func runCommand(e *env) *cobra.Command {
	f := &runFlags{}
	c := &cobra.Command{Use: "run", Short: "Serve until interrupted", Args: arguments(cobra.NoArgs),
		Long: `Serve gateways and integrators until interrupted.

Without --cert the hosts make a CA of their own, share it, and host its root
certificate; gateways fetch and check it with their site key. STATE/root.pem
holds it for other programs.

Without --nats and --cluster the host stands alone. With --cluster and --routes
the hosts join their own NATS servers; with --nats they use an existing one.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, e) }}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.cfg.Name, "name", "", "this host's name among others (default: the machine's)")
	fs.StringVar(&f.cfg.Listen, "listen", host.DefaultListen, "HTTPS address for gateways and the broker")
	fs.StringVar(&f.cfg.BrokerListen, "broker-listen", "", "HTTPS address for the broker alone (default: with the gateways)")
	fs.StringVar(&f.cfg.CAListen, "ca-listen", host.DefaultCAListen, "plain HTTP address that hosts the root certificate, or off")
	fs.StringVar(&f.cfg.CAURL, "ca-url", "", "how gateways reach that address, http://HOST:PORT (default: as they asked)")
	fs.StringVar(&f.cfg.Path, "path", host.DefaultPath, "path of the WebSocket")
	fs.StringVar(&f.cfg.TLS.CertFile, "cert", "", "the owner's certificate and chain, PEM (default: the hosts' own CA)")
	fs.StringVar(&f.cfg.TLS.KeyFile, "key", "", "its key, PEM")
	fs.StringVar(&f.cfg.TLS.RootFile, "root", "", "the root that gateways shall trust, PEM or DER (default: the end of --cert)")
	fs.StringSliceVar(&f.cfg.TLS.Names, "host", nil, "names and addresses in a certificate of the own CA (default: the machine's name and the loopback)")
	fs.DurationVar(&f.cfg.Window, "window", host.DefaultWindow, "how far a gateway's clock may be off")
	fs.DurationVar(&f.cfg.Timeout, "timeout", host.DefaultTimeout, "how long a gateway may take to answer")
	fs.DurationVar(&f.cfg.Ping, "ping", host.DefaultPing, "how often a gateway is pinged")
	fs.IntVar(&f.cfg.Misses, "ping-misses", host.DefaultMisses, "pings without a sign of life that end a connection")
	fs.DurationVar(&f.cfg.KeepAlive, "keepalive", 60*time.Second, "TCP keep-alive, negative for none")
	fs.StringSliceVar(&f.subscribe, "subscribe", []string{"gateway", "edgeDevice"}, "event sources to subscribe to, or none")
	fs.DurationVar(&f.cfg.Journal.MaxAge, "events-keep", 400*24*time.Hour, "how long events are kept, 0 for ever")
	fs.StringVar(&f.budget, "events-budget", "10GiB", "disk for events; the oldest go first")
	fs.StringVar(&f.sync, "sync", "auto", "flush each write to disk before it is acknowledged: always, never, or auto (always without replicas)")
	fs.StringVar(&f.nats, "nats", "", "URL of an existing NATS cluster with JetStream")
	fs.StringVar(&f.natsCreds, "nats-creds", "", "credentials file for it")
	fs.StringVar(&f.natsCA, "nats-ca", "", "CA file for it, PEM")
	fs.StringVar(&f.cluster, "cluster", "", "address for the other hosts, HOST:PORT")
	fs.StringSliceVar(&f.routes, "routes", nil, "addresses of the other hosts, HOST:PORT,…")
	fs.StringVar(&f.secretFile, "cluster-secret", "", "file with the secret that all hosts share")
	fs.StringVar(&f.routeCert, "cluster-cert", "", "this host's certificate for the others, PEM")
	fs.StringVar(&f.routeKey, "cluster-key", "", "its key, PEM")
	fs.StringVar(&f.caPEM, "cluster-ca", "", "the CA of all hosts' certificates, PEM")
	fs.BoolVar(&f.plain, "cluster-plain", false, "allow routes without TLS beyond this machine")
	fs.StringVar(&f.cfg.SealKey, "seal-key", "", "file of 64 hex digits that seals the keys which hosts keep, the same for all (default: STATE/seal.key of a host alone, else none)")
	fs.IntVar(&f.cfg.Bus.Replicas, "replicas", 0, "copies of what hosts keep (default: as many as hosts, at most 3; 1 with --nats)")
	fs.StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&f.format, "log-format", "text", "text or json")
	return c
}

func (f *runFlags) run(cmd *cobra.Command, e *env) error {
	if err := f.build(cmd, e); err != nil {
		return err
	}
	f.cfg.Locked = func() error { return saveMode(e.state, f.mode()) }
	h, err := host.New(f.cfg)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	go func() { ended <- h.Run(ctx) }()
	select {
	case <-h.Ready():
		fmt.Fprintf(cmd.OutOrStdout(), "gateways https://%s%s\nbroker   https://%s\n", h.Addr(), f.cfg.Path, h.BrokerAddr())
		if a := h.CAAddr(); a != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "root     http://%s/engage/newCA/current\n", a)
		}
	case err := <-ended:
		return err
	}
	return <-ended
}

// build turns flags into a Config.
func (f *runFlags) build(cmd *cobra.Command, e *env) error {
	log, err := logger(cmd, f.level, f.format)
	if err != nil {
		return err
	}
	f.cfg.Dir, f.cfg.Log = e.state, log
	if f.cfg.SealKey != "" {
		if f.cfg.SealKey, err = filepath.Abs(f.cfg.SealKey); err != nil {
			return fmt.Errorf("--seal-key: %w", err)
		}
	}
	if (f.cfg.TLS.CertFile == "") != (f.cfg.TLS.KeyFile == "") {
		return fmt.Errorf("%w: --cert and --key go together", errUsage)
	}
	if f.nats != "" && (f.cluster != "" || len(f.routes) > 0) {
		return fmt.Errorf("%w: --nats is an existing cluster, --cluster and --routes make one: choose", errUsage)
	}
	if (f.cluster == "") != (len(f.routes) == 0) {
		return fmt.Errorf("%w: --cluster and --routes go together", errUsage)
	}
	if f.cfg.Journal.MaxBytes, err = parseSize(f.budget); err != nil {
		return fmt.Errorf("%w: --events-budget: %w", errUsage, err)
	}
	f.cfg.Subscribe = f.subscribe
	if len(f.subscribe) == 1 && f.subscribe[0] == "none" {
		f.cfg.Subscribe = []string{}
	}
	f.cfg.Bus.URL, f.cfg.Bus.CredsFile, f.cfg.Bus.CAFile = f.nats, f.natsCreds, f.natsCA
	if f.cluster != "" {
		if f.cfg.Bus.Cluster, err = f.clusterConfig(); err != nil {
			return err
		}
	}
	switch f.sync {
	case "always":
		f.cfg.Bus.SyncAlways = true
	case "auto":
		f.cfg.Bus.SyncAlways = f.cluster == "" || f.cfg.Bus.Replicas == 1
	case "never":
	default:
		return fmt.Errorf("%w: --sync %q: want always, never or auto", errUsage, f.sync)
	}
	return nil
}

func (f *runFlags) clusterConfig() (*bus.Cluster, error) {
	c := &bus.Cluster{Listen: f.cluster, Routes: f.routes, Plain: f.plain}
	if f.secretFile != "" {
		b, err := os.ReadFile(f.secretFile)
		if err != nil {
			return nil, fmt.Errorf("--cluster-secret: %w", err)
		}
		if c.Secret = bus.Secret(strings.TrimSpace(string(b))); len(c.Secret) < 16 {
			return nil, fmt.Errorf("--cluster-secret %s: want at least 16 characters", f.secretFile)
		}
	}
	if f.routeCert == "" && f.routeKey == "" && f.caPEM == "" {
		return c, nil
	}
	cert, err := tls.LoadX509KeyPair(f.routeCert, f.routeKey)
	if err != nil {
		return nil, fmt.Errorf("--cluster-cert: %w", err)
	}
	b, err := os.ReadFile(f.caPEM)
	if err != nil {
		return nil, fmt.Errorf("--cluster-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("--cluster-ca %s: no certificate in it", f.caPEM)
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	return c, nil
}

func logger(cmd *cobra.Command, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%w: --log-level %q: want debug, info, warn or error", errUsage, level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), o)), nil
	}
	return nil, fmt.Errorf("%w: --log-format %q: want text or json", errUsage, format)
}

// parseSize reads 64MiB, 10GiB or a number of bytes; 0 is no bound.
func parseSize(s string) (int64, error) {
	for suffix, unit := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			v, err := strconv.ParseInt(n, 10, 32)
			if err != nil || v < 1 || v > (1<<62)/unit {
				return 0, fmt.Errorf("size %q", s)
			}
			return v * unit, nil
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("size %q: want a number with KiB, MiB, GiB or TiB", s)
	}
	return v, nil
}

// mode says how the host of a state folder joins others, so that a command
// does not open a cluster's files as if the host stood alone.
type mode struct {
	NATS    string `json:"nats,omitempty"`
	Creds   string `json:"nats_creds,omitempty"`
	CA      string `json:"nats_ca,omitempty"`
	Cluster bool   `json:"cluster,omitempty"`
	Seal    string `json:"seal_key,omitempty"` // the file
}

func (f *runFlags) mode() mode {
	return mode{NATS: f.nats, Creds: f.natsCreds, CA: f.natsCA, Cluster: f.cluster != "", Seal: f.cfg.SealKey}
}

func saveMode(dir string, m mode) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "mode.json")
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func loadMode(dir string) (mode, error) {
	var m mode
	b, err := os.ReadFile(filepath.Join(dir, "mode.json"))
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, fmt.Errorf("%s/mode.json: %w", dir, err)
	}
	return m, nil
}

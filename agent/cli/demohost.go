package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/config"
)

// demoHost is the IP host beside a demo's agent. The agent does not wait for it,
// and runs without it.
type demoHost struct {
	d       *demo
	server  string // uplink.server_url
	listen  string // its address
	ca      string // address of uplink.ca_url
	serial  string
	zone    string
	https   string // the agent's own listener
	program string // empty: absent says why no host is run
	absent  error
}

const (
	demoSite = "demo"        // the host's name for the site, and its token's
	demoKey  = "sitekey"     // the site key in the demo's folder
	demoAuth = "iphost-auth" // there, the header with a token of the host's broker
	demoPlug = "unplugged"   // there; while it exists the host is stopped
)

// newDemoHost takes the host's addresses from the settings.
func newDemoHost(d *demo, cfg *config.Config) *demoHost {
	h := &demoHost{d: d, serial: cfg.Device.Serial, zone: cfg.Site.Zone.String(), https: cfg.Listen.HTTPS}
	if cfg.Uplink == nil {
		h.absent = errors.New("its settings have no uplink")
		return h
	}
	h.server = cfg.Uplink.ServerURL
	var err error
	if h.listen, err = loopback(h.server); err == nil {
		h.ca, err = loopback(cfg.Uplink.CAURL)
	}
	if err != nil {
		h.absent = fmt.Errorf("its host is another one: %w", err)
		return h
	}
	h.program, h.absent = d.companion("iphost")
	return h
}

// loopback returns the address of a URL that names one of this machine's own.
func loopback(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() || u.Port() == "" {
		return "", fmt.Errorf("%s is not 127.0.0.1 with a port", text)
	}
	return u.Host, nil
}

func (h *demoHost) state() string { return filepath.Join(h.d.dir, "iphost") }

// serve runs the host until ctx ends.
func (h *demoHost) serve(ctx context.Context) {
	if err := h.setUp(ctx); err != nil {
		if ctx.Err() == nil {
			fmt.Fprintf(h.d.e.err, "demo: iphost: %v; the site runs without it\n", err)
		}
		return
	}
	for h.waitPlug(ctx, true) {
		in, pull := context.WithCancel(ctx)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			h.waitPlug(in, false)
			pull()
		}()
		err := h.d.beside(in, h.program, "run", "--state", h.state(), "--name", demoSite, "--listen", h.listen,
			"--ca-listen", h.ca, "--host", "127.0.0.1,localhost", "--log-level", "error")
		pulled := in.Err() != nil
		pull()
		<-watched
		switch {
		case ctx.Err() != nil:
			return
		case pulled:
			fmt.Fprintf(h.d.e.err, "demo: iphost is unplugged\n")
		default:
			h.d.again(ctx, "iphost", err)
		}
	}
}

// setUp makes the site and a token at the first start. The token's file comes
// last: with it the host's state is complete.
func (h *demoHost) setUp(ctx context.Context) error {
	auth := filepath.Join(h.d.dir, demoAuth)
	if _, err := os.Stat(auth); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoStart)
	defer cancel()
	if there, err := h.lists(ctx, "site"); err != nil {
		return err
	} else if !there {
		if _, err := h.command(ctx, "site", "add", demoSite, "--key-file", filepath.Join(h.d.dir, demoKey), "--zone", h.zone); err != nil {
			return err
		}
	}
	if there, err := h.lists(ctx, "token"); err != nil {
		return err
	} else if there { // nobody has it
		if _, err := h.command(ctx, "token", "revoke", demoSite); err != nil {
			return err
		}
	}
	token, err := h.command(ctx, "token", "add", demoSite)
	if err != nil {
		return err
	}
	// A header, which curl reads from a file: a command line is shown to all users.
	header := append([]byte("Authorization: Bearer "), token...)
	if err := os.WriteFile(auth+".new", header, 0o600); err != nil {
		return err
	}
	return os.Rename(auth+".new", auth)
}

// lists reports whether the host has the demo's site or token.
func (h *demoHost) lists(ctx context.Context, what string) (bool, error) {
	out, err := h.command(ctx, what, "list", "--json")
	if err != nil {
		return false, err
	}
	var list []struct{ Name string }
	if err := json.Unmarshal(out, &list); err != nil {
		return false, fmt.Errorf("%s list: %w", what, err)
	}
	return slices.ContainsFunc(list, func(n struct{ Name string }) bool { return n.Name == demoSite }), nil
}

// command runs one of the host's commands. What it prints may be a secret and is
// in no error.
func (h *demoHost) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, h.program, append(args, "--state", h.state())...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", args[0], args[1], err, oneLine(errors.New(strings.TrimSpace(stderr.String()))))
	}
	return out, nil
}

// waitPlug waits until the plug is in, or is pulled; false: ctx ended before.
func (h *demoHost) waitPlug(ctx context.Context, in bool) bool {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if _, err := os.Stat(filepath.Join(h.d.dir, demoPlug)); (err != nil) == in {
			return true
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return false
}

// text is what can be tried; the words in capitals are filled in by explain.
func (h *demoHost) text() string {
	if h.server == "" {
		return demoNoUplink
	}
	if h.program == "" {
		return strings.NewReplacer("ABSENT", h.absent.Error(), "SERVER", h.server).Replace(demoNoHost)
	}
	return strings.NewReplacer("CURL", "curl --cacert STATE/iphost/root.pem -H @STATE/"+demoAuth,
		"BROKER", "https://"+h.listen, "SERIAL", h.serial, "PLUG", "STATE/"+demoPlug, "HTTPS", "https://"+h.https).Replace(demoCloud)
}

// What text returns.
const (
	demoCloud = `  the link to the cloud, which iphost plays: its stages, and what is wrong with it
    GATEHOUSE status
    GATEHOUSE doctor
  ask through the host's broker: the doors, how they are, and the front door for a moment
    CURL 'BROKER/edgeDevices/linkList?gateway=SERIAL'
    CURL 'BROKER/edgeDevices/lockStatus?gateway=SERIAL'
    CURL -X PUT -d '{"lockControl":{"lockState":{"nextLockState":"momentaryUnlock"}}}' 'BROKER/edgeDevices/dev00000/lockControl?gateway=SERIAL'
  events as they come, for an integrator; Ctrl-C ends it
    CURL -N BROKER/events/live
  pull the plug: the host ends, the doors go on; with the plug in again the link is back
  within half a minute, and all events arrive in order
    touch PLUG
    SITESIM card front-in 77 1568; SITESIM card front-in 77 1570; SITESIM card shed-in 77 1570
    GATEHOUSE doctor
    rm PLUG
    CURL "BROKER/events?from=$(date -u -d '-5 min' +%FT%TZ)"
  the same doors without a cloud, on the agent's own listener, for a token of this device
    TOKEN=$(GATEHOUSE admin token add --name me)
    curl --cacert STATE/tls/site.pem -H "Authorization: Bearer $TOKEN" HTTPS/edgeDevices/linkList
`
	demoNoUplink = `  No cloud: the settings in STATE have no uplink; they are those of an older demo. With
  another --state you get one that is linked to an IP host.
`
	demoNoHost = `  No cloud: ABSENT. The agent calls
  SERVER all the same; see what becomes of it:
    GATEHOUSE status
    GATEHOUSE doctor
`
)

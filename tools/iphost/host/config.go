package host

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/journal"
)

// Defaults of a Config.
const (
	DefaultListen   = ":8080"
	DefaultCAListen = ":8081"
	DefaultPath     = "/engage_wss"
	DefaultWindow   = 300 * time.Second
	DefaultTimeout  = 30 * time.Second
	DefaultPing     = 30 * time.Second
	DefaultMisses   = 3
)

// Config is what a host needs. Only Dir is required.
type Config struct {
	// Name tells this host from the others; the machine's name if empty.
	Name string
	// Dir is the state folder. One process uses it at a time.
	Dir string
	// Listen is the address of the HTTPS listener for gateways, and for the
	// broker where BrokerListen is empty.
	Listen, BrokerListen string
	// CAListen is the address of the plain HTTP listener that hosts the root
	// certificate; "off" for none.
	CAListen string
	// CAURL begins the URL at which gateways fetch the certificate, such as
	// "http://ca.example:8081"; empty: the Host of their request.
	CAURL string
	// Path is the WebSocket's.
	Path string
	// TLS is the certificate.
	TLS TLS
	// Bus joins other hosts; its Dir and Name are taken from here.
	Bus bus.Config
	// SealKey is the file of the key that seals site keys and the CA's key in the
	// buckets, the same for all hosts; empty: STATE/seal.key, which is made, for a
	// host alone, and none for others, where they lie in clear then.
	SealKey string
	// Journal bounds the stored events.
	Journal journal.Config
	// Window is how far a gateway's clock may be off.
	Window time.Duration
	// Timeout bounds a request to a gateway.
	Timeout time.Duration
	// Ping is how often a silent gateway is pinged; after Misses pings without
	// a sign of life its connection ends.
	Ping   time.Duration
	Misses int
	// KeepAlive is TCP's; 0 means 60 s, negative none.
	KeepAlive time.Duration
	// Subscribe names the event sources asked for at connect: "gateway",
	// "edgeDevice". Nil means both; an empty list none.
	Subscribe []string
	// Locked, if not nil, is called when the folder is this process's and nothing
	// in it was used yet; its error ends Run.
	Locked func() error
	// Log may be nil.
	Log *slog.Logger

	// beforePong, if not nil, is called when everything before a gateway's ping
	// is in the stream and the pong is not sent; for tests.
	beforePong func(*session)
	// retireWait is the constant; for tests.
	retireWait time.Duration
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, fmt.Errorf("host: no state folder")
	}
	if c.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("host: no name, and the machine's is not known: %w", err)
		}
		c.Name = name
	}
	set(&c.Listen, DefaultListen)
	set(&c.CAListen, DefaultCAListen)
	set(&c.Path, DefaultPath)
	set(&c.Window, DefaultWindow)
	set(&c.Timeout, DefaultTimeout)
	set(&c.Ping, DefaultPing)
	set(&c.Misses, DefaultMisses)
	set(&c.KeepAlive, 60*time.Second)
	set(&c.retireWait, retireWait)
	if c.Subscribe == nil {
		c.Subscribe = []string{"gateway", "edgeDevice"}
	}
	for _, s := range c.Subscribe {
		if s != "gateway" && s != "edgeDevice" {
			return c, fmt.Errorf("host: event source %q: want gateway or edgeDevice", s)
		}
	}
	if !strings.HasPrefix(c.Path, "/") || reserved(c.Path) {
		return c, fmt.Errorf("host: WebSocket path %q: want /… that no other resource has", c.Path)
	}
	if c.Window < 0 || c.Timeout < 0 || c.Ping < 0 || c.Misses < 1 {
		return c, fmt.Errorf("host: window, time-out, ping and misses must be positive")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("host", c.Name)
	c.Bus.Dir, c.Bus.Name, c.Bus.Log = c.Dir, c.Name, c.Log
	c.Journal.Log = c.Log
	return c, nil
}

// SealFile is the file of the seal key, and whether it is made where there is none.
func SealFile(dir, given string, alone bool) (path string, make bool) {
	if given == "" && alone {
		return filepath.Join(dir, "seal.key"), true
	}
	return given, false
}

// set puts a default where nothing was said.
func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// reserved reports whether a path is another resource's.
func reserved(path string) bool {
	for _, p := range []string{"/engage/", "/gateway/", "/edgeDevices", "/gateways", "/events", "/healthz"} {
		if path == strings.TrimSuffix(p, "/") || strings.HasPrefix(path+"/", strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return path == "/"
}

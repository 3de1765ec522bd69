package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/gatewaytest"
	"gatehouse/tools/iphost/host"
	"gatehouse/tools/iphost/journal"
)

// TestKilledBeforePong: the host has stored a batch and ends before it answers.
// The gateway sends the batch again, to the host's next run, and it is there
// once.
func TestKilledBeforePong(t *testing.T) {
	dir := shortDir(t)
	stored := make(chan struct{})
	hold := make(chan struct{})
	var armed atomic.Bool
	first := start(t, func(c *host.Config) {
		c.Dir = dir
		c.BeforePong(func(engage.Serial) {
			if armed.CompareAndSwap(true, false) {
				close(stored)
				<-hold
			}
		})
	})
	token := first.site()
	g := first.connect(first.gateway(serialA))
	send(t, g, 1, 20)
	if err := g.Ping(t.Context(), "answered"); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	send(t, g, 21, 40)
	answered := make(chan error, 1)
	go func() { answered <- g.Ping(t.Context(), "not answered") }()
	<-stored
	first.Crash()
	close(hold)
	if err := <-answered; err == nil {
		t.Fatal("the ping was answered")
	}
	first.stop()

	second := start(t, func(c *host.Config) { c.Dir = dir })
	cfg := second.gateway(serialA)
	g = second.connect(cfg)
	send(t, g, 21, 60)
	if err := g.Ping(t.Context(), "again"); err != nil {
		t.Fatal(err)
	}
	diff(t, "stored", span(1, 60), ids(second.stored(token, "limit=1000")))

	// A gateway whose numbers begin anew says something else: nothing is lost.
	g.Cut()
	g = second.connect(cfg)
	for i := uint32(1); i <= 3; i++ {
		if err := g.Write(gatewaytest.Audit(i, "a100000000002479", "dev00000", "07040000", eventTime.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Ping(t.Context(), "anew"); err != nil {
		t.Fatal(err)
	}
	diff(t, "with new numbers", append(span(1, 60), 1, 2, 3), ids(second.stored(token, "limit=1000")))
}

// TestPongWaitsForTheStream: a gateway's ping is not answered while what it sent
// before is not stored.
func TestPongWaitsForTheStream(t *testing.T) {
	n := start(t, nil)
	n.site()
	g := n.connect(n.gateway(serialA))
	send(t, g, 1, 1)
	if err := g.Ping(t.Context(), "stored"); err != nil {
		t.Fatal(err)
	}
	n.Crash() // the bus is gone, and with it the stream
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := g.Ping(ctx, "not stored"); err == nil {
		t.Error("a ping was answered without a stream")
	}
}

// TestRestart: sites, tokens, passwords and events outlive the host.
func TestRestart(t *testing.T) {
	dir := shortDir(t)
	n := start(t, func(c *host.Config) { c.Dir = dir; c.Bus.SyncAlways = true })
	token := n.site()
	cfg := n.gateway(serialA)
	body := engage.Seal(cfg.Key, cfg.Serial, time.Now().UTC())
	password, err := gatewaytest.NewCredentials(t.Context(), cfg, body)
	if err != nil {
		t.Fatal(err)
	}
	g := n.connect(n.gateway("0000000000000000A0B1000000000207"))
	send(t, g, 1, 5)
	if err := g.Ping(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Lock(dir); !errors.Is(err, host.ErrInUse) {
		t.Errorf("a second host in the same folder: %v", err)
	}
	n.stop()
	<-g.Done()

	n = start(t, func(c *host.Config) { c.Dir = dir })
	_, err = gatewaytest.NewCredentials(t.Context(), n.gateway(serialA), body)
	wantStatus(t, "repeated after a restart", err, 401)
	again, err := gatewaytest.Connect(t.Context(), n.gateway(serialA), password)
	if err != nil {
		t.Fatalf("with the password of before: %v", err)
	}
	defer again.Cut()
	diff(t, "events", span(1, 5), ids(n.stored(token, "")))
	diff(t, "the gateway that did not come back", 503, n.broker(token, "GET", "/gateway/x?gateway=0000000000000000A0B1000000000207", "").Status)
}

// TestExistingNATS: two hosts on a NATS cluster that somebody else runs.
func TestExistingNATS(t *testing.T) {
	url := natsServer(t)
	a := start(t, func(c *host.Config) { c.Name, c.Bus.URL = "a", url })
	b := start(t, func(c *host.Config) { c.Name, c.Bus.URL = "b", url })
	token := a.site()
	a.connect(a.gateway(serialA))
	diff(t, "via the other", 200, b.broker(token, "GET", "/edgeDevices/linkList?gateway="+serialA, "").Status)
	diff(t, "larger than the bus takes", 413, b.broker(token, "PUT", "/gateway/x?gateway="+serialA, strings.Repeat("x", 2<<20)).Status)
	if strings.Contains(a.logs.String()+b.logs.String(), "the-password") {
		t.Error("the password of the URL is in the log")
	}
}

func TestOwnersCertificate(t *testing.T) {
	// The certificate of another installation's own CA stands for the owner's.
	cert, key, root := ownersFiles(t)
	n := start(t, func(c *host.Config) { c.TLS = host.TLS{CertFile: cert, KeyFile: key, RootFile: root} })
	n.site()
	got, err := gatewaytest.FetchRoot(t.Context(), "http://"+n.CAAddr().String()+engage.RootPath, siteKey(t), mustSerial(t, serialA))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "root", true, slices.Equal(got.Raw, want))
	n.connect(n.gateway(serialA))

	for name, c := range map[string]host.TLS{
		"no root": {CertFile: cert, KeyFile: key},
		"no key":  {CertFile: cert},
		"no file": {CertFile: cert + "x", KeyFile: key},
	} {
		h, err := host.New(host.Config{Dir: shortDir(t), Listen: "127.0.0.1:0", CAListen: "off", TLS: c})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]host.Config{
		"no folder":        {},
		"reserved path":    {Dir: "x", Path: "/events"},
		"no path":          {Dir: "x", Path: "engage"},
		"unknown source":   {Dir: "x", Subscribe: []string{"lock"}},
		"negative time":    {Dir: "x", Timeout: -1},
		"negative pings":   {Dir: "x", Misses: -1},
		"below a resource": {Dir: "x", Path: "/gateway/ws"},
	} {
		if _, err := host.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, c := range map[string]*bus.Cluster{
		"no routes":        {Listen: "127.0.0.1:1"},
		"plain on the net": {Listen: "0.0.0.0:1", Routes: []string{"10.0.0.1:1"}, Secret: "x"},
		"no secret":        {Listen: "0.0.0.0:1", Routes: []string{"10.0.0.1:1"}, Plain: true},
		"no port":          {Listen: "127.0.0.1", Routes: []string{"127.0.0.1:1"}},
		"route, no port":   {Listen: "127.0.0.1:1", Routes: []string{"127.0.0.1"}},
	} {
		h, err := host.New(host.Config{Dir: shortDir(t), Listen: "127.0.0.1:0", CAListen: "off", Bus: bus.Config{Cluster: c}})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Run(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestNoRoom: a budget beyond the disk is an error at the start, not a wait.
func TestNoRoom(t *testing.T) {
	h, err := host.New(host.Config{Dir: shortDir(t), Listen: "127.0.0.1:0", CAListen: "off", Journal: journal.Config{MaxBytes: 1 << 60}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Run(ctx); err == nil || !strings.Contains(err.Error(), "storage") {
		t.Errorf("error %v, want one that names the storage", err)
	}
}

// TestManyRequests: more at once than one gateway is sent are answered or
// refused, and the host goes on.
func TestManyRequests(t *testing.T) {
	n := start(t, func(c *host.Config) { c.Timeout = 30 * time.Second })
	token := n.site()
	n.connect(n.gateway(serialA))
	client := n.client()
	client.Transport.(*http.Transport).DisableKeepAlives = false
	client.Transport.(*http.Transport).MaxConnsPerHost = 300
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 300
	defer client.CloseIdleConnections()
	const many = 3000
	statuses := make(chan string, many)
	for range many {
		go func() {
			r, err := http.NewRequest("GET", "https://"+n.BrokerAddr().String()+"/edgeDevices/linkList?gateway="+serialA, nil)
			if err != nil {
				statuses <- err.Error()
				return
			}
			r.Header.Set("Authorization", "Bearer "+token)
			res, err := client.Do(r)
			if err != nil {
				statuses <- err.Error()
				return
			}
			defer res.Body.Close()
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				statuses <- err.Error()
				return
			}
			statuses <- fmt.Sprint(res.StatusCode)
		}()
	}
	count := map[string]int{}
	for range many {
		count[<-statuses]++
	}
	if count["200"] == 0 || count["200"]+count["503"]+count["504"] != many {
		t.Errorf("answers: %v", count)
	}
	diff(t, "afterwards", 200, n.broker(token, "GET", "/edgeDevices/linkList?gateway="+serialA, "").Status)
}

// FuzzSplitQuery: what is not the gateway's serial reaches the gateway as it is.
func FuzzSplitQuery(f *testing.F) {
	f.Add("gateway=" + serialA + "&a=1&b=%20")
	f.Add("a&&b=&gateway=")
	f.Fuzz(func(t *testing.T, raw string) {
		serial, rest, err := host.SplitQuery(raw)
		if err != nil {
			return
		}
		again, same, err := host.SplitQuery(rest)
		if err != nil || again != nil || same != rest {
			t.Errorf("%q: rest %q is read as %v, %q, %v", raw, rest, again, same, err)
		}
		if serial != nil && !strings.Contains(raw, "gateway=") {
			t.Errorf("%q: a serial", raw)
		}
		if c := host.CleanPath(raw); c != host.CleanPath(c) || strings.Contains(c, "//") {
			t.Errorf("path %q is cleaned to %q", raw, c)
		}
	})
}

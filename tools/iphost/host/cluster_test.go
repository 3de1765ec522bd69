package host_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/gatewaytest"
	"gatehouse/tools/iphost/host"
)

func numbered(i int) string { return fmt.Sprintf("0000000000000000A0B1%012d", i) }

// results reads the answer to a request for all gateways, by serial.
func (n *node) results(token, path string) map[string]reply {
	n.t.Helper()
	r := n.broker(token, "GET", path, "")
	if r.Status != 200 {
		n.t.Fatalf("all gateways: %+v", r)
	}
	var body struct {
		Results []struct {
			Gateway, From, Status, MessageBody string
		}
	}
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		n.t.Fatalf("%v: %s", err, r.Body)
	}
	out := map[string]reply{}
	for _, x := range body.Results {
		if _, twice := out[x.Gateway]; twice {
			n.t.Errorf("two results of %s", x.Gateway)
		}
		status := 0
		if _, err := fmt.Sscan(x.Status, &status); err != nil {
			n.t.Fatal(err)
		}
		out[x.Gateway] = reply{status, x.From, x.MessageBody}
	}
	return out
}

// TestThreeHosts joins three hosts over NATS on the loopback. Its steps build
// on each other: a cluster takes seconds to form.
func TestThreeHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes seconds to form")
	}
	nodes := cluster(t, 3, func(_ int, c *host.Config) { c.Timeout = 2 * time.Second })
	a, b, c := nodes[0], nodes[1], nodes[2]
	token := a.site()

	t.Run("one root for all", func(t *testing.T) {
		for _, n := range nodes {
			if !n.roots.Equal(a.roots) {
				t.Error("the hosts have different roots")
			}
		}
		if _, err := gatewaytest.FetchRoot(t.Context(), "http://"+b.CAAddr().String()+engage.RootPath, siteKey(t), mustSerial(t, serialA)); err != nil {
			t.Error(err)
		}
	})

	t.Run("a password of one host at another, a cipher text once for all", func(t *testing.T) {
		cfg := a.gateway(serialA)
		body := engage.Seal(cfg.Key, cfg.Serial, time.Now().UTC())
		password, err := gatewaytest.NewCredentials(t.Context(), cfg, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			_, err := gatewaytest.NewCredentials(t.Context(), n.gateway(serialA), body)
			wantStatus(t, "repeated", err, 401)
		}
		g, err := gatewaytest.Connect(t.Context(), b.gateway(serialA), password)
		if err != nil {
			t.Fatal(err)
		}
		g.Cut()
	})

	t.Run("a request at one host for a gateway at another", func(t *testing.T) {
		a.connect(a.gateway(serialA))
		want := reply{200, "gateway", `{"edgeDevice":{"linkId":"dev00000","lockStatus":{"currentLockState":"sec"}}}`}
		for _, n := range nodes {
			diff(t, "from any host", want, n.broker(token, "GET", "/edgeDevices/dev00000/lockStatus?gateway="+serialA, ""))
		}
	})

	t.Run("all gateways, one silent, one away", func(t *testing.T) { askAllThree(t, nodes, token) })

	t.Run("a gateway that moves is found there at once", func(t *testing.T) { moveGateway(t, nodes, token) })

	t.Run("a host is lost", func(t *testing.T) { loseHost(t, a, b, c, token) })
}

// askAllThree asks all gateways, of which one is silent and one away.
func askAllThree(t *testing.T, nodes []*node, token string) {
	want := map[string]reply{serialA: {404, "gateway", `{"statusMessage":"Not found"}`}}
	for i := range 9 {
		n := nodes[i%3]
		cfg := n.gateway(numbered(i))
		cfg.Handle = func(gatewaytest.Request) (int, string) { return 200, fmt.Sprintf(`{"n":%d}`, i) }
		want[numbered(i)] = reply{200, "gateway", fmt.Sprintf(`{"n":%d}`, i)}
		n.connect(cfg)
	}
	silent := nodes[2].gateway(numbered(100))
	silent.Handle = func(gatewaytest.Request) (int, string) { return 0, "" }
	nodes[2].connect(silent)
	want[numbered(100)] = reply{504, "host", `{"statusMessage":"the gateway did not answer in 2s"}`}
	if err := nodes[0].Registry().AddGateway(t.Context(), mustSerial(t, numbered(101)), "demo"); err != nil {
		t.Fatal(err)
	}
	want[numbered(101)] = reply{503, "host", `{"statusMessage":"the gateway is not connected"}`}
	diff(t, "results", want, nodes[1].results(token, "/gateway/x"))
}

// moveGateway connects a gateway to one host after the other.
func moveGateway(t *testing.T, nodes []*node, token string) {
	serial := numbered(200)
	old := nodes[0].connect(nodes[0].gateway(serial))
	for i := range 6 {
		n := nodes[(i+1)%3]
		cfg := n.gateway(serial)
		cfg.Handle = func(gatewaytest.Request) (int, string) { return 200, fmt.Sprint(i) }
		g := n.connect(cfg)
		diff(t, "asked at a third", reply{200, "gateway", fmt.Sprint(i)}, nodes[i%3].broker(token, "GET", "/gateway/x?gateway="+serial, ""))
		select {
		case <-old.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the old session did not end")
		}
		old = g
	}
	if err := old.Err(); err != nil {
		t.Errorf("the newest session ended: %v", err)
	}
}

// loseHost crashes one of three hosts while gateways send: what it had answered
// is stored, and the gateways go on at the others.
func loseHost(t *testing.T, a, b, c *node, token string) {
	const gateways, events = 12, 200
	var wg sync.WaitGroup
	crash := make(chan struct{})
	for i := range gateways {
		wg.Go(func() {
			serial := numbered(300 + i)
			hosts := []*node{a, b, c}
			at := i % 3
			sent := uint32(0)
			for sent < events {
				cfg := hosts[at].gateway(serial)
				g, err := gatewaytest.Dial(t.Context(), cfg)
				if err != nil {
					at = (at + 1) % 3
					time.Sleep(50 * time.Millisecond) // as a gateway's reconnect delay
					continue
				}
				sent = drain(t, g, sent, events)
				g.Cut()
			}
			if i == 0 {
				<-crash
			}
		})
	}
	c.Crash()
	close(crash)
	wg.Wait()
	for i := range gateways {
		var got []uint32
		for _, e := range a.stored(token, "limit=1000&gateway="+numbered(300+i)) {
			got = append(got, e.EventID)
		}
		if !slices.Equal(got, span(1, events)) {
			t.Errorf("gateway %d: stored %d events, want %d in order, each once: %v", i, len(got), events, got)
		}
	}
	// A request for a gateway of the lost host says so, and soon.
	eventually(t, func() string {
		r := a.broker(token, "GET", "/gateway/x?gateway="+numbered(100), "")
		if r.Status != 503 || !strings.Contains(r.Body, "not connected") {
			return fmt.Sprintf("a gateway of the lost host: %+v", r)
		}
		return ""
	})
}

// drain sends what was not answered yet, ten events a ping, and returns how far
// it got before the connection failed.
func drain(t *testing.T, g *gatewaytest.Gateway, sent, last uint32) uint32 {
	for sent < last {
		to := min(sent+10, last)
		for i := sent + 1; i <= to; i++ {
			if g.Write(audit(i)) != nil {
				return sent
			}
		}
		if g.Ping(t.Context(), fmt.Sprint(to)) != nil {
			return sent
		}
		sent = to
	}
	return sent
}

// TestTwoHosts: two hosts answer each other, and both keep the same events.
func TestTwoHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes seconds to form")
	}
	nodes := cluster(t, 2, nil)
	token := nodes[0].site()
	g := nodes[0].connect(nodes[0].gateway(serialA))
	diff(t, "via the other", 200, nodes[1].broker(token, "GET", "/edgeDevices/linkList?gateway="+serialA, "").Status)
	send(t, g, 1, 50)
	if err := g.Ping(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	// The same events over the other host: a batch that was never answered.
	cfg := nodes[1].gateway(serialA)
	g2 := nodes[1].connect(cfg)
	send(t, g2, 41, 60)
	if err := g2.Ping(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		eventually(t, func() string {
			if got := ids(n.stored(token, "limit=1000")); !slices.Equal(got, span(1, 60)) {
				return fmt.Sprintf("stored %v", got)
			}
			return ""
		})
	}
}

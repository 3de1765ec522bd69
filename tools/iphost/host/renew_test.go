package host_test

import (
	"testing"
	"time"

	"gatehouse/tools/iphost/gatewaytest"
	"gatehouse/tools/iphost/host"
)

// TestRenewedWhileAsked: a gateway that renews its connection may still answer on
// the old one what it was asked there, as long as anybody waits for it; then that
// one ends. One that never answers ends with the time for an answer.
func TestRenewedWhileAsked(t *testing.T) {
	n := start(t, func(c *host.Config) { c.Timeout = 4 * time.Second; c.RetireSoon() })
	token := n.site()
	asked, goOn := make(chan struct{}, 2), make(chan int, 2)
	cfg := n.gateway(serialA)
	cfg.Handle = func(gatewaytest.Request) (int, string) { asked <- struct{}{}; return <-goOn, "{}" }
	for _, tt := range []struct {
		answers int
		want    reply
	}{
		{200, reply{200, "gateway", "{}"}},
		{0, reply{504, "host", `{"statusMessage":"the gateway did not answer in 4s"}`}},
	} {
		old := n.connect(cfg)
		got := make(chan reply, 1)
		go func() { got <- n.broker(token, "PUT", "/gateway/slow?gateway="+serialA, "{}") }()
		<-asked
		n.connect(n.gateway(serialA))
		diff(t, "asked at the new one", 404, n.broker(token, "GET", "/gateway/nothing?gateway="+serialA, "").Status)
		goOn <- tt.answers
		diff(t, "asked at the old one", tt.want, <-got)
		select {
		case <-old.Done():
		case <-time.After(20 * time.Second):
			t.Error("the old connection stays")
		}
	}
}

package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
)

type rtcTime struct {
	RTCTime string `json:"rtcTime"`
}

func (g *Gateway) gatewayTime(context.Context, *request) reply {
	return answer(200, rtcTime{g.stamp(g.deps.Clock().Now)})
}

// deviceTime is the time of a device, which has no seconds: they are 00. Own doors
// and serial locks go by the gateway's clock.
func (g *Gateway) deviceTime(_ context.Context, r *request) reply {
	if !r.link.live() {
		if err := g.deps.Locks.Ready(r.link.Door); err != nil {
			return g.failed(err)
		}
	}
	return answer(200, rtcTime{g.stamp(g.deps.Clock().Now)[:len(stampLayout)-2] + "00"})
}

// params is the last Config that a Wi-Fi lock put. An own door has its name and model.
func (g *Gateway) params(_ context.Context, r *request) reply {
	if r.link.live() {
		return answer(200, struct {
			Name  string `json:"name"`
			Model string `json:"model"`
		}{r.link.Name, r.link.model()})
	}
	body, err := g.deps.Locks.Params(r.link.Door)
	if err != nil {
		return g.failed(err)
	}
	if !json.Valid(body) {
		return message(500, "The lock's Config is no JSON")
	}
	return reply{200, body}
}

// ownConfig is the answer to a config for an own door or a serial lock.
const ownConfig = "This device is configured by the settings of the gateway"

func (g *Gateway) putConfig(ctx context.Context, r *request) reply {
	var body struct {
		Config map[string]json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || body.Config == nil {
		return message(400, invalidTag)
	}
	if r.link.live() {
		return message(501, ownConfig)
	}
	if err := g.deps.Locks.PutConfig(ctx, r.link.Door, []byte(r.body)); err != nil {
		return g.failed(err)
	}
	return message(202, cached)
}

func (g *Gateway) deleteConfig(ctx context.Context, r *request) reply {
	if r.link.live() {
		return message(501, ownConfig)
	}
	if err := g.deps.Locks.DeleteConfig(ctx, r.link.Door); err != nil {
		return g.failed(err)
	}
	return reply{status: 200}
}

// cached is the answer to what a Wi-Fi lock gets at its next call, and a lock on a
// line when it is back.
const cached = "Command cached"

// putGatewayConfig takes the network that a host asks for. genGatewayConfig is not
// public, and nothing of it is acted on.
func (g *Gateway) putGatewayConfig(ctx context.Context, r *request) reply {
	var body struct {
		GatewayConfig *struct {
			Gen map[string]json.RawMessage `json:"genGatewayConfig"`
			IP  *IPMode                    `json:"gatewayIpModeConfig"`
		} `json:"gatewayConfig"`
	}
	err := json.Unmarshal([]byte(r.body), &body)
	c := body.GatewayConfig
	switch {
	case err != nil || c == nil || c.Gen == nil && c.IP == nil:
		return message(400, invalidTag)
	case len(c.Gen) > 0:
		return message(501, "genGatewayConfig is not supported: the gateway has its own settings")
	case c.IP == nil:
		return reply{status: 200}
	}
	for tag, v := range map[string]string{"fixedIpAddr": c.IP.FixedIPAddr, "netmask": c.IP.Netmask, "gateway": c.IP.Gateway, "DNS": c.IP.DNS} {
		if _, err := netip.ParseAddr(v); v != "" && err != nil {
			return message(400, fmt.Sprintf("%s: %s", invalidValue, tag))
		}
	}
	if g.deps.Network == nil {
		return message(501, "The network of this gateway cannot be changed from afar")
	}
	if err := g.deps.Network(ctx, *c.IP); err != nil {
		return g.failed(err)
	}
	return reply{status: 200}
}

type credentials struct {
	Usr string `json:"usr"`
	Pwd string `json:"pwd"`
}

const established = "Credentials already established"

// getCredentials gives a new password at each call until a client has put one back.
// The password is a bearer token: there is no second way to sign in.
func (g *Gateway) getCredentials(ctx context.Context, r *request) reply {
	if r, ok := g.mayEstablish(r); !ok {
		return r
	}
	usr, pwd, err := g.deps.Credentials(ctx)
	if err != nil {
		return g.failed(err)
	}
	g.mu.Lock()
	g.issued = pwd
	g.mu.Unlock()
	return answer(200, struct {
		Credentials credentials `json:"credentials"`
	}{credentials{usr, pwd}})
}

// putCredentials establishes the last credentials that were given.
func (g *Gateway) putCredentials(_ context.Context, r *request) reply {
	if r, ok := g.mayEstablish(r); !ok {
		return r
	}
	var body struct {
		Credentials *credentials `json:"credentials"`
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || body.Credentials == nil {
		return message(400, invalidTag)
	}
	g.mu.Lock()
	same := g.issued != "" && body.Credentials.Pwd == g.issued
	g.mu.Unlock()
	if !same {
		return message(400, invalidValue)
	}
	if err := g.links.change(func(k *kept) { k.Established = true }); err != nil {
		return g.failed(err)
	}
	return reply{status: 201}
}

// mayEstablish says why there are no credentials to be had.
func (g *Gateway) mayEstablish(r *request) (reply, bool) {
	switch {
	case !r.local:
		return message(403, "Local HTTP mode only"), false
	case g.deps.Credentials == nil:
		return message(501, "This gateway has no tokens to give"), false
	case g.links.established():
		return message(403, established), false
	}
	return reply{}, true
}

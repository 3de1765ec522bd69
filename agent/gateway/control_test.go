package gateway_test

import (
	"fmt"
	"testing"

	"gatehouse/agent/gateway"
)

// TestLockControlCached: an order that a device gets when it is back is 202, of all
// devices where none failed.
func TestLockControlCached(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Devices = c.Devices[:2] })
	const cached = `{"statusMessage":"Command cached"}`
	r.site.refuse["vault"] = fmt.Errorf("the lock is away: %w", gateway.ErrCached)
	r.want(t, "PUT", "/edgeDevices/dev00001/lockControl", control("secure"), 202, cached)
	r.want(t, "PUT", "/edgeDevices/lockControl", control("frozenSecure"), 202, cached)
	r.site.refuse["front"] = fmt.Errorf("%w: starting", gateway.ErrNotReady)
	r.want(t, "PUT", "/edgeDevices/lockControl", control("frozenSecure"), 503, `{"statusMessage":"0 of 2 devices did it; dev00000: not ready: starting"}`)
	delete(r.site.refuse, "vault")
	r.want(t, "PUT", "/edgeDevices/dev00001/lockControl", control("secure"), 200, "")
}

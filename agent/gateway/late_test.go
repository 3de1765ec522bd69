package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/gateway"
	"gatehouse/agent/site"
)

// slowLog takes a second for each read, and ends with its context.
type slowLog struct{ *fakeLog }

func (l slowLog) Read(ctx context.Context, from site.EventSeq, limit, most int) ([]site.Event, error) {
	select {
	case <-time.After(time.Second):
		return l.fakeLog.Read(ctx, from, limit, most)
	case <-ctx.Done():
		return nil, fmt.Errorf("read from %d: %w", from, ctx.Err())
	}
}

// TestAuditsOfALongLog: where the time of a request does not reach the audits of a
// device, the next one goes on; and what was found is answered in time.
func TestAuditsOfALongLog(t *testing.T) {
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) { d.Log = slowLog{d.Log.(*fakeLog)} })
	for i := range 512 * 50 {
		r.log.add(site.Event{Kind: site.KindDoorOpened, Door: "front", Time: time.Unix(int64(i), 0)})
	}
	r.log.add(site.Event{Kind: site.KindExit, Door: "vault"})
	synctest.Test(t, func(t *testing.T) {
		get := func(path string) (int, string) {
			ctx, cancel := context.WithTimeout(t.Context(), 27*time.Second)
			defer cancel()
			status, body := r.Serve(ctx, "GET", path, "")
			return status, string(body)
		}
		const vault = "/edgeDevices/dev00001/audits"
		if status, body := get(vault); status != 500 || body != `{"statusMessage":"Timed out"}` {
			t.Errorf("the first time: %d %.80s", status, body)
		}
		if status, body := get(vault); status != 200 || len(auditsOf(t, []byte(body))) != 1 {
			t.Errorf("the second time: %d %.80s", status, body)
		}
		r.restart(t)
		status, body := get("/edgeDevices/audits")
		if n := strings.Count(body, `"event":"07210000"`); status != 200 || n != 2000 {
			t.Errorf("all devices: %d with %d audits", status, n)
		}
	})
}

// slowSite is doors that are slow but for one.
type slowSite struct {
	*fakeSite
	fast site.DoorID
}

func (s slowSite) Command(ctx context.Context, id site.DoorID, c gateway.Command) error {
	if id != s.fast {
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
		}
		return fmt.Errorf("%w: no answer", gateway.ErrNotReady)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.fakeSite.Command(ctx, id, c)
}

// TestControlAllAtOnce: locks on lines that do not answer keep an order for all from
// no other door.
func TestControlAllAtOnce(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, d *gateway.Deps) {
		c.Devices = nil
		for _, id := range []site.DoorID{"a", "b", "c", "front"} {
			c.Devices = append(c.Devices, gateway.Device{Door: id, Name: string(id), Kind: gateway.KindSerial, Serial: strings.Repeat("0", 32)})
		}
		d.Site = slowSite{d.Site.(*fakeSite), "front"}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 27*time.Second)
		defer cancel()
		status, body := r.Serve(ctx, "PUT", "/edgeDevices/lockControl", control("frozenSecure"))
		if want := `{"statusMessage":"1 of 4 devices did it; dev00000: not ready: no answer"}`; status != 503 || string(body) != want {
			t.Errorf("got %d %s", status, body)
		}
	})
}

// TestBodyCutShort: a body that does not come whole is never answered with 200.
func TestBodyCutShort(t *testing.T) {
	r := newRig(t, nil)
	srv := httptest.NewUnstartedServer(r.Handler(func(*http.Request) error { return nil }))
	srv.Config.ReadTimeout = time.Second
	srv.Start()
	t.Cleanup(srv.Close)
	const head = "PUT /edgeDevices/dev00000/database HTTP/1.1\r\nHost: x\r\n"
	for name, text := range map[string]string{
		"a chunk that is none": head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"one that stalls":      head + "Content-Length: 1000\r\n\r\n{\"db\":",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}

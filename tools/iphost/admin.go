package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/host"
	"gatehouse/tools/iphost/registry"
)

// manage calls the management API of the state folder's host. Where none runs,
// the registry is opened for the one call.
func (e *env) manage(ctx context.Context, method, path string, in, out any) error {
	if !running(e.state) {
		stop, err := e.openStopped(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	return call(ctx, host.AdminClient(e.state), method, path, in, out)
}

// running reports whether a host listens on the folder's socket.
func running(dir string) bool {
	c, err := net.DialTimeout("unix", host.SocketPath(dir), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// openStopped serves the management API over a stopped host's registry.
func (e *env) openStopped(ctx context.Context) (stop func(), err error) {
	m, err := loadMode(e.state)
	if err != nil {
		return nil, err
	}
	if m.Cluster {
		return nil, fmt.Errorf("%s is of a cluster: its host must run for this", e.state)
	}
	if err := os.MkdirAll(e.state, 0o700); err != nil {
		return nil, err
	}
	unlock, err := host.Lock(e.state)
	if err != nil {
		if errors.Is(err, host.ErrInUse) {
			return nil, fmt.Errorf("%w and does not answer yet: try again", err)
		}
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, bus.Config{Dir: e.state, Name: "iphost", URL: m.NATS, CredsFile: m.Creds, CAFile: m.CA, SyncAlways: true, Log: quiet})
	if err != nil {
		unlock()
		return nil, err
	}
	closeAll := func() { b.Close(); unlock() }
	reg, err := registry.Open(ctx, b)
	if err != nil {
		closeAll()
		return nil, err
	}
	seal, make := host.SealFile(e.state, m.Seal, m.NATS == "")
	if err := reg.Seal(ctx, seal, make); err != nil {
		closeAll()
		return nil, err
	}
	s, err := host.ServeAdmin(e.state, host.Admin(reg, nil), func(error) {})
	if err != nil {
		closeAll()
		return nil, err
	}
	return func() { s.Close(); closeAll() }, nil
}

// call is one call of the management API.
func call(ctx context.Context, c *http.Client, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://iphost"+path, body)
	if err != nil {
		return err
	}
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var m struct {
			Text string `json:"statusMessage"`
		}
		if err := json.NewDecoder(res.Body).Decode(&m); err != nil || m.Text == "" {
			return fmt.Errorf("%s %s: status %d", method, path, res.StatusCode)
		}
		return errors.New(m.Text)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

package uplink

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// These test from inside what has no socket: the delays and the time limits.

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		attempt int
		random  float64
		want    time.Duration
	}{
		{0, 0, 500 * time.Millisecond},
		{1, 0, 500 * time.Millisecond},
		{1, 0.5, 750 * time.Millisecond},
		{2, 0, time.Second},
		{5, 0, 8 * time.Second},
		{6, 0, 15 * time.Second},
		{6, 0.999, 29985 * time.Millisecond},
		{1 << 30, 0.5, 22500 * time.Millisecond},
	} {
		if got := backoff(tt.attempt, DefaultMinDelay, DefaultMaxDelay, tt.random); got != tt.want {
			t.Errorf("attempt %d, %g: %s, want %s", tt.attempt, tt.random, got, tt.want)
		}
	}
}

func TestRenewalAge(t *testing.T) {
	if got := renewal(24*time.Hour, 0); got != 24*time.Hour {
		t.Errorf("%s", got)
	}
	if got := renewal(24*time.Hour, 0.5); got != 23*time.Hour+30*time.Minute {
		t.Errorf("%s", got)
	}
	if c := (Config{}).withDefaults(); c.Renew >= c.MaxAge || c.MaxAge != 24*time.Hour {
		t.Errorf("renewed at %s, given up at %s", c.Renew, c.MaxAge)
	}
}

type handle func(ctx context.Context, req Request) Response

func (f handle) Handle(ctx context.Context, req Request) Response { return f(ctx, req) }

// TestRequestInTime: each request is answered within 30 s, whatever the handler
// does, also those that wait for others.
func TestRequestInTime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle handle
		want   time.Duration
		status int
	}{
		{"at once", func(context.Context, Request) Response { return Response{Status: 200} }, 0, 200},
		{"minds ctx", func(ctx context.Context, _ Request) Response { <-ctx.Done(); return Response{Status: 409} }, 27 * time.Second, 409},
		{"minds nothing", func(context.Context, Request) Response { time.Sleep(time.Hour); return Response{Status: 200} }, 29 * time.Second, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRequests(tt.handle, DefaultRequest, slog.New(slog.DiscardHandler))
				begun := time.Now()
				var mu sync.Mutex
				var statuses []int
				var last time.Duration
				for range 20 { // more than run at once
					if !r.do(t.Context(), Request{}, func(resp Response) {
						mu.Lock()
						defer mu.Unlock()
						statuses, last = append(statuses, resp.Status), time.Since(begun)
					}) {
						t.Error("refused")
					}
				}
				time.Sleep(30 * time.Second)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if len(statuses) != 20 || statuses[0] != tt.status && tt.want == 0 || last != tt.want {
					t.Errorf("%d answers within %s: %v, want %d within %s", len(statuses), last, statuses, tt.status, tt.want)
				}
				r.wg.Wait()
				if r.count != 0 || r.bytes != 0 {
					t.Errorf("%d requests, %d bytes are left", r.count, r.bytes)
				}
			})
		})
	}
}

// TestBodiesAreBounded: large bodies do not pile up, one is always taken.
func TestBodiesAreBounded(t *testing.T) {
	release := make(chan struct{})
	r := newRequests(handle(func(context.Context, Request) Response { <-release; return Response{Status: 200} }), DefaultRequest, slog.New(slog.DiscardHandler))
	body := strings.Repeat("x", MaxMessage)
	taken := 0
	for range 10 {
		if r.do(t.Context(), Request{Body: body}, func(Response) {}) {
			taken++
		}
	}
	close(release)
	r.wg.Wait()
	if taken != maxBodies/MaxMessage {
		t.Errorf("%d bodies of 8 MiB were taken", taken)
	}
	if !r.do(t.Context(), Request{Body: strings.Repeat("x", 2*maxBodies)}, func(Response) {}) {
		t.Error("a body larger than the bound was refused though nothing else waits")
	}
	r.wg.Wait()
}

// TestHealth: what stands for a minute is a fault until there is a connection.
func TestHealth(t *testing.T) {
	h := &health{}
	c := &Client{deps: Deps{Health: h}, stages: newStages()}
	c.unwell(30*time.Second, errors.New("x"))
	if h.text != "" {
		t.Errorf("a fault after 30 s: %s", h.text)
	}
	c.unwell(time.Minute, errors.New("tls: a\nb"))
	if h.text != "no connection to the IP host: tls: a; b" {
		t.Errorf("after a minute: %q", h.text)
	}
	c.connected()
	if h.text != "" {
		t.Errorf("connected: %s", h.text)
	}
}

type health struct{ text string }

func (h *health) Set(_, text string) { h.text = text }
func (h *health) Clear(string)       { h.text = "" }

func FuzzParseMemory(f *testing.F) {
	f.Add([]byte(`{"version":1,"logs":{"gateway":"5f3a9c01"}}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMemory(b); err == nil && m.Version != 1 {
			t.Errorf("version %d", m.Version)
		}
	})
}

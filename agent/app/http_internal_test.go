package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/task"
)

// lateNet is a network whose address comes late, and whose listeners can fail.
type lateNet struct {
	mu        sync.Mutex // guards following
	have      bool
	listeners []*lateListener
}

// come brings the address.
func (n *lateNet) come() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.have = true
}

// opened returns the listeners so far.
func (n *lateNet) opened() []*lateListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.listeners)
}

var errNoAddress = errors.New("cannot assign requested address")

func (n *lateNet) listen(string, string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.have {
		return nil, errNoAddress
	}
	l := &lateListener{broken: make(chan error, 1), closed: make(chan struct{})}
	n.listeners = append(n.listeners, l)
	return l, nil
}

// lateListener accepts nobody.
type lateListener struct {
	broken chan error
	closed chan struct{}
}

func (l *lateListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.broken:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *lateListener) Close() error { close(l.closed); return nil }

func (l *lateListener) Addr() net.Addr { return &net.TCPAddr{Port: 80} }

// TestListenerLate: an address that comes after the agent, as when a switch starts
// slower than the board, is listened on when it is there; so is one that was lost.
func TestListenerLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, health := &lateNet{}, task.NewHealth(nil)
		a := &App{health: health, log: slog.New(slog.DiscardHandler)}
		s := newServer("devices", http.NotFoundHandler(), nil, a.log)
		s.addr, s.health, s.listen = "192.168.50.1:80", health, network.listen
		if err := s.open(); !errors.Is(err, errNoAddress) {
			t.Fatalf("got %v", err)
		}
		a.servers = append(a.servers, s)
		g := task.NewGroup(task.GroupConfig{Health: health})
		g.Add(s, task.Policy{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()

		time.Sleep(time.Hour)
		if f := health.List(); len(f) != 1 || f[0].ID != "listen.devices" || len(a.Addresses()) > 0 {
			t.Errorf("faults %v, addresses %v", f, a.Addresses())
		}
		network.come()
		time.Sleep(time.Minute)
		if f := health.List(); len(f) > 0 || len(network.opened()) != 1 || len(a.Addresses()) != 1 {
			t.Errorf("faults %v, %d listeners, addresses %v", f, len(network.opened()), a.Addresses())
		}
		network.opened()[0].broken <- errors.New("the network is down")
		time.Sleep(time.Minute)
		if f := health.List(); len(f) > 0 || len(network.opened()) != 2 {
			t.Errorf("after a failure: faults %v, %d listeners", f, len(network.opened()))
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestControlNotOnANetwork: the control socket, once lost, is opened nowhere else.
func TestControlNotOnANetwork(t *testing.T) {
	network := &lateNet{have: true}
	s := newServer("control", http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler))
	s.listen = network.listen
	if err := s.Run(t.Context()); err == nil || len(network.opened()) > 0 {
		t.Errorf("got %v, %d listeners", err, len(network.opened()))
	}
}

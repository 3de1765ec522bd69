package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/tools/iphost/engage"
)

// Session is where a gateway is connected, or was.
type Session struct {
	Serial engage.Serial `json:"serial"`
	Site   string        `json:"site"`
	Host   string        `json:"host"` // instance of the host; empty: not connected
	ID     string        `json:"id"`
	Remote string        `json:"remote"` // the gateway's address
	Since  time.Time     `json:"since"`
	Until  time.Time     `json:"until"` // when it ended, if it did
}

// Begin records a session and returns the one that it takes the place of. When
// it has returned, every host finds the gateway here.
func (r *Registry) Begin(ctx context.Context, s Session) (before Session, err error) {
	before, _, err = change(ctx, r.sessions, s.Serial.String(), func(e *entry[Session]) error {
		e.value = s
		return nil
	})
	if err != nil {
		return Session{}, fmt.Errorf("gateway %s: session: %w", s.Serial, err)
	}
	return before, nil
}

// errTaken ends a change of a session that is not ours any more.
var errTaken = errors.New("taken")

// End records that a session ended, unless another one took its place.
func (r *Registry) End(ctx context.Context, s Session) error {
	_, _, err := change(ctx, r.sessions, s.Serial.String(), func(e *entry[Session]) error {
		if e.rev == 0 || e.value.ID != s.ID {
			return errTaken
		}
		e.value.Host, e.value.Until = "", r.now().UTC()
		return nil
	})
	if err != nil && !errors.Is(err, errTaken) {
		return fmt.Errorf("gateway %s: session: %w", s.Serial, err)
	}
	return nil
}

// Session returns where a gateway is connected or was; ErrNotFound if never.
func (r *Registry) Session(ctx context.Context, serial engage.Serial) (Session, error) {
	e, err := get[Session](ctx, r.sessions, serial.String())
	if err != nil {
		return Session{}, fmt.Errorf("gateway %s: session: %w", serial, err)
	}
	return e.value, nil
}

// Sessions calls f for each gateway that has ever connected.
func (r *Registry) Sessions(ctx context.Context, f func(Session) error) error {
	return list(ctx, r.sessions, func(_ string, s Session) error { return f(s) })
}

// Host is a host that is alive.
type Host struct {
	Instance string    `json:"instance"`
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	Started  time.Time `json:"started"`
}

// Alive tells the others that this host is alive, for HostTTL.
func (r *Registry) Alive(ctx context.Context, h Host) error {
	_, _, err := change(ctx, r.hosts, h.Instance, func(e *entry[Host]) error {
		e.value = h
		return nil
	})
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// Gone tells the others that this host has stopped.
func (r *Registry) Gone(ctx context.Context, h Host) error {
	if err := remove(ctx, r.hosts, h.Instance); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// Hosts returns the hosts that are alive, by instance.
func (r *Registry) Hosts(ctx context.Context) (map[string]Host, error) {
	out := map[string]Host{}
	err := list(ctx, r.hosts, func(key string, h Host) error {
		out[key] = h
		return nil
	})
	return out, err
}

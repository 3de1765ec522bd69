package app

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/agent/gateway"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	device "gatehouse/agent/swordfish/link"
)

// gatewayLocks is the locks as the gateway's resources need them.
type gatewayLocks struct{ *lockSet }

// Ready reports why nothing can be kept for the lock's next call.
func (g gatewayLocks) Ready(id site.DoorID) error {
	if g.server == nil {
		return fmt.Errorf("lock %s: %w: the locks' service could not be opened", id, gateway.ErrNotReady)
	}
	return nil
}

func (g gatewayLocks) find(id site.DoorID) (device.LockStatus, error) {
	if err := g.Ready(id); err != nil {
		return device.LockStatus{}, err
	}
	for _, l := range g.server.Locks() {
		if l.ID == id {
			return l, nil
		}
	}
	return device.LockStatus{}, fmt.Errorf("lock %s: %w", id, gateway.ErrUnsupported)
}

// Status is what the lock last told: nobody can ask it.
func (g gatewayLocks) Status(id site.DoorID) (gateway.Status, error) {
	l, err := g.find(id)
	if err != nil {
		return gateway.Status{}, err
	}
	if l.Called.IsZero() {
		return gateway.Status{}, fmt.Errorf("lock %s: %w: it has never called", id, gateway.ErrNotReady)
	}
	st := gateway.Status{DoorStatus: site.DoorStatus{ID: id, Name: l.Name, Alarm: l.Alarm}, Battery: l.Battery, Tamper: l.Alarm == site.AlarmTamper}
	if m, err := site.ParseMode(l.Mode); err == nil {
		st.Mode = m
	}
	st.Locked = !st.Mode.Unlocked()
	return st, nil
}

// Info is what is known of a lock.
func (g gatewayLocks) Info(id site.DoorID) gateway.LockInfo {
	l, err := g.find(id)
	if err != nil {
		return gateway.LockInfo{}
	}
	return gateway.LockInfo{Connected: !l.Called.IsZero() && !l.Late, Main: l.Main, Li: l.Li}
}

// Literals are the words of the lock's model.
func (g gatewayLocks) Literals(id site.DoorID) swordfish.Literals {
	for i := range g.cfg {
		if g.cfg[i].ID == id {
			return g.cfg[i].Profile.Literals
		}
	}
	return swordfish.DefaultLiterals()
}

// Download tells how far the lock has what the host sent: a lock that stored the
// newest table has it whole.
func (g gatewayLocks) Download(id site.DoorID) (gateway.Download, bool) {
	l, err := g.find(id)
	switch {
	case err != nil:
		return gateway.Download{}, false
	case l.Behind:
		return gateway.Download{State: gateway.StatePending, Text: "the lock has not called for it yet"}, true
	}
	return gateway.Download{State: gateway.StateCompleted, Percent: 100}, true
}

// PutConfig keeps a config for the lock's next call.
func (g gatewayLocks) PutConfig(_ context.Context, id site.DoorID, body []byte) error {
	if err := g.Ready(id); err != nil {
		return err
	}
	return asGateway(g.server.PutConfig(id, body))
}

// DeleteConfig takes it back.
func (g gatewayLocks) DeleteConfig(_ context.Context, id site.DoorID) error {
	if err := g.Ready(id); err != nil {
		return err
	}
	return asGateway(g.server.DeleteConfig(id))
}

// Params is the last Config that the lock put.
func (g gatewayLocks) Params(id site.DoorID) ([]byte, error) {
	if err := g.Ready(id); err != nil {
		return nil, err
	}
	body, err := g.server.Params(id)
	return body, asGateway(err)
}

func asGateway(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, device.ErrNoConfig):
		return fmt.Errorf("%w: %w", gateway.ErrRefused, err)
	case errors.Is(err, device.ErrUnknownLock):
		return fmt.Errorf("%w: %w", gateway.ErrUnsupported, err)
	}
	return fmt.Errorf("%w: %w", gateway.ErrNotReady, err)
}

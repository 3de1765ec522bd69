package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/agent/bacnetws/oauth"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/gateway"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/task"
	"gatehouse/agent/uplink"
	"gatehouse/store"
)

// byHost is Event.By of what the IP host orders.
const byHost = "iphost"

// openGateway makes the gateway's resources over the site, for the uplink and for
// local HTTPS. Without an uplink and without gateway.local nobody could ask.
func (a *App) openGateway() {
	local := a.cfg.Gateway != nil && a.cfg.Gateway.Local
	if a.cfg.Uplink == nil && !local {
		return
	}
	g, err := a.newGateway()
	if err != nil {
		if a.cfg.Uplink != nil {
			a.uplink.err = err
		}
		a.health.Set("gateway.open", err.Error())
		a.log.Error("gateway", "err", err)
		return
	}
	a.resources = g
	if local && a.gateway == nil {
		a.gateway = g.Handler(func(*http.Request) error { return nil }) // its routes are guarded
	}
	a.openUplink(hostRequests{g}, uplink.Events{
		Log: a.spool, Gateway: a.spool.Cursor(cursorGateway), EdgeDevice: a.spool.Cursor(cursorEdgeDevice),
		Convert: func(e site.Event) (uplink.Message, bool) {
			source, kind, device, _, body, ok := g.Convert(e)
			return uplink.Message{Source: uplink.Source(source), Type: kind, DeviceID: device, Body: body}, ok
		},
		NewLog: announceLog(a.cfg.Site.Zone),
		Began: func(s uplink.Source) {
			a.spool.Register(append(a.consumers(), map[uplink.Source]string{
				uplink.SourceGateway: cursorGateway, uplink.SourceEdgeDevice: cursorEdgeDevice}[s])...)
		},
	})
}

func (a *App) newGateway() (*gateway.Gateway, error) {
	cfg := gateway.Config{Serial: a.cfg.Device.Serial, Name: a.cfg.Site.Name, Version: a.opt.Version, Zone: a.cfg.Site.Zone}
	for _, d := range a.cfg.Doors {
		cfg.Devices = append(cfg.Devices, gateway.Device{Door: d.ID, Name: d.Name, Kind: gateway.KindDoor})
	}
	for _, l := range a.cfg.Locks {
		d := gateway.Device{Door: l.ID, Name: l.Name, Kind: gateway.KindWiFi, Serial: l.Number, Model: l.Model}
		if l.Serial != nil {
			d.Kind = gateway.KindSerial
		}
		cfg.Devices = append(cfg.Devices, d)
	}
	deps := gateway.Deps{
		Site: gatewaySite{a}, Log: a.spool, Keep: smallFile(filepath.Join(a.cfg.StateDir, "gateway.json")),
		Store: func() (*store.Store, error) {
			if a.store == nil {
				return nil, a.storeErr
			}
			return a.store, nil
		},
		Record: a.sink.Append, Clock: a.clock.Clock, Logger: a.log, Credentials: a.localCredentials(),
		Locks: gatewayLocks{&a.locks},
	}
	if len(a.cfg.Site.Key) > 0 {
		cards, err := swordfish.NewCards(a.cfg.Site.Key)
		if err != nil {
			return nil, err
		}
		deps.Cards = cards
	}
	return gateway.New(cfg, deps)
}

// localUser is the name that local credentials come with (engage.md section 3); the
// password is a token, and it alone counts.
const localUser = "gateway"

// localCredentials makes what a local client signs in with. Each one ends the one
// before, which nobody has put back.
func (a *App) localCredentials() func(context.Context) (usr, pwd string, err error) {
	var mu sync.Mutex
	last := "" // the token's id
	return func(ctx context.Context) (string, string, error) {
		mu.Lock()
		defer mu.Unlock()
		if last != "" {
			// An operator may have ended it: then it is refused, or not found any more.
			_, err := a.tokens.RevokeToken(ctx, last, localUser)
			if err != nil && !errors.Is(err, control.ErrNotFound) && !errors.Is(err, control.ErrRefused) {
				return "", "", fmt.Errorf("%w: %w", gateway.ErrNotReady, err)
			}
			last = ""
		}
		made, err := a.tokens.AddToken(ctx, control.TokenOrder{Name: localUser, Scopes: []string{string(oauth.ScopeGateway), string(oauth.ScopeGatewayControl)}}, localUser)
		if err != nil {
			return "", "", fmt.Errorf("%w: %w", gateway.ErrNotReady, err)
		}
		last = made.ID
		return localUser, made.Token, nil
	}
}

// addGateway makes the gateway a task of a group.
func (a *App) addGateway(g *task.Group) {
	if a.resources != nil {
		g.Add(a.resources, task.Policy{})
	}
}

// hostRequests answers the requests of the IP host.
type hostRequests struct{ g *gateway.Gateway }

// Handle answers one request.
func (h hostRequests) Handle(ctx context.Context, req uplink.Request) uplink.Response {
	path := req.Path
	if req.Query != "" {
		path += "?" + req.Query
	}
	status, body := h.g.Serve(ctx, req.Method, path, req.Body)
	return uplink.Response{Status: status, Body: string(body)}
}

// gatewaySite is the doors as the gateway needs them.
type gatewaySite struct{ a *App }

// live bounds how long a look at a door's lines may take.
const live = 2 * time.Second

// Status returns a door and its lines.
func (s gatewaySite) Status(id site.DoorID) (gateway.Status, error) {
	if lock := s.a.lines.find(id); lock != nil {
		return s.lockStatus(lock)
	}
	d, err := s.a.doors.door(id)
	if err != nil {
		return gateway.Status{}, err
	}
	st := gateway.Status{DoorStatus: d.Status()}
	st.Fault = st.Alarm == site.AlarmFault
	ctx, cancel := context.WithTimeout(context.Background(), live)
	defer cancel()
	in, err := d.Inputs(ctx)
	if err != nil { // the door has ended
		return gateway.Status{}, fmt.Errorf("%w: %w", gateway.ErrNotReady, err)
	}
	st.Rex, st.Tamper = in.Pressed, in.Tampered
	return st, nil
}

// Command orders something in the name of the IP host.
func (s gatewaySite) Command(ctx context.Context, id site.DoorID, c gateway.Command) error {
	order := door.Command{By: byHost, Op: door.OpMode}
	switch c.Op {
	case gateway.OpSecure:
		order.Mode = site.ModeSecured
	case gateway.OpPassage:
		order.Mode = site.ModePassage
	case gateway.OpFreezeSecure:
		order.Mode = site.ModeFrozenSecured
	case gateway.OpFreezePassage:
		order.Mode = site.ModeFrozenPassage
	case gateway.OpUnlock:
		order.Op, order.For = door.OpUnlock, c.For
	default:
		return fmt.Errorf("%w: order %d", gateway.ErrInvalid, c.Op)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var err error
	if lock := s.a.lines.find(id); lock != nil {
		err = s.a.lines.order(ctx, lock, order)
	} else if d := s.a.doors.byID[id]; d != nil {
		err = d.Command(ctx, order)
	} else {
		return fmt.Errorf("door %s: %w", id, gateway.ErrUnsupported)
	}
	switch {
	case errors.Is(err, door.ErrRefused), errors.Is(err, link.ErrRefused):
		return fmt.Errorf("%w: %w", gateway.ErrRefused, err)
	case errors.Is(err, door.ErrCommand):
		return fmt.Errorf("%w: %w", gateway.ErrInvalid, err)
	case errors.Is(err, door.ErrNotKept), errors.Is(err, door.ErrStopped), errors.Is(err, link.ErrOffline), errors.Is(err, link.ErrNoAnswer):
		return fmt.Errorf("%w: %w", gateway.ErrNotReady, err)
	}
	return err
}

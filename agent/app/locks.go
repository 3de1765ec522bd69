package app

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	device "gatehouse/agent/swordfish/link"
	"gatehouse/agent/task"
	"gatehouse/store"
)

// lockSet is the service of the locks: Wi-Fi locks that call, and those on serial
// lines.
type lockSet struct {
	cfg    []config.Lock
	server *device.Server // nil: the settings have no locks, or it could not be opened
	failed bool           // it could not be opened
	store  *store.Store
	hive   func() *link.Server
	now    func() time.Time
}

// openLocks makes the service. Without locks in the settings there is none, and
// what calls is answered as an unknown path.
func (a *App) openLocks() {
	a.locks = lockSet{cfg: a.cfg.Locks, store: a.store, hive: func() *link.Server { return a.hive },
		now: func() time.Time { return a.clock.Clock().Now }}
	if len(a.cfg.Locks) == 0 && a.cfg.Swordfish == nil {
		return
	}
	cfg := device.Config{Zone: a.cfg.Site.Zone, Dir: filepath.Join(a.cfg.StateDir, "locks"), SiteKey: device.SiteKey(a.cfg.Site.Key)}
	cfg.Window = config.DefaultCalls
	if s := a.cfg.Swordfish; s != nil {
		cfg.Window = s.Calls
		cfg.Auth = map[config.SwordfishAuth]device.Auth{config.AuthNone: device.AuthNone, config.AuthReport: device.AuthReport}[s.Auth]
	}
	work := lockWork()
	tables := &lockTables{policy: a.policy, busy: work, clock: a.clock.Clock, profiles: map[site.DoorID]*swordfish.Profile{}}
	for i := range a.cfg.Locks {
		l := &a.cfg.Locks[i]
		d := device.Lock{ID: l.ID, Name: l.Name, Serial: l.Number, Profile: l.Profile}
		if l.Serial != nil {
			d.Device = l.Serial.Device
		}
		cfg.Locks = append(cfg.Locks, d)
		tables.profiles[l.ID] = &l.Profile
	}
	if cfg.Auth != device.AuthEnforce && a.wifiLocks() {
		a.warnings = append(a.warnings, "swordfish.auth is "+cfg.Auth.String()+": anyone on the locks' network can take a lock's door file and speak for it")
	}
	var err error
	a.locks.server, err = device.New(cfg, device.Deps{
		Tables: tables, Cards: lockCards{a.policy}, Events: lockEvents{a.sink}, Clock: a.clock.Clock,
		Certificate: a.lockRoot, Work: work, Logger: a.log,
	})
	if err != nil {
		a.locks.failed = true
		a.health.Set("locks.open", err.Error())
		a.log.Error("locks", "err", err)
	}
}

// wifiLocks reports whether the settings have Wi-Fi locks.
func (a *App) wifiLocks() bool {
	return slices.ContainsFunc(a.cfg.Locks, func(l config.Lock) bool { return l.Serial == nil })
}

// lockRoot is the certificate that locks are to trust, as DER: the site's, which
// they are shown.
func (a *App) lockRoot() []byte {
	if a.cert == nil {
		return nil
	}
	return a.cert.Certificate[0]
}

// lockRoutes are the routes of the device server.
func (a *App) lockRoutes() []Route {
	var h http.Handler
	switch {
	case a.locks.server != nil:
		h = a.locks.server.Handler()
	case a.locks.failed:
		h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	default:
		return nil
	}
	routes := []Route{{Pattern: "GET /swordfish/lock/certificates/{name}", Guard: GuardCertificate, Devices: true, handler: h}}
	for _, p := range []string{
		"PUT /swordfish/lock/Config", "GET /swordfish/lock/db/{timestamp}", "POST /swordfish/lock/audit", "POST /swordfish/lock/alert",
		"GET /swordfish/lock/certificates/current", "/swordfish/", // the rest of it is refused there
	} {
		routes = append(routes, Route{Pattern: p, Guard: GuardLock, Devices: true, handler: h})
	}
	return routes
}

func (l *lockSet) addTo(g *task.Group) {
	if l.server != nil {
		g.Add(l.server, task.Policy{})
	}
}

// due reports whether a device is a lock that should call for its door file.
func (l *lockSet) due(d site.DeviceName) bool { return l.server != nil && l.server.Due(d) }

// lockCalls takes the calls of locks on lines.
func (a *App) lockCalls() link.Swordfish {
	if a.locks.server == nil {
		return nil // the operation is unknown
	}
	return lineCalls{a.locks.server}
}

type lineCalls struct{ s *device.Server }

// Call answers one call.
func (c lineCalls) Call(ctx context.Context, call link.Call) (int, []byte, error) {
	return c.s.Call(ctx, call.Device, call.Method, call.Path, call.Body)
}

// hiveCounters numbers the commands to devices on lines.
type hiveCounters struct{ store *store.Store }

// NextCounter returns a device's next number.
func (h hiveCounters) NextCounter(d site.DeviceName) (uint64, error) {
	if h.store == nil {
		return 0, errNoStore
	}
	return h.store.NextCounter(d)
}

// lockCards seals what is kept of a lock's table under the device key.
type lockCards struct{ *policyHolder }

// Seal encrypts a card. Without a store nothing is compiled, so nothing is sealed.
func (c lockCards) Seal(b card.Block) (out [16]byte) {
	if c.store == nil {
		return out
	}
	return c.store.Seal(b)
}

// Open is the reverse of Seal.
func (c lockCards) Open(b [16]byte) card.Block {
	if c.store == nil {
		return card.Block{}
	}
	return c.store.OpenBlock(b)
}

// Tag is the short name that people see of a card.
func (c lockCards) Tag(b card.Block) string {
	if c.store == nil {
		return ""
	}
	return c.store.Tag(b)
}

// lockEvents keeps what locks tell.
type lockEvents struct{ *eventSink }

// Append records an event without waiting.
func (e lockEvents) Append(ev site.Event) { e.eventSink.Append(ev) }

// Keep records events in order and returns when all are on disk, or when what is not
// will never be: a repeated call finds in the log what came of the first.
func (e lockEvents) Keep(ctx context.Context, evs []site.Event) (last site.EventSeq, err error) {
	for chunk := evs; len(chunk) > 0; {
		n := min(len(chunk), keepAtOnce)
		waits := make([]func(context.Context) (site.EventSeq, error), n)
		for i, ev := range chunk[:n] {
			waits[i] = e.append(ev).Wait
		}
		for _, wait := range waits {
			seq, failed := wait(context.WithoutCancel(ctx)) // none may be on its way when this returns
			if failed == nil {
				last = seq
			}
			err = errors.Join(err, failed)
		}
		if err != nil {
			return last, err
		}
		chunk = chunk[n:]
	}
	return last, nil
}

// keepAtOnce is how many events of one upload are in the log's queue at a time:
// the doors have the rest of it.
const keepAtOnce = 256

// Scan calls fn with the kept events after a number.
func (e lockEvents) Scan(ctx context.Context, after site.EventSeq, fn func(site.Event) error) error {
	return storeLog(e).Scan(ctx, max(after+1, e.log.First()), fn)
}

// Last is the number of the last kept event.
func (e lockEvents) Last() site.EventSeq { return e.log.Last() }

// LockList returns each lock of the settings.
func (l *lockSet) LockList() []control.LockStatus {
	if l.server == nil {
		return l.unserved()
	}
	offline := l.offline()
	var out []control.LockStatus
	for i, s := range l.server.Locks() {
		c := lockStatusOf(&s, l.cfg[i].Profile.Users)
		if wire := l.cfg[i].Serial; wire != nil {
			c.Line, c.Device, c.Online = control.LockSerial, wire.Device, !offline[wire.Device]
		}
		out = append(out, c)
	}
	return out
}

// forgotten returns the locks that have a table of this agent and that the settings
// name no more.
func (a *App) forgotten() (ids []string) {
	files, err := filepath.Glob(filepath.Join(a.cfg.StateDir, "locks", "*.table"))
	if err != nil { // the pattern is at fault
		return nil
	}
	for _, f := range files {
		id := strings.TrimSuffix(filepath.Base(f), ".table")
		if !slices.ContainsFunc(a.cfg.Locks, func(l config.Lock) bool { return string(l.ID) == id }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// offline says of each device on a line whether it is offline.
func (l *lockSet) offline() map[site.DeviceName]bool {
	out := map[site.DeviceName]bool{}
	for _, line := range l.hive().Lines() {
		for _, d := range line.Stats().Devices {
			out[d.Device] = d.Offline
		}
	}
	return out
}

// unserved is each lock of the settings where the service could not be opened.
func (l *lockSet) unserved() []control.LockStatus {
	var out []control.LockStatus
	for i := range l.cfg {
		c := &l.cfg[i]
		s := control.LockStatus{ID: c.ID, Name: c.Name, Serial: c.Number, Model: c.Model, Line: control.LockWiFi, UsersMax: c.Profile.Users}
		if c.Serial != nil {
			s.Line, s.Device = control.LockSerial, c.Serial.Device
		}
		out = append(out, s)
	}
	return out
}

// PendingLocks returns those that called and are not named.
func (l *lockSet) PendingLocks() []control.PendingLock {
	if l.server == nil {
		return nil
	}
	var out []control.PendingLock
	for _, p := range l.server.Pending() {
		out = append(out, control.PendingLock{Serial: p.Serial, First: p.First, Last: p.Last, Calls: uint64(p.Calls), Address: p.Address})
	}
	return out
}

// lineFetch is about how long a lock on a line takes to fetch a change: it is told
// to call within seconds.
const lineFetch = 15 * time.Second

// StillOpens returns the locks whose own table has the card of a credential.
func (l *lockSet) StillOpens(id site.CredentialID) []control.StillOpen {
	if l.failed {
		return l.mayOpen()
	}
	if l.server == nil || l.store == nil {
		return nil
	}
	block, err := l.store.Block(id)
	if err != nil {
		return nil
	}
	var out []control.StillOpen
	offline := l.offline()
	for _, h := range l.server.Holders(block) {
		o := control.StillOpen{Lock: h.Door, Until: h.Until, Line: control.LockWiFi, Unsure: h.Unsure}
		if h.Line {
			o.Line, o.Until = control.LockSerial, time.Time{}
			if i := slices.IndexFunc(l.cfg, func(c config.Lock) bool { return c.ID == h.Door }); i >= 0 && !offline[l.cfg[i].Serial.Device] {
				o.Until = l.now().Add(lineFetch)
			}
		}
		out = append(out, o)
	}
	return out
}

// mayOpen is each lock, where nothing is known of any.
func (l *lockSet) mayOpen() []control.StillOpen {
	var out []control.StillOpen
	for i := range l.cfg {
		o := control.StillOpen{Lock: l.cfg[i].ID, Line: control.LockWiFi, Unsure: true}
		if l.cfg[i].Serial != nil {
			o.Line = control.LockSerial
		}
		out = append(out, o)
	}
	return out
}

// lockStatusOf puts what the service knows of a lock in control's words.
func lockStatusOf(s *device.LockStatus, users int) control.LockStatus {
	c := control.LockStatus{
		ID: s.ID, Name: s.Name, Serial: s.Serial, Model: s.Model, Line: control.LockWiFi,
		Called: s.Called, Next: s.Next, Late: s.Late,
		Has: control.TableVersion(s.Has), Want: control.TableVersion(s.Want), Behind: s.Behind, Unchecked: s.Unchecked, BehindSince: s.BehindSince,
		Sent: s.Sent, ConfigWaits: s.Config, Mode: s.Mode, Alarm: s.Alarm, SaysName: s.DeviceName, SaysModel: s.DeviceModel,
		Changes: s.Changes, Users: s.Users, UsersMax: users, Losses: s.Losses, Lost: s.Lost,
		Refused: s.Refused, RefusedAt: s.RefusedAt, Battery: s.Battery, Main: s.Main, Li: s.Li, Firmware: s.Firmware,
	}
	if s.DriftKnown {
		c.ClockOff = control.Duration(s.Drift)
	}
	return c
}

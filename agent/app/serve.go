package app

import (
	"crypto/tls"
	"net/http"
	"path/filepath"

	"gatehouse/agent/control"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
)

// show plays a pattern at a reader on lines; Hive readers show by themselves.
func (a *App) show(id site.ReaderID, p site.Pattern) {
	if r := a.readers[id]; r != nil {
		r.Play(p)
	}
}

// build makes readers, the Hive server and the listeners.
func (a *App) build() error {
	to := newPresenter(&a.doors, &a.enrol, a.cfg.Readers)
	for _, c := range a.cfg.Readers {
		if c.Wiegand == nil {
			continue
		}
		r, err := reader.New(c, a.hw.Board, to, a.sink, a.log)
		if err != nil {
			return err
		}
		a.readers[c.ID] = r
	}
	a.openLocks()
	var err error
	a.hive, err = link.New(a.cfg.Hive, link.Deps{
		Access: hiveAccess{&a.doors, &a.enrol}, Nonces: hiveNonces{a.store}, Vend: hiveVend{a.policy}, Events: a.sink,
		Swordfish: a.lockCalls(), Counters: hiveCounters{a.store}, Due: a.locks.due,
		Ports: a.hw.Ports, Clock: a.clock.Clock, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.lines = a.newLockLines()
	a.openTokens()
	a.openGateway()
	return a.listen()
}

// listen opens the listeners. One that cannot be opened is a fault, not the
// end: the doors do not need it.
func (a *App) listen() error {
	l, warning, err := listenControl(filepath.Join(a.cfg.StateDir, "control.sock"))
	if err != nil {
		return err
	}
	if warning != "" {
		a.warnings = append(a.warnings, warning)
	}
	s := newServer("control", control.Handler(a.controlParts()), nil, a.log)
	s.keep(l)
	s.http.WriteTimeout, s.http.ReadTimeout = 0, 0 // event tails and imports take their time
	a.servers = append(a.servers, s)
	cert, err := siteCertificate(a.cfg.StateDir, a.cfg.Site.Name, a.wifiLocks(), a.hw.Clock.Now())
	if err != nil {
		a.health.Set("listen.certificate", err.Error())
		a.log.Error("the site's certificate cannot be used; https is not served", "err", err) // it names the file
	} else {
		a.cert = &cert
		if w := lockWarning(a.cert); w != "" && a.wifiLocks() {
			a.warnings = append(a.warnings, w)
		}
		a.open("https", a.cfg.Listen.HTTPS, a.mux(false), a.cert)
	}
	a.open("devices", a.cfg.Listen.Devices, a.mux(true), nil)
	return nil
}

func (a *App) open(name, addr string, h http.Handler, cert *tls.Certificate) {
	if addr == "" {
		return
	}
	s := newServer(name, h, cert, a.log)
	s.addr, s.health = addr, a.health
	if err := s.open(); err != nil {
		a.log.Error("listener could not be opened; it is tried again", "listener", name, "err", err)
	}
	a.servers = append(a.servers, s)
}

// Addresses returns where the agent listens, by listener; call it after Ready.
func (a *App) Addresses() map[string]string {
	out := map[string]string{}
	for _, s := range a.servers {
		if l := s.current(); l != nil {
			out[s.name] = l.Addr().String()
		}
	}
	return out
}

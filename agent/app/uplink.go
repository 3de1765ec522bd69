package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/agent/uplink"
	"gatehouse/certs"
)

// The cursors of the uplink, one for each source of events.
const (
	cursorGateway    = "uplink.gateway"
	cursorEdgeDevice = "uplink.edgeDevice"
)

// ipLink is the uplink to the IP host; its client is nil where the settings have
// none, or where it could not be made: err says why.
type ipLink struct {
	client *uplink.Client
	pin    *certs.Pin
	err    error
}

// openUplink makes the link of the settings. One that cannot be made is a fault,
// not the end: the doors do not need it.
func (a *App) openUplink(handle uplink.Handler, events uplink.Events) {
	if a.cfg.Uplink == nil {
		return
	}
	a.uplink.pin, a.uplink.client, a.uplink.err = a.newUplink(handle, events)
	if err := a.uplink.err; err != nil {
		a.health.Set("uplink.settings", err.Error())
		a.log.Error("uplink", "err", err)
	}
}

func (a *App) newUplink(handle uplink.Handler, events uplink.Events) (*certs.Pin, *uplink.Client, error) {
	serial, err := uplink.ParseSerial(a.cfg.Device.Serial)
	if err != nil {
		return nil, nil, err
	}
	if len(a.cfg.Site.Key) == 0 {
		return nil, nil, errors.New("uplink: the settings have no site key (site.key_file)")
	}
	now := func() site.Clock { return a.clock.Clock() }
	if a.cfg.Uplink.CAURL == "" {
		return nil, nil, errors.New("uplink: the settings do not say where the root certificate comes from (uplink.ca_url)")
	}
	proxy := http.ProxyFromEnvironment
	if text := a.cfg.Uplink.Proxy; text != "" {
		u, err := url.Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("uplink: proxy: %w", err)
		}
		proxy = http.ProxyURL(u)
	}
	pin, err := certs.Load(certs.Config{
		URL: a.cfg.Uplink.CAURL, Serial: [16]byte(serial), Key: certs.Key(a.cfg.Site.Key),
		File: filepath.Join(a.cfg.StateDir, "root.der"), Proxy: proxy, Now: a.hw.Clock.Now, Log: a.log,
	})
	if err != nil {
		return nil, nil, err
	}
	client, err := uplink.New(uplink.Config{
		ServerURL: a.cfg.Uplink.ServerURL, Serial: serial, Key: uplink.SiteKey(a.cfg.Site.Key),
		FromOldest: a.cfg.Uplink.FromOldest, Proxy: proxy, KeepAlive: a.cfg.Uplink.KeepAlive,
	}, uplink.Deps{
		Root: pinnedRoot{pin}, Handler: handle, Events: events, Keep: smallFile(filepath.Join(a.cfg.StateDir, "uplink.json")),
		Clock: now, Health: a.health, Log: a.log,
	})
	return pin, client, err
}

// uplinkConsumers are the names of the link's places in the log. A source that no
// host ever subscribed to keeps nothing, unless it is to begin at the oldest
// event: it would fill the log's budget.
func (a *App) uplinkConsumers() (out []string) {
	if a.cfg.Uplink == nil {
		return nil
	}
	for _, name := range []string{cursorGateway, cursorEdgeDevice} {
		if a.cfg.Uplink.FromOldest || a.spool.Cursor(name).Known() {
			out = append(out, name)
		}
	}
	return out
}

// announceLog is uplink.NewLogMessage with the time as the site's wall clock shows
// it, as all other audits have it.
func announceLog(zone *time.Location) func(uplink.Source, uplink.Serial, site.Event) uplink.Message {
	return func(source uplink.Source, gateway uplink.Serial, first site.Event) uplink.Message {
		first.Time = first.Time.In(zone)
		return uplink.NewLogMessage(source, gateway, first)
	}
}

func (l *ipLink) addTo(g *task.Group) {
	if l.client != nil {
		g.Add(l.client, task.Policy{})
	}
}

// pinnedRoot is the pinned root as the link needs it.
type pinnedRoot struct{ *certs.Pin }

// Current returns the pool and what status says of it.
func (p pinnedRoot) Current() (*x509.CertPool, string) {
	pool, info := p.Pin.Current()
	return pool, info.String()
}

// smallFile keeps what a part remembers.
type smallFile string

// Load returns what was last saved.
func (f smallFile) Load() ([]byte, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return bytes.TrimSpace(data), err
}

// Save returns when data is durable.
func (f smallFile) Save(data []byte) error { return writeFileSync(string(f), data, 0o600) }

// status returns the link as it is shown; nil where the settings have none.
func (l *ipLink) status() *control.UplinkStatus {
	if l.client == nil {
		if l.err == nil {
			return nil
		}
		return &control.UplinkStatus{Error: l.err.Error(), Stages: []control.UplinkStage{}, Subscribed: []string{}}
	}
	s := l.client.Status()
	out := &control.UplinkStatus{Server: s.Server, Connected: s.Connected, Since: s.Since, Attempts: s.Attempts, NextTry: s.NextTry,
		Error: s.LastError, Renewal: s.Renewal, Stages: []control.UplinkStage{}, Subscribed: []string{},
		Waiting: s.Waiting, Sent: s.Sent, Requests: s.Requests, Malformed: s.Malformed}
	for _, st := range s.Stages {
		out.Stages = append(out.Stages, uplinkStage(st))
	}
	if f, ok := s.Failed(); ok {
		st := uplinkStage(f)
		out.Failed = &st
	}
	for _, src := range s.Subscribed {
		out.Subscribed = append(out.Subscribed, string(src))
	}
	return out
}

func uplinkStage(s uplink.Stage) control.UplinkStage {
	return control.UplinkStage{Name: string(s.Name), State: string(s.State), Detail: s.Detail, Cause: s.Cause, Do: s.Advice, Since: s.Since}
}

// uplinkWrong says what is wrong with the link and what to do. Each stage that
// failed has its say: where TLS does not believe the host, the reason may be that
// the root could not be fetched.
func uplinkWrong(u *control.UplinkStatus, wrong, note func(what, cause, do string)) {
	if u == nil {
		return
	}
	failed := slices.DeleteFunc(slices.Clone(u.Stages), func(s control.UplinkStage) bool { return s.State != string(uplink.StateFailed) })
	if len(failed) == 0 && u.Failed != nil {
		failed = []control.UplinkStage{*u.Failed}
	}
	what := "no link to the IP host"
	if u.Connected {
		what = "trouble with the link to the IP host"
	}
	for _, s := range failed {
		wrong(what+": "+s.Name, s.Cause, s.Do)
	}
	switch {
	case !u.Connected && len(failed) == 0 && u.Error != "":
		wrong(what, u.Error, "see the text; the doors do not need the link")
	case u.Connected && u.Renewal != "":
		wrong("the link to the IP host cannot be renewed", u.Renewal, "see the text; the connection that there is ends when it is a day old")
	case u.Connected && len(u.Subscribed) == 0:
		note("the IP host has not subscribed to events", "it does that right after it connected, or never", "look at the host's settings; events wait in the log")
	}
}

// Roots returns the certificates that the agent shows and trusts.
func (a *App) Roots() []control.CertStatus {
	out := []control.CertStatus{}
	if c := a.certStatus(); c != nil {
		out = append(out, *c)
	}
	if a.uplink.pin != nil {
		out = append(out, rootStatus(a.uplink.pin.Status()))
	}
	return out
}

// rootName is the name of the pinned root where certificates are listed.
const rootName = "iphost root"

func rootStatus(s certs.Status) control.CertStatus {
	return control.CertStatus{Name: rootName, Until: s.Info.NotAfter, Subject: s.Info.Subject,
		SelfSigned: s.Info.Subject == s.Info.Issuer && s.Pinned, SHA256: s.Info.Fingerprint, Fetched: s.Info.Fetched,
		Warnings: s.Info.Warnings, Error: strings.ReplaceAll(s.LastError, "\n", "; ")}
}

// FetchRoot fetches the root of the IP host again.
func (a *App) FetchRoot(ctx context.Context) (control.CertStatus, error) {
	if a.uplink.client == nil {
		err := a.uplink.err
		if err == nil {
			err = errors.New("the settings have no uplink")
		}
		return control.CertStatus{}, fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	if err := a.uplink.pin.Refresh(ctx); err != nil {
		return control.CertStatus{}, fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	a.uplink.client.Kick()
	return rootStatus(a.uplink.pin.Status()), nil
}

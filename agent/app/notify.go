package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/notify"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/store/spool"
)

// notifyTimeout bounds a test message.
const notifyTimeout = time.Minute

// notifySet are the receivers of alarms, in the order of the settings.
type notifySet []*notify.Receiver

// openNotify makes the receivers of the settings, before this start makes its
// first event, so that a new receiver gets what is wrong from its first start on.
// It returns what is wrong with those that could not be made: a fault, not the
// end.
func (a *App) openNotify(rep spool.Report) map[string]error {
	wrong := map[string]error{}
	a.forgetNotify()
	for _, c := range a.cfg.Notify {
		r, err := a.newNotify(c)
		if err == nil {
			a.notify = append(a.notify, r)
			err = a.beginNotify(r, rep)
		}
		if err != nil {
			wrong[c.ID] = err
			a.log.Error("receiver of alarms", "receiver", c.ID, "err", err)
		}
	}
	return wrong
}

func (a *App) newNotify(c config.Notify) (*notify.Receiver, error) {
	fault := notify.Item(c.ID)
	return notify.New(notify.Config{
		ID: c.ID, On: c.On, Webhook: c.Webhook, Secret: notify.Secret(c.Secret),
		Mail: c.Mail, SMTP: c.SMTP, From: c.From, User: c.User, Password: notify.Secret(c.Password),
	}, notify.Deps{
		Log: a.spool, Cursor: a.spool.Cursor(notify.Item(c.ID)), Append: a.sink.Append,
		Fault: func(text string) {
			if text == "" {
				a.health.Clear(fault)
				return
			}
			a.health.Set(fault, text)
		},
		Holder: a.holderName, Site: a.cfg.Site.Name, Serial: a.cfg.Device.Serial, Zone: a.cfg.Site.Zone,
		Now: a.hw.Clock.Now, Logger: a.log,
	})
}

// beginNotify gives a receiver its place in the log: a new one begins now. Where
// the places of all were lost, it begins at the oldest event, as every consumer
// does: twice is better than never.
func (a *App) beginNotify(r *notify.Receiver, rep spool.Report) error {
	if cursor := a.spool.Cursor(r.String()); rep.Cursors && !cursor.Known() {
		return cursor.Advance(max(a.spool.First(), 1) - 1)
	}
	return r.Begin()
}

// forgetNotify drops the places of receivers that the settings do not have any
// more: named again, they begin anew.
func (a *App) forgetNotify() {
	for _, name := range a.spool.Cursors() {
		id, ours := strings.CutPrefix(name, notify.Item(""))
		if !ours || slices.ContainsFunc(a.cfg.Notify, func(c config.Notify) bool { return c.ID == id }) {
			continue
		}
		if err := a.spool.Forget(name); err != nil {
			a.log.Warn("a receiver of alarms could not be forgotten", "receiver", id, "err", err)
		}
	}
}

func (a *App) holderName(id site.HolderID) string {
	if a.store == nil {
		return ""
	}
	return a.store.HolderName(id)
}

// addTo makes the receivers tasks of a group.
func (s notifySet) addTo(g *task.Group) {
	for _, r := range s {
		g.Add(r, task.Policy{})
	}
}

// consumers are the names of their places in the log.
func (s notifySet) consumers() (out []string) {
	for _, r := range s {
		out = append(out, r.String())
	}
	return out
}

func (s notifySet) status() []control.NotifyStatus {
	out := []control.NotifyStatus{}
	for _, r := range s {
		st := r.Stats()
		out = append(out, control.NotifyStatus{ID: st.ID, Kind: st.Kind, To: st.Target, Queued: st.Queued, More: st.More, At: st.At,
			Sent: st.Sent, Skipped: st.Skipped, LastSent: st.LastSent, Error: st.LastError, ErrorAt: st.LastErrorAt,
			Failing: st.FailingSince, RetryAt: st.RetryAt})
	}
	return out
}

// notifyWrong says which receivers have trouble that is no standing fault yet.
func notifyWrong(st control.Status, wrong func(what, cause, do string)) {
	for _, n := range st.Notify {
		id := notify.Item(n.ID)
		if n.Error == "" || slices.ContainsFunc(st.Faults, func(f control.Fault) bool { return f.ID == id }) {
			continue
		}
		wrong(fmt.Sprintf("receiver %s: %d waiting: %s", n.ID, n.Queued, n.Error), notifyCause, notifyDo)
	}
}

// What is wrong with a receiver, and what to do about it.
const (
	notifyCause = "the receiver or the network is down, or it refuses; alarms wait in the event log"
	notifyDo    = "see the text; mend the receiver, its address or its password; then `gatehouse notify test ID`"
)

// TestNotify sends a test message at once.
func (s notifySet) TestNotify(ctx context.Context, id string) (string, error) {
	i := slices.IndexFunc(s, func(r *notify.Receiver) bool { return r.ID() == id })
	if i < 0 {
		return "", fmt.Errorf("receiver %q: %w in the settings", id, control.ErrNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	answer, err := s[i].Test(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	return answer, nil
}

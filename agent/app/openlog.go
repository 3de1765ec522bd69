package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/store/spool"
)

// openLog opens the event log and what stands on it.
func (a *App) openLog() error {
	a.sink = &eventSink{clock: func() site.Clock { return a.clock.Clock() }, outputs: a.outputs}
	var unread error
	a.alarms, unread = loadAlarms(filepath.Join(a.cfg.StateDir, "alarms.json"))
	log, rep, err := spool.Open(a.cfg.Spool, spool.Options{
		MinSeq:     a.alarms.known(), // should the log's folder be gone, numbers still go on
		Quarantine: filepath.Join(a.cfg.StateDir, "quarantine"),
		Clock:      a.eventClock,
		OnFault:    a.health.Set, OnClear: a.health.Clear,
		Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	if rep.NewLog && !rep.Fresh {
		a.log.Error("a new event log was begun", "reason", rep.Reason, "lost", rep.Lost, "quarantine", rep.Damaged)
	}
	a.spool, a.sink.log = log, log
	a.clock = newClockWatch(a.hw.Clock, a.cfg.Clock, log, a.sink.Append)
	a.alarms.log = log
	unmade := a.openNotify(rep)
	a.spool.Register(a.consumers()...)
	// First, because what follows may be about this start.
	a.sink.Append(site.Event{Kind: site.KindStart, Text: "gatehouse " + a.opt.Version})
	for _, f := range a.health.List() { // found while there was no log to say so
		a.healthChanged(task.Change{Fault: f})
	}
	a.logOpened(rep)
	if unread != nil {
		a.health.Set("alarms", unread.Error())
		a.log.Error("alarms could not be read", "err", unread)
	}
	for id, err := range unmade {
		a.health.Set(notify.Item(id), err.Error())
	}
	return nil
}

// logOpened tells the operator what was wrong with the log. Damage that is found
// later is told by the log itself.
func (a *App) logOpened(rep spool.Report) {
	if rep.Reason != "" {
		text := "a new event log begins: " + rep.Reason
		if len(rep.Damaged) > 0 {
			text += fmt.Sprintf("; kept as %v", rep.Damaged)
		}
		a.health.Set(spool.FaultDamaged, text)
	}
	if rep.Cursors {
		a.health.Set("spool.cursors", "the consumers' positions were unreadable: they start at the oldest event kept and may repeat some")
	}
	if rep.Time {
		a.health.Set("spool.time", "the last trusted time was unreadable: ends of credentials are judged by the clock alone until time is trusted again")
	}
}

// eventClock is the clock of events that the log makes by itself; it may be
// asked before the clock is watched.
func (a *App) eventClock() (time.Time, bool) {
	if a.clock == nil {
		return a.hw.Clock.Now(), false
	}
	c := a.clock.Clock()
	return c.Now, c.Trusted
}

// consumers are the names of those who must have had an event before it may be
// trimmed.
func (a *App) consumers() []string {
	return append([]string{spool.PolicyCopy}, slices.Concat(a.notify.consumers(), a.uplinkConsumers())...)
}

// healthChanged makes one event of each onset and each end of a fault.
func (a *App) healthChanged(c task.Change) {
	if a.sink.log == nil {
		return // the log itself could not be opened: Run says so
	}
	a.sink.Append(site.Event{Kind: site.KindFault, Item: c.Fault.ID, Text: c.Fault.Text, Cleared: c.Cleared})
}

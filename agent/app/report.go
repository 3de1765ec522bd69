package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
)

// lowDisk is the free space under which doctor speaks up.
const lowDisk = 64 << 20

// Status tells how the agent is.
func (a *App) Status(context.Context) control.Status {
	clock := a.clock.Clock()
	st := control.Status{
		Version: a.opt.Version, Site: a.cfg.Site.Name, Serial: a.cfg.Device.Serial, Started: a.started, Ready: a.isReady(),
		Clock: control.ClockStatus{Now: clock.Now.In(a.cfg.Site.Zone), Zone: a.cfg.Site.Zone.String(), Trusted: clock.Trusted,
			LastTrusted: clock.LastTrusted, Untrusted: clock.Mode.String()},
		Doors: a.doors.DoorList(), Readers: a.readerStatus(), Inputs: a.site.status(), Outputs: a.outputs.status(), Log: a.logStatus(), Disk: diskStatus(a.cfg.StateDir),
		Listen: a.Addresses(), Certs: []control.CertStatus{}, Warnings: slices.Concat([]string{}, a.hive.Warnings(), a.warnings), Absent: a.absent(),
	}
	st.Faults, st.Notify = a.faults(), a.notify.status()
	st.Uplink = a.uplink.status()
	st.Certs = a.Roots()
	a.storeStatus(&st.Store)
	return st
}

func (a *App) faults() []control.Fault {
	out := []control.Fault{}
	for _, f := range a.health.List() {
		out = append(out, control.Fault{ID: f.ID, Text: f.Text, Since: f.Since})
	}
	return out
}

func (a *App) logStatus() control.LogStatus {
	s := a.spool.Status()
	out := control.LogStatus{ID: s.Log, First: s.First, Last: s.Last, Bytes: s.Bytes, Budget: s.Budget, Queued: s.Queued, Lost: s.Lost}
	for _, name := range a.consumers() {
		at := a.spool.Cursor(name).Position()
		out.Cursors = append(out.Cursors, control.CursorStatus{Name: name, At: at, Behind: uint64(s.Last - min(at, s.Last))})
	}
	return out
}

func (a *App) storeStatus(out *control.StoreStatus) {
	if a.store == nil {
		return
	}
	c, err := a.store.Counts()
	if err != nil {
		return // the fault stands in health
	}
	out.Version, out.Credentials, out.Bytes = c.Change, c.Credentials, c.Bytes
	if a.cfg.Store.PINAlone {
		out.PINsNotAlone = a.store.PINsNotAlone()
	}
	copied := a.copied.Load()
	if copied != nil {
		out.Copied, out.CopySeq = copied.at, copied.seq
	}
}

func (a *App) readerStatus() []control.ReaderStatus {
	out := []control.ReaderStatus{}
	offline := map[site.ReaderID]bool{}
	for _, l := range a.hive.Lines() {
		for _, d := range l.Stats().Devices {
			if d.Reader != "" {
				offline[d.Reader] = d.Offline
			}
		}
	}
	for _, r := range a.cfg.Readers {
		st := control.ReaderStatus{ID: r.ID, Door: r.Door, Kind: "wiegand"}
		if r.Serial != nil {
			st.Kind = "serial"
		}
		if offline[r.ID] {
			st.Fault = "offline"
		}
		if on := a.readers[r.ID]; on != nil {
			st.Fault = strings.Join(on.Trouble(), "; ")
		}
		out = append(out, st)
	}
	return out
}

func (a *App) certStatus() *control.CertStatus {
	if a.cert == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(a.cert.Certificate[0])
	if err != nil {
		return nil
	}
	return &control.CertStatus{Name: "site", Until: leaf.NotAfter, SelfSigned: leaf.Issuer.String() == leaf.Subject.String()}
}

func diskStatus(dir string) control.DiskStatus {
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil {
		return control.DiskStatus{}
	}
	return control.DiskStatus{Free: fs.Bavail * uint64(fs.Bsize), Total: fs.Blocks * uint64(fs.Bsize)}
}

// absent names what the settings ask for and this build does not have.
func (a *App) absent() []string {
	out := []string{}
	for _, i := range a.opt.Issues {
		if i.Severity == config.Warning && strings.Contains(i.Text, "this build has no") {
			out = append(out, i.Path)
		}
	}
	return out
}

// advice says what to do about a fault, by the beginning of its id.
var advice = []struct{ prefix, cause, do string }{
	{"store.key", "STATE/device.key is missing or belongs to another store", "put the right device.key back (from a backup) and restart; the store cannot be read without it"},
	{"store.copy", "the verified copy of the policy file cannot be written: the disk is full, read-only or broken", "free space in the state folder, or replace the storage; the copy is tried again by itself"},
	{"store", "the policy file or the device file was damaged, or cannot be opened", "look into STATE/quarantine and at the event log; run on, take a backup, and replace the storage if it happens again"},
	{"spool.write", "the event log cannot be written: the disk is full, read-only or broken", "free space in the state folder, or replace the storage; events wait in memory meanwhile"},
	{"spool.damaged", "a file of the event log was altered; it was set aside", "keep STATE/quarantine for a look; a new log was begun, and events_lost says what is missing"},
	{"spool.budget", "the event budget is reached, and what is left are changes of the policy that no verified copy has", "see whether store.copy stands: free space for the copy; or raise events.budget"},
	{"spool.state", "the event log cannot be trimmed, or the trusted time not be kept: the disk is full, read-only or broken", "see the text; free space in the state folder, or replace the storage"},
	{"spool", "a small file of the event log was altered; it was set aside", "keep STATE/quarantine for a look; replace the storage if it happens again"},
	{"areas", "STATE/areas.json, which has who is where and the PIN lock-outs, was altered; it was made again from the event log", "see `gatehouse area list`; replace the storage if it happens again"},
	{"alarms", "STATE/alarms.json was altered; the list was made again from the event log", "look through `gatehouse alarms list`; replace the storage if it happens again"},
	{"listen.certificate", "STATE/tls/site.pem, the site's certificate with its key, was altered, or cannot be read or made; https is not served, and the doors do not need it",
		"see the text; put the file back from a backup, or move it away (a new one is made, which every client must be told of anew), and restart"},
	{"listen", "the address is in use, or is none of this machine's; the doors do not need it", "see the text; an address that comes later or a port that is freed is taken by itself; else mend listen in the settings, and restart"},
	{"inputs", "STATE/inputs.json could not be read or cannot be written", "free space in the state folder, or replace the storage; look at `gatehouse fire status` and at the doors"},
	{"input", "an input of the site cannot be read, so it counts as it was", "check that nothing else holds its line and that the board has it; see `gatehouse status`"},
	{"output", "an output cannot be driven", "check that nothing else holds its line and that the board has it; see `gatehouse status`"},
	{"door", "a line of the door cannot be driven or read, or a button is stuck", "check the wiring of that door; see `gatehouse door test`"},
	{"notify", notifyCause, notifyDo},
	{"tokens.damaged", "STATE/oauth.json or STATE/device.uuid was altered; it was set aside and every token ended", "make the tokens again: gatehouse admin token add"},
	{"tokens", "STATE/oauth.json or STATE/device.uuid cannot be read, or others could", "see the text; mend the file's mode or owner and restart; if others may have read it: gatehouse admin token revoke --all"},
	{"uplink", "the settings of the link to the IP host cannot work", "see the text; mend uplink, site.key_file and device.serial in the settings and restart"},
	{"locks", "what is kept of the locks in STATE/locks cannot be read or written", "see the text; free space in the state folder, or replace the storage. A lock whose file is gone gets a whole door file at its next call"},
	{"gateway", "STATE/gateway.json, which has the link numbers of the doors, cannot be read", "see the text; put the file back from a backup and restart. Removing it gives new link numbers: the host must then link anew"},
	{"task", "a part of the agent fails again and again", "see its text; restart the agent, and report it if it stays"},
}

// adviceOn says why a fault may stand and what to do.
func adviceOn(id string) (cause, do string) {
	for _, adv := range advice {
		if strings.HasPrefix(id, adv.prefix) {
			return adv.cause, adv.do
		}
	}
	return unknownCause, "see the text and the event log"
}

const unknownCause = "unknown"

// remedy says what to do about a warning.
func remedy(warning string) string {
	switch {
	case strings.Contains(warning, "group "+controlGroup):
		return "groupadd " + controlGroup + ", add the operators to it, and restart"
	case strings.Contains(warning, "site's certificate"):
		return "remove STATE/tls/site.pem and restart: an RSA one is made, which every client must be told of anew"
	case strings.Contains(warning, "swordfish.auth"):
		return "set swordfish.auth: enforce as soon as all locks send right tokens; lock show says which do not"
	case strings.Contains(warning, "version 1"):
		return "give the device version 2, then versions: [2] in the settings"
	}
	return "nothing, if it is meant so"
}

// Doctor says what is wrong and what to do.
func (a *App) Doctor(ctx context.Context) []control.Finding {
	st := a.Status(ctx)
	out := []control.Finding{}
	wrong := func(what, cause, do string) {
		out = append(out, control.Finding{What: what, Cause: cause, Do: do, Wrong: true})
	}
	note := func(what, cause, do string) {
		out = append(out, control.Finding{What: what, Cause: cause, Do: do})
	}
	if !st.Ready {
		wrong("the doors are not ready", "the agent is starting, or a part does not start", "wait a moment; then see the log of the service")
	}
	for _, f := range st.Faults {
		if f.ID == uplink.FaultID && st.Uplink != nil && !st.Uplink.Connected {
			continue // uplinkWrong says more
		}
		cause, do := adviceOn(f.ID)
		wrong("fault "+f.ID+": "+f.Text, cause, do)
	}
	for _, d := range st.Doors {
		if d.Alarm != site.AlarmNone {
			wrong(fmt.Sprintf("door %s: alarm %s", d.ID, d.Alarm), "see `gatehouse alarms list`", "look at the door; close it; acknowledge the alarm")
		}
	}
	for _, in := range st.Inputs {
		if !in.OK && !strings.HasPrefix(in.Text, unread) { // that is a fault already
			cause, do := inputAdvice(in.ID)
			wrong("input "+in.ID+": "+in.Text, cause, do)
		}
	}
	for _, r := range st.Readers {
		switch {
		case r.Fault == "":
		case r.Kind == "serial":
			wrong(fmt.Sprintf("reader %s is %s", r.ID, r.Fault), "the port cannot be opened or read, or the device does not answer on it", "check its power, the cable, the port's name and speed in the settings, and the device's key")
		default:
			wrong(fmt.Sprintf("reader %s: %s", r.ID, r.Fault), "a wire is cut or shorted, the reader has no power, or it was opened", "look at the reader and its cable; docs/wiring.md says how each fault reads")
		}
	}
	out = append(out, control.LockFindings(a.locks.LockList(), st.Clock.Now)...)
	for _, id := range a.forgotten() {
		wrong("lock "+id+" is not in the settings and has a table of this agent", "it was named once; it gets nothing any more and goes on opening for the cards that it has",
			"name it again, or reset the lock and then remove STATE/locks/"+id+".*")
	}
	out = append(out, control.PendingFindings(a.locks.PendingLocks(), st.Clock.Now)...)
	a.releasedWrong(wrong)
	notifyWrong(st, wrong)
	uplinkWrong(st.Uplink, wrong, note)
	if !st.Clock.Trusted {
		wrong("the clock is not trusted", "nothing vouches for the time, or it went back",
			"give the board network time or a battery-backed clock; until then rights with a schedule do as clock.untrusted says: "+st.Clock.Untrusted)
	}
	if st.Disk.Total > 0 && st.Disk.Free < lowDisk {
		wrong(fmt.Sprintf("the disk has %d MiB left", st.Disk.Free>>20), "the state folder's file system is almost full", "free space or lower events.budget")
	}
	if n := st.Store.PINsNotAlone; n > 0 {
		note(fmt.Sprintf("%d PINs do not open a reader that takes a PIN only", n), "they were set before the site had such a reader", "set them again: gatehouse credential pin")
	}
	if a.store != nil && st.Store.Version == 0 {
		note("there is no policy yet: no card opens", "nothing was ever enrolled", "gatehouse credential add, or credential import")
	}
	for _, w := range st.Warnings {
		note(w, "a warning of the settings or the machine", remedy(w))
	}
	for _, c := range st.Certs {
		if !c.Until.IsZero() && c.Until.Sub(st.Clock.Now) < 30*24*time.Hour {
			do := "remove STATE/tls and restart to make a new one"
			if c.Name == rootName {
				do = "renew it on the IP host; it is fetched when TLS fails, and with: gatehouse cert fetch"
			}
			wrong("certificate "+c.Name+" ends soon", "it is valid until "+c.Until.Format(time.DateOnly), do)
		}
	}
	return out
}

package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/gateway"
	"gatehouse/agent/site"
)

// TestConvert: every row of engage.md section 3, "What we tell a host".
func TestConvert(t *testing.T) {
	r := newRig(t, nil)
	front := deviceIDs(t, r)["front"]
	at := time.Date(2017, 11, 20, 9, 47, 17, 0, time.UTC)
	body := func(code string) string {
		return `{"edgeDevice":{"linkId":"dev00000","audits":[{"event":"` + code + `","time":"20171120104717"}]}}`
	}
	access := func(reason site.Reason) site.Event { return site.Event{Kind: site.KindAccess, Reason: reason} }
	mode := func(m site.Mode) site.Event { return site.Event{Kind: site.KindMode, Mode: m.String()} }
	for _, tt := range []struct {
		e    site.Event
		code string // empty: never leaves
	}{
		{access(site.ReasonGranted), "05020000"},
		{access(site.ReasonGrantedPassback), "05020000"},
		{access(site.ReasonUnknownCredential), "050B0000"},
		{access(site.ReasonUnknownFormat), "050B0000"},
		{access(site.ReasonExpired), "050A0000"},
		{access(site.ReasonNotActive), "05090000"},
		{access(site.ReasonOutOfSchedule), "05080000"},
		{access(site.ReasonHoliday), "05080000"},
		{access(site.ReasonLockdown), "050D0000"},
		{access(site.ReasonFrozen), "050C0000"},
		{access(site.ReasonBlocked), "05410000"},
		{access(site.ReasonRevoked), "05410000"},
		{access(site.ReasonNoRight), "05400000"},
		{access(site.ReasonPINWrong), "05400000"},
		{access(site.ReasonNoPolicy), "05400000"},
		{access(site.ReasonFault), "05400000"},
		{access(site.ReasonUsedUp), "05400000"},
		{access(site.ReasonDoorDisabled), "05400000"},
		{access("something new"), "05400000"},
		{site.Event{Kind: site.KindExit}, "07040000"},
		{site.Event{Kind: site.KindDoorOpened}, "07210000"},
		{site.Event{Kind: site.KindDoorClosed}, "07220000"},
		{site.Event{Kind: site.KindDoorForced}, "07000000"},
		{site.Event{Kind: site.KindDoorForced, Cleared: true}, ""},
		{site.Event{Kind: site.KindDoorHeld}, "07010000"},
		{site.Event{Kind: site.KindDoorHeld, Cleared: true}, ""},
		{site.Event{Kind: site.KindDoorHeldWarning}, ""},
		{site.Event{Kind: site.KindTamper}, "07020000"},
		{site.Event{Kind: site.KindTamper, Cleared: true}, "071B0000"},
		{mode(site.ModePassage), "0F000000"},
		{mode(site.ModeSecured), "0F010000"},
		{mode(site.ModeFrozenPassage), "0F050000"},
		{mode(site.ModeFrozenSecured), "0F040000"},
		{mode(site.ModeLockdown), "05000000"},
		{mode(site.ModeDisabled), ""},
		{site.Event{Kind: site.KindMode, Mode: "disabled", Text: "lockdown ended"}, "05010000"},
		{site.Event{Kind: site.KindCommand, Text: "release"}, ""},                          // it may have ended nothing
		{site.Event{Kind: site.KindCommand, Text: "release", Mode: "secured"}, "05010000"}, // of a lock on a line
		{site.Event{Kind: site.KindCommand, Text: "unlock"}, "0F020000"},
		{site.Event{Kind: site.KindCommand, Text: "unlock", Reason: site.ReasonLockdown}, ""},
		{site.Event{Kind: site.KindCommand, Text: "mode"}, ""},
		{site.Event{Kind: site.KindPolicy, Source: site.SourceIPHost}, "06010000"},
		{site.Event{Kind: site.KindPolicy, Source: site.SourceIPHost, Reason: site.ReasonFault}, "06000000"},
		{site.Event{Kind: site.KindPolicy, Source: site.SourceOperator}, ""},
		{site.Event{Kind: site.KindLockAudit, Code: "0100", Data: "15e0"}, "010015e0"},
		{site.Event{Kind: site.KindLockAudit, Code: "07", Data: `"}x`}, ""},
		{site.Event{Kind: site.KindDuress}, ""},
		{site.Event{Kind: site.KindUnused}, ""},
		{site.Event{Kind: site.KindFire}, ""},
		{site.Event{Kind: site.KindSignIn}, ""},
		{site.Event{Kind: site.KindVend}, ""},
	} {
		tt.e.Door, tt.e.Time = "front", at
		source, kind, device, link, got, ok := r.Convert(tt.e)
		if tt.code == "" {
			if ok || got != "" {
				t.Errorf("%+v left as %s", tt.e, got)
			}
			continue
		}
		if !ok || source != "edgeDevice" || kind != "Audit" || device != front || link != "dev00000" || got != body(tt.code) {
			t.Errorf("%s %s%s: %s %s %s %s %s %v, want %s", tt.e.Kind, tt.e.Reason, tt.e.Mode, source, kind, device, link, got, ok, tt.code)
		}
	}
	for _, tt := range []struct {
		e    site.Event
		code string
	}{
		{site.Event{Kind: site.KindClock, Cleared: true}, "0A020000"},
		{site.Event{Kind: site.KindClock}, "0A010000"},
		{site.Event{Kind: site.KindEventsLost, Count: 7}, "06050000"},
	} {
		tt.e.Time = at
		source, kind, device, link, got, ok := r.Convert(tt.e)
		if want := `{"gateway":{"audits":[{"event":"` + tt.code + `","time":"20171120104717"}]}}`; !ok || source != "gateway" || kind != "Audit" || device != "a0b1000000000206" || link != "" || got != want {
			t.Errorf("%s: %s %s %s %s %s %v", tt.e.Kind, source, kind, device, link, got, ok)
		}
	}
}

// TestConvertExample: the audit event of engage.md section 2, to the byte, with the
// lock's own time.
func TestConvertExample(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Devices = c.Devices[2:] })
	e := site.Event{Kind: site.KindLockAudit, Door: "room5", Code: "0704", Data: "0000", LockTime: "20171120104717", Time: time.Now(), As: site.KindExit}
	source, kind, device, _, body, ok := r.Convert(e)
	got := fmt.Sprintf("%s %s %s %s %v", source, kind, device, body, ok)
	want := `edgeDevice Audit a100000000002479 {"edgeDevice":{"linkId":"dev00000","audits":[{"event":"07040000","time":"20171120104717"}]}} true`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e.LockTime = "yesterday"
	e.Time = time.Date(2020, 1, 9, 19, 25, 0, 0, time.UTC)
	if _, _, _, _, body, _ = r.Convert(e); body != `{"edgeDevice":{"linkId":"dev00000","audits":[{"event":"07040000","time":"20200109202500"}]}}` {
		t.Errorf("got %s", body)
	}
	r.want(t, "DELETE", "/edgeDevices/dev00000", "", 200, "")
	if _, _, _, _, body, ok := r.Convert(e); ok {
		t.Errorf("an unlinked lock's event left: %s", body)
	}
	if _, _, _, _, _, ok := r.Convert(site.Event{Kind: site.KindExit, Door: "gone"}); ok {
		t.Error("the event of a door that there is not left")
	}
	if _, _, _, _, _, ok := r.Convert(site.Event{Kind: site.KindExit}); ok {
		t.Error("an event without a door left")
	}
}

func TestHideGrants(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.HideGrants = true })
	if _, _, _, _, _, ok := r.Convert(site.Event{Kind: site.KindAccess, Reason: site.ReasonGranted, Door: "front"}); ok {
		t.Error("a grant left")
	}
	if _, _, _, _, _, ok := r.Convert(site.Event{Kind: site.KindAccess, Reason: site.ReasonExpired, Door: "front"}); !ok {
		t.Error("a refusal did not leave")
	}
}

// TestAudits: DELETE removes what a GET has read and nothing else, over a restart;
// the log is not shortened.
func TestAudits(t *testing.T) {
	r := newRig(t, nil)
	at := time.Date(2017, 11, 20, 9, 47, 17, 0, time.UTC)
	add := func(door site.DoorID, k site.Kind) { r.log.add(site.Event{Kind: k, Door: door, Time: at}) }
	entry := func(code string) string { return `{"event":"` + code + `0000","time":"20171120104717"}` }
	one := func(list string) string { return `{"edgeDevice":{"linkId":"dev00000","audits":[` + list + `]}}` }
	add("front", site.KindDoorOpened)
	add("vault", site.KindDoorForced)
	add("front", site.KindFire)
	add("front", site.KindDoorClosed)
	add("", site.KindClock)
	path := "/edgeDevices/dev00000/audits"
	r.want(t, "DELETE", path, "", 200, "") // nothing was read
	both := one(entry("0721") + "," + entry("0722"))
	r.want(t, "GET", path, "", 200, both)
	r.want(t, "GET", path, "", 200, both)
	add("front", site.KindExit) // after the GET
	r.keep.fail = errDisk
	r.want(t, "DELETE", path, "", 500, `{"statusMessage":"gateway: keep links: disk full"}`)
	r.keep.fail = nil
	r.want(t, "DELETE", path, "", 200, "")
	r.want(t, "GET", path, "", 200, one(entry("0704")))
	r.want(t, "GET", "/edgeDevices/audits", "", 200, `{"edgeDevice":[{"linkId":"dev00000","audits":[`+entry("0704")+`]},{"linkId":"dev00001","audits":[`+entry("0700")+`]},{"linkId":"dev00002","audits":[]}]}`)
	r.restart(t)
	r.want(t, "GET", path, "", 200, one(entry("0704")))
	r.want(t, "GET", "/edgeDevices/audits", "", 200, `{"edgeDevice":[{"linkId":"dev00000","audits":[`+entry("0704")+`]},{"linkId":"dev00001","audits":[`+entry("0700")+`]},{"linkId":"dev00002","audits":[]}]}`)
	r.want(t, "DELETE", "/edgeDevices/audits", "", 200, "")
	r.want(t, "GET", "/edgeDevices/audits", "", 200, `{"edgeDevice":[{"linkId":"dev00000","audits":[]},{"linkId":"dev00001","audits":[]},{"linkId":"dev00002","audits":[]}]}`)
	if len(r.log.events) != 6 {
		t.Errorf("%d events in the log", len(r.log.events))
	}
	r.log.fail = errDisk
	add("front", site.KindExit)
	r.want(t, "GET", path, "", 500, `{"statusMessage":"disk full"}`)
}

// TestAuditsBounded: 2,000 a lock, the rest after a DELETE; what has nothing for a
// device is not read twice.
func TestAuditsBounded(t *testing.T) {
	r := newRig(t, nil)
	for i := range 5000 {
		r.log.add(site.Event{Kind: site.KindDoorOpened, Door: "front", Time: time.Unix(int64(i), 0)})
	}
	count := func() int {
		_, body := r.Serve(t.Context(), "GET", "/edgeDevices/dev00000/audits", "")
		return len(auditsOf(t, body))
	}
	for _, want := range []int{2000, 2000, 1000, 0} {
		if n := count(); n != want {
			t.Errorf("%d audits, want %d", n, want)
		}
		r.want(t, "DELETE", "/edgeDevices/dev00000/audits", "", 200, "")
	}
	for range 2 {
		r.log.reads = 0
		r.want(t, "GET", "/edgeDevices/dev00001/audits", "", 200, `{"edgeDevice":{"linkId":"dev00001","audits":[]}}`)
	}
	if r.log.reads != 0 {
		t.Errorf("%d reads of what was read before", r.log.reads)
	}
	r.log.first = 4500 // the oldest went
	r.log.add(site.Event{Kind: site.KindExit, Door: "vault"})
	if _, body := r.Serve(t.Context(), "GET", "/edgeDevices/dev00001/audits", ""); len(auditsOf(t, body)) != 1 {
		t.Errorf("got %s", body)
	}
}

// TestLockdownEnds: what a door records when a lockdown is over (agent/door, TestCommands)
// is told as that, with the mode that holds now; a release where there was no lockdown
// is not told.
func TestLockdownEnds(t *testing.T) {
	mode := func(m site.Mode) site.Event { return site.Event{Kind: site.KindMode, Mode: m.String()} }
	ends := func(m site.Mode) site.Event {
		return site.Event{Kind: site.KindMode, Mode: m.String(), Text: "lockdown ended"}
	}
	released := site.Event{Kind: site.KindCommand, Text: "release"}
	for _, tt := range []struct {
		name string
		in   []site.Event
		want string
	}{
		{"by its end", []site.Event{mode(site.ModeLockdown), ends(site.ModeSecured)}, "0500 0501+0F01"},
		{"by a release, into passage", []site.Event{mode(site.ModeLockdown), released, ends(site.ModePassage)}, "0500 0501+0F00"},
		{"under a door that is disabled", []site.Event{mode(site.ModeLockdown), mode(site.ModeDisabled), released, ends(site.ModeDisabled)}, "0500 0501"},
		{"a release without a lockdown", []site.Event{released}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			var told []string
			for _, e := range tt.in {
				e.Door = "front"
				r.log.add(e)
				if _, _, _, _, body, ok := r.Convert(e); ok {
					told = append(told, codesOf(t, []byte(body)))
				}
			}
			if got := strings.Join(told, " "); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
			_, body := r.Serve(t.Context(), "GET", "/edgeDevices/dev00000/audits", "")
			if got := codesOf(t, body); got != strings.ReplaceAll(tt.want, " ", "+") {
				t.Errorf("audits %q, want %q", got, tt.want)
			}
		})
	}
}

// codesOf returns the codes of the audits of a body.
func codesOf(t *testing.T, body []byte) string {
	t.Helper()
	var codes []string
	for _, a := range auditsOf(t, body) {
		codes = append(codes, strings.TrimSuffix(a.Event, "0000"))
	}
	return strings.Join(codes, "+")
}

// TestAuditsOfOneEvent: the two audits of one event stay together where 2,000 are full.
func TestAuditsOfOneEvent(t *testing.T) {
	r := newRig(t, nil)
	for range 1999 {
		r.log.add(site.Event{Kind: site.KindDoorOpened, Door: "front"})
	}
	r.log.add(site.Event{Kind: site.KindMode, Door: "front", Mode: "secured", Text: "lockdown ended"})
	r.log.add(site.Event{Kind: site.KindExit, Door: "front"})
	for _, want := range []int{1999, 3, 0} {
		_, body := r.Serve(t.Context(), "GET", "/edgeDevices/dev00000/audits", "")
		if n := len(auditsOf(t, body)); n != want {
			t.Errorf("%d audits, want %d", n, want)
		}
		r.want(t, "DELETE", "/edgeDevices/dev00000/audits", "", 200, "")
	}
}

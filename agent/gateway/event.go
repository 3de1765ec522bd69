package gateway

import (
	"regexp"
	"time"

	"gatehouse/agent/site"
)

// Sources of what a host is told (engage.md section 2).
const (
	sourceGateway = "gateway"
	sourceEdge    = "edgeDevice"
)

// stampLayout is YYYYMMDDHHMMSS.
const stampLayout = "20060102150405"

// audit is one entry of an event's body and of the audits resource.
type audit struct {
	Event string `json:"event"`
	Time  string `json:"time"`
}

type deviceAudits struct {
	LinkID string  `json:"linkId"`
	Audits []audit `json:"audits"`
}

// noData is the data of all codes of ours.
const noData = "0000"

// refusals are the codes of a refused access; any other reason is accessDenied.
var refusals = map[site.Reason]string{
	site.ReasonUnknownCredential: "050B", site.ReasonUnknownFormat: "050B",
	site.ReasonExpired: "050A", site.ReasonNotActive: "0509",
	site.ReasonOutOfSchedule: "0508", site.ReasonHoliday: "0508",
	site.ReasonLockdown: "050D", site.ReasonFrozen: "050C",
	site.ReasonBlocked: "0541", site.ReasonRevoked: "0541",
}

const accessDenied = "0540"

// modes are the codes of a mode that began. A door that is disabled has none.
var modes = map[string]string{
	site.ModePassage.String(): "0F00", site.ModeSecured.String(): "0F01",
	site.ModeFrozenPassage.String(): "0F05", site.ModeFrozenSecured.String(): "0F04",
	site.ModeLockdown.String(): "0500",
}

// Commands of which no mode tells, by the names of the doors' commands, and the text
// of the mode event by which a door's lockdown is over, by whatever it ended.
const (
	unlock        = "unlock"
	release       = "release"
	lockdownEnded = "lockdown ended"
)

const lockdownEnd = "0501"

// code returns the audit of an event: engage.md section 3, "What we tell a host".
// It is false for an event that never leaves.
func code(e *site.Event, hideGrants bool) (source, text string, ok bool) {
	edge := func(code string) (string, string, bool) {
		return sourceEdge, code + noData, code != "" && e.Door != ""
	}
	switch e.Kind {
	case site.KindAccess:
		switch {
		case e.Reason.Grants() && hideGrants:
			return "", "", false
		case e.Reason.Grants():
			return edge("0502")
		case refusals[e.Reason] != "":
			return edge(refusals[e.Reason])
		}
		return edge(accessDenied)
	case site.KindExit:
		return edge("0704")
	case site.KindDoorOpened:
		return edge("0721")
	case site.KindDoorClosed:
		return edge("0722")
	case site.KindDoorForced, site.KindDoorHeld:
		if e.Cleared {
			return "", "", false
		}
		return edge(map[site.Kind]string{site.KindDoorForced: "0700", site.KindDoorHeld: "0701"}[e.Kind])
	case site.KindTamper:
		if e.Cleared {
			return edge("071B")
		}
		return edge("0702")
	case site.KindMode:
		if e.Text == lockdownEnded {
			return edge(lockdownEnd)
		}
		return edge(modes[e.Mode])
	case site.KindCommand:
		switch {
		case e.Reason != "": // it was refused
		case e.Text == unlock:
			return edge("0F02")
		case e.Text == release && e.Mode != "":
			// Of a lock on a line, as earlier builds recorded it: the order had
			// the mode, and no mode event followed. At a door it may have ended nothing.
			return edge(lockdownEnd)
		}
		return "", "", false
	case site.KindPolicy:
		return policyCode(e)
	case site.KindClock:
		if e.Cleared {
			return sourceGateway, "0A02" + noData, true
		}
		return sourceGateway, "0A01" + noData, true
	case site.KindEventsLost:
		return sourceGateway, "0605" + noData, true
	case site.KindLockAudit:
		return sourceEdge, e.Code + e.Data, e.Door != "" && eightHex.MatchString(e.Code+e.Data)
	}
	return "", "", false
}

var (
	eightHex = regexp.MustCompile(`^[0-9A-Fa-f]{8}$`)
	stamp    = regexp.MustCompile(`^[0-9]{14}$`)
)

// policyCode tells of a door file of the IP host: stored, or refused.
func policyCode(e *site.Event) (source, text string, ok bool) {
	if e.Source != site.SourceIPHost || e.Door == "" {
		return "", "", false
	}
	if e.Reason != "" {
		return sourceEdge, "0600" + noData, true
	}
	return sourceEdge, "0601" + noData, true
}

// auditsOf returns the audits of an event: one, or two where a lockdown gave way to
// another mode; none of an event that never leaves.
func (g *Gateway) auditsOf(e *site.Event) (source string, list []audit) {
	source, text, ok := code(e, g.cfg.HideGrants)
	if !ok {
		return "", nil
	}
	a := audit{text, g.stamp(e.Time)}
	if e.Kind == site.KindLockAudit && stamp.MatchString(e.LockTime) {
		a.Time = e.LockTime // as it came
	}
	list = append(list, a)
	if now := modes[e.Mode]; now != "" && e.Kind == site.KindMode && e.Text == lockdownEnded {
		list = append(list, audit{now + noData, a.Time})
	}
	return source, list
}

// stamp is a time as the site's wall clock shows it.
func (g *Gateway) stamp(t time.Time) string { return t.In(g.cfg.Zone).Format(stampLayout) }

// Convert returns what a host is told of an event: the source to which it must have
// subscribed, the event's type, the deviceId and the body. linkID is empty for the
// gateway itself. It is false for an event that never leaves, and for one of a door
// that is no linked device. It does not block.
func (g *Gateway) Convert(e site.Event) (source, eventType, deviceID, linkID, body string, ok bool) {
	source, audits := g.auditsOf(&e)
	if len(audits) == 0 {
		return "", "", "", "", "", false
	}
	// All texts are of digits and letters: nothing needs an escape.
	list := `"audits":[`
	for i, a := range audits {
		if i > 0 {
			list += ","
		}
		list += `{"event":"` + a.Event + `","time":"` + a.Time + `"}`
	}
	list += "]}}"
	if source == sourceGateway {
		return source, "Audit", g.deviceID, "", `{"gateway":{` + list, true
	}
	l := g.links.byDoor[e.Door]
	if l == nil || !g.links.linked(l) {
		return "", "", "", "", "", false
	}
	return source, "Audit", l.deviceID, l.linkID, `{"edgeDevice":{"linkId":"` + l.linkID + `",` + list, true
}

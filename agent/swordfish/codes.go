package swordfish

import (
	"fmt"
	"strconv"
	"strings"

	"gatehouse/agent/site"
)

// Meaning is what a code of an audit says.
type Meaning struct {
	Kind    site.Kind   // for Event.As; empty: a detail of another audit, nothing by itself
	Reason  site.Reason // of an access
	Mode    string      // that now holds, for KindMode; empty: the code does not tell
	Cleared bool        // an alarm, a fault or a mode that ends
	Text    string      // for a person; the same for each audit of the code
}

// meanings is the table of engage.md section 5, and 071B, which section 3 has as the
// end of 0702.
//
// The reasons of refusals are the reverse of what section 3 tells a host, so that a
// code means the same in both directions:
//
//   - 050C "restricted" is frozen. Section 3 has it for frozen and for nothing else,
//     and those who have the vendor's list of audits call it "restricted mode" (F): a
//     mode of the lock refuses, not a right that the card lacks. A lock does not know
//     cards without a right: those are 050B.
//   - 050D "lockout" is lockdown, as there.
//   - 0540 "access denied" is no_right. Section 3 has it for "any other": the lock
//     decided and does not say why. It is not fault, which says that the decision
//     could not be made, and of the others no_right claims least.
//
// 0502 is documented as passage and is a granted access in the field (F, and section
// 3); a lock that began passage by itself would be taken for a grant. 1301 to 1304
// only carry on what 1300 began: one unknown card is one access.
var meanings = map[string]Meaning{
	"0100": {Kind: site.KindBattery, Text: "low battery"},
	"0101": {Kind: site.KindBattery, Text: "critical battery"},
	"0400": {Kind: site.KindConfig, Text: "the lock took a configuration"},
	"0401": {Kind: site.KindFault, Text: "the lock refused a configuration"},

	"0500": {Kind: site.KindMode, Mode: site.ModeLockdown.String(), Text: "lockdown"},
	"0501": {Kind: site.KindMode, Cleared: true, Text: "lockdown ended"},
	"0502": granted("access granted (or passage)"),
	"0508": refused(site.ReasonOutOfSchedule, "out of schedule"),
	"0509": refused(site.ReasonNotActive, "before its activation"),
	"050A": refused(site.ReasonExpired, "expired"),
	"050B": refused(site.ReasonUnknownCredential, "unknown card"),
	"050C": refused(site.ReasonFrozen, "restricted"),
	"050D": refused(site.ReasonLockdown, "lockout"),
	"0513": {Kind: site.KindMode, Mode: site.ModeFrozenPassage.String(), Text: "frozen in passage"},
	"0514": {Kind: site.KindMode, Mode: site.ModeFrozenSecured.String(), Text: "frozen secured"},
	"0540": refused(site.ReasonNoRight, "the lock does not say why"),
	"0541": refused(site.ReasonBlocked, "blocked"),

	"0600": {Kind: site.KindFault, Text: "the lock could not store its door file"},
	"0601": {Kind: site.KindPolicy, Text: "the lock stored its door file"},
	"0604": {Kind: site.KindFault, Text: "the lock's card table is corrupt"},
	"0605": {Kind: site.KindEventsLost, Text: "the lock lost audits"},

	"0700": {Kind: site.KindDoorForced, Text: "door forced"},
	"0701": {Kind: site.KindDoorHeld, Text: "door propped"},
	"0702": {Kind: site.KindTamper, Text: "tamper"},
	"0703": {Kind: site.KindTamper, Text: "magnetic tamper"},
	"0704": {Kind: site.KindExit, Text: "request to exit"},
	"0713": {Kind: site.KindTamper, Text: "reader tamper"},
	"071B": {Kind: site.KindTamper, Cleared: true, Text: "tamper ended"},
	"0721": {Kind: site.KindDoorOpened, Text: "door opened"},
	"0722": {Kind: site.KindDoorClosed, Text: "door closed"},

	"0900": {Kind: site.KindFault, Text: "the lock could not read our JSON"},
	"0901": {Kind: site.KindConfig, Text: "the lock ignored tags that it does not know"},
	"0A01": {Kind: site.KindClock, Text: "clock error"},
	"0A02": {Kind: site.KindClock, Cleared: true, Text: "clock set"},

	"0F00": {Kind: site.KindMode, Mode: site.ModePassage.String(), Text: "by the host: passage"},
	"0F01": {Kind: site.KindMode, Mode: site.ModeSecured.String(), Text: "by the host: secured"},
	"0F02": {Kind: site.KindCommand, Text: "by the host: momentary unlock"},
	"0F03": {Kind: site.KindMode, Text: "by the host: holiday"},
	"0F04": {Kind: site.KindMode, Mode: site.ModeFrozenSecured.String(), Text: "by the host: frozen secured"},
	"0F05": {Kind: site.KindMode, Mode: site.ModeFrozenPassage.String(), Text: "by the host: frozen in passage"},
	"0F06": {Kind: site.KindMode, Text: "by the host: timed override"},
	"0F0D": {Kind: site.KindMode, Cleared: true, Text: "by the host: override ended"},

	"1000": {Kind: site.KindFault, Cleared: true, Text: "linked with the gateway"},
	"1001": {Kind: site.KindFault, Text: "linking with the gateway failed"},
	"1002": {Kind: site.KindFault, Cleared: true, Text: "the gateway is back"},
	"1003": {Kind: site.KindFault, Text: "communication error"},

	"1300": refused(site.ReasonUnknownCredential, "unknown card, how many bits it has"),
	"1301": {Text: "unknown card, bits 15 to 0"},
	"1302": {Text: "unknown card, bits 31 to 16"},
	"1303": {Text: "unknown card, bits 47 to 32"},
	"1304": {Text: "unknown card, bits 63 to 48"},
}

func granted(text string) Meaning {
	return Meaning{Kind: site.KindAccess, Reason: site.ReasonGranted, Text: text}
}

func refused(why site.Reason, text string) Meaning {
	return Meaning{Kind: site.KindAccess, Reason: why, Text: "access refused: " + text}
}

// MeaningOf returns the meaning of a code of 4 hex digits. It is false for a code
// that is not known: it is kept raw, shown raw and never rejected.
func MeaningOf(code string) (Meaning, bool) {
	m, ok := meanings[code]
	if !ok && len(code) == 4 {
		m, ok = meanings[strings.ToUpper(code)]
	}
	return m, ok
}

// Meaning is MeaningOf the audit's code, and tells its data where they mean
// something: those of a battery are its millivolts.
func (a Audit) Meaning() (Meaning, bool) {
	m, ok := MeaningOf(a.Code)
	if m.Kind == site.KindBattery {
		if mv, err := strconv.ParseUint(a.Data, 16, 16); err == nil && mv > 0 {
			m.Text += fmt.Sprintf(" %d mV", mv)
		}
	}
	return m, ok
}

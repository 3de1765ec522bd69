package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/door/area"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// whole is a file with the rules of the complete door.
const whole = `version: 1
site: {name: W, timezone: Europe/Berlin}
device: {serial: "0000000000000000A0B1000000000206"}
pin: {tries: 3, within: 5m, lockout: 1h}
doors:
  - {id: front, strike: {line: S1}, contact: {line: C1}, rex: {line: X1}, two_person: true,
     tamper: {line: T1, normal: high}, bond: {line: B1, secure: high, within: 5s}}
  - {id: shed, strike: {line: S2}, rex: {line: X2}, auto_unlock: {schedule: day, first_person: true}}
  - {id: gate, strike: {line: S3}, rex: {line: X3}, auto_unlock: {schedule: night}}
areas:
  - {id: lab, name: Laboratory, occupancy: 5, passback: {mode: hard, exit: hard}}
  - {id: yard, passback: {mode: soft, forget: 8h}}
  - {id: hall, passback: {mode: timed, forget: 5m}}
interlocks: [{doors: [front, shed], repeat: 10s}, {doors: [shed, gate], repeat: 3s}]
inputs: {mains: {line: M, normal: high}, battery: {line: B}, tamper: {line: T}}
outputs:
  - {id: opener, line: O1, on: [access, exit], until: [door_closed], for: 10s, doors: [front]}
  - {id: lamp, line: O2, on: [access], for: 1s, reasons: [no_right, revoked]}
  - {id: siren, line: O3, on: [door_forced]}
readers:
  - {id: a, door: front, from: yard, to: lab, wiegand: {d0: D0, d1: D1, led: L, tamper: {line: T2, normal: high}},
     feedback: {denied: {tones: []}, waiting: {repeat: 15s, tones: [{led: true, for: 1s}, {for: 500ms}]}}}
  - {id: b, door: front, from: lab, to: yard, wiegand: {d0: D2, d1: D3, silence: 10ms}}
  - {id: c, door: shed, to: hall, wiegand: {d0: D4, d1: D5}}
notify:
  - {id: hook, webhook: "https://desk.example/hook", secret_file: hive-shed.key}
  - {id: desk, on: [duress], mail: [desk@site.example], smtp: "mail.site.example:587", from: g@site.example, user: g, password_file: smtp.password}
`

func TestRules(t *testing.T) {
	c, issues := config.Parse([]byte(whole), "f", options(config.AllParts()...))
	if len(issues) > 0 {
		t.Fatalf("issues: %v", texts(issues))
	}
	wantArea := area.Config{
		Areas: []area.Area{
			{ID: "lab", Name: "Laboratory", Occupancy: 5, Passback: area.Hard, Exit: area.Hard},
			{ID: "yard", Name: "yard", Passback: area.Soft, Exit: area.Soft, Forget: 8 * time.Hour},
			{ID: "hall", Name: "hall", Passback: area.Timed, Forget: 5 * time.Minute},
		},
		Interlocks: []area.Interlock{
			{Doors: []site.DoorID{"front", "shed"}, Repeat: 10 * time.Second},
			{Doors: []site.DoorID{"shed", "gate"}, Repeat: 3 * time.Second},
		},
		PIN: area.Lockout{Tries: 3, Within: 5 * time.Minute, For: time.Hour},
	}
	wantDoor := door.Config{
		ID: "front", Name: "front", Strike: "S1", Active: hal.High, Unlock: 5 * time.Second, Contact: "C1", Open: hal.High,
		Rex: "X1", RexUnlock: true, RexStuck: time.Minute, Tamper: "T1", TamperNormal: hal.High,
		Bond: "B1", BondSecure: hal.High, BondTime: 5 * time.Second, TwoPerson: true, ExitRepeat: 10 * time.Second,
	}
	wantReader := &reader.WiegandConfig{
		D0: "D0", D1: "D1", LED: "L", Silence: 25 * time.Millisecond, Tamper: "T2", TamperNormal: hal.High,
		Feedback: map[site.Pattern]reader.Signal{
			site.PatternDenied: {},
			site.PatternWaiting: {Repeat: 15 * time.Second, Tones: []reader.Tone{
				{LED: true, For: time.Second}, {For: 500 * time.Millisecond},
			}},
		},
	}
	wantOutputs := []config.Output{
		{ID: "opener", Line: "O1", Active: hal.High, On: []site.Kind{site.KindAccess, site.KindExit}, Until: []site.Kind{site.KindDoorClosed},
			For: 10 * time.Second, Doors: []site.DoorID{"front"}, Reasons: []site.Reason{site.ReasonGranted, site.ReasonGrantedPassback}},
		{ID: "lamp", Line: "O2", Active: hal.High, On: []site.Kind{site.KindAccess}, For: time.Second,
			Reasons: []site.Reason{site.ReasonNoRight, site.ReasonRevoked}},
		{ID: "siren", Line: "O3", Active: hal.High, On: []site.Kind{site.KindDoorForced}},
	}
	wantNotify := []config.Notify{
		{ID: "hook", Webhook: "https://desk.example/hook", Secret: config.Secret("sixteen letters!")},
		{ID: "desk", On: []site.Kind{site.KindDuress}, Mail: []string{"desk@site.example"}, SMTP: "mail.site.example:587",
			From: "g@site.example", User: "g", Password: config.Secret("pass: word")},
	}
	wantInputs := config.Inputs{
		Mains: &config.Input{Line: "M", Normal: hal.High}, Battery: &config.Input{Line: "B"}, Tamper: &config.Input{Line: "T"},
	}
	for _, d := range []string{
		cmp.Diff(wantArea, c.Area()), cmp.Diff(wantDoor, c.Doors[0]), cmp.Diff(wantReader, c.Readers[0].Wiegand),
		cmp.Diff(wantOutputs, c.Outputs), cmp.Diff(wantNotify, c.Notify), cmp.Diff(wantInputs, c.Inputs),
		cmp.Diff(map[site.DoorID]config.AutoUnlock{"shed": {Schedule: "day", FirstPerson: true}, "gate": {Schedule: "night"}}, c.AutoUnlock),
	} {
		if d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if got := c.Doors[1].ExitRepeat; got != 3*time.Second {
		t.Errorf("a door in two groups repeats within %v", got)
	}
}

// TestRuleLines: every new line is told, at the level of all being well.
func TestRuleLines(t *testing.T) {
	c := mustParse(t, whole, options(config.AllParts()...))
	var got []string
	for _, l := range c.Lines() {
		if l.Use >= config.UseTamper {
			got = append(got, fmt.Sprint(l.Name, " ", l.Use, " ", l.Of, " ", l.Rest, " ", l.Output))
		}
	}
	want := []string{
		"T1 tamper contact front high false", "B1 bond sensor front high false", "T2 tamper contact a high false",
		"M mains input  high false", "B battery input  low false", "T tamper contact  low false",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestPINDefaults: a file that says nothing of PINs has a lock-out.
func TestPINDefaults(t *testing.T) {
	c := mustParse(t, base, options())
	if want := (area.Lockout{Tries: 5, Within: 10 * time.Minute, For: 10 * time.Minute}); c.PIN != want {
		t.Errorf("%+v, want %+v", c.PIN, want)
	}
}

// TestPINAlone: the store keeps an index of PINs only where one may open alone.
func TestPINAlone(t *testing.T) {
	for mode, want := range map[string]bool{
		"card": false, "card_pin": false, "closed": false, "pin": true, "either": true,
		"[{schedule: day, mode: card}, {mode: card_pin}]": false, "[{schedule: day, mode: pin}, {mode: card}]": true,
	} {
		src := base + "readers: [{id: a, door: front, mode: " + mode + ", wiegand: {d0: A, d1: B}}]\n"
		if got := mustParse(t, src, options(config.AllParts()...)).Store.PINAlone; got != want {
			t.Errorf("mode %s: %t", mode, got)
		}
	}
}

// TestSecretsOfNotify prints the receivers in all ways and looks for what they
// keep.
func TestSecretsOfNotify(t *testing.T) {
	c := mustParse(t, whole, options(config.AllParts()...))
	j, err := json.Marshal(c.Notify)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %x %q %s %v", c.Notify, c.Notify, c.Notify, c.Notify, c.Notify, c.Notify, j,
		c.Notify[0].Secret.LogValue())
	for _, secret := range []string{"sixteen", "7369787465656e", "115 105", "pass: word", "706173733a20", "c2l4dGVlb"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q shows in %s", secret, all)
		}
	}
}

func TestRuleIssues(t *testing.T) {
	all := config.AllParts()
	checkIssues(t, []issueCase{
		{"what a first build lacks", "!" + strings.Replace(base, "rex:", "two_person: true, auto_unlock: {schedule: day}, rex:", 1) + `readers: [{id: a, door: front, wiegand: {d0: A, d1: B}}]
inputs: {mains: {line: C}, battery: {line: D}, tamper: {line: E}}
`, nil, []string{
			"5:78: warning: doors[0].two_person: this build has no two-person rule; one person would be enough",
			"5:84: warning: doors[0].auto_unlock: this build has no unlocking by schedule; the door stays as it is",
			"9:10: warning: inputs.mains: this build has no supply and cabinet inputs; the input is ignored",
			"9:28: warning: inputs.battery: this build has no supply and cabinet inputs; the input is ignored",
			"9:48: warning: inputs.tamper: this build has no supply and cabinet inputs; the input is ignored",
		}},
		{"lines used twice", "!" + strings.NewReplacer("B1,", "T1,", "line: B}", "line: M}", "line: T}", "line: T2}").Replace(whole), all, []string{
			"7:53: error: doors[0].bond.line: line T1 is used twice, first in line 7 by doors[0].tamper.line",
			"15:58: error: inputs.battery.line: line M is used twice, first in line 15 by inputs.mains.line",
			"21:96: error: readers[0].wiegand.tamper.line: line T2 is used twice, first in line 15 by inputs.tamper.line",
		}},
		{"areas", "!" + strings.Replace(base, "{id: lab}, {id: yard}",
			"{id: lab, passback: {mode: timed, exit: hard}}, {id: yard, occupancy: 3}, {id: hall, passback: {mode: hard, exit: timed}}", 1) +
			"readers: [{id: a, door: front, to: yard, wiegand: {d0: A, d1: B}}]\n", all, []string{
			"7:14: warning: areas[0].id: no reader leads to this area; nobody is counted in it",
			"7:19: error: areas[0].passback: mode timed wants forget",
			"7:49: error: areas[0].passback.exit: goes with mode hard or soft; mode timed judges who enters, and forgets by time alone",
			"7:62: warning: areas[1].id: no reader leads out of this area, and passback.forget is not set; who entered counts as inside until forgiven",
			"7:88: warning: areas[2].id: no reader leads to this area; nobody is counted in it",
			`7:123: error: areas[2].passback.exit: "timed" is not known (one of soft, hard)`,
		}},
		{"interlock of what power does not hold", "!" + strings.Replace(base, "GPIO25}", "GPIO25, fail: safe}, hardware_release: true", 1) +
			"interlocks: [{doors: [front, shed]}]\n", all, []string{
			`8:30: warning: interlocks[0].doors[1]: door "shed" is fail: safe; a loss of power unlocks it whatever the other doors of the interlock are`,
		}},
		{"auto unlock", "!" + strings.NewReplacer("schedule: day", "schedule: \"every day\"", "schedule: night", "first_person: false").Replace(whole), all, []string{
			`8:77: error: doors[1].auto_unlock.schedule: id "every day": character ' ' is not allowed (letters, digits, then also - _ .)`,
			"9:53: error: doors[2].auto_unlock: schedule is required (id of the schedule)",
		}},
		{"who needs a reader", "!" + strings.Replace(base, "GPIO25}", "GPIO25}, two_person: true, auto_unlock: {schedule: day, first_person: true}", 1), all, []string{
			"6:52: error: doors[1].two_person: two people must show a card, and the door has no reader",
			"6:101: error: doors[1].auto_unlock.first_person: somebody must be let in first, and the door has no reader",
		}},
		{"a device is a reader", "!" + strings.Replace(base, "GPIO25}", "GPIO25}, two_person: true", 1) +
			"hive: {devices: [{name: a, key_file: hive-shed.key, items: {x: shed}}]}\n", all, nil},
		{"pin", "pin: {tries: 0, within: 1s, lockout: 31d}\n", all, []string{
			"8:14: error: pin.tries: 0 is less than 1",
			"8:25: error: pin.within: 1s is less than 10s",
			"8:38: error: pin.lockout: 31d is more than 30d",
		}},
		{"outputs", `outputs:
  - {id: a, line: A, on: [access, exit, door_open]}
  - {id: b, line: B, on: [door_opened], until: [door_opened, door_close], doors: [frnt]}
  - {id: c, line: C, on: [tamper], reasons: [granted]}
  - {id: d, line: D, on: [access], for: 1s, reasons: [no_rights]}
  - {id: e, line: E, on: [access], for: 1s, reasons: []}
`, all, []string{
			"9:27: warning: outputs[0].on[0]: an event of kind access has no end, so the output stays on; give for or until",
			"9:35: warning: outputs[0].on[1]: an event of kind exit has no end, so the output stays on; give for or until",
			`9:41: error: outputs[0].on[2]: "door_open" is not known (did you mean door_opened?)`,
			"10:49: error: outputs[1].until[0]: door_opened turns the output on; it cannot turn it off as well",
			`10:62: error: outputs[1].until[1]: "door_close" is not known (did you mean door_closed?)`,
			`10:83: error: outputs[1].doors[0]: there is no door "frnt" (did you mean front?)`,
			"11:46: error: outputs[2].reasons[0]: reasons are those of access, and on does not name it",
			`12:55: error: outputs[3].reasons[0]: "no_rights" is not known (did you mean no_right?)`,
			"13:45: error: outputs[4].reasons: is empty; leave it out for those that grant",
		}},
		{"outputs that nothing turns off or on", `outputs:
  - {id: a, line: A, on: [duress]}
  - {id: b, line: B, on: [duress], for: 1s}
  - {id: c, line: C, on: [door_opened], until: [duress, events_lost]}
  - {id: d, line: D, on: [events_lost, fault]}
`, all, []string{
			"9:27: warning: outputs[0].on[0]: an event of kind duress has no end, so the output stays on; give for or until",
			"11:57: warning: outputs[2].until[1]: events_lost does not reach outputs, for the event log makes it itself; notify can send it",
			"12:27: warning: outputs[3].on[0]: events_lost does not reach outputs, for the event log makes it itself; notify can send it",
		}},
		{"feedback", `hive: {devices: [{name: x, key_file: hive-shed.key}]}
readers:
  - {id: a, door: front, wiegand: {d0: A, d1: B}, feedback: {granted: {tones: [{led: true, beep: true, for: 6s}]}}}
  - {id: b, door: shed, wiegand: {d0: C, d1: D}, feedback: {denied: {repeat: 2m, tones: [{}]}, error: {repeat: 1s, tones: []}, wait: {}, lockdown: {}}}
  - {id: c, door: shed, serial: {port: /dev/ttyS0}, hive_device: x, feedback: {denied: {tones: []}}}
`, all, []string{
			"6:10: warning: doors[1].id: people leave through a reader, and a reader is not egress: add an exit button that unlocks, or state hardware_release: true where a handle or the like lets them out",
			"10:62: warning: readers[0].feedback.granted: lights the LED, and wiegand.led is not set",
			"10:62: warning: readers[0].feedback.granted: sounds the beeper, and wiegand.beeper is not set",
			"10:109: error: readers[0].feedback.granted.tones[0].for: 6s is more than 5s",
			"11:78: error: readers[1].feedback.denied.repeat: 2m is more than 1m",
			"11:90: error: readers[1].feedback.denied.tones[0]: for is required (length of the tone)",
			"11:112: error: readers[1].feedback.error.repeat: there is no tone to play again",
			`11:128: error: readers[1].feedback: unknown key "wait"`,
			"11:138: error: readers[1].feedback.lockdown: tones is required (one after the other; then both are off)",
			"12:69: error: readers[2].feedback: goes with wiegand; a reader on a serial line has signals of its own",
		}},
		{"tones without end", "readers: [{id: a, door: front, wiegand: {d0: A, d1: B, beeper: C}, feedback: {error: {tones: [" +
			strings.Repeat("{beep: true, for: 10ms},", 33) + "]}}}]\n", all, []string{
			"8:863: error: readers[0].feedback.error.tones[32]: more than 32 tones",
		}},
		{"receivers", `notify:
  - {id: a, webhook: "http://x/y", secret_file: short.key, smtp: "x:25", from: a@b.example, user: u}
  - {id: b, mail: [a@b.example], smtp: "x:25", secret_file: hive-shed.key}
  - {id: c, mail: [a@b.example], smtp: "x:25", from: b, password_file: smtp.password}
  - {id: d, mail: [a@b.example], smtp: "x:25", from: b@b.example, user: u, password_file: empty.key}
  - {id: e, mail: [a@b.example], smtp: "x:25", from: b@b.example, user: u, password_file: open.key}
  - {id: f, webhook: "https://x/y", secret_file: odd.key}
`, all, []string{
			"9:5: error: notify[0]: user and password_file go together",
			"9:22: warning: notify[0].webhook: plain HTTP: what is sent can be read and altered on the network",
			"9:49: error: notify[0].secret_file: the secret has 15 bytes; at least 16 are needed",
			"9:66: error: notify[0].smtp: goes with mail, not with webhook",
			"9:80: error: notify[0].from: goes with mail, not with webhook",
			"9:99: error: notify[0].user: goes with mail, not with webhook",
			"10:5: error: notify[1]: mail wants from, the address that it comes from",
			"10:61: error: notify[1].secret_file: goes with webhook, not with mail",
			"11:5: error: notify[2]: mail wants from, the address that it comes from",
			"11:5: error: notify[2]: user and password_file go together",
			`11:54: error: notify[2].from: want a mail address, not "b"`,
			"12:91: error: notify[3].password_file: the password file holds no password",
			"13:91: warning: notify[4].password_file: open.key has mode 0644; others may read or change it: want 0600",
			"14:50: error: notify[5].secret_file: the key file holds neither hex digits nor text: with a key",
		}},
	})
}

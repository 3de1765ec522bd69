package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/agent/control"
)

// The demo is a small site on the simulated board: two doors with contacts and
// exit buttons, an area behind one of them, a Wiegand reader with a keypad, a
// Hive reader on a serial line (a pseudo-terminal) and one that calls over HTTP, a
// lock on a serial line and a Wi-Fi lock, the inputs of a site, a siren and a buzzer, linked to an IP host. Its state is a
// folder that may be kept and started again.

// demoSettings is the demo's settings file; time zone and addresses are filled in.
const demoSettings = `# The settings of the demo site. Change them and start the demo again.
version: 1
site: {name: Demo site, timezone: %s, key_file: sitekey}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: .
listen: {https: "%s", devices: "%s"}
clock: {untrusted: always-only}
events: {budget: 64MiB, keep: 400d}
pin: {tries: 5, within: 10m, lockout: 1m}
areas:
  - {id: lab, name: Laboratory, occupancy: 20, passback: {mode: soft, forget: 8h}}
doors:
  - id: front
    name: Front door
    strike: {line: GPIO24, active: high, unlock: 5s, fail: secure}
    contact: {line: GPIO23, open: high}
    rex: {line: GPIO22, active: low, unlock: true}
    held_open: {warn: 20s, alarm: 30s}
    ada: {unlock: 15s, warn: 60s, alarm: 90s}
    relock: on_close
    fire: release
    area: lab
    auto_unlock: {schedule: visitors, first_person: false}     # no such schedule yet
  - id: shed
    name: Shed
    strike: {line: GPIO25, active: high, unlock: 5s, fail: secure}
    contact: {line: GPIO12, open: high}
    rex: {line: GPIO13, active: low, unlock: true}
    held_open: {warn: 20s, alarm: 30s}
    relock: on_open
inputs:
  fire: {line: GPIO5, normal: low, latched: true}
  panic: {line: GPIO6, active: low, does: lockdown}
  mains: {line: GPIO20, normal: low}
outputs:
  - {id: siren, line: GPIO19, on: [door_forced, panic], for: 30s}
  - {id: buzzer, line: GPIO21, on: [door_held_warning, door_held], doors: [front]}
readers:
  - id: front-in
    door: front
    to: lab
    mode: [{schedule: strict, mode: card_pin}, {mode: either}]     # no such schedule yet: a card or a PIN will do
    wiegand: {d0: GPIO17, d1: GPIO18, led: GPIO16, beeper: GPIO26}
  - {id: shed-in, door: shed, serial: {port: tty-shed, baud: 115200}, hive_device: shed}
locks:
  - {id: vault, name: Vault, serial: "0000000000000000A100000000003FA7", model: nde, port: tty-vault, baud: 115200, hive_device: vault}
  - {id: room5, name: Room 5, serial: "0000000000000000A100000000002479", model: nde}
swordfish: {auth: enforce}
hive:
  devices:
    - {name: vault, key_file: hive-vault.key, versions: [2]}
    - {name: shed, key_file: hive-shed.key, versions: [2], items: {shed_door: shed}}
    - {name: kiosk, key_file: hive-kiosk.key, versions: [1, 2], items: {front_door: front}}
gateway: {local: true}
uplink: {server_url: "https://%s/engage_wss", ca_url: "http://%s/engage/newCA/current", start: oldest}
`

// demoWorld is the demo's sitesim.json; URL and time zone are filled in.
const demoWorld = `{
 "board": "sim.sock",
 "doors": [
  {"id": "front", "strike": "GPIO24", "unlocked": 1, "contact": "GPIO23", "open": 1, "exit": "GPIO22", "pressed": 0},
  {"id": "shed", "strike": "GPIO25", "unlocked": 1, "contact": "GPIO12", "open": 1, "exit": "GPIO13", "pressed": 0}
 ],
 "readers": [
  {"id": "front-in", "door": "front", "d0": "GPIO17", "d1": "GPIO18"},
  {"id": "shed-in", "door": "shed", "device": "shed", "key_file": "hive-shed.key", "item": "shed_door", "pty": "tty-shed"},
  {"id": "kiosk", "door": "front", "device": "kiosk", "key_file": "hive-kiosk.key", "item": "front_door", "url": "%[1]s/api/access"}
 ],
 "locks": [
  {"id": "vault", "serial": "0000000000000000A100000000003FA7", "site_key_file": "sitekey", "model": "nde", "timezone": "%[2]s", "device": "vault", "key_file": "hive-vault.key", "pty": "tty-vault"},
  {"id": "room5", "serial": "0000000000000000A100000000002479", "site_key_file": "sitekey", "model": "nde", "timezone": "%[2]s", "url": "%[1]s"}
 ],
 "inputs": [
  {"id": "fire", "line": "GPIO5", "on": 1},
  {"id": "panic", "line": "GPIO6", "on": 0},
  {"id": "mains", "line": "GPIO20", "on": 0}
 ],
 "outputs": [
  {"id": "siren", "line": "GPIO19", "on": 1},
  {"id": "buzzer", "line": "GPIO21", "on": 1}
 ]
}
`

// demoPolicy is enrolled at the first start, as an operator would import it.
const demoPolicy = `holder,format,facility,card,pin,duress_pin,rights,function
Ada,H10301,77,1568,2468,2469,front;shed;vault;room5,
Bob,H10301,77,1570,,,front;room5,
Carol,H10301,55,10984,,,front;shed,blocked
`

// explain prints where to look and what to paste.
func (d *demo) explain(st control.Status, sim string, missing error) {
	self, err := os.Executable()
	if err != nil {
		self = "gatehouse"
	}
	if missing != nil {
		fmt.Fprintf(d.e.out, "\n%v: nobody plays the doors and readers; the agent runs all the same.\n", missing)
		sim = "sitesim"
	}
	listen, err := json.Marshal(st.Listen)
	if err != nil {
		listen = nil
	}
	fmt.Fprintf(d.e.out, `
The demo site runs. State: %s   listeners: %s
Sign in: on this machine by the control socket (root, or the group gatehouse);
the commands below use it, there is no password.
`, shown(d.dir), listen)
	fill := strings.NewReplacer("GATEHOUSE", shown(self)+" --config "+shown(d.config),
		"SITESIM", shown(sim)+" --state "+shown(d.dir), "SELF", shown(self), "STATE", shown(d.dir))
	say := func(text string) { fmt.Fprint(d.e.out, fill.Replace(text)) }
	say(demoFirst)
	if d.whole {
		say(demoRules)
	} else {
		say(demoOlder)
	}
	if d.locks {
		say(demoLocks)
	}
	say(d.host.text())
	say(demoLast)
}

// What explain prints; the words in capitals are filled in.
const (
	demoFirst = `Enrolled: Ada 77/1568 (both doors), Bob 77/1570 (front only), Carol 55/10984 (blocked).

Paste into another terminal, in this folder:

  a card at the Wiegand reader, granted and refused
    SITESIM card front-in 77 1568
    SITESIM card front-in 55 10984
  at the Hive reader on the serial line (Bob has no right at the shed)
    SITESIM card shed-in 77 1568
    SITESIM card shed-in 77 1570
  at the Hive reader over HTTP
    SITESIM card kiosk 77 1570
    SITESIM card kiosk 1 2
  an exit, a door held open (warning after 20 s, alarm after 30 s), a door forced;
  see with "SITESIM show" which strikes, buzzers and sirens are on
    SITESIM exit front
    SITESIM card front-in 77 1570 --stay && SITESIM open front --for 40s
    SITESIM open shed --force
  watch events, see doors and alarms, ask why, now and as it was a minute ago
    GATEHOUSE events tail
    GATEHOUSE door list
    GATEHOUSE alarms list
    GATEHOUSE why --door shed --bits 26:26831140
    GATEHOUSE why --door front --reader front-in --bits 26:26831000 --at -1m
  lock the site down and release it
    GATEHOUSE door lockdown --all
    GATEHOUSE door release --all
`
	demoRules = `  the reader front-in takes a card or a PIN: Ada's PIN, a wrong one, and her PIN under
  duress, which opens as the other does and which nothing shows without --duress
    SITESIM keys front-in '2468#'
    SITESIM keys front-in '1111#'
    SITESIM keys front-in '2469#'
    GATEHOUSE alarms list --duress
  a schedule makes the same reader want card and PIN; without the schedule as before
    GATEHOUSE schedule set strict --on daily --from 00:00 --to 24:00
    SITESIM card front-in 77 1568; SITESIM keys front-in '2468#'
    GATEHOUSE schedule remove strict
  who is in the laboratory behind the front door: a second entry is let in and told
  (granted_passback), until it is forgiven
    GATEHOUSE area list
    GATEHOUSE area show lab
    GATEHOUSE area forgive Ada
  fire releases the front door; it stands until the input is off and it is reset
    SITESIM input fire on
    GATEHOUSE fire status
    SITESIM input fire off
    GATEHOUSE fire reset
  the panic button locks all down and sounds the siren for 30 s; so does a forced door
    SITESIM input panic on
    SITESIM show
    SITESIM input panic off
    GATEHOUSE door release --all
  mains fail and come back
    SITESIM input mains off
    GATEHOUSE status
    SITESIM input mains on
`
	demoLocks = `  the locks decide by their own tables: vault hangs on a serial line and is up to date
  in seconds, room5 is a Wi-Fi lock and calls at night, or when it is told to
    GATEHOUSE lock list
    SITESIM card vault 77 1568
    SITESIM call room5
    SITESIM card room5 77 1570
  a revoked card (its id is in the list) opens room5 until it calls, and revoke says so
    GATEHOUSE credential list
    GATEHOUSE credential revoke ID
    GATEHOUSE door unlock vault
    SITESIM alert room5 forced
    GATEHOUSE alarms list
`
	demoOlder = `  The settings in STATE are those of an older demo. With another --state you get one
  with PINs, an area, fire, panic and a siren.
`
	demoLast = `  cut the WAN: the same site with no network at all but loopback
    unshare --net sh -c 'ip link set lo up; exec SELF run --demo --state STATE'

Ctrl-C ends it; the state stays in STATE.
`
)

// shown writes a path as a person in this folder would type it.
func shown(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return rel
}

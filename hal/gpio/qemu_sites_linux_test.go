package gpio_test

import "strings"

// header is of every site in the machine. It wants the site's name: each has a
// state of its own.
const header = `version: 1
site: {name: Emulated, timezone: UTC}
device: {serial: "0000000000000000A0B1000000000206", board: auto}
state_dir: /run/%s
listen: {https: "127.0.0.1:0"}
clock: {untrusted: always-only}
`

// oneDoor is a door with all that one has.
const oneDoor = `doors:
  - id: front
    strike: {line: "gpiochip0:2", active: high, unlock: 1s, fail: secure}
    contact: {line: "gpiochip0:4", open: high}
    rex: {line: "gpiochip0:5", active: low, unlock: true}
    held_open: {warn: 20s, alarm: 30s}
    relock: timer
readers:
  - {id: front-in, door: front, mode: card, wiegand: {d0: "gpiochip0:0", d1: "gpiochip0:1", led: "gpiochip0:6"}}
`

// alarmed has a siren, and no patience with an open door.
var alarmed = strings.NewReplacer("{warn: 20s, alarm: 30s}", "{warn: 1s, alarm: 3s}", "unlock: 1s", "unlock: 4s").Replace(oneDoor) + `outputs:
  - {id: siren, line: "gpiochip0:7", on: [door_forced, door_held]}
`

// lobby is two doors of which one opens at a time. The second has no reader: who
// is in the lobby presses a button.
const lobby = `doors:
  - id: front
    strike: {line: "gpiochip0:2", active: high, unlock: 3s, fail: secure}
    contact: {line: "gpiochip0:4", open: high}
    relock: timer
  - id: inner
    strike: {line: "gpiochip0:7", active: high, unlock: 3s, fail: secure}
    contact: {line: "gpiochip0:6", open: high}
    rex: {line: "gpiochip0:5", active: low, unlock: true}
    relock: timer
interlocks: [{doors: [front, inner]}]
readers:
  - {id: front-in, door: front, mode: card, wiegand: {d0: "gpiochip0:0", d1: "gpiochip0:1"}}
`

// burning has a maglock that fire releases, a strike that it does not, and a
// panic button.
const burning = `doors:
  - id: front
    strike: {line: "gpiochip0:2", active: high, unlock: 1s, fail: safe}
    contact: {line: "gpiochip0:4", open: high}
    relock: timer
    fire: release
    hardware_release: true
  - id: store
    strike: {line: "gpiochip0:7", active: high, unlock: 1s, fail: secure}
inputs:
  fire: {line: "gpiochip0:6", normal: low, latched: true}
  panic: {line: "gpiochip0:5", active: low}
readers:
  - {id: front-in, door: front, mode: card, wiegand: {d0: "gpiochip0:0", d1: "gpiochip0:1"}}
`

// Lines of lobby and burning that are others than in oneDoor; and lineSpare is
// the siren of alarmed.
const (
	lineSiren        = lineSpare
	lineInnerStrike  = lineSpare
	lineStoreStrike  = lineSpare
	lineInnerContact = lineLED
	lineInnerRex     = lineRex
	linePanic        = lineRex
	lineFire         = lineLED
)

// sites are the settings in the machine, without the header.
var sites = func() map[string]string {
	low := strings.Replace(oneDoor, "active: high", "active: low", 1)
	m := map[string]string{"start": low, "kill-low": low, "alarm": alarmed, "interlock": lobby, "fire": burning}
	for _, name := range []string{"cards", "door", "order", "kill", "hang", "orphan"} {
		m[name] = oneDoor
	}
	return m
}()

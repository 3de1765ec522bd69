package config_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/config"
)

const siteKeyText = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

// keyFile is one file of a keyFolder.
type keyFile struct {
	text string
	mode fs.FileMode
}

// keyFolder is a folder of key files in memory.
type keyFolder map[string]keyFile

func (k keyFolder) read(path string) ([]byte, fs.FileMode, error) {
	if f, ok := k[path]; ok {
		return []byte(f.text), f.mode, nil
	}
	return nil, 0, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func keys() keyFolder {
	return keyFolder{
		"/etc/gatehouse/sitekey":        {siteKeyText, 0o600},
		"/etc/gatehouse/hive-shed.key":  {"text:sixteen letters!\n", 0o600},
		"/etc/gatehouse/hive-vault.key": {"00112233445566778899aabbccddeeff\n", 0o600},
		"/etc/gatehouse/smtp.password":  {"pass: word\n", 0o600},
		"/etc/gatehouse/empty.key":      {"text:\n", 0o600},
		"/etc/gatehouse/short.key":      {"text:fifteen letters\n", 0o600},
		"/etc/gatehouse/odd.key":        {"0123456789abcdef0123456789abcde\n", 0o600},
		"/etc/gatehouse/two.key":        {"text:sixteen letters!\ntext:another\n", 0o600},
		"/etc/gatehouse/open.key":       {"text:sixteen letters?\n", 0o644},
		"/etc/gatehouse/open-sitekey":   {siteKeyText, 0o640},
	}
}

func options(parts ...config.Part) config.Options {
	return config.Options{Base: "/etc/gatehouse", Parts: parts, KeyFile: keys().read}
}

// texts renders issues without the file's name.
func texts(issues []config.Issue) []string {
	var out []string
	for _, i := range issues {
		out = append(out, strings.TrimPrefix(i.String(), "f:"))
	}
	return out
}

// base is a valid file of eight lines; a test appends to it.
const base = `version: 1
site: {name: W, timezone: Europe/Berlin}
device: {serial: "0000000000000000A0B1000000000206"}
doors:
  - {id: front, strike: {line: GPIO24}, contact: {line: GPIO23}, rex: {line: GPIO22}}
  - {id: shed, strike: {line: GPIO25}}
areas: [{id: lab}, {id: yard}]
`

// issueCase is a file and all that there is to say about it.
type issueCase struct {
	name  string
	src   string // appended to base, from line 8; alone where it begins with !
	parts []config.Part
	want  []string
}

func TestParseIssues(t *testing.T) {
	checkIssues(t, []issueCase{
		// The document.
		{"empty", "!", nil, []string{"1:1: error: the file is empty"}},
		{"comment only", "!# hello\n", nil, []string{"1:1: error: the file is empty"}},
		{"list", "!- 1\n", nil, []string{
			"1:1: error: want keys with values, found a list",
		}},
		{"not YAML", "!a: [1\n", nil, []string{"1:4: error: not valid YAML: sequence end token ']' not found"}},
		{"tab", "!site:\n\tname: x\n", nil, []string{"2:1: error: not valid YAML: found character '\t' that cannot start any token"}},
		{"not UTF-8", "!version: 1\nx: \xff\n", nil, []string{"2:4: error: the file is not UTF-8 text without control characters"}},
		{"NUL", "!version: 1\x00\n", nil, []string{"1:11: error: the file is not UTF-8 text without control characters"}},
		{"second document", "---\na: 1\n", nil, []string{"8:1: error: the file has a second document"}},
		{"anchor", "mqtt: &a {broker: \"mqtt://b\"}\n", nil, []string{"8:7: error: not valid YAML: anchors and aliases are not taken"}},
		{"alias", "mqtt: *a\n", nil, []string{"8:7: error: not valid YAML: anchors and aliases are not taken"}},
		{"merge key", "clock: {<<: {untrusted: deny}}\n", nil, []string{"8:9: error: clock: merge keys are not taken"}},
		{"key after ?", "? a\n: b\n", nil, []string{"8:1: error: not valid YAML: keys written with ? are not taken"}},
		{"tag", "clock: {untrusted: !!str deny}\n", nil, []string{"8:9: error: clock.untrusted: tags are not taken"}},
		{"flow too deep", "!a: " + strings.Repeat("[", 5000), nil, []string{"1:20: error: not valid YAML: nested too deeply"}},
		{"block too deep", "!" + strings.Repeat("- ", 5000), nil, []string{"1:201: error: not valid YAML: nested too deeply"}},
		{"too large", "!" + strings.Repeat("#", config.MaxSize+1), nil, []string{"1:1: error: the file is larger than 1048576 bytes"}},
		{"too many keys", "!" + strings.Repeat("a: b\n", 30000), nil, []string{"10001:2: error: not valid YAML: more than 10000 keys"}},

		// Keys and types: all of them at once.
		{"nothing that is required", "!doors: []\n", nil, []string{
			"1:1: error: version is required (version of this file's form)",
			"1:1: error: site is required (the site as a whole)",
			"1:1: error: device is required (this appliance)",
		}},
		{"all faults at once", `clocks: {untrusted: deny}
clock: {untrust: deny}
events: {budget: 1GB, keep: 400}
outputs: [{id: 5, line: "GPIO 1", active: hi, on: [door_force], for: 60}]
listen: {https: 443}
hive: {vend: {credits: -1, alert: 1.5}, quiet_hours: {start: "24:00", end: 7:00}}
`, config.AllParts(), []string{
			`8:1: error: unknown key "clocks" (did you mean clock?)`,
			`9:9: error: clock: unknown key "untrust" (did you mean untrusted?)`,
			`10:18: error: events.budget: want a size with its unit (KiB, MiB, GiB, TiB), as 1GiB, not "1GB"`,
			`10:29: error: events.keep: want a time with its unit (ms, s, m, h, d), as 5s, found a number`,
			`11:16: error: outputs[0].id: want text, found a number; put it in quotes`,
			`11:25: error: outputs[0].line: want the name of a line, as GPIO24, not "GPIO 1"`,
			`11:43: error: outputs[0].active: "hi" is not known (one of low, high)`,
			`11:52: error: outputs[0].on[0]: "door_force" is not known (did you mean door_forced?)`,
			`11:70: error: outputs[0].for: want a time with its unit (ms, s, m, h, d), as 5s, found a number`,
			`12:17: error: listen.https: want text, found a number; put it in quotes`,
			`13:24: error: hive.vend.credits: -1 is less than 0`,
			`13:35: error: hive.vend.alert: want a whole number, found a number`,
			`13:62: error: hive.quiet_hours.start: want a time of day as "22:30", not "24:00"`,
			`13:76: error: hive.quiet_hours.end: want a time of day as "22:30", not "7:00"`,
		}},
		{"duplicate key", "clock: {}\nclock: {}\n", nil, []string{`9:1: error: key "clock" is given twice, first in line 8`}},
		{"null", "clock:\nhive: {devices: ~}\n", nil, []string{
			"8:1: error: clock: has no value; leave the key out instead",
			"9:8: error: hive.devices: has no value; leave the key out instead",
		}},
		{"list wanted", "readers: {id: a}\nareas2: 1\nclock: [1]\n", nil, []string{
			"8:10: error: readers: want a list, found keys with values",
			`9:1: error: unknown key "areas2" (did you mean areas?)`,
			"10:8: error: clock: want keys with values, found a list",
		}},
		{"version", "!" + strings.Replace(base, "version: 1", "version: 2", 1), nil, []string{"1:10: error: version: 2 is more than 1"}},
		{"octal", "hive: {vend: {credits: 010}}\n", nil, []string{`8:24: error: hive.vend.credits: want a whole decimal number, not "010"`}},
		{"site and device", "!" + strings.NewReplacer("Europe/Berlin", "Europe/Berlon", "A0B1", "A0G1").Replace(base), nil, []string{
			`2:27: error: site.timezone: time zone "Europe/Berlon" is not known`,
			`3:18: error: device.serial: want 32 hex digits, not "0000000000000000A0G1000000000206"`,
		}},
		{"two listeners on one port", "listen: {https: \":80\", devices: \"192.168.50.1:80\"}\n", nil, []string{
			`8:33: error: listen.devices: is the address of listen.https, ":80"`,
			"8:33: warning: listen.devices: plain HTTP: what passes here can be read and altered on the network; keep it on a network of its own",
		}},
		{"two listeners on two addresses", "listen: {https: \"192.168.50.2:80\", devices: \"192.168.50.1:80\"}\n", nil, []string{
			"8:45: warning: listen.devices: plain HTTP: what passes here can be read and altered on the network; keep it on a network of its own",
		}},
		{"a folder that no socket fits in", "state_dir: " + strings.Repeat("a", 80) + "\n", nil, []string{
			"8:12: error: state_dir: is too long: the path of control.sock in it has 108 bytes, and a socket's has at most 107",
		}},
		{"a folder that a socket just fits in", "state_dir: " + strings.Repeat("a", 79) + "\n", nil, nil},
		{"a number out of range", "hive: {vend: {credits: 9999999999}}\n", nil, []string{
			`8:24: error: hive.vend.credits: "9999999999" is out of range`,
		}},
		{"addresses", "listen: {https: \"localhost\", devices: \"1.2.3.4:99999\"}\n", nil, []string{
			`8:17: error: listen.https: want an address as "192.168.50.1:80" or ":443", not "localhost"`,
			`8:39: error: listen.devices: port "99999" is not a number from 0 to 65535`,
		}},

		// References and things used twice.
		{"used twice", `readers:
  - {id: in, door: front, wiegand: {d0: GPIO22, d1: GPIO18}}
  - {id: in, door: front, wiegand: {d0: GPIO17, d1: GPIO18}}
locks: [{id: shed, serial: "0000000000000000a0b1000000000206", model: nde}]
`, config.AllParts(), []string{
			`9:41: error: readers[0].wiegand.d0: line GPIO22 is used twice, first in line 5 by doors[0].rex.line`,
			`10:10: error: readers[1].id: reader "in" is named twice, first in line 9`,
			`10:53: error: readers[1].wiegand.d1: line GPIO18 is used twice, first in line 9 by readers[0].wiegand.d1`,
			`11:1: warning: locks: there is no site.key_file; locks that need the site key get no door file`,
			`11:14: error: locks[0].id: door "shed" is named twice, first in line 6`,
			`11:28: error: locks[0].serial: serial number "0000000000000000A0B1000000000206" is named twice, first in line 3`,
		}},
		{"nothing of that name", `readers: [{id: in, door: frnt, from: yrd, to: nowhere, wiegand: {d0: GPIO17, d1: GPIO18}}]
hive: {devices: [{name: a, key_file: hive-shed.key, items: {x: shedd}}]}
interlocks: [{doors: [front, front]}, {doors: [shed]}]
`, config.AllParts(), []string{
			`8:26: error: readers[0].door: there is no door "frnt" (did you mean front?)`,
			`8:38: error: readers[0].from: there is no area "yrd" (did you mean yard?)`,
			`8:47: error: readers[0].to: there is no area "nowhere"`,
			`9:64: error: hive.devices[0].items.x: there is no door "shedd" (did you mean shed?)`,
			`10:30: error: interlocks[0].doors[1]: door "front" is in the group twice`,
			`10:39: error: interlocks[1]: an interlock wants two doors or more`,
		}},
		{"reader wires", `readers:
  - {id: a, door: front}
  - {id: b, door: front, wiegand: {d0: A, d1: B}, serial: {port: /dev/ttyS0}}
  - {id: c, door: front, wiegand: {d0: C}, hive_device: x}
`, nil, []string{
			"9:5: error: readers[0]: has neither wiegand nor serial (a reader that calls over the network is under hive.devices)",
			"10:51: error: readers[1].serial: a reader is connected by wiegand or by serial, not both",
			"10:51: error: readers[1].serial: a serial line wants hive_device, the device at its end",
			"11:26: error: readers[2].wiegand: d1 is required (line of the ones)",
			"11:57: error: readers[2].hive_device: goes with serial, not with wiegand",
		}},
		{"serial lines", `readers:
  - {id: a, door: front, serial: {port: /dev/ttyS0, baud: 9601}, hive_device: x}
  - {id: b, door: shed, serial: {port: /dev/ttyS0}, hive_device: y}
  - {id: c, door: shed, serial: {port: /dev/ttyS1}, hive_device: y}
  - {id: d, door: shed, serial: {port: /dev/ttyS2}, hive_device: zz}
hive:
  devices:
    - {name: x, key_file: hive-shed.key}
    - {name: y, key_file: hive-shed.key, versions: [1]}
    - {name: w, key_file: hive-shed.key}
`, nil, []string{
			"6:10: warning: doors[1].id: people leave through a reader, and a reader is not egress: add an exit button that unlocks, or state hardware_release: true where a handle or the like lets them out",
			"9:59: error: readers[0].serial.baud: 9601 is no usual speed (one of [1200 2400 4800 9600 19200 38400 57600 115200 230400 460800 921600])",
			`9:79: warning: readers[0].hive_device: device "x" is on the bus /dev/ttyS0 and may speak version 1 over the network, which has no replay protection: set versions: [2]`,
			"10:40: error: readers[1].serial.port: serial port /dev/ttyS0 has 115200 baud here and 9601 in line 9; all devices of a bus want the same",
			`10:66: error: readers[1].hive_device: device "y" may speak version 1 only; a serial line speaks version 2`,
			`11:66: error: readers[2].hive_device: device "y" is on two serial lines, first in line 10`,
			`12:66: error: readers[3].hive_device: there is no device "zz" in hive.devices`,
			`16:27: error: hive.devices[1].key_file: devices "x" and "y" are both on serial lines and share a key`,
			`17:27: warning: hive.devices[2].key_file: devices "x" and "w" share a key`,
		}},
		{"keys", `hive:
  devices:
    - {name: a, key_file: short.key}
    - {name: b, key_file: odd.key}
    - {name: c, key_file: two.key}
    - {name: d, key_file: open.key}
    - {name: e, key_file: none.key}
    - {name: f, key_file: sitekey, versions: [3, 2, 2]}
`, nil, []string{
			"10:27: error: hive.devices[0].key_file: the key has 15 bytes; at least 16 are needed",
			"11:27: error: hive.devices[1].key_file: the key file holds neither hex digits nor text: with a key",
			"12:27: error: hive.devices[2].key_file: the key file has more than one line",
			"13:27: warning: hive.devices[3].key_file: open.key has mode 0644; others may read or change it: want 0600",
			"14:27: error: hive.devices[4].key_file: open /etc/gatehouse/none.key: file does not exist",
			"15:47: error: hive.devices[5].versions[0]: 3 is more than 2",
			"15:53: error: hive.devices[5].versions[2]: version 2 is listed twice",
		}},
		{"site key open", "!" + strings.Replace(base, "Berlin}", "Berlin, key_file: open-sitekey}", 1), nil, []string{
			"2:52: error: site.key_file: open-sitekey has mode 0640; others may read or change it: want 0600",
		}},
		{"site key not hex", "!" + strings.Replace(base, "Berlin}", "Berlin, key_file: hive-shed.key}", 1), nil, []string{
			"2:52: error: site.key_file: the site key is not 64 hex digits",
		}},

		// The door.
		{"relock without contact", "!" + strings.Replace(base, "GPIO25}}", "GPIO25}, relock: on_open, held_open: {alarm: 30s}}", 1), nil, []string{
			"6:48: warning: doors[1].relock: on_open needs a contact, and there is none; the door relocks by timer",
			"6:57: warning: doors[1].held_open: needs a contact, and there is none; the door is never held open",
		}},
		{"held and ada", "!" + strings.Replace(base, "rex:", "held_open: {warn: 30s, alarm: 30s}, ada: {unlock: 1s, warn: 10s, alarm: 5s}, rex:", 1), nil, []string{
			"5:84: error: doors[0].held_open.warn: the warning does not come before the alarm",
			"5:102: error: doors[0].ada: with ADA the warning does not come before the alarm",
			"5:116: error: doors[0].ada.unlock: is shorter than strike.unlock",
			"5:126: error: doors[0].ada.warn: is shorter than held_open.warn",
			"5:138: error: doors[0].ada.alarm: is shorter than held_open.alarm",
		}},
		{"unlock range", "!" + strings.NewReplacer("GPIO24}", "GPIO24, unlock: 99ms}", "GPIO25}", "GPIO25, unlock: 11m}").Replace(base), nil, []string{
			"5:48: error: doors[0].strike.unlock: 99ms is less than 100ms",
			"6:47: error: doors[1].strike.unlock: 11m is more than 10m",
		}},
		{"maglock without a way out", "!" + strings.Replace(base, "GPIO25}", "GPIO25, fail: safe}", 1), nil, []string{
			"6:45: error: doors[1].strike.fail: a lock with fail: safe has neither hardware_release: true nor an exit button that unlocks; people could be locked in",
		}},
		{"maglock with a masking button", "!" + strings.NewReplacer("GPIO24}", "GPIO24, fail: safe}", "GPIO22}", "GPIO22, unlock: false}").Replace(base), nil, []string{
			"5:46: error: doors[0].strike.fail: a lock with fail: safe has neither hardware_release: true nor an exit button that unlocks; people could be locked in",
		}},
		{"maglock with a button", "!" + strings.Replace(base, "GPIO24}", "GPIO24, fail: safe}", 1), nil, []string{
			"5:46: warning: doors[0].strike.fail: a lock with fail: safe needs a way out that needs no software; wire one and state hardware_release: true",
		}},
		{"maglock with hardware", "!" + strings.Replace(base, "GPIO25}", "GPIO25, fail: safe}, hardware_release: true", 1), nil, nil},
		{"leaving through a reader", `readers:
  - {id: in, door: shed, wiegand: {d0: A, d1: B}}
  - {id: out, door: shed, from: lab, wiegand: {d0: C, d1: D}}
`, nil, []string{
			"6:10: warning: doors[1].id: people leave through a reader, and a reader is not egress: add an exit button that unlocks, or state hardware_release: true where a handle or the like lets them out",
		}},
		{"fire release without input", "!" + strings.Replace(base, "GPIO25}", "GPIO25}, fire: release", 1), nil, []string{
			"6:46: warning: doors[1].fire: there is no inputs.fire; nothing releases this door",
		}},

		// What this build lacks.
		{"what weakens a door", `interlocks: [{doors: [front, shed]}]
inputs: {panic: {line: GPIO6}}
readers:
  - {id: a, door: front, mode: card_pin, wiegand: {d0: A, d1: B}}
  - {id: b, door: front, mode: [{schedule: day, mode: card}, {mode: pin}], wiegand: {d0: C, d1: D}}
  - {id: c, door: front, mode: closed, wiegand: {d0: E, d1: F}}
`, nil, []string{
			"8:14: warning: interlocks[0]: this build has no interlocks; these doors could be unlocked at the same time",
			"9:10: warning: inputs.panic: this build has no panic input; the button would do nothing",
			"11:32: warning: readers[0].mode: mode card_pin: this build has no PIN entry; the reader would open nothing",
			"12:32: warning: readers[1].mode: this build has no reader modes by schedule; the reader would open nothing",
			"12:69: warning: readers[1].mode[1].mode: mode pin: this build has no PIN entry; the reader would open nothing",
		}},
		{"areas", "!" + strings.Replace(base, "{id: lab}, {id: yard}", "{id: lab, occupancy: 3, passback: {mode: timed}}, {id: yard, passback: {mode: soft}}", 1), nil, []string{
			"7:30: warning: areas[0].occupancy: this build has no occupancy; the limit would not hold",
			"7:33: warning: areas[0].passback: this build has no anti-passback; a card could be handed back and used again",
			"7:33: error: areas[0].passback: mode timed wants forget",
			"7:70: warning: areas[1].passback: this build has no anti-passback; nothing is recorded",
		}},
		{"fire that a door waits for", "!" + strings.Replace(base, "GPIO25}", "GPIO25, fail: safe}, hardware_release: true", 1) + "inputs: {fire: {line: GPIO5}}\n", nil, []string{
			"8:10: warning: inputs.fire: this build has no fire input; a door that waits for it would stay locked",
		}},
		{"fire that no door waits for", "inputs: {fire: {line: GPIO5}}\n", nil, []string{
			"8:10: warning: inputs.fire: this build has no fire input; the input is ignored (no door is released by it)",
		}},
		{"outward parts", `outputs: [{id: siren, line: GPIO13, on: [door_forced]}]
swordfish: {auth: none}
gateway: {}
uplink: {server_url: "ws://h/x"}
mqtt: {broker: "mqtt://user:secret@b", topic_prefix: "a/#"}
bacnet: {uuid: x}
presence: {}
notify: [{id: a}, {id: b, mail: [x], webhook: "ftp://x"}]
`, nil, []string{
			"8:1: warning: outputs: this build has no outputs part; the section is ignored",
			"9:1: warning: swordfish: this build has no swordfish part; the section is ignored",
			"9:19: warning: swordfish.auth: locks are believed without any proof of who they are; anyone on their network can take a lock's door file",
			"10:1: warning: gateway: this build has no gateway part; the section is ignored",
			"11:1: warning: uplink: this build has no uplink part; the section is ignored",
			"11:22: error: uplink.server_url: want a URL with https:// or wss://",
			"12:1: warning: mqtt: this build has no mqtt part; the section is ignored",
			"12:16: error: mqtt.broker: a name or password in a URL is not taken",
			`12:54: error: mqtt.topic_prefix: want an MQTT topic without + # $ and empty parts, not "a/#"`,
			"13:1: warning: bacnet: this build has no bacnet part; the section is ignored",
			`13:16: error: bacnet.uuid: want auto or a UUID, not "x"`,
			"14:1: warning: presence: this build has no presence part; the section is ignored",
			"15:1: warning: notify: this build has no notify part; the section is ignored",
			"15:10: error: notify[0]: wants either webhook or mail",
			"15:19: error: notify[1]: mail wants smtp, the mail server",
			`15:34: error: notify[1].mail[0]: want a mail address, not "x"`,
			"15:47: error: notify[1].webhook: want a URL with http:// or https://",
		}},
		{"mode rules", `readers:
  - {id: a, door: front, mode: [], wiegand: {d0: A, d1: B}}
  - {id: b, door: shed, mode: [{mode: card}, {schedule: day, mode: crd}], wiegand: {d0: C, d1: D}}
`, config.AllParts(), []string{
			"9:32: error: readers[0].mode: the list of modes is empty",
			"10:32: error: readers[1].mode[0]: a mode without schedule holds always; only the last may be so",
			"10:46: error: readers[1].mode[1]: the last mode has no schedule: it holds at all other times",
			`10:68: error: readers[1].mode[1].mode: "crd" is not known (did you mean card?)`,
		}},
		{"formats", `formats:
  - {name: H10301, bits: 26, card: {at: 1, len: 24}}
  - {name: mine, bits: 40, card: {at: 30, len: 11}}
  - {name: par, bits: 40, card: {at: 1, len: 30}, parity: [{bit: 0, kind: evn, over: [1, 2]}]}
`, nil, []string{
			"9:5: error: formats[0]: card formats: H10301: the name is taken: not a card format",
			`10:5: error: formats[1]: card format "mine": card field: bit 40: want 0 to 39: not a card format`,
			`11:75: error: formats[2].parity[0].kind: "evn" is not known (did you mean even?)`,
		}},
	})
}

func checkIssues(t *testing.T, tests []issueCase) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := base + tt.src
			if alone, ok := strings.CutPrefix(tt.src, "!"); ok {
				src = alone
			}
			c, issues := config.Parse([]byte(src), "f", options(tt.parts...))
			if diff := cmp.Diff(tt.want, texts(issues)); diff != "" {
				t.Errorf("issues (-want +got):\n%s", diff)
			}
			if got, want := c != nil, config.Worst(issues) == config.Warning; got != want {
				t.Errorf("a config was given: %t, want %t", got, want)
			}
		})
	}
}

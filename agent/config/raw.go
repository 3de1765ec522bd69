package config

import (
	"time"

	"gatehouse/hal"
)

// The raw structs are the one description of the settings file: the decoder,
// the reference file, the JSON schema and all defaults come from their tags.
//
//	key    the key in the file
//	doc    one line for the reference and the schema
//	def    the default, as the file would write it
//	req    must be present
//	enum   the words allowed, separated by |
//	check  the name of a check in checks (scalar.go)
//	min, max  bounds, written as a value
//	ex     the value in the reference where there is no default
//	off    the reference shows it commented out
//
// A section that is a struct always has its defaults; one that is a pointer is
// nil when absent.

// at is a place in the file.
type at struct {
	Line, Col int
	Path      string
}

// field is one scalar with its place. Set tells a value from a default.
type field[T any] struct {
	at
	V   T
	Set bool
}

type (
	text   = field[string]
	number = field[int]
	flag   = field[bool]
	dur    = field[time.Duration]
	level  = field[hal.Level]
	// byteCount and minuteOfDay have types of their own, as each has its form.
	byteCount   int64
	minuteOfDay int
	size        = field[byteCount]
	daytime     = field[minuteOfDay]
)

type rawFile struct {
	At         at
	Version    number         `key:"version" req:"y" min:"1" max:"1" ex:"1" doc:"version of this file's form"`
	Site       rawSite        `key:"site" req:"y" doc:"the site as a whole"`
	Device     rawDevice      `key:"device" req:"y" doc:"this appliance"`
	StateDir   text           `key:"state_dir" def:"/var/lib/gatehouse" check:"path" doc:"folder of the policy, the event log and the device key"`
	Listen     rawListen      `key:"listen" doc:"addresses to listen on"`
	Clock      rawClock       `key:"clock" doc:"what holds while the time is not known to be right"`
	Events     rawEvents      `key:"events" doc:"how much of the event log is kept"`
	Store      rawStore       `key:"store" doc:"the policy file"`
	Cards      rawCards       `key:"cards" doc:"how cards are read"`
	Formats    []rawFormat    `key:"formats" doc:"card formats beside the built-in ones"`
	Areas      []rawArea      `key:"areas" doc:"areas for anti-passback, occupancy and lockdown"`
	PIN        rawPIN         `key:"pin" doc:"when wrong PINs lock out"`
	Interlocks []rawInterlock `key:"interlocks" off:"y" doc:"groups of doors of which at most one is unlocked"`
	Doors      []rawDoor      `key:"doors" req:"y" doc:"doors on lines of this board"`
	Inputs     rawInputs      `key:"inputs" doc:"inputs of the whole site"`
	Outputs    []rawOutput    `key:"outputs" doc:"auxiliary outputs driven by events"`
	Readers    []rawReader    `key:"readers" doc:"readers at the doors"`
	Locks      []rawLock      `key:"locks" doc:"Wi-Fi and serial locks; each is a door for rights"`
	Hive       rawHive        `key:"hive" doc:"small readers with a shared key"`
	Swordfish  *rawSwordfish  `key:"swordfish" doc:"the locks' protocol"`
	Gateway    *rawGateway    `key:"gateway" doc:"the gateway's RESTful API"`
	Uplink     *rawUplink     `key:"uplink" doc:"the IP host"`
	MQTT       *rawMQTT       `key:"mqtt" doc:"events and state for a broker"`
	BACnet     *rawBACnet     `key:"bacnet" doc:"BACnet web services"`
	Presence   *rawPresence   `key:"presence" doc:"Wi-Fi location notifications"`
	Notify     []rawNotify    `key:"notify" doc:"mail and webhooks for alarms"`
}

type rawSite struct {
	At       at
	Name     text `key:"name" req:"y" check:"label" ex:"Warehouse 7" doc:"name shown to people"`
	Timezone text `key:"timezone" req:"y" check:"zone" ex:"Europe/Berlin" doc:"IANA name of the zone that schedules are in"`
	KeyFile  text `key:"key_file" check:"path" ex:"sitekey" doc:"file with the site key, 64 hex digits, mode 0600; locks need it"`
}

type rawDevice struct {
	At     at
	Serial text `key:"serial" req:"y" check:"serial" ex:"\"0000000000000000A0B1000000000206\"" doc:"serial number, 32 hex digits"`
	Board  text `key:"board" def:"auto" check:"label" doc:"auto, sim, a profile's name, or a profile's file (with a / or ending in .yaml)"`
}

type rawListen struct {
	At      at
	HTTPS   text `key:"https" def:"\":443\"" check:"listen" doc:"console and all services, HTTPS"`
	Devices text `key:"devices" check:"listen" off:"y" ex:"\"192.168.50.1:80\"" doc:"plain HTTP for locks and readers without TLS; off when absent"`
}

type rawClock struct {
	At        at
	Untrusted text `key:"untrusted" def:"always-only" enum:"deny|always-only|ignore" doc:"which rights pass until the time is known"`
}

type rawEvents struct {
	At     at
	Budget size `key:"budget" def:"1GiB" min:"1MiB" max:"1TiB" doc:"bytes on disk before the oldest go"`
	Keep   dur  `key:"keep" def:"400d" min:"1h" max:"36500d" doc:"age after which events that everybody has had go"`
}

type rawStore struct {
	At        at
	CopyEvery dur `key:"copy_every" def:"24h" min:"1m" max:"30d" doc:"time between verified copies of the policy file"`
}

type rawCards struct {
	At  at
	CSN text `key:"csn" def:"msb" enum:"msb|lsb" doc:"byte order in which readers send a serial number"`
}

type rawFormat struct {
	At       at
	Name     text        `key:"name" req:"y" check:"id" ex:"ACME40" doc:"name as credentials give it"`
	Bits     number      `key:"bits" req:"y" min:"1" max:"128" ex:"40" doc:"length of the card in bits"`
	Facility *rawSpan    `key:"facility" ex:"{at: 1, len: 12}" doc:"where the facility code stands"`
	Card     *rawSpan    `key:"card" req:"y" ex:"{at: 13, len: 20}" doc:"where the card number stands"`
	Issue    *rawSpan    `key:"issue" off:"y" ex:"{at: 33, len: 6}" doc:"where the issue level stands"`
	Order    text        `key:"order" def:"msb" enum:"msb|lsb" doc:"byte order of the card number"`
	Ones     []number    `key:"ones" off:"y" min:"0" max:"127" ex:"[39]" doc:"bits that are always 1; all others without a use are 0"`
	Parity   []rawParity `key:"parity" doc:"parity bits, checked in this order"`
}

type rawSpan struct {
	At    at
	Start number `key:"at" req:"y" min:"0" max:"127" ex:"1" doc:"first bit, 0 is the first on the wire"`
	Len   number `key:"len" req:"y" min:"1" max:"64" ex:"12" doc:"number of bits"`
}

type rawParity struct {
	At   at
	Bit  number   `key:"bit" req:"y" min:"0" max:"127" ex:"0" doc:"the parity bit"`
	Kind text     `key:"kind" req:"y" enum:"even|odd" ex:"even" doc:"even or odd"`
	Over []number `key:"over" req:"y" min:"0" max:"127" ex:"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]" doc:"the bits that it covers, without itself"`
}

type rawArea struct {
	At        at
	ID        text         `key:"id" req:"y" check:"id" ex:"lab" doc:"id of the area"`
	Name      text         `key:"name" check:"label" ex:"Laboratory" doc:"name shown to people"`
	Occupancy number       `key:"occupancy" min:"1" max:"1000000" ex:"20" doc:"the most people at a time; no limit when absent"`
	Passback  *rawPassback `key:"passback" doc:"anti-passback"`
}

type rawPassback struct {
	At     at
	Mode   text `key:"mode" req:"y" enum:"hard|soft|timed" ex:"soft" doc:"hard refuses, soft records, timed refuses until forgotten"`
	Forget dur  `key:"forget" min:"1s" max:"400d" ex:"8h" doc:"time after which an entry is forgotten; timed wants it"`
	Exit   text `key:"exit" enum:"soft|hard" ex:"soft" doc:"the same at a reader that leads out, for hard and soft; soft when absent"`
}

type rawPIN struct {
	At      at
	Tries   number `key:"tries" def:"5" min:"1" max:"100" doc:"wrong PINs that lock a credential out, or a reader where it takes a PIN only"`
	Within  dur    `key:"within" def:"10m" min:"10s" max:"1d" doc:"time within which they count together"`
	Lockout dur    `key:"lockout" def:"10m" min:"10s" max:"30d" doc:"how long no PIN is looked at then"`
}

type rawInterlock struct {
	At     at
	Doors  []text `key:"doors" req:"y" check:"id" ex:"[front, shed]" doc:"ids of two doors or more"`
	Repeat dur    `key:"repeat" def:"5s" min:"1s" max:"1m" doc:"a second exit press within this time is obeyed"`
}

type rawDoor struct {
	At              at
	ID              text        `key:"id" req:"y" check:"id" ex:"front" doc:"id of the door, as rights name it"`
	Name            text        `key:"name" check:"label" ex:"Front door" doc:"name shown to people; the id when absent"`
	Strike          *rawStrike  `key:"strike" req:"y" doc:"the lock"`
	Contact         *rawContact `key:"contact" doc:"the door contact"`
	Rex             *rawRex     `key:"rex" doc:"the exit button"`
	HeldOpen        *rawHeld    `key:"held_open" doc:"when an open door is an alarm; never when absent"`
	ADA             *rawADA     `key:"ada" doc:"longer times for rights with ADA"`
	Relock          text        `key:"relock" enum:"on_open|on_close|timer" ex:"on_close" doc:"what ends an unlock early; on_close with a contact, else timer"`
	Fire            text        `key:"fire" enum:"release|none" ex:"none" doc:"what the fire input does; release for fail: safe, none for fail: secure"`
	HardwareRelease flag        `key:"hardware_release" def:"false" doc:"people get out without any software (a maglock's break glass, a mechanical handle)"`
	Area            text        `key:"area" check:"id" ex:"lab" doc:"area that this door is locked down with"`
	AutoUnlock      *rawAuto    `key:"auto_unlock" doc:"a schedule that holds the door unlocked"`
	TwoPerson       flag        `key:"two_person" def:"false" doc:"every grant here needs a second person"`
	Tamper          *rawInput   `key:"tamper" ex:"{line: GPIO12, normal: low}" doc:"tamper contact of the door's wiring"`
	Bond            *rawBond    `key:"bond" doc:"bond sensor or strike feedback: says that the lock holds"`
}

type rawAuto struct {
	At          at
	Schedule    text `key:"schedule" req:"y" check:"id" ex:"office-hours" doc:"id of the schedule"`
	FirstPerson flag `key:"first_person" def:"false" doc:"unlock only after somebody was let in while the schedule holds"`
}

// rawInput is an input that is watched: any level but the normal one, also
// that of a cut wire, is an event.
type rawInput struct {
	At     at
	Line   text  `key:"line" req:"y" check:"line" ex:"GPIO12" doc:"input line"`
	Normal level `key:"normal" def:"low" doc:"level while all is well; any other, also a cut wire, is told"`
}

type rawBond struct {
	At     at
	Line   text  `key:"line" req:"y" check:"line" ex:"GPIO19" doc:"input line"`
	Secure level `key:"secure" def:"low" doc:"level while the lock holds"`
	Within dur   `key:"within" def:"2s" min:"100ms" max:"1m" doc:"locked and closed but not secure for longer than this is a fault"`
}

type rawStrike struct {
	At     at
	Line   text  `key:"line" req:"y" check:"line" ex:"GPIO24" doc:"output line"`
	Active level `key:"active" def:"high" doc:"level that energises the coil"`
	Unlock dur   `key:"unlock" def:"5s" min:"100ms" max:"10m" doc:"length of an unlock"`
	Fail   text  `key:"fail" def:"secure" enum:"secure|safe" doc:"what the lock does without power"`
}

type rawContact struct {
	At   at
	Line text  `key:"line" req:"y" check:"line" ex:"GPIO23" doc:"input line"`
	Open level `key:"open" def:"high" doc:"level of an open door"`
}

type rawRex struct {
	At     at
	Line   text  `key:"line" req:"y" check:"line" ex:"GPIO22" doc:"input line"`
	Active level `key:"active" def:"low" doc:"level of a pressed button"`
	Unlock flag  `key:"unlock" def:"true" doc:"a press unlocks; false only masks the forced alarm"`
	Stuck  dur   `key:"stuck" def:"60s" min:"5s" max:"1h" doc:"a press longer than this is a fault"`
}

type rawHeld struct {
	At    at
	Warn  dur `key:"warn" min:"1s" max:"24h" ex:"20s" doc:"warning at the reader; none when absent"`
	Alarm dur `key:"alarm" req:"y" min:"1s" max:"24h" ex:"30s" doc:"alarm"`
}

type rawADA struct {
	At     at
	Unlock dur `key:"unlock" req:"y" min:"100ms" max:"10m" ex:"15s" doc:"length of an unlock"`
	Warn   dur `key:"warn" min:"1s" max:"24h" ex:"60s" doc:"held-open warning; as held_open when absent"`
	Alarm  dur `key:"alarm" min:"1s" max:"24h" ex:"90s" doc:"held-open alarm; as held_open when absent"`
}

type rawInputs struct {
	At      at
	Fire    *rawFire  `key:"fire" doc:"fire alarm system"`
	Panic   *rawPanic `key:"panic" doc:"panic button"`
	Mains   *rawInput `key:"mains" ex:"{line: GPIO20, normal: low}" doc:"the power supply's mains-present contact; a change is a power event"`
	Battery *rawInput `key:"battery" ex:"{line: GPIO21, normal: low}" doc:"the power supply's battery-good contact; a change is a battery event"`
	Tamper  *rawInput `key:"tamper" ex:"{line: GPIO4, normal: low}" doc:"tamper contact of the cabinet; a change is a tamper event"`
}

type rawFire struct {
	At      at
	Line    text  `key:"line" req:"y" check:"line" ex:"GPIO5" doc:"input line"`
	Normal  level `key:"normal" def:"low" doc:"level without fire; any other, also a cut wire, is fire"`
	Latched flag  `key:"latched" def:"true" doc:"fire stands until it is reset by an operator; false follows the input"`
}

type rawPanic struct {
	At     at
	Line   text  `key:"line" req:"y" check:"line" ex:"GPIO6" doc:"input line"`
	Active level `key:"active" def:"low" doc:"level of a pressed button"`
	Does   text  `key:"does" def:"lockdown" enum:"lockdown" doc:"what a press does to all doors"`
}

type rawOutput struct {
	At      at
	ID      text   `key:"id" req:"y" check:"id" ex:"siren" doc:"id of the output"`
	Line    text   `key:"line" req:"y" check:"line" ex:"GPIO13" doc:"output line"`
	Active  level  `key:"active" def:"high" doc:"level that is on"`
	On      []text `key:"on" req:"y" check:"kind" ex:"[door_forced]" doc:"kinds of events that turn it on"`
	Until   []text `key:"until" off:"y" check:"kind" ex:"[door_closed]" doc:"kinds of events that turn it off"`
	For     dur    `key:"for" min:"100ms" max:"24h" ex:"60s" doc:"how long; when absent until the alarm is cleared, or until"`
	Doors   []text `key:"doors" off:"y" check:"id" ex:"[front]" doc:"only events of these doors; all when absent"`
	Reasons []text `key:"reasons" off:"y" check:"reason" ex:"[no_right, revoked]" doc:"for access: only these reasons; those that grant when absent"`
}

type rawReader struct {
	At         at
	ID         text        `key:"id" req:"y" check:"id" ex:"front-in" doc:"id of the reader"`
	Door       text        `key:"door" req:"y" check:"id" ex:"front" doc:"the door that it opens"`
	From       text        `key:"from" off:"y" check:"id" ex:"yard" doc:"area that is left through it"`
	To         text        `key:"to" check:"id" ex:"lab" doc:"area that is entered through it"`
	Mode       rawModes    `key:"mode" doc:"card, card_pin, pin, either or closed; or a list of {schedule, mode}, the last without schedule"`
	Wiegand    *rawWiegand `key:"wiegand" doc:"a reader on two lines"`
	Serial     *rawSerial  `key:"serial" off:"y" doc:"a reader on a serial line; wants hive_device"`
	HiveDevice text        `key:"hive_device" off:"y" check:"device" ex:"shed" doc:"the device of hive.devices on the serial line"`
	Feedback   rawFeedback `key:"feedback" doc:"what LED and beeper show, where it is not as usual"`
}

type rawFeedback struct {
	At       at
	Granted  *rawSignal `key:"granted" doc:"the door opens"`
	Denied   *rawSignal `key:"denied" off:"y" doc:"refused"`
	Error    *rawSignal `key:"error" off:"y" doc:"the decision could not be made"`
	Waiting  *rawSignal `key:"waiting" off:"y" doc:"a PIN or a second person is awaited"`
	Lockdown *rawSignal `key:"lockdown" off:"y" doc:"refused by a lockdown"`
}

type rawSignal struct {
	At     at
	Tones  []rawTone `key:"tones" req:"y" ex:"[{led: true, beep: true, for: 200ms}, {led: true, for: 1800ms}]" doc:"one after the other; then both are off"`
	Repeat dur       `key:"repeat" def:"0s" min:"0s" max:"1m" doc:"play again and again for so long; 0s is once"`
}

type rawTone struct {
	At   at
	LED  flag `key:"led" def:"false" doc:"the LED is lit"`
	Beep flag `key:"beep" def:"false" doc:"the beeper sounds"`
	For  dur  `key:"for" req:"y" min:"10ms" max:"5s" ex:"200ms" doc:"length of the tone"`
}

type rawModeRule struct {
	At       at
	Schedule text `key:"schedule" check:"id" ex:"office-hours" doc:"id of a schedule; without it the mode of all other times, and last"`
	Mode     text `key:"mode" req:"y" enum:"card|card_pin|pin|either|closed" ex:"card" doc:"what the reader asks for"`
}

type rawWiegand struct {
	At           at
	D0           text      `key:"d0" req:"y" check:"line" ex:"GPIO17" doc:"line of the zeros"`
	D1           text      `key:"d1" req:"y" check:"line" ex:"GPIO18" doc:"line of the ones"`
	LED          text      `key:"led" check:"line" ex:"GPIO16" doc:"line of the LED"`
	LEDActive    level     `key:"led_active" def:"low" doc:"level that lights it"`
	Beeper       text      `key:"beeper" check:"line" ex:"GPIO26" doc:"line of the beeper"`
	BeeperActive level     `key:"beeper_active" def:"low" doc:"level that sounds it"`
	Tamper       *rawInput `key:"tamper" off:"y" ex:"{line: GPIO27, normal: low}" doc:"tamper contact of the reader"`
	Silence      dur       `key:"silence" def:"25ms" min:"5ms" max:"25ms" doc:"the longest silence that ends a frame"`
}

type rawSerial struct {
	At   at
	Port text   `key:"port" req:"y" check:"port" ex:"/dev/ttyUSB0" doc:"serial port; readers and locks that name the same one share a bus"`
	Baud number `key:"baud" def:"115200" min:"1200" max:"921600" doc:"bits a second; all that share a port want the same"`
	Poll flag   `key:"poll" def:"false" doc:"ask every second whether the reader is there, so that a silent one is told; what shares a port is always asked"`
}

type rawLock struct {
	At         at
	ID         text   `key:"id" req:"y" check:"id" ex:"room5" doc:"id of the lock, as rights name it"`
	Name       text   `key:"name" check:"label" ex:"Room 5" doc:"name shown to people; the id when absent"`
	Serial     text   `key:"serial" req:"y" check:"serial" ex:"\"0000000000000000A100000000002479\"" doc:"serial number, 32 hex digits"`
	Model      text   `key:"model" req:"y" enum:"nde|le|control|cte|rmru" ex:"nde" doc:"model"`
	OneSched   flag   `key:"one_schedule" def:"false" doc:"its firmware takes one schedule a card (crSch is a number, not a list)"`
	DayEnd     number `key:"day_end" def:"1439" min:"1439" max:"1440" doc:"minute at which its firmware wants a schedule to end that goes on to the end of the day"`
	Holidays   flag   `key:"holidays" def:"true" doc:"its firmware takes holidays"`
	Port       text   `key:"port" off:"y" check:"port" ex:"/dev/ttyUSB1" doc:"serial port, for a lock on a wire; wants hive_device; may be shared as a reader's"`
	Baud       number `key:"baud" def:"115200" min:"1200" max:"921600" off:"y" doc:"bits a second of the port; all that share it want the same"`
	HiveDevice text   `key:"hive_device" off:"y" check:"device" ex:"vault" doc:"the device of hive.devices on the port"`
}

type rawHive struct {
	At         at
	Devices    []rawHiveDevice `key:"devices" doc:"devices that may call"`
	Vend       rawVend         `key:"vend" doc:"vending"`
	QuietHours *rawQuiet       `key:"quiet_hours" doc:"hours in which readers stay quiet"`
}

type rawHiveDevice struct {
	At       at
	Name     text     `key:"name" req:"y" check:"device" ex:"shed" doc:"the device's name on the wire"`
	KeyFile  text     `key:"key_file" req:"y" check:"path" ex:"hive-shed.key" doc:"file with its key: hex digits, or text: and the key's own characters; at least 16 bytes"`
	Versions []number `key:"versions" min:"1" max:"2" ex:"[1, 2]" doc:"protocol versions it may speak; both when absent"`
	Items    rawItems `key:"items" doc:"item on the wire: id of the door"`
}

type rawVend struct {
	At      at
	Credits number `key:"credits" def:"0" min:"0" max:"1000000" doc:"credits that a new badge starts with"`
	Alert   number `key:"alert" def:"1" min:"0" max:"1000000" doc:"at or below this many a reply carries alert"`
}

type rawQuiet struct {
	At    at
	Start daytime `key:"start" req:"y" ex:"\"22:30\"" doc:"start, in the site's zone"`
	End   daytime `key:"end" req:"y" ex:"\"07:00\"" doc:"end; before the start: on the next day"`
}

// Package link is the server of the Hive readers of a site: their HTTP sessions
// and their serial lines (protocols/hive.md; engage.md section 6; docs/serial.md).
//
// It owns the sessions and their checks. What an accepted request asks for is
// done by others through the small interfaces of Deps: it decides nothing, opens
// nothing and stores nothing itself.
//
// # Order of a request
//
// The steps are those of hive.md's table: device, checksum, version, nonce,
// operation. A step that refuses ends the request; until the checksum has passed
// nothing outside this package is called. A version-2 nonce is used up durably
// (Nonces.Use) before its operation is called, and only by a packet that passed
// every step; a vend uses it up in the store change that takes the credit
// (Vender). Of several requests with one nonce one wins.
//
// Once accepted, an operation is not cut short when its client goes away; it has
// nine to ten seconds, then the answer is a signed refusal with the reason fault. No
// answer has a status of 500 or above.
//
// # Events
//
// An ask that reaches a door is recorded by Deps.Access, one that cannot reach
// one (unknown item, no readable badge) by this package, as an access event.
// What a stranger can provoke without the key (an unknown device, a wrong
// checksum, a replayed or refused packet, noise on a line) is a fault event, at
// most one a minute for each device and cause; all unknown devices are one. The
// event carries in Count how many there were since the last.
//
// # Lines
//
// A line with one device is point-to-point: the device speaks as it likes, and
// where the settings say so it is polled too. A line with several is a bus: a
// device speaks only when it was polled, and nothing is acted on but the answer
// that is signed by the polled device and has the poll's own random numbers; what
// is late, doubled, another's or rubbish is counted. Orders (Server.Order) and the
// parts of long bodies go between the polls.
//
// A device that is polled and silent for 8 s, or whose port is lost, is a fault
// event "reader offline" or "lock offline", and another when it is back.
//
// # Concurrency
//
// A Server may be used from any goroutine. New starts nothing; Server.Run and
// each Line's Run are tasks that the caller runs and that wait for all they
// started. Lines share no state but the Server's. What a device on a line asks for
// is done in a goroutine of its own, one for each device at a time, so that the
// line goes on meanwhile.
//
// # Limits
//
// A request is at most 64 KiB and 16 levels deep, its random_response at most
// 16 KiB, a log at most 256 messages, a soda status at most 64 slots. Long bodies
// are bounded by MaxCallBody, MaxBody and MaxParts, and 16 of them are in memory
// at once, of all devices; the next is answered 503. Texts that
// go to the event log are cut at 512 bytes. Time limits of HTTP connections are
// the listener's.
package link

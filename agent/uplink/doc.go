// Package uplink is the WebSocket client of the ENGAGE IP host
// (protocols/engage.md, sections 1, 2 and the end of 3).
//
// It owns the link: root certificate, credentials, the upgrade, the four
// messages and their schemas, pings, renewal, and the delivery of events. What
// a request means is a Handler's; what an event looks like to a host is
// Events.Convert's. It never touches a door and no door waits for it.
//
// # A connection
//
// Each one begins with new credentials. One that breaks is made again for ever,
// after a delay that grows to 30 s. At the end of its day a second one is made
// beside it; the old one then sends no more events and goes when what it was
// asked is answered. TLS trusts the pinned root only; when that does not vouch
// for the host, the root is fetched again, once, and the connection tried again.
// Nothing is sent over plain HTTP and no redirect is followed.
//
// # Requests
//
// A request that passes its schema goes to the Handler, several at once, and is
// answered within 30 s, in any order. It is not cut short when the connection
// ends; its answer is then dropped. A message that fails is answered with 400
// where it carries a requestId, else it is logged and dropped; the connection
// stays up. More than MaxMessage bytes are read past, not kept.
//
// # Events
//
// Events are sent in the order of their numbers, for the sources that this
// connection's host subscribed to. After each batch (at most 512 events,
// 512 KiB, one second of writing) comes a ping; the cursors move when the pong
// brings its payload back, and only then the next batch begins. So after a cut at most the last
// unanswered batch repeats, under the same eventIds. No other ping is open at
// that time, so a host that answers only the latest ping does no harm.
// Meanwhile the next batch is read and put into words, one and no more; it is
// dropped if the subscriptions change or the connection ends.
//
// The first event of another log is preceded by one that names the log
// (NewLogMessage), with the eventId before it.
//
// # Limits
//
// Eight requests run at once, 256 wait, with 16 MiB of bodies in all; what is
// more is answered with 503. A message has at most 4,096 parts and 16 levels
// beside its strings. Memory is bounded by these and by a few times MaxMessage.
//
// # Concurrency
//
// Client.Run runs once at a time; Status and Kick may be called from any
// goroutine. Handler, Convert and NewLog must be safe for concurrent use.
package uplink

// Package notify tells people and other programs of alarms: by mail, or by a
// call to a webhook. It reads the event log by a cursor, so that an outage of
// the network, of the receiver or of the agent itself loses nothing.
//
// # Use
//
// New makes a [Receiver] of a Config; Run delivers until its context ends (it
// has the shape of a task). A receiver whose cursor was never moved begins with
// what comes after Begin, or after the start of Run. Test sends a message at
// once, beside what waits.
//
// # What is sent
//
// The kinds of Config.On, and their ends (Cleared). An empty On means
// [AlarmKinds]: everything that a person should acknowledge but duress, which is
// sent only to a receiver that names it. A lock's audit goes by the kind that it
// means (As). An acknowledgement (a command event with the Item "alarm:N") is
// sent where On is empty or names command, and only if the alarm itself would
// be: an acknowledgement of duress would tell of the duress. A receiver never
// gets faults about itself.
//
// # Order and loss
//
// Delivery is in the order of the log and at least once: the cursor moves only
// after a webhook's 2xx or the mail server's 250 to the message. What a receiver
// gets again has the same log and number, the same Idempotency-Key or the same
// Message-ID. Past events that are not sent the cursor moves now and then (see
// idleEvents), so that doors in use do not wear the disk out.
//
// What fails is tried again, after a second at first, five minutes at last, each
// time with a random part, and not before what Retry-After asks for (an hour at
// most). How long depends on what failed:
//
//   - The network, TLS, a time-out, HTTP 408, 425, 429 and 5xx, SMTP 4xx and a
//     failed sign-in: without end.
//   - The receiver refuses everything alike (HTTP 3xx, 401, 403, 404, 405, 407,
//     410; SMTP 5xx to the sender or to every address): 24 hours.
//   - It refuses this alarm (any other HTTP 4xx; SMTP 5xx to the message), or
//     some addresses of a mail are put off while others have it: 12 times, which
//     is about a quarter of an hour.
//
// After that the alarm is skipped so that the next ones pass. A skip is an event
// of kind fault, with Item "notify:ID" and the number of the alarm; only a
// skipped fault of another receiver makes none, so that two receivers that refuse
// everything do not feed each other.
//
// # Limits
//
// Redirects are followed only when they keep the call as it is (307, 308) and
// stay on the same scheme, host and port. Of an answer 64 KiB are read. TLS
// certificates are checked. Mail goes over TLS (STARTTLS, or from the first byte
// with smtps or port 465) save to a server on this machine, and a password never
// goes without it. A webhook over plain http is called if the settings say so:
// whoever validates them should warn.
//
// # Concurrency
//
// Run runs once at a time. Begin is called before it. All else may be called
// from any goroutine.
package notify

// Package link is the device server of the site's locks (engage.md sections 4, 5
// and 6): the HTTP sessions of Wi-Fi locks, and the handler of the calls that locks
// on serial lines make.
//
// # Calls
//
// All are below /swordfish/lock/, HTTP/1.1 only (505 else), with Content-Length and
// never chunked. A 201, a 202, an empty 200 and every error have no body and no
// Content-Type.
//
//	PUT  Config                 200 empty
//	GET  db/{version}           200 door file (application/json)
//	POST audit                  201 something was new; 202 nothing was
//	POST alert                  200 empty
//	GET  certificates/current   200 {"cert_url","hash"} (application/json); 404: none
//	GET  certificates/{16 hex digits}.der   200 the file (application/octet-stream),
//	                            to anybody; 404: another than the present one
//
// What goes wrong is asked in this order:
//
//	505 not HTTP/1.1    404 no such path    405 another method (Allow tells which)
//	401 no Authorization, or no serial in it (WWW-Authenticate: Device)
//	404 a serial that the settings do not name: it is listed as pending
//	503 enforce without a site key          401 enforce, and the token is not good
//	413 a body, an upload or a Config over its limit (1 MiB, 4,096 audits)
//	400 a body or a version that cannot be read
//	503 no site key, no policy, a disk or an event log that does not take it, or no
//	    turn within 45 s: nothing was done, the lock comes again
//
// The 45 s are of all that a call waits for: a place for its body, its turn, and
// whoever writes the lock's state. What is wrong with bodies (400, 413) is in the log at
// most once a minute a lock, and in its status until the next good call of the kind.
//
// A 4xx or 503 changes nothing, save that a good token is used and an audit that got
// 503 may be on disk already: it is a repeat when it comes again. Every answer to a
// lock of the settings has X-Device-Last-Connected, the time for its next token:
// YYYYMMDDHHMMSS in UTC, the site's time, or one second after its last token where
// that is later. It is given while the site's clock is not trusted as well.
//
// A call over a line (Call) is answered alike, without headers and tokens; both
// certificate routes are 404 there.
//
// # Tokens
//
// The lock is whom the token's first field names, whatever the setting says.
// With enforce and report a token must open with the site's key, name the same serial
// inside, come from one address and for no more than ten minutes after its first use,
// and its time may not be before that of the last good one. Its time is not compared
// with the site's (its zone is not known), but more than 24 hours ahead it is refused:
// it would lock out all that come after. What refuses one is in the log and a fault
// event, at most one a minute a lock, Count of them; the first good one after is a
// cleared fault. With report the call goes on.
//
// # What is on disk before which answer
//
//   - any call: the token, once for each
//   - Config: the object as it came (Params)
//   - db: what the lock will have of the file, and when it is to call next
//   - audit, alert: first the events, in order, then the history that tells repeats
//
// Replaced in one step and flushed, file and folder. A lock that hangs up does not
// stop what was begun: what is on its way to the event log keeps the lock's turn until
// it is there. After a cut New reads from the log what it has beyond the history, so
// nothing is recorded twice. An error of the log makes the next upload read it, too.
// The other times in the status are written within a minute, and when Run ends.
//
// # Door files
//
// Kept are the users of two files, the one that the lock said it has stored and the
// one that it was answered last: usrID, sealed block, a digest of the rest, and a
// digest of the lists. A lock has stored a file when it names its version, in the path
// of db or beside its audits. Where it names the first, it gets the changes; where it
// names anything else (0, a file that was replaced, one of another site key, zone or
// profile) or there are more than 500, it gets everything with deleteAll 1. Where
// nothing changed it gets no changes and the version that it has; where the last
// answer was lost and would be the same, that version again. Where it would be another
// file, the lock gets everything until it says that it stored one: it may have stored the
// one before and lost its version, and changes would leave in it what they do not name.
// Until then the cards of all that it was answered count as in it. No version is given to
// two contents. A card keeps its usrID while it is in either file; a new card gets one
// that is free in both.
//
// A config of the host goes with the files until one of them is stored. dbDwnLdTm is
// in the next window of the night (one that has begun is tonight's), at a place that
// the lock's serial gives it; or one minute after the table changes by itself, and no
// sooner than in 15 minutes, where the table is not good until then. A lock that does
// not call for its file within an hour of that time is a fault, cleared by that call;
// an alert is no such call, nor is one that got 503. A time further ahead than a window
// can be (25 hours and the window's length) was worked out while the clock was wrong:
// the lock is then late that long after its last call. While the site's clock is not
// trusted (and the settings do not say ignore) nobody is late and files have no
// dbDwnLdTm.
//
// # Repeats
//
// Of audits with an auditId: the same id with the same content. Of the others, position
// by position: an upload is a repeat as far as it and what the lock sent before are the
// same from where an upload began, the last one or (for at least two audits, to the end
// of an upload or to the end of all) one of the 16 before; or where it begins with at
// least two of what came last. Equal audits within an upload are all kept. An audit
// that equals an alert that no upload had is that alert, once; an alert that equals an
// audit that no alert told of is that audit, once. Of alerts with an auditId the same id
// with the same content is a repeat; without, one that equals the alert at the same place
// of the call before, within two minutes. An unknown card's tag is part of what is
// compared. What is not clearly a repeat is recorded.
//
// # Events
//
// An audit is one lock_audit: Door, Device (the serial, or the device on the line),
// Code, Data, LockTime as it came, Item the auditId, As, Reason, Mode, Cleared and Text
// what the code means. By is "alert" where it came as one. Time is the lock's, in the
// site's zone, unless it is more than 10 minutes ahead, more than 400 days back or
// cannot be read, or the site's own clock is not trusted: then it is that of the call,
// and Text says so. In the repeated hour of autumn it is the reading that keeps the
// order of the upload (of an alert: the one that is nearer), else the earlier, and Text
// has the other. Cards are hidden before anything is kept: the last audit of a group
// has the card's tag. An entry that is no audit has no Code, and its text in Text with the values masked. A
// damaged file, a missed call and a refusal are fault events.
//
// # Memory
//
// At most 16 tables are compiled and 16 door files made at once, 4 bodies over 64 KiB
// and 64 others read, one file of the folder written; the rest wait. What takes a
// processor for long takes turns besides (Deps.Work). A file is written through a small buffer, and a
// lock has at most two on their way. At rest a lock costs its history: at most 110 KiB, of one
// that sends some tens of audits a night some KiB. Tables are on disk only.
//
// # Files
//
// In Config.Dir, 0600, each with a CRC-32C; little-endian:
//
//	ID.lock     the state: token, times, history (state.go)
//	ID.table    both files (tables.go)
//	ID.config   the Config that the lock put last
//	ID.pending  the config of the host that waits
//
// Tables have a file of their own because they change at most once a call-in, and the
// state several times. A damaged file becomes NAME.damaged (then .damaged-2 to -9) and
// counts as nothing known; of the state the log's last 65,536 events take the place.
// Files of other hardware (another serial) are not looked at.
//
// Holders counts a lock as unsure until it has said that it stored a file: where its
// tables are damaged, or missing though its state, or with that missing an audit among
// those events, shows that it called before; and where it says that it has a file that
// is not known here.
//
// A lock of which a file cannot be read, or a damaged one not be set aside, is unsure
// and gets 503 until New's reading of it succeeds, which each of its calls tries again;
// a fault event tells when that begins and ends. The other locks are served.
//
// # Who is behind
//
// Run compares each lock's table with the policy when that changes, at most 8 at a time
// and for a tenth of its time: locks on lines first (6 of the 8), each kind in turn.
// Until then LockStatus.Unchecked says that the rest is of an older policy. A lock on a
// line that is not compared within two seconds is Due all the same.
//
// # Concurrency
//
// All methods may be called from any goroutine. Calls of one lock take turns, those of
// different locks do not wait for each other but for the places above. New starts
// nothing; Run is a task. A call may leave a goroutine that waits for the event log.
package link

// Package lock is an electronic lock as protocols/engage.md section 5 describes
// one: it keeps a table of credentials, opens for cards with nobody to ask, keeps
// audits until they are acknowledged, and calls its device server over HTTP or
// over a serial line.
//
// It imports nothing of the agent. Its parser of door files, its device tokens,
// its card blocks and its Hive envelopes are its own, written from the documents,
// so that an error in the agent's codec cannot hide in its mirror image.
//
// # How strict it is
//
// A door file is taken whole or not at all. It must be minified, its members must
// stand in the document's order, its records must be sorted by clear credential
// and occur once, every number must be in its range, and what it changes must fit
// the table: an update names a user who is there, an add one who is not. A file
// that fails changes nothing; the error says what and where, and the lock sends
// the audit 06000000 (a bad file) or 09000000 (no JSON) with its next upload.
// A delete of a user who is not there is taken and counted (Result.Idle).
//
// A body that came as a Hive object lost its order on the way (Hive sorts
// members), so only there order is not asked for.
//
// # Concurrency
//
// A Lock may be used from any goroutine; one call-in runs at a time.
package lock

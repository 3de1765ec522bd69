// Package access makes the decision: may this credential pass this door now. It
// is pure: no I/O, no goroutine, no clock of its own, no random. The same
// arguments always give the same decision.
//
// The caller looks the card up by its 16-byte block, hands all records found
// under it to [Decide] together with the compiled [Policy] and the state of door,
// reader and clock, and acts on the [Decision]. A refusal is not an error: it is
// a decision with a reason (site.Reason). What could not be read is handed in as
// Request.Fault and refuses with the reason fault. Whatever is missing, doubtful
// or unknown refuses: no policy, an unknown schedule, a level that was removed, a
// function or a state that this program does not know.
//
// # Several records
//
// A card may be enrolled by several sources, and one block may belong to frames of
// different length. A record that knows its length counts only for frames of that
// length. Each record that counts is judged by itself, with its own rights, state
// and dates; any that grants grants. If none does, one that waits for something
// (a PIN, a second person) is waited for; else the one that got furthest names the
// reason. Over all that, a record of the operator that is revoked or blocked
// refuses.
//
// # Rights and identifiers
//
// The rights of a record are its own and those of its levels. Schedules and levels
// are named within their source: an identifier means the schedule of the record's
// own source, or else the operator's. Two of one source under one identifier are
// no schedule and no level at all.
//
// # PINs and second persons
//
// The caller compares PINs; the request says what came of it. A lock-out refuses
// before anything is said of a PIN. A PIN alone comes without bits: the records
// are those that the PIN found, and one that found nobody is refused by what
// would refuse anybody (the door's mode, the reader, the areas) and then as
// wrong. A supervised credential, and every one at a door for two persons, waits
// for a second; the second is another holder who may pass by himself.
//
// # Time
//
// A schedule is judged by what a wall clock at the site shows. When the clocks go
// back the repeated hour counts both times; when they go forward the hour that is
// left out never comes. An interval that crosses midnight belongs to the day on
// which it starts. A holiday, of any source, suspends schedules for as long as the
// wall clock shows that day: a Friday night shift ends at midnight when Saturday
// is a holiday, and on the night of a holiday it begins at midnight.
//
// Holidays have kinds. An interval may name kinds among its days: it holds on
// holidays of these as on its days of the week, to its end after midnight, and a
// holiday of one of these does not suspend it. On a day with holidays of several
// kinds any of them will do. A schedule that ignores holidays goes by the days of
// the week alone.
//
// A credential is active from From on and expired at Until.
//
// While the clock is not trusted (door.md, Untrusted clock), From is not judged
// in any mode; Until is judged in every mode against the later of the clock and
// the last trusted time; a right with a schedule is refused with clock_untrusted,
// save under ignore, where the clock is taken as it is; under deny a credential
// that has an end is refused too.
//
// # Locks
//
// A lock that decides by itself is told the times ahead: RightsAt, Minutes and
// Standing say what Decide will say, by the same code, and Shape which times can
// share one slot of a lock.
//
// # Concurrency, cost
//
// A Policy is never changed after Compile: any number of goroutines may use one,
// and a new one takes its place as a whole. Decide allocates nothing unless
// Request.Trace asks for the steps.
package access

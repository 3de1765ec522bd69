// Package store keeps the policy of a site and the state of its devices in two
// bbolt files, so that a power cut at any instant, or a damaged file, leaves a
// store that decides right.
//
// # Files
//
// In Config.Dir (STATE), all of mode 0600:
//
//	policy.db       holders, credentials, levels, schedules, holidays, door files, outbox
//	policy.copy.db  the last verified copy of it
//	devices.db      Hive nonces, serial counters, kept door states, vend credits
//	device.key      64 hex digits; made once, with the first store
//	store.lock      held while the store is open
//	*.recovering    there while a damaged policy or devices file is recovered; one
//	                found at start begins the recovery anew
//	import.stage    rows of an import that runs; removed at start
//	quarantine/     damaged files, set aside under the time, never deleted
//
// A missing or wrong device.key over an existing store is an error of Open and
// nothing is touched.
//
// # What is secret
//
// A card is kept only as its 16-byte block encrypted as one AES-256 block under
// a subkey of device.key: that is the look-up key and, with the device key,
// reversible. PINs are kept as HMAC-SHA256 over the encrypted block and the PIN,
// cut to 16 bytes; with Config.PINAlone those that are set from then on also as
// one over the PIN alone, under a key of its own, in the record and in an index of
// its generation (alone.go). A PIN that opens alone is refused to anybody else, as
// long as its owner's credential, active or revoked, has it. The content of a
// change in the event log is sealed with AES-256-GCM. Subkeys are made with
// HKDF-SHA256; no salt, the info strings in key.go. Records hold the last two
// digits of a card's number in clear.
//
// # Changes
//
// Apply makes a change in one transaction of the policy file, together with its
// event in an outbox, then writes the outbox to the log in order, then returns.
// The event's sealed content is the list of resulting records, so a replay does
// no harm. Run writes what a cut left in the outbox; Open itself appends nothing.
// A change too large for an event (32 KiB of records) and an import keep only a
// digest there and wait for a verified copy before they are acknowledged.
//
// # Door files
//
// What an IP host sends for a door is kept door by door, beside the credentials: for
// the next door the same card may have another end or function. LookupAt returns a
// door's record of a card as a credential without a length, whose holder is the card
// itself. Snapshot has the schedules and what a file asks of its door. A file is
// replaced by a small commit: up to 2,000 changed cards in one transaction, more in a
// bucket that is filled beside the live one.
//
// # Locks
//
// A lock that keeps its cards itself holds no more users and schedules than its model
// takes (LockLimit). What would take it over is refused when it is asked for, in the
// transaction of the change, which is not made then. What a lock holds is remembered
// from change to change as a bound from above, in memory; only where a change adds to
// a lock whose bound is over the limit, or is not known yet, all records are read.
// What the store remembers goes with a recovery, an import and a restart. CardsAt
// gives what locks are to hold, in one pass for all of them.
//
// # Uses
//
// A use of a counted credential is in force in memory at once. The policy file
// has it within a second, in one transaction with a mark: how far the log was
// read, and which uses are counted whose events had not come up to there. Open
// and recovery count the granted accesses of the log above the mark, less
// those. So a use is durable as soon as its event is; a cut between the two may
// give one more use, and a use whose event is lost stays counted once the file
// has it. Where events above the mark are gone from the log, or a limit is set
// anew while an access is on its way to the log and a cut follows within a
// second, a use too many may be counted, never one too few for the events that
// there are.
//
// # Damage
//
// bbolt checksums its meta pages only, so every value carries a CRC-32C over its
// bucket, key and payload. All reads run with faults of the memory map and
// panics turned into errors that match ErrFault. A file of up to 2 MiB is
// checked whole before Open returns, a larger one by Run soon after start. The
// check reads the file by itself, without bbolt (pages.go). The copy is checked
// in the same way soon after start and every day; a damaged one is set aside,
// told of, and made anew at once.
//
// A damaged policy file is set aside; the store goes on from the verified copy,
// rolled forward with the changes and the uses of the event log. All Hive nonces are replaced and all
// counters jump. Without a copy the policy is rebuilt from the log alone; if the
// log does not hold every change from the first, what was lost might be a
// revocation or a block, so Lookup refuses with ErrIncomplete until a person
// says otherwise (AcceptIncomplete). With a copy and changes missing after it
// (both files damaged at once) the store goes on and says how many.
//
// # Limits
//
// A card has at most 128 bits, a credential 1024 rights and 64 levels. An import
// has at most 2,000,000 rows and 1 GiB. A door file has at most 65,534 cards. The map is 4 GiB (512 MiB on 32 bits).
//
// # Concurrency
//
// All methods of Store may be called from any goroutine. Lookup and the other
// reads wait for no writer, no copy and no import. Changes wait for each other;
// nonces wait for no change. A store belongs to one process at a time.
package store

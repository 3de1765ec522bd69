// Package spool is the event log: every event that happens at a site, in
// order, on disk before any consumer is told, and a cursor for each consumer.
// It knows nothing of what events mean, save their time and Change.
//
// # Use
//
// Open reads what is there and starts nothing; Run writes (it has the shape of
// a task: Run, Ready, String) and Close gives the files back after Run ended.
// Append puts an event in a queue in memory and returns at once, so no door
// ever waits for a disk. Its Receipt is for those whose own acknowledgement
// must follow durability (a change of policy); others drop it. Run takes what
// is queued, writes it with one write and one fdatasync(2), then acknowledges
// it and shows it to readers. A consumer reads from its cursor's position + 1,
// handles, advances its cursor to the last Seq it has handled, and calls Wait
// when Read gives nothing.
//
// Events that come in quick succession share a flush: as long as nobody waits
// for a Receipt (Wait, Done), a write begins half a millisecond after the end of
// the one before. A single event, all that is queued when somebody waits, a full
// write and a queue that is a quarter full are written at once.
//
// # What happens when the disk is slow, full or broken
//
// The queue holds Config.Queue events (4096 by default) and MaxQueueBytes.
// When it is full, further events are counted; the count is written in their
// place as one events_lost event, before any later event, and their receipts
// give ErrLost. A kill of the agent loses what is queued and nothing that was
// acknowledged.
//
// When a write fails (a full disk among others) the queue is held and the
// write is tried again, after a quarter of a second at first, every ten seconds
// at last; OnFault tells FaultWrite until one succeeds. What a failed write
// left is cut off before the next one; where that fails too, the segment is
// given up. After a failed flush nothing that was written since the last good
// one is trusted, though it still reads well from the page cache: the segment
// is given up at the last flushed byte, and everything not acknowledged is
// written again, under the same numbers, to a new one. Nothing is removed
// because the disk is full: others fill it, and the budget is the log's share.
//
// # Numbers and logs
//
// Events are numbered without gaps from 1. The log id names one unbroken
// numbering. A new log begins, with an event of kind events_lost that says why
// ("a new log begins: …"), when continuity cannot be proven: a file was
// altered or is missing, the files are gone although numbers are known
// (Options.MinSeq, a cursor), or a backup was restored (Options.NewLog). It
// starts above every number known. The first start of a site makes no such
// event.
//
// Every number is accounted for. Where events are lost, one events_lost event
// stands for all adjacent ones: its Seq is the last of their numbers and its
// Count how many they are, less what the reader had already when it asks from
// inside. That goes for damage, for the budget, and for the jump to a new log
// (whose event has a number of its own, one above those it counts). So the
// counts that one consumer gets add up to what it did not get. An events_lost
// event for a full queue counts events that never had numbers.
//
// # Damage
//
// Open reads the newest segment whole, of the others head and footer; reads
// check every record; Verify reads everything, in the background. A damaged
// segment is kept in the quarantine folder (a hard link where there are any,
// else a copy; never deleted, so the operator must), a new log begins, and a
// rewriting of the segment takes its place: sound records, found again by their
// marks, with events_lost between them. Options.OnFault tells FaultDamaged and
// Report.Damaged names the files. A crash in between is harmless: the damage
// is found again. A cursors file that is damaged is kept likewise, and every
// consumer starts at the oldest event kept; what it gets again has the same
// log and number. A damaged trusted time is the zero time.
//
// An unfinished write at the end of the newest segment (a power cut) is not
// damage: nothing in it was acknowledged. It is told from damage by the two
// checks of a record: the file ends inside a record whose head is sound, or it
// ends in a zero byte, which no record does. It is cut off and the numbering
// goes on. Whoever sets the last byte of a file to zero by other means can so
// hide the loss of the last events, until a cursor or MinSeq gives it away.
//
// # Budget and age
//
// When the files reach the budget, less one segment for the one being written,
// the oldest segments that every configured consumer (Register) has had are
// removed. If that is not enough, the oldest that somebody has not had are
// compacted to one events_lost event. Changes (Event.Change) that PolicyCopy
// has not had stay even then; if these alone reach the budget, it is exceeded
// and FaultBudget told. Age removes delivered segments only, and is judged by
// trusted times against the last trusted time, so a clock that jumps removes
// nothing. With no consumer configured everything counts as delivered. The
// active segment is never trimmed; a segment is the eighth of the budget, 128
// KiB at least and 4 MiB at most. The quarantine is outside the budget.
//
// # Concurrency
//
// All methods of Log, Cursor and Receipt may be called from any goroutine. Run
// runs once at a time. Open and Close are for the owner. Append, the getters,
// SeekTime, Position, Register and KeepTrustedTime do no I/O and hold no lock
// over any. Advance and Forget wait for one small file to be flushed; Read, Scan
// and ScanBack read files, and wait for the disk also when they meet damage.
// The callbacks of Options come from the log's goroutines, from readers, and
// from Open.
//
// # Files
//
// All numbers are little-endian; CRCs are CRC-32C (Castagnoli). A segment is
// BASE-LOG-GEN.spool: the first number that it accounts for in 20 decimal
// digits, the log id in 8 hex digits, and a generation that tells files of one
// base apart (a rewriting, or a new attempt after a failed write).
//
//	head (56 bytes)   "GHSPOOL\n", version u32 (1), log u32, flags u32 (1: a
//	                  rewriting, which replaces others of its numbers), 0 u32,
//	                  base u64, created i64 (Unix ns), highest Change before
//	                  this segment u64, 0 u32, CRC of the bytes before u32
//	record            0xFF "GHr", length of the payload u32, seq u64, span u64,
//	                  CRC of the payload u32, CRC of log and the 28 bytes
//	                  before u32; then the payload: site.Event as JSON, without
//	                  Holder. It accounts for the numbers seq-span+1 to seq. No
//	                  payload: numbers that every consumer has had
//	footer (72 bytes) 0xFF "GHf", log u32, last number u64, records u64, lowest
//	                  and highest Time and highest trusted Time i64 (Unix ns;
//	                  0: none), highest Change u64, number of the last event
//	                  with a Change u64, 0 u32, CRC of the bytes before u32
//
// 0xFF is in no UTF-8 text, so a mark is never inside a payload. The log id in
// a record's CRC keeps out what another log left on a reused block. The footer
// is written when a segment is finished; one without is read whole. Where two
// segments account for the same numbers, of one base the highest generation
// counts, a rewriting counts before what it covers, and a newer segment before
// the end of an older one.
//
// The files cursors (consumer to number) and trusted-time are one line of JSON
// and one with its CRC in hex, replaced by rename. The file lock is locked with
// flock(2) while the log is open.
package spool

// Package reader turns the edges of Wiegand readers into frames and keys, hands
// them to whoever decides, and shows people the answer by LED and beeper. Readers
// on serial lines and in the network are package hive/link's.
//
// # Frames
//
// Two open-collector lines idle high (protocols/wiegand.md). A low pulse on D0 is
// a 0, on D1 a 1. Wiegand is the decoder: a pure function of its state, an edge or
// a timeout. The end of a frame is found from the frame's own pace, a silence of
// 4 times the longest gap between two of its bits, at least 5 and at most 25 ms
// (a setting), and 25 ms while only one bit has come. All times in it are the
// stamps of the edges, which the kernel or the simulated board made: edges that
// are delivered late decode as if they had come in time.
//
// What cannot be a frame is a fault, and the frame is dropped whole: both lines
// low at once, a pulse on a line that is not one of the two, more than 256 bits,
// edges lost on the way, a line still low when the frame should end, an edge of a
// frame that had been closed. Three faults in ten seconds are a tamper event,
// which ends after ten seconds without one.
//
// # Supervision
//
// What the data lines rest at for 25 ms is judged: one that is low is a fault
// (a short, or a broken reader), both are another one (no power); each is told
// when it begins and when it ends, a pulse that is caught by chance is none. A
// cut data wire reads as a reader that nobody uses, and cannot be told from one
// (docs/wiring.md). The reader's tamper contact, where one is wired, is a line of
// its own. Trouble lists what stands; its events carry an Item, so that the end
// of one is not taken for the end of another.
//
// # Concurrency
//
// A Reader is one task. One goroutine owns lines and decoder and never waits for
// a decision; a second one hands frames and keys over, in their order, through a
// queue that holds two cards and 16 entries in all. A card that finds the queue
// full is not presented: it becomes an access event with reason fault. A key that
// finds it full is dropped and logged, so that the PIN is wrong rather than late.
// Feedback is a task of its own, started by its Reader.
//
// From the last edge to Present it takes the frame's silence and the scheduling
// of two goroutines. A timer that fires late says that the process may not have
// run: then edges may still wait in the kernel, and the reader looks for them for
// up to 100 µs more before it takes the frame as ended. Where the timer was late
// by more than timers are, or a line is low or is not at the level of its last
// edge, it waits in steps of a millisecond: 2 of them, and up to 20 while the
// levels say that an edge is still to come.
//
// # Secrets
//
// Frames and keys are card numbers and PIN digits. Nothing here logs them or puts
// them into an event.
package reader

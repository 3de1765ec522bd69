// Package door owns one door: its strike, its contact, its exit button, its
// mode and its alarms (door.md, Door).
//
// It has two halves. [Step] is a pure machine: a function of state, input and
// instant that returns the next state and what is to be done. Timers are inputs
// to it: the state holds deadlines, [State.Next] names the earliest, and
// whoever runs the machine feeds a [Tick] when it has come. [Door] is the
// goroutine that runs one machine and is the only one that touches the lines.
//
// # Concurrency
//
// One goroutine, the one inside [Door.Run], owns state, outputs and inputs of a
// door. All methods of Door are safe for concurrent use: they send messages to
// that goroutine and receive copies. A decision is made inside it, so that no
// mode can change between decision and strike. The goroutine waits for nothing
// but its messages and its lines: events are handed to [Log], which must not
// block, after the strike was driven; what survives a restart is written by a
// second goroutine that [Door.Run] starts and waits for.
//
// # Who waits
//
// A card that waits for its PIN and a person who waits for a second one are kept
// by the door's goroutine, without the PIN, until the machine's wait for them
// ends: settled, after [WaitTime], by another card at that reader, by a lockdown.
// What is presented next is decided on with them ([Decider], [Pending]).
//
// # Interlocks
//
// Which doors are not secure is known to one [Interlock] for all. A door asks it
// before its strike is driven unlocked and gives it back after the strike was
// driven locked and the door is closed, and waits for no other door: what is held
// back is tried again when another one wakes it ([Door.Wake]).
//
// # Queues
//
// Presented cards wait in a queue of 16; when it is full [Door.Present] returns
// [ErrBusy] at once. Commands wait in one of 16; when it is full
// [Door.Command] waits as long as its context allows. Edges, timers, commands
// and pings are always served before the next card, so a flood of cards delays
// none of them by more than one decision.
//
// # Times
//
// Unlock, relock, held-open and stuck times run on the monotonic clock. The
// wall clock is used only for the end of an override or a lockdown. While it is
// not trusted these ends run on elapsed time, and no schedule unlocks.
//
//   - A pulse lasts from the grant, the press or the command. A new one inside
//     it extends it and never shortens it.
//   - Held-open times run from the opening of the door. They are silent while
//     the mode, fire or an unlock command with a duration holds the door
//     unlocked, and run from the end of that silence if it leaves the door
//     open. A grant or an exit press at an open door starts them again unless
//     the alarm already stands.
//   - A contact change counts once it has stood for [Settle], from the instant
//     at which it began. Bounce shorter than that is not seen at all.
//   - A press of the exit button counts at once and its release when it has
//     stood for [Settle]; one press is one pulse, however long it is held.
//   - A door that begins to open less than [Grace] after relock was let go
//     through; at [Grace] or more it is forced. A grant is called unused when
//     [Grace] has passed without an opening.
package door

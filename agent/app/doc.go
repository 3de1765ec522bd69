// Package app builds a whole gatehouse agent from validated settings and a
// hardware value, and runs it. Tests and tools run an agent through it, in
// their own process, on fakes; the command runs the same agent on a board.
//
// # What it owns
//
// The order of things: outputs are claimed at their safe level before anything
// else is opened, and are driven safe as the last act of Run. The joining of
// the parts: a reader or a Hive device presents to a door, the door asks for a
// decision, the decision asks the store and package access; events go to the
// log; faults go to health, to the log and to the alarms. The device server of the
// locks gets its tables, compiled of one pass over the store for all locks that ask
// at the same time; the calls of locks on serial lines reach it through hive/link,
// and orders for them go the other way. None of the parts
// knows another one of its floor: each declares what it needs as a small
// interface, and the adapters that join them are here.
//
// # Concurrency
//
// New opens files and claims lines, and starts no goroutine. Run blocks until
// its context ends or a part fails for good, and returns after all that it
// started has ended. All methods of App may be called from any goroutine while
// Run runs.
//
// # Process
//
// Supervised and AgentProcess are the two processes of `gatehouse run`: the
// parent that makes the outputs safe when the agent dies or hangs, and the
// agent itself (design.md promise 2).
package app

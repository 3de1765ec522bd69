// Package cli is the command line of gatehouse (contract.md, Commands).
//
// Commands that look at or change a running agent speak its control socket,
// STATE/control.sock; run starts the agent; check reads the settings and the
// hardware without an agent.
//
// # Answers
//
// What was asked for goes to standard output, one line for a thing or, with
// --json, one JSON value. Errors go to standard error, one line, what and where.
// The exit code is 0 when it was done, 1 when it was refused or failed, 2 when
// the command was used wrongly.
//
// The package keeps no state between commands and starts no goroutine that
// outlives one.
package cli

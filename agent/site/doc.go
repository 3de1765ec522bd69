// Package site holds the words that every other part of gatehouse shares:
// doors, readers, holders, credentials, rights, schedules, events and the
// reasons of a decision.
//
// It has types and their text forms only: no I/O, no goroutine, no state. All
// values are plain data and safe to copy; slices inside them belong to whoever
// made the value and are not changed after it was handed on.
//
// Identifiers are types of their own so that a door cannot be passed where a
// reader is wanted. The zero value of every enumeration is the harmless one: a
// zero Mode is Secured, a zero Reason grants nothing.
package site

// Package config reads the settings file: one YAML document, described once by
// the raw structs of this package (raw.go), checked whole, and turned into a
// Config that has no text left to interpret. It composes the Config types of
// the parts and holds the settings types of the parts that come later.
//
// # Faults
//
// Parse reports every fault of a file at once, each with line, column and the
// path of the setting (Issue). Only text that is not YAML at all stops at the
// first fault, because nothing behind it can be trusted. Unknown and duplicate
// keys, wrong types, times without a unit and broken references are errors.
//
// # What is not in the build
//
// The whole schema validates in every build. Options.Parts names the parts that
// this build has; what the file asks of any other part is a Warning
// (contract.md, Settings). Where doing without weakens a door the warning says
// what does not hold: interlocks, hard or timed anti-passback, occupancy, the
// two-person rule, a fire or panic input. A reader mode that the build lacks fails
// closed: the reader opens nothing.
//
// A later part only adds its name to Options.Parts.
//
// # Limits
//
// A file has at most 1 MiB, 10000 keys and 16 levels, is UTF-8 without control
// characters, and has neither anchors, aliases, merge keys, tags, keys
// after ? nor a second document: a short file cannot grow. Parse reads no file and no environment
// (the zone database excepted, which time.LoadLocation finds); key files come
// through Options.KeyFile. Load is the convenience that reads real files.
//
// A Config and the results of Reference and Schema belong to the caller.
// Nothing here starts a goroutine or keeps state; all functions may be called
// at the same time.
package config

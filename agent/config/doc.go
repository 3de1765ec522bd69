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
// this build has; what the file asks of any other part is judged by one rule:
//
//   - Where the missing part only talks to the outside or comforts (mqtt,
//     uplink, notify, locks, soft anti-passback, a siren), the section is
//     ignored with a Warning.
//   - Where doing without would let somebody pass whom the settings keep out,
//     or keep shut what they promise to open (interlocks, hard or timed
//     anti-passback, occupancy, PIN and scheduled reader modes, a fire input
//     that a door waits for, a panic input), it is a Refusal. A refused file
//     gives no Config, so no caller can run it by oversight; it is never
//     downgraded in silence.
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

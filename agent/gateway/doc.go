// Package gateway is the RESTful API of an ENGAGE gateway over the site
// (protocols/engage.md, section 3): what an IP host asks through the WebSocket, and
// what local HTTPS answers in the same way.
//
// # Edge devices
//
// Each own door, serial lock and Wi-Fi lock of the settings is an edge device with a
// linkId (dev00000), which it keeps for ever, and a deviceId of 16 hex digits: of an
// own door and a serial lock made from the appliance's serial and the door's id, of a
// Wi-Fi lock the end of its serial. All are linked from the start; only a Wi-Fi lock
// can be unlinked, and is then found by a scan until it is linked again.
//
// # Door files
//
// PUT …/database reads the whole file before it answers: a fault is a 400 that names
// the record, and nothing has changed. What it accepted is made the door's by Run, one
// file at a time, and dbDownloadStatus tells how far that is.
//
// # Events
//
// Convert is the one table of what a host is told of the site's events, for the uplink
// and for the audits of each device. DELETE …/audits moves a place of its own for that
// device; the log is never shortened.
//
// # Refusals
//
// What cannot be done is an error status with a statusMessage, never a silent success.
//
// # Concurrency
//
// All methods may be called from any goroutine. Run is a task and runs once.
package gateway

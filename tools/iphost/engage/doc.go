// Package engage has the host's half of the ENGAGE gateway protocol as pure
// functions: credentials for the uplink, the messages inside the socket, and
// the hash that vouches for a root certificate.
//
// Everything here is bounded, does no I/O and starts nothing. Numbers of
// sections mean docs/protocols' ENGAGE notes ("ENGAGE: what is on the wire").
package engage

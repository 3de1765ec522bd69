// Package gatewaytest is a working ENGAGE gateway for tests and load: it fetches
// and checks the root certificate, gets credentials, connects, answers requests
// from a small state of its own, sends events and waits for pongs.
//
// A Gateway costs one goroutine. Its frames are written by hand, not with the
// host's package, so that each end tests the other.
package gatewaytest

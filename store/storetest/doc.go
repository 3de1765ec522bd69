// Package storetest provides a working fake of the event log and a helper that
// opens a store for a test and checks it whole at the end.
//
// Log keeps its events in memory, hands out sequence numbers without gaps, can
// be told to fail, and can be carried over to a second Open as a log on disk
// would be. It is safe for concurrent use.
package storetest

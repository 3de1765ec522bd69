// Package haltest provides working fakes of gatehouse's hardware contracts
// (package hal): a Board with lines, edges and a history of outputs, Ports with
// the device's end, or a bus with several, in the test's hand, and a Clock that can be wrong. They keep
// state, can be read afterwards and can be told to fail.
//
// The zero value of each is ready to use. Everything here may be called from
// many goroutines, inside a testing/synctest bubble and outside: no call waits
// while it holds a lock, and whatever waits does so on a channel or a timer.
// Make the fake inside the bubble that uses it.
//
// What the fakes keep of the real thing: a line is held by one owner, an output
// has its initial level from the claim on, closing drives nothing, edges of one
// group come in order with their stamps, an edge that does not fit is lost and
// the next one says so, and a lost board closes the channels. What they do not
// have is time of their own: stamps, and the speed of a bus, come from package
// time, which inside a bubble is the bubble's.
package haltest

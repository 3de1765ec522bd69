// Package sim is the simulated board: a set of lines behind a unix socket.
// [Holder] is the process that holds the lines, so that what a killed agent
// leaves behind can be seen. [Board] is the agent's side, a hal.Board over the
// socket; tests and tools use it as well, or speak the lines themselves.
//
// # Protocol
//
// One JSON object a line in each direction, one answer for each request, in
// order. A line is at most [MaxLine] bytes, a level is 0 or 1, a line's name is
// 1 to 32 letters, digits and ". _ : / -". A fault is answered with
// {"error":"…","code":"…"}, the code being busy, no_line, closed or bad, and
// the connection stays up. Unknown members are faults.
//
// For anybody:
//
//	{"set":"GPIO23","level":1}   sets an input         {"line":"GPIO23","level":1}
//	{"get":"GPIO24"}             reads a line          {"line":"GPIO24","level":1}
//	{"watch":["GPIO24"]}         follows lines         {"lines":[…]}, then one event for each change
//	{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":26,"hex":"26831000","us":1000}}
//	                             plays a card          {"bits":26}, after the last edge
//	{"list":true}                all lines             {"lines":[{"line":"GPIO24","level":0,"dir":"out","owned":true}]}
//	{"fault":{"line":"GPIO24","stuck":1}}    the line keeps that level; without stuck it is released
//	{"fault":{"line":"GPIO24","refuse":true}}    own and drive fail; without refuse they work again
//	{"clock":{"trusted":false}}  the trust in time     {"clock":{"trusted":false}}
//
// An event is {"line":"GPIO24","level":1,"at":81234567890}: at is nanoseconds
// of CLOCK_MONOTONIC, and is what tells an event from an answer. "lost":true
// says that events before it were dropped, because the peer read too slowly.
//
// For the agent:
//
//	{"lines":[{"line":"GPIO23","dir":"in","rest":1}]}   declares lines       {"lines":[…]}
//	{"own":["GPIO24"],"level":0}   claims outputs, with their level at once    {"lines":[…]}
//	{"own":["GPIO17","GPIO18"]}    claims inputs and watches them              {"lines":[…]}
//	{"disown":["GPIO24"]}          gives lines back; the level stays           {"lines":[…]}
//	{"drive":"GPIO24","level":1}   drives an owned output                      {"line":"GPIO24","level":1}
//	{"clock":{"watch":true}}       asks and follows the trust in time          {"clock":{"trusted":true}}
//
// Only a line that is not known yet, or that changes its direction, takes its
// rest level: levels outlive the agent. A line has one owner, as with the
// kernel; the connection's end gives it back and drives nothing. A claim that
// finds another owner waits a moment ([HolderConfig.Grace]), because the end of
// a killed process may be a line or two behind in its socket. An output is
// never set by an outsider, declared or owned; an input is anybody's.
//
// # Wiegand frames
//
// A frame takes the time that it takes on the wire (bits times us), then all
// its edges appear at once, stamped with the times at which they were due: low
// pulses of 50 µs, us apart. So a loaded machine never tears a frame: the edges
// reach a reader as they do from the kernel's queue when the reader was
// scheduled late. A reader that takes the time between bits from the stamps
// sees exactly the pace asked for. While a frame is on its way its two lines
// can be neither set nor played by another.
//
// # Order and time
//
// Events reach a connection in the order in which the holder applied them,
// across all lines, and the stamps of one line never go back. Edges of a frame
// are due earlier than they appear, so a change of a third line may precede
// them with a later stamp.
//
// # Limits
//
// 256 lines, 64 connections, 256 bits and 30 s a frame, 4096 events waiting for
// one connection. The holder ends when the last client has been gone for
// [HolderConfig.Linger].
//
// All exported methods may be called from several goroutines, but for
// OutputLine.Set, which is for one at a time.
package sim

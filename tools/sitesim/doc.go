// Sitesim plays the people and the hardware of a small site around a gatehouse
// agent on the simulated board: doors that are pushed and fall shut, exit
// buttons, a Wiegand reader on two lines, a Hive reader that calls over HTTP
// and one on a serial line (a pseudo-terminal).
//
//	sitesim run     --state DIR            play the site until interrupted
//	sitesim card    READER FACILITY CARD   present a 26-bit card at a reader
//	sitesim badge   READER BITS HEX        present any bits at a Wiegand reader
//	sitesim open    DOOR [--for 40s]       push the door; --force breaks it open
//	sitesim exit    DOOR                   press the exit button and walk out
//	sitesim show                           what the site looks like now
//
// It reads DIR/sitesim.json, which says what hangs where, and serves
// DIR/sitesim.sock, one JSON object a line, one answer a line; the other
// commands speak to that socket. `gatehouse run --demo` writes the file and
// starts `sitesim run` by itself.
//
// It has its own Hive codec and its own card layout and imports nothing of the
// agent, so that an error in the agent's codec cannot hide in its mirror image.
package main

// Sitesim plays the people and the hardware of a small site around a gatehouse
// agent on the simulated board: doors that are pushed and fall shut, exit
// buttons, a Wiegand reader with a keypad on two lines, a Hive reader that calls
// over HTTP and one on a serial line (a pseudo-terminal), electronic locks on Wi-Fi
// and on serial lines that open for cards by themselves, the inputs of the whole
// site and the outputs beside the strikes.
//
//	sitesim run     --state DIR            play the site until interrupted
//	sitesim card    READER FACILITY CARD   present a 26-bit card at a reader or a lock
//	sitesim badge   READER BITS HEX        present any bits at a Wiegand reader
//	sitesim keys    READER KEYS            type digits, * and # at a Wiegand reader
//	sitesim open    DOOR [--for 40s]       push the door; --force breaks it open
//	sitesim exit    DOOR                   press the exit button and walk out
//	sitesim input   NAME on|off            fire, panic, mains and the like
//	sitesim call    LOCK                   let a lock call in now
//	sitesim alert   LOCK forced            or tamper, low-battery: sent at once
//	sitesim show                           what the site looks like now
//
//	sitesim night   --url URL --locks 500 --site-key FILE --first-serial HEX --json
//
// night needs no DIR: it lets that many Wi-Fi locks call in twice at a running
// agent that has them in its settings, verifies each answer as strictly as a lock
// does, and prints calls, errors, times and bytes.
//
// run reads DIR/sitesim.json, which says what hangs where, and serves
// DIR/sitesim.sock, one JSON object a line, one answer a line; the other
// commands speak to that socket. An input that is on shows what its name says:
// fire, a pressed panic button, mains that are there. `gatehouse run --demo` writes the file and
// starts `sitesim run` by itself.
//
// It has its own Hive codec and its own card layout and imports nothing of the
// agent, so that an error in the agent's codec cannot hide in its mirror image.
package main

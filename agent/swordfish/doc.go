// Package swordfish is the codec of what ENGAGE hosts and locks send each other
// (protocols/engage.md, section 5): the encrypted card of a record, and the door
// file as an IP host sends it.
//
// It is pure: nothing here opens a file, looks at a clock or keeps state, and all
// input comes through an io.Reader.
//
// # Door file
//
//	{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[USER…]},
//	       "schedules":[…],"holidays":[…],"autoUnlock":[…]},
//	 "config":{…},"dbDwnLdTm":"20140719085516","nxtDbVerTS":"0x08d1707d1ebcb056"}
//
// Only db is required. A list that is absent or null leaves what is there; an
// empty one clears it. ReadFile hands on one record after the other and never
// builds a tree: its memory does not grow with the number of records. Members may
// come in any order. A tag that is not known is skipped, and reported by its name.
//
// A *Fault names the list, the record in it from 1, and the field. What was handed
// on before a fault must then be forgotten: a door file is whole or not at all.
//
// # Limits
//
// A file has at most MaxFile bytes and 16 levels, 16 schedules, 64 holidays and 64
// changes by autoUnlock. usrID is 1 to 65534.
package swordfish

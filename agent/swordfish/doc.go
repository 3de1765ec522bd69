// Package swordfish is the codec of what ENGAGE hosts and locks send each other
// (protocols/engage.md, section 5): the encrypted card of a record, the door file as
// an IP host sends it and as a lock gets it, and what a lock says.
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
// # Table
//
// A Compiler makes the Table of a lock out of the policy and the records of its
// cards. A lock knows weekly slots only, so the coming week is made real: each slot
// holds on the days of the week on which access.Decide grants, holidays and all. A
// Table opens for nobody whom the policy refuses; what the lock cannot hold is left
// out and named as a Loss. Two things a lock cannot help: it does not know how long
// a card is, so what one length may is open to all lengths of the same 16 bytes; and
// after Table.Good it opens by a week that is over.
//
// Profile has what differs between models. Its Fits is asked when the policy is
// changed: what it takes never lacks a slot, whatever holidays there will be.
//
// # File for a lock
//
// A File is written by Write, of the length that Size says, through a small buffer.
// A member whose value is absent is left out (actDtTm, expDtTm, config, dbDwnLdTm), as
// are the lists that a model does not take. An UPDATE carries the whole user.
//
// # Limits
//
// A file has at most MaxFile bytes and 16 levels, 16 schedules, 64 holidays and 64
// changes by autoUnlock. usrID is 1 to 65534.
package swordfish

// Package area is the one owner of the state that doors share: who is in which
// area (anti-passback and occupancy), which doors of an interlock are not
// secure, and who is locked out after wrong PINs (door.md, Door and Decision).
//
// An [Owner] is safe for concurrent use. One mutex guards it, which is never
// held across I/O, a callback or a channel, so no door waits for another. It
// has no clock: every method that needs the time takes it. It keeps nothing on
// disk: [Owner.Snapshot] and [Owner.Restore] hand the state out and take it in,
// [Owner.Fold] rolls it forward with the events of the log.
//
// # Presence
//
// A holder is at one place: in an area, outside all of them, or nobody knows.
// A holder that nobody knows of is refused by no passback rule. Where somebody
// is gets forgotten after the Forget time of the area that he is in; outside,
// after the longest Forget of the areas with hard or soft passback. Times are
// kept in whole milliseconds of the wall clock, as the log keeps them. A time
// in the future (the clock went back) is not forgotten; forgive those whom it
// locks out. An entry clears away who was forgotten in the same place.
//
// A grant reserves a place before the door opens ([Owner.Reserve]). The
// reservation ends when its holder went through ([Owner.Enter]) or did not
// ([Owner.Cancel]); an area that is only entered after a reservation never
// holds more people than its limit.
package area

package lock

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// table is what a lock decides by.
type table struct {
	byID      map[int]user
	byCard    map[[16]byte]int // the user's usrID
	schedules []schedule
	holidays  []holiday
	auto      []auto
}

// checkLists checks what only the whole file shows.
func (r *fileReader) checkLists() {
	f := &r.f
	changes := len(f.delete) + len(f.update) + len(f.add)
	switch {
	case f.highest > len(f.schedules):
		r.fault("user %d names schedule %d of %d", f.highestAt, f.highest, len(f.schedules))
	case f.full && len(f.delete)+len(f.update) > 0:
		r.fault("deleteAll is 1 beside a list delete or update that is not empty")
	case !f.full && changes > MaxChanges:
		r.fault("%d changes in a file that is no full one: at most %d", changes, MaxChanges)
	}
	r.checkTwice()
}

// checkTwice refuses a user or a card that two records are about. A card may be
// deleted and added again in one file, for the lists are worked off in that order.
func (r *fileReader) checkTwice() {
	ids, cards := map[int]string{}, map[[16]byte]string{}
	for _, l := range []struct {
		name string
		list []user
	}{{"delete", r.f.delete}, {"update", r.f.update}, {"add", r.f.add}} {
		for _, u := range l.list {
			again := func(before string) bool {
				return before != "" && (before == l.name || before == "update" || l.name == "update")
			}
			if before := ids[u.id]; again(before) {
				r.fault("user %d is in %s and in %s", u.id, before, l.name)
			}
			if before := cards[u.card]; again(before) {
				r.fault("the card of user %d is in %s and in %s", u.id, before, l.name)
			}
			ids[u.id], cards[u.card] = l.name, l.name
		}
	}
}

// change is a table after a file, and what the file did.
type change struct {
	table
	deleted, updated, added, idle int
}

// apply works a file off on a table and returns the new one; t stays as it is.
// torn says that the table is newer than its version, so that a user who is
// there may be added and one who is not may be updated.
func (t table) apply(f *file, torn bool) (*change, error) {
	c := &change{table: table{schedules: f.schedules, holidays: f.holidays, auto: f.auto}}
	if f.full {
		c.byID, c.byCard = map[int]user{}, map[[16]byte]int{}
	} else {
		c.byID, c.byCard = maps.Clone(t.byID), maps.Clone(t.byCard)
		if c.byID == nil {
			c.byID, c.byCard = map[int]user{}, map[[16]byte]int{}
		}
	}
	for i, u := range f.delete {
		if err := c.delete(u, torn); err != nil {
			return nil, err.at("delete", i)
		}
	}
	for i, u := range f.update {
		if err := c.update(u, torn); err != nil {
			return nil, err.at("update", i)
		}
	}
	for i, u := range f.add {
		if err := c.add(u, torn); err != nil {
			return nil, err.at("add", i)
		}
	}
	if len(c.byID) > MaxUsers {
		return nil, &FileError{Where: "db.usrRcrd", What: fmt.Sprintf("makes %d users: at most %d", len(c.byID), MaxUsers)}
	}
	if err := c.checkSchedules(); err != nil {
		return nil, err
	}
	return c, nil
}

// checkSchedules wants every schedule that a user has, also one that the file
// left alone.
func (c *change) checkSchedules() error {
	for id, u := range c.byID {
		if u.schedules>>len(c.schedules) != 0 {
			return &FileError{Where: "db.schedules", What: fmt.Sprintf("user %d, who stays, names more than the %d schedules", id, len(c.schedules))}
		}
	}
	return nil
}

// recordError says what is wrong with a record; apply knows where it is.
type recordError struct{ what string }

func refuse(format string, args ...any) *recordError {
	return &recordError{fmt.Sprintf(format, args...)}
}

func (e *recordError) at(list string, i int) *FileError {
	return &FileError{Where: fmt.Sprintf("db.usrRcrd.%s[%d]", list, i), What: e.what}
}

func (c *change) delete(u user, torn bool) *recordError {
	old, there := c.byID[u.id]
	id, has := c.byCard[u.card]
	switch {
	case there && old.card == u.card:
	case !there && !has:
		c.idle++
		return nil
	case torn:
		if has {
			c.remove(c.byID[id])
			c.deleted++
		} else {
			c.idle++
		}
		return nil
	case there:
		return refuse("user %d has another card", u.id)
	default:
		return refuse("the card is user %d's, not user %d's", id, u.id)
	}
	c.remove(old)
	c.deleted++
	return nil
}

func (c *change) update(u user, torn bool) *recordError {
	old, there := c.byID[u.id]
	if !torn {
		if !there {
			return refuse("user %d is not there", u.id)
		}
		if old.card != u.card {
			return refuse("user %d has another card", u.id)
		}
	}
	if there && old.card == u.card && old.until == u.until && old.function == u.function {
		u.used = old.used
	}
	c.updated++
	return c.put(u, torn)
}

func (c *change) add(u user, torn bool) *recordError {
	if _, there := c.byID[u.id]; there && !torn {
		return refuse("user %d is there already", u.id)
	}
	if id, has := c.byCard[u.card]; has && !torn {
		return refuse("the card is user %d's already", id)
	}
	c.added++
	return c.put(u, torn)
}

// put sets a user. Where the table is newer than its version, it takes the place
// of whoever has the number or the card.
func (c *change) put(u user, torn bool) *recordError {
	if old, there := c.byID[u.id]; there {
		c.remove(old)
	}
	if id, has := c.byCard[u.card]; has {
		if !torn {
			return refuse("the card is user %d's", id)
		}
		c.remove(c.byID[id])
	}
	c.byID[u.id], c.byCard[u.card] = u, u.id
	return nil
}

func (c *change) remove(u user) {
	delete(c.byID, u.id)
	delete(c.byCard, u.card)
}

// parseVersion reads a nxtDbVerTS: hex digits, with or without 0x.
func parseVersion(s string) (uint64, error) {
	digits := s
	if len(s) > 1 && strings.EqualFold(s[:2], "0x") {
		digits = s[2:]
	}
	if len(digits) > 16 {
		return 0, strconv.ErrRange
	}
	return strconv.ParseUint(digits, 16, 64)
}

package lock

import (
	"bytes"
	"strings"
	"time"
)

// userMembers are the members of a USER in the document's order.
var userMembers = []string{"usrID", "adaEn", "fnctn", "crSch", "actDtTm?", "expDtTm?", "primeCr", "prCrTyp", "scndCr?", "scndCrTyp?"}

// user reads one record into a list, which must stay ascending by clear card.
func (r *fileReader) user(list *[]user, members []string) func() {
	return func() {
		var u user
		second := 0
		r.object(members, func(name string) {
			if strings.HasPrefix(name, "scndCr") {
				second++
			}
			r.userMember(&u, name)
		})
		if r.err != nil {
			return
		}
		if second == 1 {
			r.fault("one of scndCr and scndCrTyp without the other")
		}
		if u.from != "" && u.until != "" && u.until <= u.from {
			r.fault("expDtTm is not after actDtTm")
		}
		if n := len(*list); n > 0 {
			switch bytes.Compare((*list)[n-1].card[:], u.card[:]) {
			case 0:
				r.fault("the same card as the record before")
			case 1:
				r.fault("not sorted by clear credential: it comes before the record before")
			}
		}
		*list = append(*list, u)
	}
}

func (r *fileReader) userMember(u *user, name string) {
	switch name {
	case "usrID":
		u.id = r.integer(1, maxUserID)
	case "adaEn":
		u.ada = r.integer(0, 1) == 1
	case "fnctn":
		word := r.text()
		fn, ok := functions[word]
		if r.err == nil && !ok {
			r.fault("%.24q is not known", word)
		}
		u.function = fn
	case "crSch":
		u.schedules = r.numbers(u)
	case "actDtTm":
		u.from = r.time(true)
	case "expDtTm":
		u.until = r.time(true)
	case "primeCr":
		digits := r.text()
		if r.err != nil {
			return
		}
		var err error
		if u.card, err = r.key.open(digits); err != nil {
			r.fault("%v", err)
		}
	case "prCrTyp":
		r.word("card")
	case "scndCr", "scndCrTyp":
		r.word("null")
	}
}

// numbers reads crSch: ascending numbers of schedules, or one number.
func (r *fileReader) numbers(u *user) (set uint16) {
	note := func(n int) {
		if n > r.f.highest {
			r.f.highest, r.f.highestAt = n, u.id
		}
		if n > 0 {
			set |= 1 << (n - 1)
		}
	}
	if r.cfg.SoleSchedule {
		note(r.integer(1, MaxSchedules))
		return set
	}
	last := 0
	r.list(MaxSchedules, func() {
		n := r.integer(1, MaxSchedules)
		if r.err == nil && n <= last {
			r.fault("%d after %d: want ascending numbers", n, last)
		}
		last = n
		note(n)
	})
	return set
}

// word wants one text.
func (r *fileReader) word(want string) {
	if got := r.text(); r.err == nil && got != want {
		r.fault("%.24q: want %q", got, want)
	}
}

// time reads 14 digits, as text or, where number allows it, as a number.
func (r *fileReader) time(number bool) string {
	var s string
	if number && r.peek() >= '0' && r.peek() <= '9' {
		start := r.i
		for r.peek() >= '0' && r.peek() <= '9' {
			r.i++
		}
		s = string(r.b[start:r.i])
	} else {
		s = r.text()
	}
	if r.err != nil {
		return ""
	}
	if t, err := time.Parse(digits14, s); err != nil || len(s) != 14 || t.Year() < 2000 {
		r.fault("%.24q is not YYYYMMDDHHMMSS", s)
	}
	return s
}

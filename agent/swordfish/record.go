package swordfish

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/site"
)

// records reads usrRcrd.
func (f *fileReader) records() error {
	var seen []string
	_, err := f.members(func(name string) error {
		op, count := Op(0), (*int)(nil)
		switch name {
		case "deleteAll":
			f.field = name
			on, err := f.flag()
			f.field, f.sum.DeleteAll = "", f.sum.DeleteAll || on
			return err
		case "delete":
			op, count = OpDelete, &f.sum.Deletes
		case "update":
			op, count = OpUpdate, &f.sum.Updates
		case "add":
			op, count = OpAdd, &f.sum.Adds
		default:
			return f.ignore(name)
		}
		if err := f.once(&seen, name); err != nil {
			return err
		}
		f.list = name
		_, err := f.elements(func(t json.Token) error {
			*count++
			f.n = *count
			return f.one(op, t)
		})
		if err == nil {
			f.list, f.n = "usrRcrd", 0
		}
		return err
	})
	return err
}

// one reads a record and hands it on.
func (f *fileReader) one(op Op, t json.Token) error {
	f.user = User{}
	var err error
	switch v := t.(type) {
	case json.Delim:
		if v != '{' {
			return f.fault("want an object")
		}
		err = f.rest(f.tag)
	case json.Number, string:
		if op != OpDelete {
			return f.fault("want an object")
		}
		err = f.named(t)
	default:
		return f.fault("want an object")
	}
	if err == nil {
		err = f.complete(op)
	}
	if err != nil {
		return err
	}
	f.need(op)
	if f.user.Has&TagCard != 0 && !Plausible(f.user.Block) {
		f.sum.Implausible++
	}
	if err := f.record(op, f.n, &f.user); err != nil {
		if _, ok := errors.AsType[*Fault](err); ok {
			return err
		}
		return f.fault("%w", err)
	}
	return nil
}

// named reads a record of delete that is only a usrID or a card.
func (f *fileReader) named(t json.Token) error {
	if s, ok := t.(string); ok && len(s) == 32 {
		return f.card(s)
	}
	n, err := f.number(t, 1, MaxUserID)
	f.user.ID, f.user.Has = uint16(n), TagID
	return err
}

// complete checks what a record must have.
func (f *fileReader) complete(op Op) error {
	has := f.user.Has
	switch {
	case op == OpDelete && has&(TagID|TagCard) == 0:
		return f.fault("has neither usrID nor primeCr")
	case op != OpDelete && has&TagID == 0:
		f.field = "usrID"
		return f.fault("is missing")
	case op == OpAdd && has&TagCard == 0:
		f.field = "primeCr"
		return f.fault("is missing")
	case !f.user.From.IsZero() && !f.user.Until.IsZero() && !f.user.From.Before(f.user.Until):
		f.field = "expDtTm"
		return f.fault("is not after actDtTm")
	}
	return nil
}

// need notes the schedules that the record names.
func (f *fileReader) need(op Op) {
	for i := range f.sum.NeedSchedule {
		if p := &f.sum.NeedSchedule[i]; f.user.Schedules&(1<<i) != 0 && p.Record == 0 {
			*p = Place{op, f.n}
		}
	}
}

// tagOf names the members of a record. adaOn and prmCrTyp are slips of a document
// (engage.md section 5): they are not known here.
var tagOf = map[string]Tags{
	"usrID": TagID, "adaEn": TagADA, "fnctn": TagFunction, "crSch": TagSchedules,
	"actDtTm": TagFrom, "expDtTm": TagUntil, "primeCr": TagCard,
	"prCrTyp": tagType, "scndCr": tagSecond, "scndCrTyp": tagSecondType,
}

// tag reads one member of a record.
func (f *fileReader) tag(name string) (err error) {
	bit, ok := tagOf[name]
	if !ok {
		return f.ignore(name)
	}
	f.field = name
	u := &f.user
	if u.Has&bit != 0 {
		return f.fault("stands twice")
	}
	switch bit {
	case TagID:
		var n int
		n, err = f.int(1, MaxUserID)
		u.ID = uint16(n)
	case TagADA:
		u.ADA, err = f.flag()
	case TagFunction:
		u.Function, err = f.function()
	case TagSchedules:
		u.Schedules, err = f.numbers()
	case TagFrom:
		u.From, err = f.time()
	case TagUntil:
		u.Until, err = f.time()
	case TagCard:
		var s string
		if s, _, err = f.text(); err == nil {
			err = f.card(s)
		}
	default:
		err = f.only(bit)
	}
	u.Has |= bit
	if err == nil {
		f.field = ""
	}
	return err
}

// card takes the encrypted card.
func (f *fileReader) card(s string) error {
	b, err := f.opt.Cards.Decrypt(s)
	if err != nil {
		return f.fault("%w", err)
	}
	f.user.Block = b
	f.user.Has |= TagCard
	return nil
}

// only checks a member that may have one value: a card, and no second credential.
// A record that asks for a second one is refused, for without it more would be let
// in than the host meant to.
func (f *fileReader) only(bit Tags) error {
	s, absent, err := f.text()
	if err != nil || absent || s == "" || strings.EqualFold(s, "null") {
		return err
	}
	if bit == tagType {
		if !strings.EqualFold(s, "card") {
			return f.fault("want card")
		}
		return nil
	}
	return f.fault("a second credential is not supported")
}

func (f *fileReader) function() (site.Function, error) {
	s, absent, err := f.text()
	if err != nil {
		return site.FunctionBlocked, err
	}
	fn, ok := f.opt.Literals.Functions[strings.ToLower(s)]
	switch {
	case absent || s == "":
		return site.FunctionNorm, nil
	case !ok:
		return site.FunctionBlocked, f.fault("%.24q is not known", s)
	}
	return fn, nil
}

// numbers reads crSch: a list of schedules, or one.
func (f *fileReader) numbers() (set uint16, err error) {
	take := func(t json.Token) error {
		n, err := f.number(t, 1, MaxSchedules)
		if err == nil {
			set |= 1 << (n - 1)
		}
		return err
	}
	t, err := f.next()
	if err != nil || t == nil {
		return 0, err
	}
	if t != json.Delim('[') {
		return set, take(t)
	}
	for {
		if t, err = f.next(); err != nil || t == json.Delim(']') {
			return set, err
		}
		if err := take(t); err != nil {
			return 0, err
		}
	}
}

// text reads a string or a number as text; null is absent.
func (f *fileReader) text() (s string, absent bool, err error) {
	t, err := f.next()
	if err != nil {
		return "", false, err
	}
	switch v := t.(type) {
	case nil:
		return "", true, nil
	case string:
		return v, false, nil
	case json.Number:
		return v.String(), false, nil
	}
	return "", false, f.fault("want a text")
}

// int reads a number from low to high, or the text of one.
func (f *fileReader) int(low, high int) (int, error) {
	t, err := f.next()
	if err != nil {
		return 0, err
	}
	return f.number(t, low, high)
}

func (f *fileReader) number(t json.Token, low, high int) (int, error) {
	var s string
	switch v := t.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, f.fault("want a number from %d to %d", low, high)
	}
	return n, nil
}

// flag reads 0 or 1, as a number or a text, or a boolean; null is 0.
func (f *fileReader) flag() (bool, error) {
	t, err := f.next()
	if err != nil {
		return false, err
	}
	switch v := t.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case string:
		t = json.Number(v)
	}
	n, err := f.number(t, 0, 1)
	return n == 1, err
}

// noTime are texts that stand for no time.
var noTime = []string{"", "0", "null", "00000000000000"}

// timeLayout is YYYYMMDDHHMMSS.
const timeLayout = "20060102150405"

// time reads 14 digits, as a text or a number, as a wall clock in the file's zone
// shows them.
func (f *fileReader) time() (time.Time, error) {
	s, absent, err := f.text()
	if err != nil || absent || slices.Contains(noTime, strings.ToLower(s)) {
		return time.Time{}, err
	}
	t, err := time.ParseInLocation(timeLayout, s, f.opt.Zone)
	if err != nil || len(s) != len(timeLayout) || t.Year() < 1 {
		return time.Time{}, f.fault("want 14 digits YYYYMMDDHHMMSS of a real time")
	}
	return t, nil
}

package access

import (
	"fmt"
	"strings"
	"time"

	"gatehouse/agent/site"
)

// note records a check under Trace and reports whether it refuses or waits. It is
// small enough to be inlined.
func (e *eval) note(k check, c *site.Credential, r site.Reason) bool {
	if e.req.Trace {
		e.checkStep(k, c, r)
	}
	return r != ""
}

func (e *eval) checkStep(k check, c *site.Credential, r site.Reason) {
	e.step(checkNames[k], e.input(k, c), result(r))
}

// step records one step.
func (e *eval) step(name, input, result string) {
	e.steps = append(e.steps, Step{name, input, result})
}

// result says what came of a check.
func result(r site.Reason) string {
	switch {
	case r == "":
		return "pass"
	case waits(r):
		return "waiting: " + string(r)
	}
	return "refused: " + string(r)
}

// rightStep records one right that the record has at the door.
func (e *eval) rightStep(id site.ScheduleID, level site.LevelID, v site.Reason) {
	var in strings.Builder
	fmt.Fprintf(&in, "%s@%s", e.req.Door, scheduleName(id))
	if level != "" {
		fmt.Fprintf(&in, " by level %s", level)
	}
	out := "holds"
	if v != site.ReasonGranted {
		out = "does not hold: " + string(v)
	}
	e.step("right_found", in.String(), out)
}

func scheduleName(id site.ScheduleID) string {
	if id == "" {
		return "always"
	}
	return string(id)
}

// input says what a check looked at. c is nil for the checks of a request.
func (e *eval) input(k check, c *site.Credential) string {
	req := &e.req
	switch k {
	case checkPolicy:
		if e.p == nil {
			return "none"
		}
		return "zone " + e.p.zone.String()
	case checkFault:
		if req.Fault != nil {
			return req.Fault.Error()
		}
		return "none"
	case checkFormat:
		return req.Bits.String()
	case checkState:
		return stateInput(c)
	case checkUses:
		if n := usesAllowed(c); n > 0 {
			return fmt.Sprintf("%d of %d used", c.Used, n)
		}
		return "no limit"
	case checkFrom:
		if !req.Clock.Trusted && !c.From.IsZero() {
			return e.stamp(c.From) + ", not judged: the clock is not trusted"
		}
		return e.stamp(c.From)
	case checkUntil:
		return e.stamp(c.Until) + ", now " + e.stamp(endTime(&req.Clock))
	case checkRight:
		return string(req.Door)
	case checkMode:
		return fmt.Sprintf("%v, function %v", req.Mode, c.Function)
	case checkReader:
		return string(req.Reader)
	case checkSchedule:
		return scheduleName(e.right.Schedule) + ", " + e.clockInput()
	case checkArea:
		s := string(req.Area)
		if s == "" {
			s = "no verdict"
		}
		if req.Interlocked {
			s += ", another door of the interlock is not secure"
		}
		return s
	case checkPIN:
		return e.pinInput(c)
	case checkSecond:
		return e.secondInput(c)
	}
	return ""
}

// pinInput says what was asked, never what was typed. Whether it is right is the
// result of the check.
func (e *eval) pinInput(c *site.Credential) string {
	v := e.pin(c)
	s := "asked, not given"
	switch v {
	case PINNotAsked:
		s = "not asked"
	case PINRight, PINWrong:
		s = "given"
	case PINLockedOut:
		s = "locked out, not compared"
	case PINAsked:
	}
	if e.req.ByPIN {
		s += ", no card"
	}
	return s
}

func (e *eval) secondInput(c *site.Credential) string {
	s := "function " + c.Function.String()
	if e.req.TwoPerson {
		s += ", two persons at this door"
	}
	if e.req.With != "" {
		s += fmt.Sprintf(", holder %s with %s", orNone(string(c.Holder)), e.req.With)
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// clockInput says what the clock is and what day it makes.
func (e *eval) clockInput() string {
	k := &e.req.Clock
	s := k.Now.In(e.p.zone).Format("Mon 2006-01-02 15:04 MST")
	if kinds, ok := e.p.holiday(e.p.wallAt(k.Now).day); ok {
		s += ", a holiday"
		for i := range site.HolidayKinds {
			if kinds&(1<<i) != 0 {
				s += fmt.Sprintf(" H%d", i+1)
			}
		}
	}
	if !k.Trusted {
		s += ", clock not trusted (" + k.Mode.String() + ")"
	}
	return s
}

// stamp writes a time of a record in the site's zone.
func (e *eval) stamp(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.In(e.p.zone).Format(time.RFC3339)
}

// credentialInput names a record, never its card.
func credentialInput(c *site.Credential) string {
	s := fmt.Sprintf("%s of %s", c.ID, owner(c.Source))
	if c.Bits != 0 {
		s += fmt.Sprintf(", %d bits", c.Bits)
	}
	return s
}

func stateInput(c *site.Credential) string {
	return fmt.Sprintf("%v, function %v", c.State, c.Function)
}

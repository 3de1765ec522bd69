package access

import "gatehouse/agent/site"

// check is one check of a decision, in the order of door.md.
type check uint8

// The checks. Those before checkState are made once for a request, the others for
// each record.
const (
	checkPolicy check = iota
	checkFault
	checkFormat
	checkState
	checkUses
	checkFrom
	checkUntil
	checkRight
	checkMode
	checkReader
	checkSchedule
	checkArea
	checkPIN
	checkSecond
	checkEnd
)

var checkNames = [checkEnd]string{
	"policy", "fault", "format", "state", "uses", "from", "until", "right", "mode", "reader",
	"schedule", "area", "pin", "second_person",
}

// check makes one check of a record. It returns the reason that refuses or
// waits, or none.
func (e *eval) check(k check, c *site.Credential) site.Reason {
	switch k {
	case checkState:
		return state(c)
	case checkUses:
		if n := usesAllowed(c); n > 0 && c.Used >= n {
			return site.ReasonUsedUp
		}
	case checkFrom:
		if e.req.Clock.Trusted && !c.From.IsZero() && e.req.Clock.Now.Before(c.From) {
			return site.ReasonNotActive
		}
	case checkUntil:
		if !c.Until.IsZero() && !endTime(&e.req.Clock).Before(c.Until) {
			return site.ReasonExpired
		}
	case checkRight:
		e.bestRight(c)
		if e.verdict == "" {
			return site.ReasonNoRight
		}
	case checkMode:
		return mode(e.req.Mode, c.Function)
	case checkReader:
		if e.req.ReaderClosed {
			return site.ReasonReaderClosed
		}
	case checkSchedule:
		if e.verdict != site.ReasonGranted {
			return e.verdict
		}
	case checkArea:
		if r := area(e.req.Area); r != "" || !e.req.Interlocked || !Opens(c.Function, e.req.Mode) {
			return r
		}
		return site.ReasonInterlock
	case checkPIN:
		return pin(e.pin(c))
	case checkSecond:
		return e.second(c)
	default:
		return site.ReasonFault
	}
	return ""
}

// state judges state and function of a record by themselves. A state or function
// that this program does not know is a fault: the record was never stored by it.
func state(c *site.Credential) site.Reason {
	switch {
	case c.State == site.CredentialRevoked:
		return site.ReasonRevoked
	case c.State == site.CredentialBlocked, c.Function == site.FunctionBlocked:
		return site.ReasonBlocked
	case c.State != site.CredentialActive, c.Function > site.FunctionBlocked:
		return site.ReasonFault
	}
	return ""
}

// usesAllowed is how often a record may be used, 0 for no limit.
func usesAllowed(c *site.Credential) uint32 {
	if c.Function == site.FunctionOneTime {
		return 1
	}
	return c.Uses
}

// mode judges the door's mode. pass_through beats lockdown and freeze. A frozen
// door still heeds the two functions that must change it: freeze, or nobody
// could end with it what he began, and lockdown, which wins over a freeze. An
// unknown mode is taken for the strictest.
func mode(m site.Mode, f site.Function) site.Reason {
	switch m {
	case site.ModeSecured, site.ModePassage:
		return ""
	case site.ModeFrozenSecured, site.ModeFrozenPassage:
		switch f {
		case site.FunctionPassThrough, site.FunctionFreeze, site.FunctionLockdown:
			return ""
		}
		return site.ReasonFrozen
	case site.ModeLockdown:
		if f == site.FunctionPassThrough {
			return ""
		}
		return site.ReasonLockdown
	case site.ModeDisabled:
	}
	return site.ReasonDoorDisabled
}

// area passes on the verdict of the areas' owner.
func area(r site.Reason) site.Reason {
	switch r {
	case "", site.ReasonGrantedPassback:
		return ""
	case site.ReasonPassback, site.ReasonOccupancy, site.ReasonInterlock:
		return r
	}
	return site.ReasonFault
}

// Opens reports whether a function unlocks a door in that mode. An interlock has nothing
// against one that does not: a lockdown card works while another door is open.
func Opens(f site.Function, m site.Mode) bool {
	switch f {
	case site.FunctionLockdown, site.FunctionFreeze:
		return false
	case site.FunctionToggle:
		return !m.Unlocked()
	}
	return true
}

// pin says what is asked of a record and what came of it.
func (e *eval) pin(c *site.Credential) PIN {
	v := e.req.PIN
	if v == PINNotAsked && !e.req.ByPIN {
		return v
	}
	for _, o := range e.req.PINs {
		if o.Credential == c.ID {
			v = o.PIN
		}
	}
	switch {
	case v == PINRight || v == PINWrong || v == PINLockedOut:
		return v
	case e.req.ByPIN:
		return PINRight // it found the record
	}
	return PINAsked
}

// pin judges what came of a PIN. A lock-out refuses whether one was given or not.
func pin(v PIN) site.Reason {
	switch v {
	case PINNotAsked, PINRight:
		return ""
	case PINLockedOut:
		return site.ReasonPINLockedOut
	case PINWrong:
		return site.ReasonPINWrong
	case PINAsked:
	}
	return site.ReasonPINRequired
}

// second judges whether a second person is wanted (door.md, Decision): he is
// another holder and may pass by himself, so a supervised one is nobody's second,
// and one whose holder is not known may be the same. What opens nothing needs
// nobody.
func (e *eval) second(c *site.Credential) site.Reason {
	switch first := e.req.With; {
	case !Opens(c.Function, e.req.Mode):
		return ""
	case c.Function == site.FunctionSupervised,
		first != "" && (c.Holder == "" || c.Holder == first),
		first == "" && e.req.TwoPerson:
		return site.ReasonSecondPersonRequired
	}
	return ""
}

// policyReason and faultReason are the checks of the request itself.
func (e *eval) policyReason() site.Reason {
	if e.p == nil {
		return site.ReasonNoPolicy
	}
	return ""
}

func (e *eval) faultReason() site.Reason {
	if e.req.Fault != nil {
		return site.ReasonFault
	}
	return ""
}

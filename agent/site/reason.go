package site

// Reason is the stable code of a decision (door.md, Decision). Other programs
// rely on the codes to the letter.
type Reason string

// The reasons, in the order in which a decision checks them: the first that
// refuses names the reason.
const (
	ReasonNoPolicy             Reason = "no_policy"
	ReasonFault                Reason = "fault"
	ReasonUnknownFormat        Reason = "unknown_format"
	ReasonUnknownCredential    Reason = "unknown_credential"
	ReasonRevoked              Reason = "revoked"
	ReasonBlocked              Reason = "blocked"
	ReasonUsedUp               Reason = "used_up"
	ReasonNotActive            Reason = "not_active"
	ReasonExpired              Reason = "expired"
	ReasonNoRight              Reason = "no_right"
	ReasonDoorDisabled         Reason = "door_disabled"
	ReasonLockdown             Reason = "lockdown"
	ReasonFrozen               Reason = "frozen"
	ReasonReaderClosed         Reason = "reader_closed"
	ReasonClockUntrusted       Reason = "clock_untrusted"
	ReasonOutOfSchedule        Reason = "out_of_schedule"
	ReasonHoliday              Reason = "holiday"
	ReasonPassback             Reason = "passback"
	ReasonOccupancy            Reason = "occupancy"
	ReasonInterlock            Reason = "interlock"
	ReasonPINLockedOut         Reason = "pin_locked_out"
	ReasonPINRequired          Reason = "pin_required"
	ReasonPINWrong             Reason = "pin_wrong"
	ReasonSecondPersonRequired Reason = "second_person_required"
	ReasonGranted              Reason = "granted"
	ReasonGrantedPassback      Reason = "granted_passback"
)

// reasons holds the order and the text of each code.
var reasons = []struct {
	code Reason
	text string
}{
	{ReasonNoPolicy, "there is no policy to decide by"},
	{ReasonFault, "the decision could not be made"},
	{ReasonUnknownFormat, "not enrolled, and no card format accepts its length and parity"},
	{ReasonUnknownCredential, "the credential is not enrolled"},
	{ReasonRevoked, "the credential was revoked"},
	{ReasonBlocked, "the credential is blocked"},
	{ReasonUsedUp, "the credential has no uses left"},
	{ReasonNotActive, "the credential is not active yet"},
	{ReasonExpired, "the credential has expired"},
	{ReasonNoRight, "the credential has no right at this door"},
	{ReasonDoorDisabled, "the door is disabled"},
	{ReasonLockdown, "the door is locked down"},
	{ReasonFrozen, "the door is frozen"},
	{ReasonReaderClosed, "the reader is closed"},
	{ReasonClockUntrusted, "the time is not known to be right"},
	{ReasonOutOfSchedule, "outside the schedule of the right"},
	{ReasonHoliday, "a holiday suspends the right"},
	{ReasonPassback, "anti-passback: already inside"},
	{ReasonOccupancy, "the area is full"},
	{ReasonInterlock, "another door of the interlock is not closed"},
	{ReasonPINLockedOut, "too many wrong PINs"},
	{ReasonPINRequired, "a PIN is required"},
	{ReasonPINWrong, "the PIN is wrong"},
	{ReasonSecondPersonRequired, "a second person is required"},
	{ReasonGranted, "granted"},
	{ReasonGrantedPassback, "granted against anti-passback (soft)"},
}

// Reasons returns every reason in the order of the decision.
func Reasons() []Reason {
	out := make([]Reason, len(reasons))
	for i, r := range reasons {
		out[i] = r.code
	}
	return out
}

// rank maps a code to its place in the order, from 1.
var rank = func() map[Reason]int {
	m := make(map[Reason]int, len(reasons))
	for i, r := range reasons {
		m[r.code] = i + 1
	}
	return m
}()

// Rank returns the reason's place in the order of the decision, from 1. A
// higher rank got further. An unknown code has rank 0.
func (r Reason) Rank() int { return rank[r] }

// Valid reports whether r is one of the codes above.
func (r Reason) Valid() bool { return rank[r] != 0 }

// Grants reports whether r lets a person pass.
func (r Reason) Grants() bool { return r == ReasonGranted || r == ReasonGrantedPassback }

// Text says the reason in words for a person.
func (r Reason) Text() string {
	if i := rank[r]; i != 0 {
		return reasons[i-1].text
	}
	return "unknown reason " + string(r)
}

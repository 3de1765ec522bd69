package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// How long an enrolment waits for a card.
const (
	enrolWait    = 30 * time.Second
	maxEnrolWait = 5 * time.Minute
)

// Enrolment asks for a credential whose card is read at a reader. The members of
// Row are those of an addition, without facility, card and bits; format, where
// it is given, is demanded of the card.
type Enrolment struct {
	Row
	Reader site.ReaderID `json:"reader"`
	Wait   Duration      `json:"wait,omitempty"` // 30 s if absent, at most 5 min
}

// enrol waits for a card at the reader and gives it to op.
func (s *server) enrol(ctx context.Context, in *Enrolment, op *store.PutCredential) error {
	wait := time.Duration(in.Wait)
	switch {
	case in.hasCard():
		return fieldError("card", "comes from the reader: leave out facility, card and bits")
	case in.Reader == "":
		return fieldError("reader", "is missing")
	case wait < 0 || wait > maxEnrolWait:
		return fieldError("wait", "want at most %s", maxEnrolWait)
	case wait == 0:
		wait = enrolWait
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	bits, err := s.Policy.Enrol(limited, in.Reader)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: reader %.64q: no card was presented within %s", ErrRefused, string(in.Reader), wait)
	}
	if err != nil {
		return err
	}
	if _, err := bits.Block(); err != nil {
		return fmt.Errorf("%w: reader %.64q: the card cannot be enrolled: %w", ErrRefused, string(in.Reader), err)
	}
	op.Bits = bits
	return name(s.Policy.Cards(), bits, string(in.FormatName), op)
}

// name finds the format of a card that was read, or holds it to the one that is
// wanted. A card of a known length whose parity is wrong was read wrongly: it is
// taken only where the format is said to be raw.
func name(formats *card.Set, bits card.Bits, want string, op *store.PutCredential) error {
	op.Format, op.Last2 = "raw", ""
	if want == "raw" {
		return nil
	}
	matches := formats.Decode(bits)
	if want != "" {
		if _, ok := formats.ByName(want); !ok {
			return fieldError("format", "%.32q is not known", want)
		}
		matches = slices.DeleteFunc(matches, func(m card.Match) bool { return m.Format.Name() != want })
		if len(matches) == 0 {
			return fmt.Errorf("%w: the card of %s is not of format %s", ErrRefused, bits, want)
		}
	}
	if len(matches) > 0 {
		op.Format, op.Last2 = matches[0].Format.Name(), matches[0].Number.Last2()
		return nil
	}
	if slices.ContainsFunc(formats.Formats(), func(f card.Format) bool { return f.Bits() == bits.Len() }) {
		return fmt.Errorf("%w: the card was not read rightly (parity): present it again, or ask for format raw", ErrRefused)
	}
	return nil
}

// precheck refuses, before anybody presents a card, what the change would refuse
// after.
func (s *server) precheck(st *store.Store, op *store.PutCredential) error {
	pol := st.Snapshot()
	own := func(src site.Source) bool { return src == site.SourceOperator }
	for _, r := range op.Rights {
		if !s.Policy.HasDoor(r.Door) {
			return fieldError("rights", "door %q: does not exist", string(r.Door))
		}
		if r.Schedule != "" && !slices.ContainsFunc(pol.Schedules, func(v site.Schedule) bool { return own(v.Source) && v.ID == r.Schedule }) {
			return fieldError("rights", "schedule %q: does not exist", string(r.Schedule))
		}
	}
	for _, l := range op.Levels {
		if !slices.ContainsFunc(pol.Levels, func(v site.Level) bool { return own(v.Source) && v.ID == l }) {
			return fieldError("level", "%.64q: does not exist", string(l))
		}
	}
	if op.Holder == "" && op.HolderName == "" {
		return fieldError("holder", "is missing")
	}
	if op.Holder != "" {
		if _, err := st.Holder(op.Holder); err != nil {
			return storeError(err, ErrInput)
		}
	}
	return nil
}

func (s *server) enrolCredential(w http.ResponseWriter, r *http.Request) error {
	var in Enrolment
	if err := body(r, &in); err != nil {
		return err
	}
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	op, err := in.put()
	if err != nil {
		return err
	}
	if err := s.precheck(st, &op); err != nil {
		return err
	}
	if err := s.enrol(r.Context(), &in, &op); err != nil {
		return err
	}
	return s.answerAdded(w, r, st, op)
}

// replaceCredential gives a holder a new card with what the old one had, and
// revokes the old one, in one change.
func (s *server) replaceCredential(w http.ResponseWriter, r *http.Request) error {
	var in Enrolment
	if err := body(r, &in); err != nil {
		return err
	}
	if in != (Enrolment{Reader: in.Reader, Wait: in.Wait, Row: Row{FormatName: in.FormatName, Facility: in.Facility, Card: in.Card, Bits: in.Bits, PIN: in.PIN, DuressPIN: in.DuressPIN}}) {
		return fmt.Errorf("%w: a replacement takes a card or a reader, and PINs: all else stays as it is", ErrInput)
	}
	st, old, err := s.ownCredential(r)
	if err != nil {
		return err
	}
	op, err := heir(&old)
	if err != nil {
		return err
	}
	op.PIN, op.DuressPIN = string(in.PIN), string(in.DuressPIN)
	if in.Reader != "" {
		err = s.enrol(r.Context(), &in, &op)
	} else {
		err = in.card(s.Policy.Cards(), &op)
	}
	if err != nil {
		return err
	}
	res, err := s.change(r, st, ErrInput, op, store.SetState{ID: old.ID, State: site.CredentialRevoked})
	if err != nil {
		return err
	}
	out, err := view(st, site.CredentialID(res.IDs[0]))
	if err != nil {
		return err
	}
	return ok(w, Replaced{Old: old.ID, New: out, HadPIN: old.HasPIN, StillOpens: s.stillOpens(old.ID)})
}

// heir is a new credential with the rights of an old one. What is blocked stays
// blocked, and only the uses that are left go on.
func heir(old *site.Credential) (store.PutCredential, error) {
	op := store.PutCredential{MustBeNew: true, Holder: old.Holder, Function: old.Function, ADA: old.ADA, Uses: old.Uses,
		From: old.From, Until: old.Until, Levels: old.Levels, Rights: old.Rights}
	if old.State == site.CredentialBlocked {
		op.State = site.CredentialBlocked
	}
	limit := old.Uses
	if limit == 0 && old.Function == site.FunctionOneTime {
		limit = 1
	}
	if limit == 0 {
		return op, nil
	}
	if old.Used >= limit {
		return op, fmt.Errorf("%w: credential %s is used up: add a new one", ErrRefused, old.ID)
	}
	if old.Uses > 0 {
		op.Uses = old.Uses - old.Used
	}
	return op, nil
}

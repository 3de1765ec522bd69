package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// Row is one credential as people enter it: the members of an import
// (contract.md, Import and export), and holder_id for a holder whose name others
// have too. Its values are in clear, so it never prints.
type Row struct {
	Holder     Text `json:"holder,omitempty"` // name: found or made
	HolderID   Text `json:"holder_id,omitempty"`
	FormatName Text `json:"format,omitempty"` // a format's name or "raw"
	Facility   Text `json:"facility,omitempty"`
	Card       Text `json:"card,omitempty"`
	Bits       Text `json:"bits,omitempty"` // LENGTH:HEX
	PIN        Text `json:"pin,omitempty"`
	DuressPIN  Text `json:"duress_pin,omitempty"`
	Function   Text `json:"function,omitempty"`
	ADA        Text `json:"ada,omitempty"`
	Uses       Text `json:"uses,omitempty"`
	Level      Text `json:"level,omitempty"`  // separated by ";"
	Rights     Text `json:"rights,omitempty"` // DOOR[@SCHEDULE] separated by ";"
	From       Text `json:"from,omitempty"`   // RFC 3339
	Until      Text `json:"until,omitempty"`
}

// String says what it is, never what it holds.
func (Row) String() string { return "credential row" }

// Format writes String whatever the verb is.
func (r Row) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// Text is a value that JSON gives as a text, a number, a boolean or null, as an
// import does. Its errors never quote it.
type Text string

// UnmarshalJSON reads any of the forms.
func (t *Text) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) == 0 || b[0] == '{' || b[0] == '[':
		return errors.New("want a text, a number or a boolean")
	case string(b) == "null":
		*t = ""
		return nil
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return errors.New("is not a JSON text")
		}
		*t = Text(s)
		return nil
	}
	*t = Text(b)
	return nil
}

// fieldError is bad input in one member of a request.
func fieldError(field, format string, a ...any) error {
	return &classed{ErrInput, fmt.Errorf("%s: %w", field, fmt.Errorf(format, a...))}
}

// put makes the operation of a row; the card is added by card, or by a reader.
func (r *Row) put() (store.PutCredential, error) {
	op := store.PutCredential{Holder: site.HolderID(r.HolderID), HolderName: string(r.Holder), PIN: string(r.PIN), DuressPIN: string(r.DuressPIN)}
	if r.Holder != "" && r.HolderID != "" {
		return op, fieldError("holder", "goes without holder_id")
	}
	var err error
	if op.Function, err = site.ParseFunction(string(r.Function)); err != nil {
		return op, &classed{ErrInput, err}
	}
	switch r.ADA {
	case "", "false", "0", "no":
	case "true", "1", "yes":
		op.ADA = true
	default:
		return op, fieldError("ada", "want true or false")
	}
	if r.Uses != "" {
		n, err := strconv.ParseUint(string(r.Uses), 10, 32)
		if err != nil {
			return op, fieldError("uses", "want a number up to 4294967295")
		}
		op.Uses = uint32(n)
	}
	if op.From, err = rowTime("from", r.From); err != nil {
		return op, err
	}
	if op.Until, err = rowTime("until", r.Until); err != nil {
		return op, err
	}
	if op.Rights, err = ParseRights(string(r.Rights)); err != nil {
		return op, &classed{ErrInput, err}
	}
	for _, l := range parts(string(r.Level)) {
		op.Levels = append(op.Levels, site.LevelID(l))
	}
	return op, nil
}

func rowTime(field string, t Text) (time.Time, error) {
	if t == "" {
		return time.Time{}, nil
	}
	v, err := time.Parse(time.RFC3339, string(t))
	if err != nil {
		return v, fieldError(field, "want a time as 2026-01-31T08:00:00Z")
	}
	return v.UTC(), nil
}

// parts takes apart what ";" separates.
func parts(s string) []string {
	var out []string
	for p := range strings.SplitSeq(s, ";") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// ParseRights reads rights as an import writes them: DOOR[@SCHEDULE], separated
// by ";". Whether door and schedule exist is the store's to say.
func ParseRights(s string) ([]site.Right, error) {
	var out []site.Right
	for _, p := range parts(s) {
		door, schedule, at := strings.Cut(p, "@")
		if err := site.CheckID(door); err != nil {
			return nil, fmt.Errorf("rights: door: %w", err)
		}
		if at {
			if err := site.CheckID(schedule); err != nil {
				return nil, fmt.Errorf("rights: schedule: %w", err)
			}
		}
		out = append(out, site.Right{Door: site.DoorID(door), Schedule: site.ScheduleID(schedule)})
	}
	return out, nil
}

// FormatRights is the reverse of ParseRights.
func FormatRights(rights []site.Right) string {
	var b strings.Builder
	for i, r := range rights {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(string(r.Door))
		if r.Schedule != "" {
			b.WriteString("@" + string(r.Schedule))
		}
	}
	return b.String()
}

// number reads facility and card.
func (r *Row) number() (n card.Number, err error) {
	if n.Card, err = strconv.ParseUint(string(r.Card), 10, 64); err != nil {
		return n, fieldError("card", "want a decimal number")
	}
	if r.Facility != "" {
		if n.Facility, err = strconv.ParseUint(string(r.Facility), 10, 64); err != nil {
			return n, fieldError("facility", "want a decimal number")
		}
		n.HasFacility = true
	}
	return n, nil
}

// card gives op the card of the row: facility and number in a format, or bits.
func (r *Row) card(formats *card.Set, op *store.PutCredential) error {
	var err error
	switch {
	case r.FormatName == "raw" || r.FormatName == "" && r.Bits != "":
		if r.Facility != "" || r.Card != "" {
			return fieldError("card", "does not go with format raw")
		}
		if op.Bits, err = card.ParseBits(string(r.Bits)); err != nil {
			return fieldError("bits", "%w", err)
		}
		op.Format = "raw"
	case r.FormatName == "":
		return fieldError("format", "is missing")
	case r.Bits != "":
		return fieldError("bits", "goes with format raw only")
	default:
		f, ok := formats.ByName(string(r.FormatName))
		if !ok {
			return fieldError("format", "%.32q is not known", string(r.FormatName))
		}
		n, err := r.number()
		if err != nil {
			return err
		}
		if op.Bits, err = f.Encode(n); err != nil {
			if !n.HasFacility && f.Spec().Facility.Len > 0 {
				return fieldError("facility", "is missing")
			}
			return fieldError("card", "%w", err)
		}
		op.Format, op.Last2 = f.Name(), n.Last2()
	}
	if _, err := op.Bits.Block(); err != nil {
		return fieldError("bits", "%w", err)
	}
	return nil
}

// hasCard reports whether the row names a card by itself.
func (r *Row) hasCard() bool { return r.Facility != "" || r.Card != "" || r.Bits != "" }

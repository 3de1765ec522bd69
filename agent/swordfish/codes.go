package swordfish

import "gatehouse/agent/site"

// Meaning is what a code of an audit says.
type Meaning struct {
	Kind    site.Kind   // for Event.As; empty: nothing of its own
	Reason  site.Reason // of an access
	Mode    string      // that now holds, for KindMode
	Cleared bool        // an alarm, a fault or a mode that ends
	Text    string      // for a person
}

// MeaningOf returns the meaning of a code of 4 hex digits.
func MeaningOf(code string) (Meaning, bool) { return Meaning{}, false }

// Meaning is MeaningOf the audit's code, with its data in the text.
func (a Audit) Meaning() (Meaning, bool) { return Meaning{}, false }

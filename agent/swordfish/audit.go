package swordfish

import (
	"errors"

	"gatehouse/agent/card"
)

// Limits of what a lock sends.
const (
	MaxUpload = 1 << 20 // bytes of one upload or alert
	MaxAudits = 4096    // audits in it; a lock holds 2,000 (engage.md section 3)
	MaxConfig = 1 << 20 // bytes of a Config
)

// ErrOverLimit is the cause where a lock's message is larger than MaxUpload,
// MaxAudits or MaxConfig.
var ErrOverLimit = errors.New("over the limit")

// Audit is one entry of a lock's log. One that could not be read has only Raw.
type Audit struct {
	Code string // 4 upper-case hex digits
	Data string // 4 upper-case hex digits
	Time string // 14 digits as they came; what is none came cut short, see LockTime
	ID   string // auditId; empty: there is none
	Raw  string // of one that is no audit: the start of what came
}

// Upload is what a lock sent to audit or alert.
type Upload struct {
	Audits  []Audit
	Version string // nxtDbVerTS as it came; empty: none
	LockID  string
	Bad     int // how many of Audits are none
}

var errNotBuilt = errors.New("not built yet")

// ReadUpload reads the body of a lock's audit or alert call.
func ReadUpload(b []byte) (Upload, error) { return Upload{}, errNotBuilt }

// HiddenCard is a card that Hide took out of audits.
type HiddenCard struct {
	Index int // of the last audit of its group
	Bits  card.Bits
}

// Hide takes the cards out of audits.
func Hide(a []Audit) ([]Audit, []HiddenCard) { return nil, nil }

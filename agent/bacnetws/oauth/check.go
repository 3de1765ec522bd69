package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Cause is why a token was refused.
type Cause string

// The causes. Up to CauseSignature nothing is known of who sent the token.
const (
	CauseHeader    Cause = "header"     // the Authorization header is not one bearer token
	CauseTooLong   Cause = "too_long"   // longer than MaxToken
	CauseMalformed Cause = "malformed"  // not a JWT
	CauseAlgorithm Cause = "algorithm"  // not signed with ES256
	CauseSignature Cause = "signature"  // signed by no key of this device
	CauseIssuer    Cause = "issuer"     // iss or ver is not ours
	CauseAudience  Cause = "audience"   // for another UUID
	CauseUnknown   Cause = "unknown"    // there is no record of it
	CauseRevoked   Cause = "revoked"    //
	CauseExpired   Cause = "expired"    //
	CauseNotYet    Cause = "not_active" // its beginning is ahead
	CauseClock     Cause = "clock"      // the clock is not trusted, and the settings want it to be
	CauseScope     Cause = "scope"      // it passes, but not here
	CauseClosed    Cause = "closed"     // no token can be checked now
)

// Refusal is why a use was refused. Its text may be shown to who sent the token.
type Refusal struct {
	Cause   Cause
	ID      string  // of the token, once its signature is proven
	Subject string  // the same
	Need    []Scope // for CauseScope: all of these
	text    string
}

// Error says what is wrong, without anything of the token.
func (r *Refusal) Error() string { return r.text }

// Code is the error code of RFC 6750 section 3.1.
func (r *Refusal) Code() string {
	switch r.Cause {
	case CauseHeader:
		return "invalid_request"
	case CauseScope:
		return "insufficient_scope"
	}
	return "invalid_token"
}

// Use is one use of a token.
type Use struct {
	Token Token
	Need  []Scope // all of them are needed
	From  string  // the address that it came from, for the log
}

// Grant is a token that passed.
type Grant struct {
	ID     string
	Name   string // who: `by` in events
	Scopes []Scope
	Until  time.Time
}

// leeway is how far the beginning of a token may be ahead: a clock that NTP sets
// right steps back.
const leeway = time.Minute

// parser follows no header: one algorithm, strict base64. Claims are judged
// below, by our own clock.
var parser = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())

// errKey is never shown.
var errKey = errors.New("unknown key")

// Check says whose token it is. An error is a *Refusal, and is counted.
func (a *Authority) Check(u Use) (Grant, error) {
	g, refusal := a.check(u)
	if refusal != nil {
		a.refusals.add(refusal, u.From)
		return Grant{}, refusal
	}
	now := a.opt.Clock().Now
	a.mu.Lock()
	a.used[g.ID] = now
	a.mu.Unlock()
	return g, nil
}

func (a *Authority) check(u Use) (Grant, *Refusal) {
	s := a.state.Load()
	c, refusal := s.verify(u.Token)
	if refusal != nil {
		return Grant{}, refusal
	}
	refuse := func(cause Cause, format string, args ...any) (Grant, *Refusal) {
		return Grant{}, &Refusal{Cause: cause, ID: c.ID, Subject: c.Subject, text: fmt.Sprintf(format, args...)}
	}
	sum, rec := sha256.Sum256([]byte(u.Token)), s.find(c.ID)
	now, clock := a.now()
	switch {
	case c.Version != 1 || c.Issuer != issuerInternal || c.ExpiresAt == nil || c.IssuedAt == nil:
		return refuse(CauseIssuer, "the token is of an issuer or a version that is not accepted")
	case c.Audience != *a.uuid.Load():
		return refuse(CauseAudience, "the token is for another device UUID")
	case rec == nil || subtle.ConstantTimeCompare(sum[:], rec.sum[:]) != 1:
		return refuse(CauseUnknown, "the token is not among those of this device any more")
	case !rec.Revoked.IsZero():
		return refuse(CauseRevoked, "the token was revoked at %s", stamp(rec.Revoked))
	case !now.Before(c.ExpiresAt.Time):
		return refuse(CauseExpired, "the token expired at %s, it is %s", stamp(c.ExpiresAt.Time), stamp(now))
	case clock.Trusted && clock.Now.Add(leeway).Before(c.IssuedAt.Time):
		return refuse(CauseNotYet, "the token begins at %s, it is %s", stamp(c.IssuedAt.Time), stamp(clock.Now))
	case !clock.Trusted && clock.Deny:
		return refuse(CauseClock, "the clock of this device is not trusted and its settings want it to be")
	}
	has := strings.Fields(c.Scope)
	for _, need := range u.Need {
		if !slices.Contains(has, string(need)) {
			_, r := refuse(CauseScope, "the token lacks the scope %s", need)
			r.Need = u.Need
			return Grant{}, r
		}
	}
	return Grant{ID: c.ID, Name: c.Subject, Scopes: slices.Clone(rec.Scopes), Until: c.ExpiresAt.Time}, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// verify returns the claims of a token that a key of ours signed.
func (s *state) verify(token Token) (*claims, *Refusal) {
	if len(token) > MaxToken {
		return nil, &Refusal{Cause: CauseTooLong, text: fmt.Sprintf("the token is longer than %d bytes", MaxToken)}
	}
	var c claims
	t, err := parser.ParseWithClaims(string(token), &c, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		if k := s.key(id); k != nil {
			return &k.priv.PublicKey, nil
		}
		return nil, errKey
	})
	switch {
	case err == nil:
		return &c, nil
	case t == nil || errors.Is(err, jwt.ErrTokenMalformed):
		return nil, &Refusal{Cause: CauseMalformed, text: "the token is malformed"}
	case t.Header["alg"] != jwt.SigningMethodES256.Alg():
		return nil, &Refusal{Cause: CauseAlgorithm, text: "the token is not signed with ES256"}
	}
	return nil, &Refusal{Cause: CauseSignature, text: "the token was not made by this device, or the keys were replaced since"}
}

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Checker checks the use of a token; *Authority does. An error that is no
// *Refusal says that tokens cannot be checked now.
type Checker interface {
	Check(Use) (Grant, error)
}

// Need says which scopes a request needs, all of them.
type Need func(*http.Request) []Scope

// ByMethod needs read for GET and HEAD, and write for everything else.
func ByMethod(read, write Scope) Need {
	return func(r *http.Request) []Scope {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return []Scope{read}
		}
		return []Scope{write}
	}
}

// Deny writes the status and the body of a refusal; the headers are set. why is
// nil where there was no token at all. Status says what RFC 6750 wants.
type Deny func(w http.ResponseWriter, r *http.Request, why *Refusal)

// Status returns the status of a refusal (RFC 6750 section 3.1) and a text for who
// sent the token.
func Status(why *Refusal) (status int, text string) {
	switch {
	case why == nil:
		return http.StatusUnauthorized, "a bearer token is needed"
	case why.Cause == CauseHeader:
		return http.StatusBadRequest, why.Error()
	case why.Cause == CauseScope:
		return http.StatusForbidden, why.Error()
	case why.Cause == CauseClosed:
		return http.StatusServiceUnavailable, why.Error()
	}
	return http.StatusUnauthorized, why.Error()
}

// DenyText answers in plain text.
func DenyText(w http.ResponseWriter, _ *http.Request, why *Refusal) {
	status, text := Status(why)
	http.Error(w, text, status)
}

type grantKey struct{}

// From returns the token that a request passed Bearer with.
func From(ctx context.Context) (Grant, bool) {
	g, ok := ctx.Value(grantKey{}).(Grant)
	return g, ok
}

// Bearer returns a guard: what it wraps is only reached with a token that c
// passes and that has the scopes need says. The token is taken from the
// Authorization header alone (RFC 6750 section 2.1), never from a body or a URL,
// and is not passed on. Mount it on TLS only. realm is a plain word; deny nil
// is DenyText.
func Bearer(c Checker, realm string, need Need, deny Deny) func(http.Handler) http.Handler {
	if deny == nil {
		deny = DenyText
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			grant, err := authorize(c, r, need)
			if err == nil {
				r = r.WithContext(context.WithValue(r.Context(), grantKey{}, grant))
				r.Header = r.Header.Clone()
				r.Header.Del("Authorization")
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Cache-Control", "no-store")
			why, refused := errors.AsType[*Refusal](err)
			if !refused && !errors.Is(err, errNoToken) {
				deny(w, r, &Refusal{Cause: CauseClosed, text: "tokens cannot be checked now"})
				return
			}
			w.Header().Set("WWW-Authenticate", challenge(realm, why))
			deny(w, r, why)
		})
	}
}

// errNoToken: nothing was sent, so nothing is refused or counted.
var errNoToken = errors.New("no token")

func authorize(c Checker, r *http.Request, need Need) (Grant, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return Grant{}, errNoToken
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	switch bearer := strings.EqualFold(scheme, "Bearer"); {
	case len(values) > 1 || bearer && !ok:
		return Grant{}, &Refusal{Cause: CauseHeader, text: "want one header: Authorization: Bearer TOKEN"}
	case !bearer:
		return Grant{}, errNoToken
	}
	return c.Check(Use{Token: Token(strings.Trim(token, " ")), Need: need(r), From: r.RemoteAddr})
}

// challenge is the WWW-Authenticate header (RFC 6750 section 3).
func challenge(realm string, why *Refusal) string {
	text := fmt.Sprintf("Bearer realm=%q", realm)
	if why == nil {
		return text
	}
	text += fmt.Sprintf(", error=%q, error_description=%q", why.Code(), why.Error())
	if len(why.Need) > 0 {
		text += fmt.Sprintf(", scope=%q", joinScopes(why.Need, " "))
	}
	return text
}

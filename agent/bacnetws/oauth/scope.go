package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Scope is one thing that a token allows.
type Scope string

// The scopes. A token for writing does not read by itself: give it both.
const (
	ScopeAuth           Scope = "auth"            // BACnet: users, credentials, rights and the authorization server
	ScopeConfig         Scope = "config"          // BACnet: settings
	ScopeBACnet         Scope = "bacnet"          // BACnet: reading objects
	ScopeGateway        Scope = "gateway"         // the gateway's resources: reading
	ScopeGatewayControl Scope = "gateway-control" // the gateway's resources: whatever is not GET or HEAD
)

// scopes lists all of them, in the order in which they are shown.
var scopes = []Scope{ScopeAuth, ScopeConfig, ScopeBACnet, ScopeGateway, ScopeGatewayControl}

// Scopes returns every scope.
func Scopes() []Scope { return slices.Clone(scopes) }

// ParseScopes reads names separated by spaces or commas. Unknown ones and a list
// without any are errors; a name given twice counts once.
func ParseScopes(text string) ([]Scope, error) {
	var out []Scope
	for name := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == ',' }) {
		s := Scope(name)
		if !slices.Contains(scopes, s) {
			return nil, fmt.Errorf("scope %.40q: not one of %s", name, joinScopes(scopes, ", "))
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("name a scope")
	}
	return out, nil
}

func joinScopes(list []Scope, sep string) string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return strings.Join(out, sep)
}

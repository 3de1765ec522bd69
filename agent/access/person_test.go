package access_test

import (
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// pin, byPIN and second change a request.
func pin(v access.PIN, of ...access.PINOf) req {
	return func(r *access.Request) { r.PIN, r.PINs = v, of }
}

func byPIN(v access.PIN, more ...req) req {
	return func(r *access.Request) {
		r.ByPIN, r.PIN, r.Bits, r.Formats = true, v, card.Bits{}, nil
		for _, f := range more {
			f(r)
		}
	}
}

func second(first site.HolderID, two bool) req {
	return func(r *access.Request) { r.With, r.TwoPerson = first, two }
}

// TestPersons: PINs, a PIN alone, two persons; and what `why` says of them.
func TestPersons(t *testing.T) {
	p := policy(t)
	one := func(change ...cred) []site.Credential { return []site.Credential{record(change...)} }
	host := record(source(site.SourceIPHost), func(c *site.Credential) { c.ID = "h1" })
	supervised := function(site.FunctionSupervised)
	for _, tt := range []struct {
		name    string
		records []site.Credential
		req     req
		want    site.Reason
		step    string // check: input: result
	}{
		{"not asked", one(), pin(access.PINNotAsked), site.ReasonGranted, "pin: not asked: pass"},
		{"asked", one(), pin(access.PINAsked), site.ReasonPINRequired, "pin: asked, not given: waiting: pin_required"},
		{"right", one(), pin(access.PINRight), site.ReasonGranted, "pin: given: pass"},
		{"wrong", one(), pin(access.PINWrong), site.ReasonPINWrong, "pin: given: refused: pin_wrong"},
		{"locked out", one(), pin(access.PINLockedOut), site.ReasonPINLockedOut, "pin: locked out, not compared: refused: pin_locked_out"},
		{"none that is known", one(), pin(99), site.ReasonPINRequired, ""},
		{"locked out, asked", one(), pin(access.PINAsked, access.PINOf{Credential: "c1", PIN: access.PINLockedOut}), site.ReasonPINLockedOut, ""},
		{"locked out, of another", one(), pin(access.PINAsked, access.PINOf{Credential: "c9", PIN: access.PINLockedOut}), site.ReasonPINRequired, ""},
		{"no verdict of its own", one(), pin(access.PINAsked, access.PINOf{Credential: "c1"}), site.ReasonPINRequired, ""},
		{"right for the other record", []site.Credential{record(), host}, pin(access.PINAsked, access.PINOf{Credential: "h1", PIN: access.PINRight}), site.ReasonGranted, ""},
		{"wrong for both", []site.Credential{record(), host}, pin(access.PINAsked, access.PINOf{Credential: "h1", PIN: access.PINWrong}, access.PINOf{Credential: "c1", PIN: access.PINWrong}), site.ReasonPINWrong, ""},
		{"verdicts where none is asked", one(), pin(access.PINNotAsked, access.PINOf{Credential: "c1", PIN: access.PINWrong}), site.ReasonGranted, ""},
		{"right, out of schedule", one(rights(front("night"))), pin(access.PINRight), site.ReasonOutOfSchedule, ""},
		{"locked out, out of schedule", one(rights(front("night"))), pin(access.PINLockedOut), site.ReasonOutOfSchedule, ""},

		{"alone", one(), byPIN(access.PINRight), site.ReasonGranted, "pin: given, no card: pass"},
		{"alone, what found it is not asked for", one(), byPIN(access.PINAsked), site.ReasonGranted, ""},
		{"alone, of any length", one(func(c *site.Credential) { c.Bits = 37 }), byPIN(access.PINRight), site.ReasonGranted, ""},
		{"alone, nobody's", nil, byPIN(access.PINRight), site.ReasonPINWrong, "pin: given, no card: refused: pin_wrong"},
		{"alone, locked out", nil, byPIN(access.PINLockedOut), site.ReasonPINLockedOut, "pin: locked out, not compared, no card: refused: pin_locked_out"},
		{"alone, locked out and found", one(), byPIN(access.PINLockedOut), site.ReasonPINLockedOut, ""},
		{"alone, locked out with the card", one(), byPIN(access.PINRight, func(r *access.Request) {
			r.PINs = []access.PINOf{{Credential: "c1", PIN: access.PINLockedOut}}
		}), site.ReasonPINLockedOut, ""},
		{"alone, nobody's, lockdown", nil, byPIN(access.PINRight, mode(site.ModeLockdown)), site.ReasonLockdown, ""},
		{"alone, nobody's, reader closed", nil, byPIN(access.PINLockedOut, func(r *access.Request) { r.ReaderClosed = true }), site.ReasonReaderClosed, ""},
		{"alone, nobody's, interlock", nil, byPIN(access.PINRight, func(r *access.Request) { r.Interlocked = true }), site.ReasonInterlock, "area: no verdict, another door of the interlock is not secure: refused: interlock"},
		{"alone, pass-through in lockdown", one(function(site.FunctionPassThrough)), byPIN(access.PINRight, mode(site.ModeLockdown)), site.ReasonGranted, ""},
		{"alone, revoked by the operator", []site.Credential{host, record(state(site.CredentialRevoked))}, byPIN(access.PINRight), site.ReasonRevoked, ""},
		{"alone, supervised", one(supervised), byPIN(access.PINRight), site.ReasonSecondPersonRequired, ""},

		{"supervised", one(supervised), nil, site.ReasonSecondPersonRequired, "second_person: function supervised: waiting: second_person_required"},
		{"door for two", one(), second("", true), site.ReasonSecondPersonRequired, "second_person: function norm, two persons at this door: waiting: second_person_required"},
		{"the second", one(), second("bob", false), site.ReasonGranted, "second_person: function norm, holder ada with bob: pass"},
		{"the second at a door for two", one(), second("bob", true), site.ReasonGranted, "second_person: function norm, two persons at this door, holder ada with bob: pass"},
		{"the same again", one(), second("ada", false), site.ReasonSecondPersonRequired, ""},
		{"the same at a door for two", one(), second("ada", true), site.ReasonSecondPersonRequired, ""},
		{"nobody known", one(func(c *site.Credential) { c.Holder = "" }), second("bob", false), site.ReasonSecondPersonRequired, "second_person: function norm, holder none with bob: waiting: second_person_required"},
		{"supervised both", one(supervised), second("bob", false), site.ReasonSecondPersonRequired, ""},
		{"the second out of schedule", one(rights(front("night"))), second("bob", true), site.ReasonOutOfSchedule, ""},
		{"the second with a PIN to give", one(), func(r *access.Request) { second("bob", true)(r); pin(access.PINAsked)(r) }, site.ReasonPINRequired, ""},
		{"the other card of the second", []site.Credential{record(supervised), host}, second("bob", true), site.ReasonGranted, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t)
			if tt.req != nil {
				tt.req(&r)
			}
			got := access.Decide(p, tt.records, r)
			if got.Reason != tt.want {
				t.Fatalf("reason %s, want %s", got.Reason, tt.want)
			}
			checkDecision(t, got, tt.records)
			r.Trace = true
			traced := access.Decide(p, tt.records, r)
			checkTrace(t, got, traced)
			if tt.step != "" && !slices.ContainsFunc(traced.Steps, func(s access.Step) bool { return strings.Join([]string{s.Check, s.Input, s.Result}, ": ") == tt.step }) {
				t.Errorf("no step %q in %v", tt.step, traced.Steps)
			}
		})
	}
}

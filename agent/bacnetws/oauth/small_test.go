package oauth

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRefusedIsCounted: what a stranger can provoke is one report a minute for
// a cause, and none is lost.
func TestRefusedIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("bms")
		token, _ := w.add("ems")
		go w.Run(t.Context())
		for range 1000 {
			w.cause("x.y.z")
		}
		w.cause(token, ScopeAuth)
		time.Sleep(2 * refusedGap)
		synctest.Wait()
		for i := range w.refused {
			w.refused[i].Text = ""
		}
		want := []Refused{
			{Cause: CauseMalformed, From: "192.0.2.7:1", Count: 1},
			{Cause: CauseScope, ID: w.List()[1].ID, Subject: "ems", From: "192.0.2.7:1", Count: 1},
			{Cause: CauseMalformed, From: "192.0.2.7:1", Count: 999},
		}
		if d := cmp.Diff(want, w.refused); d != "" {
			t.Error(d)
		}
		w.refusals.mu.Lock()
		if n := len(w.refusals.held); n > 1 {
			t.Errorf("%d causes are remembered after they were silent", n)
		}
		w.refusals.mu.Unlock()
	})
}

// TestRedacted: neither a token nor a key prints itself.
func TestRedacted(t *testing.T) {
	w := newWorld(t)
	token, _ := w.add("bms")
	key := w.state.Load().keys[0]
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "token", token, "key", key, "use", Use{Token: token})
	for _, v := range []any{token, key, Use{Token: token}, w.state.Load().keys} {
		fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v)
	}
	raw, err := key.priv.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token.Reveal()[:20], token.Reveal()[len(token)-20:], new(big.Int).SetBytes(raw).String(), hex.EncodeToString(raw)} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is in\n%s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), redactedKey) || !strings.Contains(out.String(), redactedToken) {
		t.Error(out.String())
	}
}

func TestParseScopes(t *testing.T) {
	for text, want := range map[string]string{
		"gateway": "gateway", "auth config bacnet": "auth config bacnet", "gateway, gateway-control,gateway": "gateway gateway-control",
		"": "!name a scope", " , ": "!name a scope", "GATEWAY": "!not one of auth, config", "gateway\tauth": "!not one of",
	} {
		got, err := ParseScopes(text)
		if wrong, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("%q: %v %v", text, got, err)
			}
		} else if err != nil || joinScopes(got, " ") != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if len(Scopes()) != 5 {
		t.Error("scopes")
	}
}

// TestConcurrent: uses go on beside changes; a token that was revoked does not
// pass after Revoke returned.
func TestConcurrent(t *testing.T) {
	a, err := Open(Options{Dir: t.TempDir(), UUID: testUUID})
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string) (Token, Issued) {
		token, issued, err := a.Add(Order{Name: name, Scopes: []Scope{ScopeGateway}, Lifetime: time.Hour})
		if err != nil {
			t.Error(err)
		}
		return token, issued
	}
	steady, _ := add("steady")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				token, issued := add(fmt.Sprint("n", i))
				if _, err := a.Check(Use{Token: token}); err != nil {
					t.Error(err)
				}
				if _, err := a.Revoke(issued.ID); err != nil {
					t.Error(err)
				}
				if _, err := a.Check(Use{Token: token}); err == nil {
					t.Error("a revoked token passed")
				}
				if _, err := a.Check(Use{Token: steady}); err != nil {
					t.Error(err)
				}
				a.List()
			}
		})
	}
	wg.Wait()
	if n := len(a.List()); n != 41 {
		t.Errorf("%d tokens", n)
	}
}

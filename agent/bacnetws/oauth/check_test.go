package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// segment encodes a part of a token.
func segment(v any) string {
	data, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		data = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(data))
}

// forge signs claims with a key of the device and keeps the record that such a
// token would have, so that only the claims themselves can be refused.
func (w *world) forge(change func(map[string]any)) Token {
	w.t.Helper()
	_, issued := w.add("forged")
	s := w.state.Load().clone()
	c := jwt.MapClaims{"ver": 1, "iss": "0", "aud": testUUID, "sub": "forged", "jti": issued.ID, "scope": "gateway",
		"iat": issued.Made.Unix(), "exp": issued.Until.Unix()}
	change(c)
	key := s.keys[len(s.keys)-1]
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["kid"] = key.id
	text, err := t.SignedString(key.priv)
	if err != nil {
		w.t.Fatal(err)
	}
	s.find(issued.ID).sum = sha256.Sum256([]byte(text))
	w.state.Store(s)
	return Token(text)
}

// TestBadClaims: a good signature over claims that are not ours to accept.
func TestBadClaims(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now.Unix()
	set := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	for _, tt := range []struct {
		name   string
		change func(map[string]any)
		want   Cause
	}{
		{"none", func(map[string]any) {}, ""},
		{"expired", set("exp", now), CauseExpired},
		{"long expired", set("exp", -1), CauseExpired},
		{"without end", func(c map[string]any) { delete(c, "exp") }, CauseIssuer},
		{"without beginning", func(c map[string]any) { delete(c, "iat") }, CauseIssuer},
		{"not yet", set("iat", now+3600), CauseNotYet},
		{"another device", set("aud", "11111111-6a3e-4c41-9d55-0f6b0a6f2c11"), CauseAudience},
		{"no audience", func(c map[string]any) { delete(c, "aud") }, CauseAudience},
		{"upper case", set("aud", strings.ToUpper(testUUID)), CauseAudience},
		{"several audiences", set("aud", []string{testUUID, "x"}), CauseMalformed},
		{"external issuer", set("iss", "1"), CauseIssuer},
		{"no issuer", func(c map[string]any) { delete(c, "iss") }, CauseIssuer},
		{"version 2", set("ver", 2), CauseIssuer},
		{"version as text", set("ver", "1"), CauseMalformed},
		{"no id", func(c map[string]any) { delete(c, "jti") }, CauseUnknown},
		{"another id", set("jti", "0123456789abcdef"), CauseUnknown},
		{"huge end", set("exp", 1e300), CauseExpired},
		{"end as text", set("exp", "tomorrow"), CauseMalformed},
		{"no scope", func(c map[string]any) { delete(c, "scope") }, CauseScope},
		{"part of a scope", set("scope", "gatewa gateway-control xgateway"), CauseScope},
	} {
		token := w.forge(tt.change)
		if got := w.cause(token, ScopeGateway); got != tt.want {
			t.Errorf("%s: refused for %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestBadTokens: what no key of this device signed as it stands.
func TestBadTokens(t *testing.T) {
	w := newWorld(t)
	good, _ := w.add("bms")
	parts := strings.Split(good.Reveal(), ".")
	head, body, sig := parts[0], parts[1], parts[2]
	key := w.state.Load().keys[0]
	header := func(alg string) map[string]any { return map[string]any{"alg": alg, "typ": "JWT", "kid": key.id} }
	signed := func(m jwt.SigningMethod, with any) Token {
		h := segment(header(m.Alg()))
		s, err := m.Sign(h+"."+body, with)
		if err != nil {
			t.Fatal(err)
		}
		return Token(h + "." + body + "." + segment(string(s)))
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.priv.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strange := newWorld(t)
	other, _ := strange.add("bms")
	otherKid := segment(map[string]any{"alg": "ES256", "kid": strange.state.Load().keys[0].id})
	for _, tt := range []struct {
		name  string
		token Token
		want  Cause
	}{
		{"good", good, ""},
		{"empty", "", CauseMalformed},
		{"points", "..", CauseMalformed},
		{"two parts", Token(head + "." + body), CauseMalformed},
		{"four parts", good + ".x", CauseMalformed},
		{"huge", Token(strings.Repeat("x", MaxToken+1)), CauseTooLong},
		{"many points", Token(strings.Repeat(".", MaxToken)), CauseMalformed},
		{"padded", good + "==", CauseMalformed},
		{"NUL", good + "\x00", CauseMalformed},
		{"header no object", Token(segment("[]") + "." + body + "." + sig), CauseMalformed},
		{"header deep", Token(segment(strings.Repeat("[", 2000)) + "." + body + "." + sig), CauseMalformed},
		{"alg none", Token(segment(header("none")) + "." + body + "."), CauseAlgorithm},
		{"alg none, signed", Token(segment(header("none")) + "." + body + "." + sig), CauseAlgorithm},
		{"alg nOnE", Token(segment(header("nOnE")) + "." + body + "."), CauseAlgorithm},
		{"alg missing", Token(segment(map[string]any{"kid": key.id}) + "." + body + "." + sig), CauseAlgorithm},
		{"alg a number", Token(segment(map[string]any{"alg": 1, "kid": key.id}) + "." + body + "." + sig), CauseAlgorithm},
		{"unsigned", Token(head + "." + body + "."), CauseSignature},
		{"HS256 by the public key", signed(jwt.SigningMethodHS256, pub), CauseAlgorithm},
		{"HS256 by the key's id", signed(jwt.SigningMethodHS256, []byte(key.id)), CauseAlgorithm},
		{"RS256", signed(jwt.SigningMethodRS256, rsaKey), CauseAlgorithm},
		{"ES384", signed(jwt.SigningMethodES384, p384), CauseAlgorithm},
		{"ES256 by another key with our id", signed(jwt.SigningMethodES256, p256), CauseSignature},
		{"another device's", other, CauseSignature},
		{"another device's id", Token(otherKid + "." + body + "." + sig), CauseSignature},
		{"no key id", Token(segment(map[string]any{"alg": "ES256"}) + "." + body + "." + sig), CauseSignature},
		{"key id no text", Token(segment(map[string]any{"alg": "ES256", "kid": []int{1}}) + "." + body + "." + sig), CauseSignature},
		{"other claims", Token(head + "." + segment(map[string]any{"ver": 1, "iss": "0"}) + "." + sig), CauseSignature},
		{"zero signature", Token(head + "." + body + "." + segment(strings.Repeat("\x00", 64))), CauseSignature},
		{"the signature's twin", Token(head + "." + body + "." + twin(t, sig)), CauseUnknown},
	} {
		if got := w.cause(tt.token); got != tt.want {
			t.Errorf("%s: refused for %q, want %q", tt.name, got, tt.want)
		}
	}
	for i := range good { // cut, and altered, at every byte
		if w.cause(good[:i]) == "" {
			t.Errorf("cut at %d: passed", i)
		}
		for _, c := range []byte("A_.") {
			if bad := good[:i] + Token(c) + good[i+1:]; bad != good && w.cause(bad) == "" {
				t.Errorf("altered at %d: passed", i)
			}
		}
	}
	w.want("good, at the end", good, "")
}

// twin is the other signature that ECDSA accepts for the same text: s becomes
// n - s.
func twin(t *testing.T, sig string) string {
	b, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(b[32:]))
	s.FillBytes(b[32:])
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestRefusalsTellLittle: before the signature is proven a refusal names
// neither a token nor anybody, and never anything that was sent.
func TestRefusalsTellLittle(t *testing.T) {
	w := newWorld(t)
	token := w.forge(func(c map[string]any) { c["exp"] = w.clock.Now.Add(-time.Hour).Unix() })
	_, err := w.Check(Use{Token: token})
	if want := "the token expired at 2026-11-21T11:00:00Z, it is 2026-11-21T12:00:00Z"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, r := w.check(Use{Token: token[:len(token)-4] + "AAAA"})
	if r == nil || r.ID != "" || r.Subject != "" || strings.Contains(r.Error(), "expired") {
		t.Errorf("%+v", r)
	}
	_, r = w.check(Use{Token: token})
	if r == nil || r.ID == "" || r.Subject != "forged" {
		t.Errorf("%+v", r)
	}
}

// FuzzCheck: nothing but the token itself passes.
func FuzzCheck(f *testing.F) {
	a, err := Open(Options{Dir: f.TempDir(), UUID: testUUID})
	if err != nil {
		f.Fatal(err)
	}
	good, _, err := a.Add(Order{Name: "bms", Scopes: []Scope{ScopeGateway}, Lifetime: MaxLifetime})
	if err != nil {
		f.Fatal(err)
	}
	head, rest, _ := strings.Cut(good.Reveal(), ".")
	for _, s := range []string{good.Reveal(), "", "a.b.c", head + "." + rest[:20], segment(map[string]any{"alg": "none"}) + "." + rest, "e30.e30.", segment("{\"alg\":\"HS256\"}") + ".e30.AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, token := range []Token{Token(text), Token(head + "." + text), Token(text + "." + rest)} {
			if _, err := a.Check(Use{Token: token}); err == nil && token != good {
				t.Errorf("%q passed", string(token))
			}
		}
	})
}

// FuzzState: a file is what was written, or damaged.
func FuzzState(f *testing.F) {
	a, err := Open(Options{Dir: f.TempDir(), UUID: testUUID})
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := a.Add(Order{Name: "bms", Scopes: []Scope{ScopeGateway}, Lifetime: MaxLifetime}); err != nil {
		f.Fatal(err)
	}
	data, err := formatState(a.state.Load())
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := strings.Cut(string(data), "\n")
	f.Add([]byte(body))
	f.Add([]byte(`{"version":1,"keys":null,"tokens":[{"id":"0123456789abcdef","sha256":"00"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parseState(sealed(body))
		if err != nil {
			return
		}
		again, err := formatState(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseState(again); err != nil {
			t.Errorf("%v\n%s", err, again)
		}
	})
}

package hive_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/agent/hive"
)

func seed(f *testing.F) {
	f.Helper()
	vs := loadVectors(f)
	for _, v := range vs.Vectors {
		f.Add([]byte(v.Payload))
	}
	for _, r := range vs.Replies {
		f.Add([]byte(r.Body))
	}
	f.Add([]byte(nested(16)))
	f.Add([]byte(nested(17)))
	f.Add([]byte(`[[0,9,10,99,100,255],[ 1,2],[1, 2],[1,2 ],[256],[1,1000],[01],[1,],[,1],[-1],[1.0],[1,"a"],[],[1`))
	f.Add([]byte(`{"a":[[0,9,10,99,100,255],[ 1,2],[1, 2],[1,2 ],[256],[1,1000],[-1],[1.0],[1,"a"],[]]}`))
	f.Add([]byte(`{"device":"d","data":{"a":-0.0,"b":1e999},"checksum":"x"}`))
}

// depth is how many containers of valid JSON lie in each other.
func depth(b []byte) (most int) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for now := 0; ; {
		tok, err := d.Token()
		if err != nil {
			return most
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			now++
			most = max(most, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

// fraction finds what is not in the portable subset: points, exponents, minus
// zero and integers that could need more than 64 bits.
var fraction = regexp.MustCompile(`[0-9][.eE]|-0|[0-9]{19}`)

// FuzzParse holds the parser against encoding/json: what is accepted there is
// accepted here but for the rules of hive.md, what is refused there is refused
// here, and on the portable subset both have the same canonical form.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := hive.Parse(b)
		valid := json.Valid(b)
		if err != nil {
			var pe *hive.ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("%v is no ParseError", err)
			}
			switch {
			case errors.Is(err, hive.ErrNotJSON):
				if valid && utf8.Valid(b) {
					t.Fatalf("refused valid JSON: %v", err)
				}
			case errors.Is(err, hive.ErrTooDeep):
				if valid && depth(b) <= hive.MaxDepth {
					t.Fatalf("refused depth %d", depth(b))
				}
			}
			return
		}
		if !valid || depth(b) > hive.MaxDepth || len(b) > hive.MaxBytes {
			t.Fatal("accepted what is not bounded JSON")
		}
		own := hive.Canonical(v)
		again, err := hive.Parse(own)
		if len(own) > hive.MaxBytes {
			return // numbers grow: 1e14
		}
		if err != nil {
			t.Fatalf("canonical form %q: %v", own, err)
		}
		if twice := hive.Canonical(again); !bytes.Equal(own, twice) && !bytes.Contains(own, []byte("-0")) {
			t.Fatalf("not idempotent: %q, then %q", own, twice) // but for -0.0, which is -0, which is 0
		}
		if v.Get("operation").Kind() != hive.Number && !fraction.Match(b) {
			if naive := naiveCanonical(t, b); naive != string(own) {
				t.Fatalf("got %q, the naive form is %q", own, naive)
			}
		}
	})
}

// naiveCanonical is a second implementation for the portable subset.
func naiveCanonical(t *testing.T, b []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("more follows: %v", err)
	}
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // sorts the members of maps by bytes
		t.Fatal(err)
	}
	s := strings.TrimSuffix(out.String(), "\n")
	return regexp.MustCompile(`\\.(202[89])?`).ReplaceAllStringFunc(s, func(m string) string {
		switch m {
		case `\u2028`:
			return "\u2028"
		case `\u2029`:
			return "\u2029"
		}
		return m
	})
}

// FuzzEnvelope checks that no envelope panics, that a checksum verifies under
// its key alone, and that data copied into a reply verifies there by every rule.
func FuzzEnvelope(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := hive.ParseRequest(b)
		if err != nil {
			if env.Data.Kind() == hive.Object {
				t.Fatal("data came with an error")
			}
			return
		}
		sum := hive.Checksum(key16, hive.Canonical(env.Data))
		if !hive.Verify(key16, env.Data, sum) || hive.Verify([]byte("another key, 16+"), env.Data, sum) {
			t.Fatal("the canonical form does not verify, or under another key too")
		}
		out := hive.Encode(key16, env.Device, hive.Fields(hive.Field("random_response", env.Data)))
		if len(out) > hive.MaxBytes {
			return
		}
		back, err := hive.ParseReply(out)
		if errors.Is(err, hive.ErrTooDeep) {
			return // data lies one deeper here than in its request
		}
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if back.Device != env.Device || !back.VerifyReply(key16) || !hive.Verify(key16, back.Data, back.Checksum) {
			t.Fatalf("%q does not verify", out)
		}
	})
}

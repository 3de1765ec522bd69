package swordfish

// The lexer is not visible from outside.

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// lexAll returns all tokens of a text.
func lexAll(r io.Reader) (out []json.Token, err error) {
	l := newLexer(r)
	for {
		t, err := l.next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, t)
	}
}

var lexSamples = []string{
	``, ` `, `null`, `true`, `false`, `nul`, `truefalse`, `0`, `-0`, `01`, `1.`, `1.5e-7`, `-`, `+1`, `1E9`, `"a"`, `"a\u00e9\n\ud83d\ude00"`, `"\x"`, "\"\x01\"", "\"\xff\"", `"`, `"\`,
	`[]`, `{}`, `[1]`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a",1}`, `{a:1}`, `{1:1}`, `{"a":}`, `[}`, `{]`, `]`, `[[],{},[{"x":[null,true]}]]`, `{} {}`, `1 2`, `[1]]`, `{"usrID":1,"norm":"card"}`,
	"\t[ 1 , \n2 ]\r ", `tRue`, `Infinity`, `[1e5,"",{"":""}]`,
}

// checkLexer compares the lexer with encoding/json.
func checkLexer(t *testing.T, text string) {
	got, err := lexAll(strings.NewReader(text))
	if valid := json.Valid([]byte(text)); valid != (err == nil && len(got) > 0) {
		t.Fatalf("%q: valid %v, %v", text, valid, err)
	}
	if err != nil || len(got) == 0 {
		return
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	for i, g := range got {
		want, err := dec.Token()
		if err != nil || !reflect.DeepEqual(g, want) {
			t.Fatalf("%q: token %d is %#v, want %#v, %v", text, i, g, want, err)
		}
	}
	slow, err := lexAll(iotest.OneByteReader(strings.NewReader(text)))
	if err != nil || !reflect.DeepEqual(slow, got) {
		t.Fatalf("%q: byte by byte: %#v, %v", text, slow, err)
	}
}

func TestLexer(t *testing.T) {
	for _, s := range lexSamples {
		checkLexer(t, s)
	}
	broken := errors.New("line is down")
	for _, s := range []string{``, `[`, `"a`, `{"a"`, `12`, `[1,`} {
		if _, err := lexAll(io.MultiReader(strings.NewReader(s), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzLexer(f *testing.F) {
	for _, s := range lexSamples {
		f.Add(s)
	}
	f.Fuzz(checkLexer)
}

package hive_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

var key16 = []byte("0123456789abcdef")

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestParseRefusals(t *testing.T) {
	tests := []struct {
		name, text string
		want       error
	}{
		{"empty", "", hive.ErrNotJSON},
		{"space only", " \n", hive.ErrNotJSON},
		{"depth 17", nested(17), hive.ErrTooDeep},
		{"depth 17, objects", strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), hive.ErrTooDeep},
		{"65 KiB", `"` + strings.Repeat("a", 65<<10) + `"`, hive.ErrTooLarge},
		{"one byte over", strings.Repeat(" ", hive.MaxBytes) + "1", hive.ErrTooLarge},
		{"duplicate", `{"a":1,"a":1}`, hive.ErrDuplicate},
		{"duplicate by escape", `{"a":1,"b":2,"\u0061":1}`, hive.ErrDuplicate},
		{"duplicate deep inside", `{"a":[{"x":{"":1,"":2}}]}`, hive.ErrDuplicate},
		{"not utf-8", "\"\xff\"", hive.ErrNotUTF8},
		{"overlong", "\"\xc0\x80\"", hive.ErrNotUTF8},
		{"surrogate as bytes", "\"\xed\xa0\x80\"", hive.ErrNotUTF8},
		{"lone high surrogate", `"\ud800"`, hive.ErrSurrogate},
		{"lone low surrogate", `"\udc00x"`, hive.ErrSurrogate},
		{"two high surrogates", `"\ud83d\ud83d"`, hive.ErrSurrogate},
		{"surrogate in a name", `{"\udfff":1}`, hive.ErrSurrogate},
		{"half an escape", `"\u12`, hive.ErrNotJSON},
		{"signed escape", `"\u+123"`, hive.ErrNotJSON},
		{"unknown escape", `"\x41"`, hive.ErrNotJSON},
		{"nul escape", "\"\\\x00\"", hive.ErrNotJSON},
		{"control in a string", "\"a\nb\"", hive.ErrNotJSON},
		{"control after an escape", "\"\\n\x1f\"", hive.ErrNotJSON},
		{"open string", `"abc`, hive.ErrNotJSON},
		{"open string after an escape", `"a\n`, hive.ErrNotJSON},
		{"backslash at the end", `"\`, hive.ErrNotJSON},
		{"leading zero", "01", hive.ErrNotJSON},
		{"plus", "+1", hive.ErrNotJSON},
		{"bare minus", "-", hive.ErrNotJSON},
		{"bare point", "1.", hive.ErrNotJSON},
		{"bare exponent", "1e+", hive.ErrNotJSON},
		{"hex", "0x10", hive.ErrNotJSON},
		{"nan", "NaN", hive.ErrNotJSON},
		{"trailing comma", "[1,]", hive.ErrNotJSON},
		{"trailing comma in an object", `{"a":1,}`, hive.ErrNotJSON},
		{"no colon", `{"a" 1}`, hive.ErrNotJSON},
		{"name is no string", `{a:1}`, hive.ErrNotJSON},
		{"two values", "1 2", hive.ErrNotJSON},
		{"wrong close", "[1}", hive.ErrNotJSON},
		{"byte order mark", "\uFEFF{}", hive.ErrNotJSON},
		{"words", "True", hive.ErrNotJSON},
		{"half a word", "tru", hive.ErrNotJSON},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := hive.Parse([]byte(tt.text))
			var pe *hive.ParseError
			if !errors.Is(err, tt.want) || !errors.As(err, &pe) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if v.Kind() != hive.Absent {
				t.Errorf("a value of kind %v came with the error", v.Kind())
			}
			if strings.ContainsAny(err.Error(), "\n\"") {
				t.Errorf("%q cannot be sent in one line", err)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	tests := []struct{ name, text, canonical string }{
		{"depth 16", nested(16), nested(16)},
		{"64 KiB", strings.Repeat(" ", hive.MaxBytes-1) + "1", "1"},
		{"pair", `"\uD83D\uDE00"`, `"😀"`},
		{"replacement character", `"` + "\uFFFD" + `"`, `"` + "\uFFFD" + `"`},
		{"nul", `"\u0000"`, `"\u0000"`},
		{"controls", `"\u001F\u0008\u000c"`, `"\u001f\b\f"`},
		{"html", `"\u003c>&\/"`, `"<>&/"`},
		{"line separator", `"\u2028"`, "\"\u2028\""},
		{"sorted by code point", `{"\ud800\udc00":1,"\uffff":2,"a":3,"A":4,"":5}`, "{\"\":5,\"A\":4,\"a\":3,\"\uffff\":2,\"\U00010000\":1}"},
		{"int64 edge", "[-9223372036854775808,-9223372036854775809]", `[-9223372036854775808,"-9223372036854775809"]`},
		{"uint64 edge", "[18446744073709551615,18446744073709551616]", `[18446744073709551615,"18446744073709551616"]`},
		{"past 2^63", "9223372036854775809", "9223372036854775809"},
		{"zeros", "[0,-0,0.0,-0.0,0e9]", "[0,0,0,-0,0]"},
		{"floats", "[1.0,2.50,1e3,1E-7,0.0001,0.00001,1e14,1e15,123456789012345.67]", "[1,2.5,1000,1e-07,0.0001,1e-05,100000000000000,1e+15,123456789012346]"},
		{"beyond a float", "1e400", "1e400"},
		{"numeric text", `["1","1.0"]`, `["1","1.0"]`},
		{"operation inside stays", `{"a":{"operation":5},"operation":1.50}`, `{"a":{"operation":5},"operation":"1.5"}`},
		{"operation beyond 64 bits", `{"operation":18446744073709551616}`, `{"operation":"18446744073709551616"}`},
		{"operation as it is", `{"operation":true}`, `{"operation":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := hive.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.canonical, string(hive.Canonical(v))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestScalars(t *testing.T) {
	type read struct {
		Text  string
		Int   int64
		IsInt bool
		Truth bool
	}
	tests := []struct {
		text string
		want read
	}{
		{"1052895", read{"1052895", 1052895, true, true}},
		{`"1052895"`, read{"1052895", 1052895, true, true}},
		{`" 7\n"`, read{" 7\n", 7, true, true}},
		{`"+7"`, read{"+7", 7, true, true}},
		{`"++7"`, read{"++7", 0, false, true}},
		{`"7x"`, read{"7x", 0, false, true}},
		{`""`, read{"", 0, false, false}},
		{`"0"`, read{"0", 0, true, false}},
		{`"0.0"`, read{"0.0", 0, true, true}},
		{"0.0", read{"0", 0, true, false}},
		{"1.0", read{"1", 1, true, true}},
		{"1e3", read{"1000", 1000, true, true}},
		{"1.5", read{"1.5", 0, false, true}},
		{"9223372036854775807", read{"9223372036854775807", 9223372036854775807, true, true}},
		{"9223372036854775808", read{"9223372036854775808", 0, false, true}},
		{"1e300", read{"1e+300", 0, false, true}},
		{"1e999", read{"1e999", 0, false, true}},
		{"true", read{"1", 1, true, true}},
		{"false", read{"0", 0, true, false}},
		{"null", read{"", 0, false, false}},
		{"[]", read{"", 0, false, true}},
		{"{}", read{"", 0, false, true}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			v, err := hive.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var got read
			got.Text, _ = v.Text()
			got.Int, got.IsInt = v.Int()
			got.Truth = v.Truth()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var absent hive.Value
	if absent.Present() || absent.Truth() || absent.Get("x").Kind() != hive.Absent || string(hive.Canonical(absent)) != "null" {
		t.Error("an absent value is not harmless")
	}
}

func TestParseRequest(t *testing.T) {
	sum := strings.Repeat("0", 128)
	tests := []struct {
		name, text string
		want       error
		device     site.DeviceName
	}{
		{"array", `[]`, hive.ErrNotObject, ""},
		{"text", `"x"`, hive.ErrNotObject, ""},
		{"device as object", `{"device":{"a":1},"data":{},"checksum":"` + sum + `"}`, hive.ErrDevice, ""},
		{"device as number", `{"device":5,"data":{},"checksum":"` + sum + `"}`, hive.ErrDevice, ""},
		{"device null", `{"device":null,"data":{},"checksum":"` + sum + `"}`, hive.ErrDevice, ""},
		{"no device", `{"data":{},"checksum":"` + sum + `"}`, hive.ErrDevice, ""},
		{"checksum as number", `{"device":"d","data":{},"checksum":7}`, hive.ErrChecksum, "d"},
		{"no checksum", `{"device":"d","data":{}}`, hive.ErrChecksum, "d"},
		{"data as array", `{"device":"d","data":[],"checksum":"x"}`, hive.ErrData, "d"},
		{"no data", `{"device":"d","checksum":"x"}`, hive.ErrData, "d"},
		{"good", `{"device":"d","data":{},"checksum":"x"}`, nil, "d"},
		{"more members", `{"device":"d","data":{},"checksum":"x","z":[1]}`, nil, "d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env, err := hive.ParseRequest([]byte(tt.text))
			if !errors.Is(err, tt.want) || env.Device != tt.device {
				t.Errorf("got %q, %v, want %q, %v", env.Device, err, tt.device, tt.want)
			}
		})
	}
	if _, err := hive.ParseReply([]byte(`{"data":{},"checksum":"x"}`)); err != nil {
		t.Errorf("a reply without device: %v", err)
	}
	if _, err := hive.ParseReply([]byte(`{"device":[],"data":{},"checksum":"x"}`)); !errors.Is(err, hive.ErrDevice) {
		t.Errorf("a reply with an array for device: %v", err)
	}
}

// Mixed forms must not verify: a checksum is of one form as a whole.
func TestVerifyForms(t *testing.T) {
	data, err := hive.Parse([]byte(`{ "b": "\u00e9", "a": 1.0 }`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		canonical string
		want      bool
	}{
		{"{\"a\":1,\"b\":\"é\"}", true},
		{"{\"a\":1,\"b\":\"\xe9\"}", true},
		{`{"a":1.0,"b":"\u00e9"}`, true},
		{"{\"a\":1.0,\"b\":\"é\"}", false},
		{"{\"a\":1.0,\"b\":\"\xe9\"}", false},
		{`{"a":1,"b":"\u00e9"}`, false},
		{`{"b":"\u00e9","a":1.0}`, false},
	}
	for _, tt := range tests {
		if got := hive.Verify(key16, data, hive.Checksum(key16, []byte(tt.canonical))); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.canonical, got, tt.want)
		}
	}
}

// What is copied into a reply keeps its value, and the reply verifies by its
// bytes and by re-ordering.
func TestEncode(t *testing.T) {
	tests := []struct{ name, copied, want string }{
		{"integers", `[0, 1, 255]`, `[0,1,255]`},
		{"canonical numbers", `[1.0,1e3,-0]`, `[1,1000,0]`},
		{"not rounded", `[18446744073709551616,0.12345678901234567,1e999]`, `[18446744073709551616,0.12345678901234567,1e999]`},
		{"text", `"caf\u00e9\/😀"`, `"café/😀"`},
		{"members", `{"b":1,"\u0061":{"d":null,"c":[]}}`, `{"a":{"c":[],"d":null},"b":1}`},
		{"nothing", `null`, `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := hive.Parse([]byte(tt.copied))
			if err != nil {
				t.Fatal(err)
			}
			b := hive.Encode(key16, "shed", hive.Fields(hive.Field("z", hive.Int(1)), hive.Field("copied", v),
				hive.Field("gone", hive.Value{}), hive.Field("z", hive.Boolean(true))))
			env, err := hive.ParseReply(b)
			if err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if want := `{"copied":` + tt.want + `,"z":true}`; env.Data.Raw() != want || env.Device != "shed" {
				t.Errorf("data %s, want %s", env.Data.Raw(), want)
			}
			if !env.VerifyReply(key16) || !hive.Verify(key16, env.Data, env.Checksum) {
				t.Error("does not verify")
			}
		})
	}
}

func TestASCII(t *testing.T) {
	if got := hive.ASCII("a\x00b\u00e9😀\x7f~", 20); got != "a?b???~" {
		t.Errorf("got %q", got)
	}
	if got := hive.ASCII("ééé", 2); got != "??" {
		t.Errorf("got %q", got)
	}
}

// TestArrays: an array of bytes is kept in another form than others, which
// nobody may see.
func TestArrays(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  string // canonical; empty: not JSON
		elems []string
	}{
		{"[]", "[]", nil},
		{"[ ]", "[]", nil},
		{"[0]", "[0]", []string{"0"}},
		{"[0,7,10,255]", "[0,7,10,255]", []string{"0", "7", "10", "255"}},
		{"[ 0,7]", "[0,7]", []string{"0", "7"}},
		{"[0, 7]", "[0,7]", []string{"0", "7"}},
		{"[0,7\n]", "[0,7]", []string{"0", "7"}},
		{"[0,256]", "[0,256]", []string{"0", "256"}},
		{"[0,1000]", "[0,1000]", []string{"0", "1000"}},
		{"[0,-0]", "[0,0]", []string{"0", "-0"}},
		{"[7,1.0]", "[7,1]", []string{"7", "1.0"}},
		{"[7,1e1]", "[7,10]", []string{"7", "1e1"}},
		{`[7,"8"]`, `[7,"8"]`, []string{"7", `"8"`}},
		{"[7,[8,9]]", "[7,[8,9]]", []string{"7", "[8,9]"}},
		{"[[8,9],7]", "[[8,9],7]", []string{"[8,9]", "7"}},
		{"[01]", "", nil},
		{"[00]", "", nil},
		{"[1,]", "", nil},
		{"[,1]", "", nil},
		{"[1", "", nil},
		{"[1,", "", nil},
		{"[25", "", nil},
		{"[1}", "", nil},
		{"[1]]", "", nil},
	} {
		t.Run(tt.text, func(t *testing.T) {
			v, err := hive.Parse([]byte(tt.text))
			if (err == nil) != (tt.want != "") {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if got := string(hive.Canonical(v)); got != tt.want || v.Raw() != tt.text {
				t.Errorf("canonical %s, raw %s, want %s", got, v.Raw(), tt.want)
			}
			var elems []string
			for _, e := range v.Elems() {
				elems = append(elems, e.Raw())
				if !e.Present() {
					t.Errorf("an element is %v", e.Kind())
				}
			}
			if diff := cmp.Diff(tt.elems, elems); diff != "" {
				t.Errorf("elements (-want +got):\n%s", diff)
			}
		})
	}
}

package swordfish_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/agent/swordfish"

	"github.com/google/go-cmp/cmp"
)

var configs = []struct {
	name, body string
	want       swordfish.Info
	wantErr    string
}{
	{"nothing is refused", ``, swordfish.Info{}, "config: ends early"},
	{"null is refused", `null`, swordfish.Info{}, "config: want an object"},
	{"a list is refused", `[{}]`, swordfish.Info{}, "config: want an object"},
	{"what goes on is refused", `{}{}`, swordfish.Info{}, "config: goes on after its end"},
	{"no JSON is refused", `{"name":"x`, swordfish.Info{}, "config: ends early"},
	{"deep nesting is refused", `{"x":` + strings.Repeat("[", 1000), swordfish.Info{}, "config: is nested deeper than 16 levels"},
	{"an empty one says nothing", `{}`, swordfish.Info{}, ""},
	{"all that is known is found", `{"name":"Room 5","dvcProfile":{"baseType":"nde","x":[{"name":"no"}]},"fwVer":"3.12.5","battV":{"main":5.9,"li":"3.05"},"batteryStatus":"normal"}`,
		swordfish.Info{Name: "Room 5", Model: "nde", Firmware: "3.12.5", Battery: "normal", Main: 5.9, Li: 3.05}, ""},
	{"it is found in an object as well", `{"config":{"name":"Room 5","model":"le","battV":{"main":5.9}},"x":null}`, swordfish.Info{Name: "Room 5", Model: "le", Main: 5.9}, ""},
	{"the least deep wins, wherever it stands", `{"wifi":{"name":"site-net","ssid":"x"},"name":"Room 5"}`, swordfish.Info{Name: "Room 5"}, ""},
	{"the better name wins on a level", `{"modelType":"b","dvcProfile":{"baseType":"c"},"model":"a"}`, swordfish.Info{Model: "a"}, ""},
	{"dvcProfile counts on its own level", `{"dvcProfile":{"baseType":"c"},"modelType":"b","x":{"model":"a"}}`, swordfish.Info{Model: "c"}, ""},
	{"the first of two wins", `{"name":"a","name":"b"}`, swordfish.Info{Name: "a"}, ""},
	{"what is no text or number is nothing", `{"name":{"x":1},"model":null,"battV":[5.9],"firmware":true,"battery":""}`, swordfish.Info{}, ""},
	{"a voltage outside of any lock's is none", `{"battV":{"main":5900,"li":-1}}`, swordfish.Info{}, ""},
	{"a voltage that is no number is none", `{"battV":{"main":"NaN","li":1e400}}`, swordfish.Info{}, ""},
	{"a battery that is a number is its word", `{"battery":87}`, swordfish.Info{Battery: "87"}, ""},
	{"a text is cut, and its control characters are gone", `{"name":" a\u0000\n` + strings.Repeat("é", 100) + ` "}`, swordfish.Info{Name: "a  " + strings.Repeat("é", 30)}, ""},
}

func TestReadInfo(t *testing.T) {
	for _, tt := range configs {
		t.Run(tt.name, func(t *testing.T) {
			got, err := swordfish.ReadInfo([]byte(tt.body))
			if msg := fmt.Sprint(err); tt.wantErr != "" && msg != tt.wantErr || tt.wantErr == "" && err != nil {
				t.Fatalf("error %v, want %q", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestInfoLimits(t *testing.T) {
	body := []byte(`{"name":"Room 5","x":"` + strings.Repeat("x", swordfish.MaxConfig-24) + `"}`)
	if got, err := swordfish.ReadInfo(body); len(body) != swordfish.MaxConfig || err != nil || got.Name != "Room 5" {
		t.Errorf("%d bytes: %v, %v", len(body), got, err)
	}
	if _, err := swordfish.ReadInfo(append(body, ' ')); !errors.Is(err, swordfish.ErrOverLimit) {
		t.Errorf("one more: %v", err)
	}
}

// A name of half a megabyte over fifty thousand members costs no more than they do.
func TestInfoMemory(t *testing.T) {
	parent := strings.Repeat("p", swordfish.MaxConfig/2)
	members := strings.TrimSuffix(strings.Repeat(`"n":"x",`, swordfish.MaxConfig/2/9), ",")
	body := []byte(`{"` + parent + `":{` + members + `}}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := swordfish.ReadInfo(body); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("%d bytes in all", used)
	}
}

func FuzzReadInfo(f *testing.F) {
	for _, tt := range configs {
		f.Add([]byte(tt.body))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := swordfish.ReadInfo(b)
		if err != nil {
			return
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(b, &object); err != nil {
			t.Fatalf("%q was read: %v", b, err)
		}
		for _, s := range []string{got.Name, got.Model, got.Firmware, got.Battery} {
			if len(s) > 64 || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\r\x7f") {
				t.Errorf("%q", s)
			}
		}
		for _, v := range []float64{got.Main, got.Li} {
			if !(v >= 0 && v < 100) || math.IsNaN(v) {
				t.Errorf("%v", v)
			}
		}
	})
}

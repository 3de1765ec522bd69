package swordfish_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/swordfish"

	"github.com/google/go-cmp/cmp"
)

type audits = []swordfish.Audit

var uploads = []struct {
	name, body string
	want       swordfish.Upload
	wantErr    string
}{
	{"no JSON is refused", `{"audits":[}`, swordfish.Upload{}, "upload: audits: is no JSON at byte 12"},
	{"nothing is refused", ``, swordfish.Upload{}, "upload: ends early"},
	{"null is refused", `null`, swordfish.Upload{}, "upload: want an object"},
	{"a list is refused", `[{"event":"07040000"}]`, swordfish.Upload{}, "upload: want an object"},
	{"an object without audits is refused, for they may stand under another name", `{"log":[],"lockId":"5"}`, swordfish.Upload{}, "upload: has none of audits, asyncEvents, asyncEvent and event"},
	{"an event that is null is none", `{"event":null}`, swordfish.Upload{}, "upload: has none of audits, asyncEvents, asyncEvent and event"},
	{"a list that stands twice is refused", `{"audits":[],"audits":[]}`, swordfish.Upload{}, `upload: "audits" stands twice`},
	{"a version that stands twice is refused", `{"audits":[],"nxtDbVerTS":"1","nxtDbVerTS":"2"}`, swordfish.Upload{}, `upload: "nxtDbVerTS" stands twice`},
	{"audits that are a text are refused", `{"audits":"07040000"}`, swordfish.Upload{}, "upload: audits: want a list"},
	{"an end in an entry is refused", `{"audits":[{"event":"07040000"},{"event"`, swordfish.Upload{}, "upload: audits: record 2: ends early"},
	{"what goes on is refused", `{"audits":[]}x`, swordfish.Upload{}, "upload: goes on after its end"},
	{"deep nesting is refused", `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"audits":[]}`, swordfish.Upload{}, "upload: is nested deeper than 16 levels"},

	{"the documented form is read", `{"audits":[{"event":"07040000","time":"20171120104717","auditId":"a1"},{"event":"010015e0","time":"20171120104718"}],"nxtDbVerTS":"0x08d1707d1ebcb056","lockId":"room5"}`,
		swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "20171120104717", ID: "a1"}, {Code: "0100", Data: "15E0", Time: "20171120104718"}}, Version: "0x08d1707d1ebcb056", LockID: "room5"}, ""},
	{"an empty list is an upload", `{"audits":[]}`, swordfish.Upload{}, ""},
	{"a list that is null is an empty one", `{"audits":null,"nxtDbVerTS":null}`, swordfish.Upload{}, ""},
	{"numbers are their digits", `{"audits":[{"event":7040000,"time":20171120104717,"auditId":17},{"event":10020000,"time":19700101000000}],"nxtDbVerTS":5,"lockId":9}`,
		swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "20171120104717", ID: "17"}, {Code: "1002", Data: "0000", Time: "19700101000000"}}, Version: "5", LockID: "9"}, ""},
	{"asyncEvents is a list", `{"asyncEvents":[{"event":"07000000","time":"20171120104717"}]}`, swordfish.Upload{Audits: audits{{Code: "0700", Data: "0000", Time: "20171120104717"}}}, ""},
	{"asyncEvent is one entry", `{"asyncEvent":{"event":"07000000","time":"20171120104717"}}`, swordfish.Upload{Audits: audits{{Code: "0700", Data: "0000", Time: "20171120104717"}}}, ""},
	{"asyncEvent is a list as well", `{"asyncEvent":[{"event":"07000000","time":"20171120104717"}]}`, swordfish.Upload{Audits: audits{{Code: "0700", Data: "0000", Time: "20171120104717"}}}, ""},
	{"audits is one entry as well", `{"audits":{"event":"07000000","time":"20171120104717"}}`, swordfish.Upload{Audits: audits{{Code: "0700", Data: "0000", Time: "20171120104717"}}}, ""},
	{"an entry by itself is an upload", `{"lockId":"x","event":"07000000","auditId":"3","time":"20171120104717"}`, swordfish.Upload{Audits: audits{{Code: "0700", Data: "0000", Time: "20171120104717", ID: "3"}}, LockID: "x"}, ""},
	{"all lists of an upload are read in their order", `{"asyncEvent":{"event":"07000000","time":"1"},"audits":[{"event":"07010000","time":"2"}]}`,
		swordfish.Upload{Audits: audits{{Code: "0700", Data: "0000", Time: "1"}, {Code: "0701", Data: "0000", Time: "2"}}}, ""},
	{"members that are not known are skipped", `{"x":{"audits":[{"event":"00000000"}]},"audits":[{"y":[[]],"event":"07040000","time":"1","z":null}]}`, swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "1"}}}, ""},
	{"escapes are read", `{"aud\u0069ts":[{"event":"\u00307040000","time":"1"}]}`, swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "1"}}}, ""},
	{"equal audits are all kept", `{"audits":[{"event":"07040000","time":"1"},{"event":"07040000","time":"1"}]}`, swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "1"}, {Code: "0704", Data: "0000", Time: "1"}}}, ""},
	{"a code that is not known is an audit", `{"audits":[{"event":"FEDCba98","time":"1"}]}`, swordfish.Upload{Audits: audits{{Code: "FEDC", Data: "BA98", Time: "1"}}}, ""},
	{"an audit without a time is one", `{"audits":[{"event":"07040000"},{"event":"07040000","time":[1]}]}`, swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000"}, {Code: "0704", Data: "0000"}}}, ""},
	{"a long time is cut", `{"audits":[{"event":"07040000","time":"` + strings.Repeat("1", 100) + `"}]}`, swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: strings.Repeat("1", 64)}}}, ""},
	{"entries that are no audits are kept, their values masked", `{"audits":[ {"event":"704","time":"1"} , 7, "x",null,[1,[2]],{},{"event":"07040000x"},{"event":70400001,"event":70400002},{"event":-7040000},{"event":"0x070400"},{"event":"07040000","time":"1"}]}`,
		swordfish.Upload{Bad: 10, Audits: audits{
			{Raw: `{"event":"704","time":"1"}`}, {Raw: `7`}, {Raw: `"x"`}, {Raw: `null`}, {Raw: `[1,[2]]`}, {Raw: `{}`}, {Raw: `{"event":"*********"}`},
			{Raw: `{"event":********,"event":********}`}, {Raw: `{"event":********}`}, {Raw: `{"event":"********"}`}, {Code: "0704", Data: "0000", Time: "1"}}}, ""},
	{"of what may hold a card short numbers are masked too", `{"audits":[{"event":"13010c40x"},{"code":"1302","data":"009A"},{"event":318835776},{"event":1.301064e7},{"event":"\u0031\u0033010c4"},{"event":4865,"data":3136}]}`,
		swordfish.Upload{Bad: 6, Audits: audits{{Raw: `{"event":"*********"}`}, {Raw: `{"code":"****","data":"****"}`}, {Raw: `{"event":*********}`}, {Raw: `{"event":**********}`}, {Raw: `{"event":"*******"}`}, {Raw: `{"event":****,"data":****}`}}}, ""},
	{"plain words, times and short numbers stay", `{"audits":[{"ev":"815e310628","state":"nonsense","at":"20260302110000","t":20260302110000,"n":4711,"m":"12","ok":true,"none":null}]}`,
		swordfish.Upload{Bad: 1, Audits: audits{{Raw: `{"ev":"**********","state":"nonsense","at":"20260302110000","t":20260302110000,"n":4711,"m":"12","ok":true,"none":null}`}}}, ""},
	{"whatever else may be a card goes", `{"audits":[{"a":"20269902110000","b":"81 5e 31 06","c":"facade","d":12345,"e":-1,"f":"815e","g":"x1","h":"","815e310628":1,"81-5e-31-06-28":2,"deadbeef":3,"v2":["low battery"]}]}`,
		swordfish.Upload{Bad: 1, Audits: audits{{Raw: `{"a":"**************","b":"***********","c":"******","d":*****,"e":**,"f":"****","g":"**","h":"","**********":1,"**************":2,"********":3,"v2":["***********"]}`}}}, ""},
	{"long values are counted", `{"audits":[{"a":"` + strings.Repeat("5", 5000) + `","b":"` + strings.Repeat("5", 200_000) + `","` + strings.Repeat("c", 5000) + `"   :1,"d":` + strings.Repeat("5", 33) + `}]}`,
		swordfish.Upload{Bad: 1, Audits: audits{{Raw: `{"a":"*(5000)","b":"*(99999+)","*(5000)":1,"d":*(33)}`}}}, ""},
	{"a long entry is cut between its values", `{"audits":[[` + strings.Repeat(`"20260302110000",`, 20) + `0]]}`,
		swordfish.Upload{Bad: 1, Audits: audits{{Raw: "[" + strings.Repeat(`"20260302110000",`, 11)}}}, ""},
	{"a text that is no word is counted, and its control characters are gone", "{\"audits\":[\"a\x7f" + strings.Repeat("é", 300) + `"]}`, swordfish.Upload{Bad: 1, Audits: audits{{Raw: `"*(602)"`}}}, ""},
	{"an entry by itself that is no audit is kept", `{"event":{"code":7}}`, swordfish.Upload{Bad: 1, Audits: audits{{Raw: `{"event":{"code":7}}`}}}, ""},
	{"an auditId for two audits identifies nothing", `{"audits":[{"event":"07040000","time":"1","auditId":0},{"event":"07040000","time":"2","auditId":0},{"event":"07040000","time":"3","auditId":1}]}`,
		swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "1"}, {Code: "0704", Data: "0000", Time: "2"}, {Code: "0704", Data: "0000", Time: "3"}}}, ""},
	{"an auditId for the same audit twice is one", `{"audits":[{"event":"07040000","time":"1","auditId":5},{"event":"07040000","time":"1","auditId":"5"}]}`,
		swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "1", ID: "5"}, {Code: "0704", Data: "0000", Time: "1", ID: "5"}}}, ""},
	{"an auditId that is too long or not to be shown is none", `{"audits":[{"event":"07040000","time":"1","auditId":"` + strings.Repeat("1", 65) + `"},{"event":"07040000","time":"1","auditId":"a\nb"},{"event":"07040000","time":"1","auditId":null}]}`,
		swordfish.Upload{Audits: audits{{Code: "0704", Data: "0000", Time: "1"}, {Code: "0704", Data: "0000", Time: "1"}, {Code: "0704", Data: "0000", Time: "1"}}}, ""},
}

func TestReadUpload(t *testing.T) {
	for _, tt := range uploads {
		t.Run(tt.name, func(t *testing.T) {
			got, err := swordfish.ReadUpload([]byte(tt.body))
			if msg := fmt.Sprint(err); tt.wantErr != "" && msg != tt.wantErr || tt.wantErr == "" && err != nil {
				t.Fatalf("error %v, want %q", err, tt.wantErr)
			}
			var fault *swordfish.Fault
			if err != nil && !errors.As(err, &fault) {
				t.Errorf("%v is no Fault", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// manyAudits is a body of n audits.
func manyAudits(n int) []byte {
	return []byte(`{"audits":[` + strings.TrimSuffix(strings.Repeat(`{"event":"07040000","time":"20171120104717"},`, n), ",") + `]}`)
}

func TestUploadLimits(t *testing.T) {
	got, err := swordfish.ReadUpload(manyAudits(swordfish.MaxAudits))
	if err != nil || len(got.Audits) != swordfish.MaxAudits {
		t.Errorf("as many as may be: %d, %v", len(got.Audits), err)
	}
	if _, err = swordfish.ReadUpload(manyAudits(swordfish.MaxAudits + 1)); !errors.Is(err, swordfish.ErrOverLimit) {
		t.Errorf("one more: %v", err)
	}
	long := append(manyAudits(1), make([]byte, swordfish.MaxUpload)...)
	for i := range long[len(long)-swordfish.MaxUpload:] {
		long[len(long)-1-i] = ' '
	}
	if _, err = swordfish.ReadUpload(long); !errors.Is(err, swordfish.ErrOverLimit) {
		t.Errorf("too long: %v", err)
	}
	if _, err = swordfish.ReadUpload(long[:swordfish.MaxUpload]); err != nil {
		t.Errorf("as long as may be: %v", err)
	}
}

// The worst that a megabyte can do costs a few of them.
func TestUploadMemory(t *testing.T) {
	pad := func(begin, unit, end string) []byte {
		return []byte(begin + strings.Repeat(unit, (swordfish.MaxUpload-len(begin)-len(end))/len(unit)) + end)
	}
	for name, body := range map[string][]byte{
		"a long text":      pad(`{"lockId":"`, `\u00e9`, `","audits":[]}`),
		"a long number":    pad(`{"nxtDbVerTS":`, `9`, `,"audits":[]}`),
		"a long event":     pad(`{"audits":[{"event":"`, `0`, `"}]}`),
		"many members":     pad(`{`, `"event":0,`, `"time":1}`),
		"many unknown":     pad(`{"audits":[{`, `"a":0,`, `"a":1}]}`),
		"many lists":       pad(`{"x":[`, `[],`, `[]],"audits":[]}`),
		"a long name":      pad(`{"`, `a`, `":1,"audits":[]}`),
		"levels":           pad(`{"audits":[`, `[`, ``),
		"entries":          pad(`{"audits":[`, `0,`, `0]}`),
		"backslashes":      pad(`{"audits":["`, `\\`, `"]}`),
		"as many as fit":   manyAudits(swordfish.MaxAudits),
		"a long bare body": pad(`{"event":[],"x":"`, `x`, `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = swordfish.ReadUpload(body) // many of them are refused
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
				t.Errorf("%d bytes in all", used)
			}
		})
	}
}

// An audit that was not yet hidden shows no part of a card.
func TestAuditIsNotPrinted(t *testing.T) {
	a := swordfish.Audit{Code: "1301", Data: "BEEF", Time: "20171120104717"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "audit", a)
	for _, s := range []string{a.String(), fmt.Sprintf("%v %+v %#v %s %q %x", a, a, a, a, a, a), fmt.Sprint(audits{a}), log.String()} {
		if strings.Contains(strings.ToUpper(s), "BEEF") {
			t.Error(s)
		}
	}
	if got := (swordfish.Audit{Code: "0100", Data: "15E0", Time: "20171120104717"}).String(); got != "0100 15E0 at 20171120104717" {
		t.Error(got)
	}
}

// hexRuns is what must not stay of an entry that is no audit, unless it is a time.
var hexRuns = regexp.MustCompile("[0-9A-Fa-f]{6,}")

func FuzzReadUpload(f *testing.F) {
	for _, tt := range uploads {
		f.Add([]byte(tt.body))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		up, err := swordfish.ReadUpload(b)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q was read", b)
		}
		bad := 0
		for _, a := range up.Audits {
			if a.Code == "" {
				for _, run := range hexRuns.FindAllString(a.Raw, -1) {
					if _, err := time.Parse("20060102150405", run); err != nil {
						t.Errorf("%q stays in %q", run, a.Raw)
					}
				}
				if bad++; a.Data+a.Time+a.ID != "" || a.Raw == "" || len(a.Raw) > 200 {
					t.Errorf("no audit: %q %q %q %q", a.Data, a.Time, a.ID, a.Raw)
				}
				continue
			}
			if strings.Trim(a.Code+a.Data, "0123456789ABCDEF") != "" || len(a.Code) != 4 || len(a.Data) != 4 || a.Raw != "" || len(a.Time) > 64 || len(a.ID) > 64 {
				t.Errorf("%q %q %q %q %q", a.Code, a.Data, a.Time, a.ID, a.Raw)
			}
		}
		if bad != up.Bad {
			t.Errorf("%d are none, %d counted", bad, up.Bad)
		}
		hidden, cards := swordfish.Hide(up.Audits)
		if len(hidden) != len(up.Audits) {
			t.Fatalf("%d audits became %d", len(up.Audits), len(hidden))
		}
		if again, none := swordfish.Hide(hidden); len(none) > 0 || !cmp.Equal(again, hidden) {
			t.Error("something was still to be hidden")
		}
		for _, c := range cards {
			if c.Index >= len(hidden) || c.Bits.Len() == 0 || c.Bits.Len() > 64 {
				t.Errorf("a card of %d bits at %d", c.Bits.Len(), c.Index)
			}
		}
		// What was read is read again from what would be written of it.
		var text []string
		for _, a := range up.Audits {
			if a.Code != "" {
				line, err := json.Marshal(map[string]string{"event": a.Code + a.Data, "time": a.Time, "auditId": a.ID})
				if err != nil {
					t.Fatal(err)
				}
				text = append(text, string(line))
			}
		}
		again, err := swordfish.ReadUpload([]byte(`{"audits":[` + strings.Join(text, ",") + `]}`))
		if err != nil || len(again.Audits) != len(up.Audits)-bad || again.Bad != 0 {
			t.Fatalf("%d audits, again %d, %v", len(up.Audits)-bad, len(again.Audits), err)
		}
		i := 0
		for _, a := range up.Audits {
			if a.Code != "" {
				if again.Audits[i] != a {
					t.Errorf("(-first +again)\n%s", cmp.Diff(a, again.Audits[i]))
				}
				i++
			}
		}
	})
}

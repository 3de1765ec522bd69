package control_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

func badge(t testing.TB, facility, number uint64) card.Bits {
	t.Helper()
	b, err := card.HiveBadge(facility<<16 | number)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHolders(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	got := must[site.Holder](a, "POST", "/v1/holders", `{"name":"Ada Lovelace"}`)
	if d := cmp.Diff(site.Holder{ID: "h1", Source: "operator", Name: "Ada Lovelace"}, got); d != "" {
		t.Fatal(d)
	}
	must[site.Holder](a, "POST", "/v1/holders", `{"name":"Bob/2 ü?"}`)
	names := func(path string) string {
		var out []string
		for _, h := range objects[site.Holder](a, "GET", path, "") {
			out = append(out, h.Name)
		}
		return strings.Join(out, ",")
	}
	if status, text := a.ask("PUT", "/v1/holidays/x", `{"first":"2027-05-01","last":"2027-05-01","kind":9}`); status != 400 || !strings.Contains(text, "kind") {
		t.Errorf("kind 9: %d %s", status, text)
	}
	for path, want := range map[string]string{
		"/v1/holders":                     "Ada Lovelace,Bob/2 ü?",
		"/v1/holders?name=LOVE":           "Ada Lovelace",
		"/v1/holders?limit=1":             "Ada Lovelace",
		"/v1/holders?name=nobody":         "",
		"/v1/holders?limit=5&name=bob%2F": "Bob/2 ü?",
	} {
		if got := names(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := must[site.Holder](a, "POST", "/v1/holders/Bob%2F2%20%C3%BC%3F/rename", `{"name":"Bob"}`); got.ID != "h2" || got.Name != "Bob" {
		t.Errorf("renamed %+v", got)
	}
	must[site.Holder](a, "DELETE", "/v1/holders/h2", "")
	if got := names("/v1/holders"); got != "Ada Lovelace" {
		t.Errorf("left %q", got)
	}
}

// TestSameName: a name that two have changes nobody.
func TestSameName(t *testing.T) {
	a := newHouse(t).api(t)
	for range 2 {
		must[site.Holder](a, "POST", "/v1/holders", `{"name":"Ada"}`)
	}
	for _, r := range [][2]string{{"DELETE", "/v1/holders/Ada"}, {"POST", "/v1/holders/Ada/erase"}, {"GET", "/v1/holders/Ada"}, {"GET", "/v1/credentials?holder=Ada"}} {
		status, text := a.ask(r[0], r[1], "")
		if status != http.StatusConflict || !strings.Contains(text, "h1, h2") {
			t.Errorf("%v: %d %s", r, status, text)
		}
	}
	must[site.Holder](a, "DELETE", "/v1/holders/h2", "")
	must[control.HolderView](a, "GET", "/v1/holders/Ada", "")
}

func TestErase(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	c := must[control.CredentialView](a, "POST", "/v1/credentials", strings.Replace(ada, `"rights"`, `"pin":"4711","rights"`, 1))
	if !c.HasPIN {
		t.Fatal("no PIN")
	}
	h.events = []site.Event{{Seq: 1, Kind: site.KindAccess, HolderID: c.Holder}, {Seq: 2, Kind: site.KindAccess, HolderID: "h99"}}
	before := objects[control.Personal](a, "GET", "/v1/holders/Ada/export", "")
	if len(before) != 3 || before[0].Holder.Name != "Ada" || before[1].Credential.ID != c.ID || before[2].Event.Seq != 1 {
		t.Errorf("personal data %+v", before)
	}
	if got := must[site.Holder](a, "POST", "/v1/holders/Ada/erase", ""); got.Name != "erased 000001" || got.ID != c.Holder {
		t.Errorf("erased %+v", got)
	}
	got := must[control.CredentialView](a, "GET", "/v1/credentials/"+string(c.ID), "")
	if got.State != site.CredentialRevoked || got.HasPIN || got.HolderName != "erased 000001" {
		t.Errorf("credential %+v", got)
	}
	if status, text := a.ask("DELETE", "/v1/holders/h1", ""); status != http.StatusConflict {
		t.Errorf("a holder with credentials was removed: %d %s", status, text)
	}
	must[control.CredentialView](a, "DELETE", "/v1/credentials/"+string(c.ID), "")
	must[site.Holder](a, "DELETE", "/v1/holders/h1", "")
}

func TestCredentials(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	must[struct{}](a, "PUT", "/v1/schedules/office", `{"name":"Office","intervals":["Mo-Fr 08:00-18:00","fr 22:00-06:00"]}`)
	must[struct{}](a, "PUT", "/v1/levels/staff", `{"name":"Staff","rights":[{"door":"shed","schedule":"office"}]}`)
	c := must[control.CredentialView](a, "POST", "/v1/credentials",
		`{"holder":"Ada","format":"H10301","facility":"77","card":1568,"pin":4711,"function":"toggle","ada":true,"uses":9,"level":"staff","rights":"front@office; shed","from":"2026-01-01T00:00:00Z","until":"2027-01-01T00:00:00+01:00"}`)
	want := `{"id":"` + string(c.ID) + `","source":"operator","holder":"h1","bits":26,"format":"H10301","card":"…68 ` + c.Card.Tag + `","state":"active","function":"toggle","ada":true,"has_pin":true,"uses":9,` +
		`"from":"2026-01-01T00:00:00Z","until":"2026-12-31T23:00:00Z","rights":[{"door":"front","schedule":"office"},{"door":"shed"}],"levels":["staff"],"holder_name":"Ada"}`
	if got, err := json.Marshal(c); err != nil || string(got) != want {
		t.Errorf("added\n%s\n%s\n%v", got, want, err)
	}
	if ok, _, err := h.store.CheckPIN(c.ID, "4711"); !ok || err != nil {
		t.Errorf("PIN: %v, %v", ok, err)
	}
	raw := must[control.CredentialView](a, "POST", "/v1/credentials", `{"holder_id":"h1","bits":"8:a5"}`)
	for query, want := range map[string]int{
		"": 2, "?holder=Ada": 2, "?holder=h1&limit=1": 1, "?door=front": 1, "?door=shed": 1, "?state=active": 2, "?state=revoked": 0,
		"?source=operator": 2, "?source=iphost": 0, "?source=all": 2,
	} {
		if got := objects[control.CredentialView](a, "GET", "/v1/credentials"+query, ""); len(got) != want {
			t.Errorf("%q: %d, want %d", query, len(got), want)
		}
	}
	path := "/v1/credentials/" + string(c.ID)[:6]
	if got := must[control.CredentialView](a, "PUT", path+"/levels", `{"levels":[]}`); len(got.Levels) != 0 {
		t.Errorf("levels %v", got.Levels)
	}
	if got := must[control.CredentialView](a, "POST", path+"/rights", `{"remove":[{"door":"front","schedule":"office"}],"add":[{"door":"front"}]}`); control.FormatRights(got.Rights) != "shed;front" {
		t.Errorf("rights %v", got.Rights)
	}
	if got := must[control.CredentialView](a, "DELETE", path+"/rights?door=shed", ""); control.FormatRights(got.Rights) != "front" {
		t.Errorf("rights %v", got.Rights)
	}
	must[control.CredentialView](a, "POST", path+"/pin", `{"pin":"0815","duress_pin":"0816","clear":true}`)
	if _, duress, err := h.store.CheckPIN(c.ID, "0816"); !duress || err != nil {
		t.Errorf("duress PIN: %v, %v", duress, err)
	}
	if got := must[control.CredentialView](a, "POST", path+"/pin", `{"clear":true}`); got.HasPIN {
		t.Error("the PIN was not removed")
	}
	if view := must[control.HolderView](a, "GET", "/v1/holders/Ada", ""); len(view.Credentials) != 2 {
		t.Errorf("%d credentials", len(view.Credentials))
	}
	if raw.Format != "raw" || raw.Bits != 8 || raw.Card.Last2 != "" {
		t.Errorf("raw: %+v", raw)
	}
	for _, e := range h.log.Events() {
		if e.Kind == site.KindPolicy && e.By != "cli" {
			t.Errorf("event %d is by %q", e.Seq, e.By)
		}
	}
}

func TestStates(t *testing.T) {
	a := newHouse(t).api(t)
	c := a.addAda()
	path := "/v1/credentials/" + string(c.ID) + "/state"
	for _, tt := range []struct {
		state string
		want  int
	}{{"blocked", 200}, {"active", 200}, {"blocked", 200}, {"revoked", 200}, {"active", 409}, {"blocked", 409}, {"revoked", 200}} {
		status, text := a.ask("POST", path, `{"state":"`+tt.state+`"}`)
		if status != tt.want || status == 200 && !strings.Contains(text, `"still_opens":[]`) {
			t.Errorf("%s: %d %s", tt.state, status, text)
		}
	}
}

func TestReplace(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	c := must[control.CredentialView](a, "POST", "/v1/credentials",
		`{"holder":"Ada","format":"H10301","facility":77,"card":1568,"pin":4711,"function":"pass_through","ada":"yes","uses":3,"rights":"front;shed","until":"2027-01-01T00:00:00Z"}`)
	if _, err := h.store.CountUse(c.ID); err != nil {
		t.Fatal(err)
	}
	changes := h.log.MaxChange()
	got := must[control.Replaced](a, "POST", "/v1/credentials/"+string(c.ID)+"/replace", `{"format":"H10301","facility":77,"card":1601}`)
	if n := h.log.MaxChange(); n != changes+1 {
		t.Errorf("%d changes", n-changes)
	}
	if got.Old != c.ID || !got.HadPIN || got.New.HasPIN || got.StillOpens == nil {
		t.Errorf("answer %+v", got)
	}
	want := c
	want.ID, want.Card, want.HasPIN, want.Uses = got.New.ID, got.New.Card, false, 2
	if d := cmp.Diff(want, got.New); d != "" {
		t.Error(d)
	}
	if old := must[control.CredentialView](a, "GET", "/v1/credentials/"+string(c.ID), ""); old.State != site.CredentialRevoked {
		t.Errorf("old is %s", old.State)
	}

	// What is blocked stays blocked, what is used up stays used up, and a card
	// that is enrolled already takes nothing away.
	path := "/v1/credentials/" + string(got.New.ID)
	must[control.StateAnswer](a, "POST", path+"/state", `{"state":"blocked"}`)
	next := must[control.Replaced](a, "POST", path+"/replace", `{"bits":"8:01"}`)
	if next.New.State != site.CredentialBlocked {
		t.Errorf("the heir of a blocked one is %s", next.New.State)
	}
	for range 2 {
		if _, err := h.store.CountUse(next.New.ID); err != nil {
			t.Fatal(err)
		}
	}
	path = "/v1/credentials/" + string(next.New.ID) + "/replace"
	for body, want := range map[string]int{`{"bits":"8:02"}`: 409, `{}`: 409} {
		if status, text := a.ask("POST", path, body); status != want {
			t.Errorf("used up: %d %s", status, text)
		}
	}
	ada := must[control.CredentialView](a, "POST", "/v1/credentials", `{"holder":"Ada","bits":"8:03"}`)
	if status, text := a.ask("POST", "/v1/credentials/"+string(ada.ID)+"/replace", `{"bits":"8:01"}`); status != 409 {
		t.Errorf("an enrolled card: %d %s", status, text)
	}
	if ada = must[control.CredentialView](a, "GET", "/v1/credentials/"+string(ada.ID), ""); ada.State != site.CredentialActive {
		t.Errorf("a refused replacement left %s", ada.State)
	}
}

func TestEnrol(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	reader := h.cards["front-in"]
	wrong, err := card.NewBits(26, []byte{0xA6, 0x83, 0x11, 0x40}) // parity
	if err != nil {
		t.Fatal(err)
	}
	long, err := card.NewBits(200, make([]byte, 25))
	if err != nil {
		t.Fatal(err)
	}
	odd, err := card.NewBits(40, []byte{1, 2, 3, 4, 5})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		bits card.Bits
		body string
		want int
		text string
	}{
		{"no reader", card.Bits{}, `{"holder":"A"}`, 400, "reader"},
		{"unknown reader", card.Bits{}, `{"holder":"A","reader":"x"}`, 404, "reader x"},
		{"a card too", card.Bits{}, `{"holder":"A","reader":"front-in","card":5}`, 400, "from the reader"},
		{"wait too long", card.Bits{}, `{"holder":"A","reader":"front-in","wait":"1h"}`, 400, "at most"},
		{"no holder", card.Bits{}, `{"reader":"front-in"}`, 400, "holder"},
		{"unknown holder", card.Bits{}, `{"reader":"front-in","holder_id":"h9"}`, 404, "h9"},
		{"unknown door", card.Bits{}, `{"holder":"A","reader":"front-in","rights":"attic"}`, 400, "attic"},
		{"unknown schedule", card.Bits{}, `{"holder":"A","reader":"front-in","rights":"front@x"}`, 400, "schedule"},
		{"unknown level", card.Bits{}, `{"holder":"A","reader":"front-in","level":"x"}`, 400, "level"},
		{"nobody came", card.Bits{}, `{"holder":"A","reader":"front-in","wait":"1ms"}`, 409, "no card"},
		{"misread", wrong, `{"holder":"A","reader":"front-in"}`, 409, "parity"},
		{"too long", long, `{"holder":"A","reader":"front-in"}`, 409, "128"},
		{"other format", odd, `{"holder":"A","reader":"front-in","format":"H10301"}`, 409, "not of format"},
		{"unknown format", odd, `{"holder":"A","reader":"front-in","format":"X"}`, 400, "format"},
		{"known", badge(t, 77, 1568), `{"holder":"A","reader":"front-in","rights":"front"}`, 200, `"format":"H10301"`},
		{"twice", badge(t, 77, 1568), `{"holder":"B","reader":"front-in"}`, 409, "is enrolled"},
		{"misread, raw", wrong, `{"holder":"A","reader":"front-in","format":"raw"}`, 200, `"format":"raw"`},
		{"no format", odd, `{"holder":"A","reader":"front-in"}`, 200, `"format":"raw"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.bits.Len() > 0 {
				reader <- tt.bits
			}
			status, text := a.ask("POST", "/v1/credentials/enrol", tt.body)
			if status != tt.want || !strings.Contains(text, tt.text) {
				t.Errorf("%d %s, want %d with %q", status, text, tt.want, tt.text)
			}
		})
	}
	c := objects[control.CredentialView](a, "GET", "/v1/credentials?door=front", "")
	reader <- badge(t, 77, 2222)
	got := must[control.Replaced](a, "POST", "/v1/credentials/"+string(c[0].ID)+"/replace", `{"reader":"front-in"}`)
	if got.New.Card.Last2 != "22" || got.New.Format != "H10301" {
		t.Errorf("replaced by %+v", got.New)
	}
}

func TestPlans(t *testing.T) {
	a := newHouse(t).api(t)
	for _, path := range []string{"/v1/levels", "/v1/schedules", "/v1/holidays"} {
		if _, text := a.ask("GET", path, ""); strings.TrimSpace(text) != "[]" {
			t.Errorf("%s: %s", path, text)
		}
	}
	must[struct{}](a, "PUT", "/v1/schedules/office", `{"id":"office","name":"Office","intervals":["daily 00:00-24:00"],"ignore_holidays":true}`)
	must[struct{}](a, "PUT", "/v1/schedules/night", `{"name":"","intervals":["Sa,Su 22:00-06:00"]}`)
	must[struct{}](a, "PUT", "/v1/levels/staff", `{"rights":[{"door":"front","schedule":"office"}]}`)
	must[struct{}](a, "PUT", "/v1/holidays/xmas", `{"name":"Christmas","first":"2026-12-24","last":"2026-12-26"}`)
	must[struct{}](a, "PUT", "/v1/holidays/may", `{"first":"2027-05-01","last":"2027-05-01","kind":2}`)
	for path, want := range map[string]string{
		"/v1/schedules": `[{"id":"night","source":"operator","name":"","intervals":["Sa,Su 22:00-06:00"]},{"id":"office","source":"operator","name":"Office","intervals":["daily 00:00-24:00"],"ignore_holidays":true}]`,
		"/v1/levels":    `[{"id":"staff","source":"operator","name":"","rights":[{"door":"front","schedule":"office"}]}]`,
		"/v1/holidays":  `[{"id":"may","source":"operator","name":"","first":"2027-05-01","last":"2027-05-01","kind":2},{"id":"xmas","source":"operator","name":"Christmas","first":"2026-12-24","last":"2026-12-26","kind":1}]`,
	} {
		if _, text := a.ask("GET", path, ""); strings.TrimSpace(text) != want {
			t.Errorf("%s:\n%s\n%s", path, text, want)
		}
	}
	for path, want := range map[string]int{"/v1/schedules/office": 409, "/v1/schedules/x": 404, "/v1/levels/x": 404, "/v1/holidays/x": 404} {
		if status, text := a.ask("DELETE", path, ""); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, text, want)
		}
	}
	for _, path := range []string{"/v1/levels/staff", "/v1/schedules/office", "/v1/schedules/night", "/v1/holidays/xmas", "/v1/holidays/may"} {
		must[struct{}](a, "DELETE", path, "")
	}
}

// TestPINTaken: a PIN that opens alone and is another's is refused, and nothing
// of it is said but that.
func TestPINTaken(t *testing.T) {
	h := newHouse(t)
	h.store, _ = storetest.Open(t, store.Config{Dir: t.TempDir(), PINAlone: true}, h.log, store.Options{})
	a := h.api(t)
	must[control.CredentialView](a, "POST", "/v1/credentials", `{"holder":"Ada","format":"H10301","facility":"77","card":"1568","pin":"4711"}`)
	bob := must[control.CredentialView](a, "POST", "/v1/credentials", `{"holder":"Bob","format":"H10301","facility":"77","card":"1569"}`)
	for _, in := range []struct{ path, body string }{
		{"/v1/credentials/" + string(bob.ID) + "/pin", `{"pin":"4711"}`},
		{"/v1/credentials", `{"holder":"Eve","format":"H10301","facility":"77","card":"1570","pin":"4711"}`},
	} {
		status, text := a.ask("POST", in.path, in.body)
		if status != 409 || !strings.Contains(text, "choose another PIN") || strings.Contains(text, "4711") || strings.Contains(text, "Ada") {
			t.Errorf("%s: %d %s", in.path, status, text)
		}
	}
}

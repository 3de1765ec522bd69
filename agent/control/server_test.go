package control_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/store"
)

func TestDoors(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	if got := must[[]site.DoorStatus](a, "GET", "/v1/doors", ""); len(got) != 2 || got[0].ID != "front" {
		t.Errorf("doors %+v", got)
	}
	if got := must[control.Inputs](a, "GET", "/v1/doors/front/inputs", ""); got.Open == nil || got.Exit != nil {
		t.Errorf("inputs %+v", got)
	}
	must[struct{}](a, "POST", "/v1/doors/front/unlock", `{"for":"5s"}`)
	must[struct{}](a, "POST", "/v1/doors/front/unlock", "")
	must[struct{}](a, "POST", "/v1/doors/shed/lock", "")
	must[struct{}](a, "POST", "/v1/doors/shed/mode", `{"mode":"passage","until":"2026-11-21T18:00:00Z"}`)
	if got := must[control.Reached](a, "POST", "/v1/lockdown", `{"target":{"all":true}}`); len(got.Doors) != 2 {
		t.Errorf("locked down %v", got.Doors)
	}
	must[control.Reached](a, "POST", "/v1/release", `{"target":{"door":"shed"}}`)
	want := []string{"front inputs", "front unlock 5s by cli", "front unlock 0s by cli", "shed lock by cli",
		"shed mode passage until 2026-11-21T18:00:00Z by cli", "front lockdown by cli", "shed lockdown by cli", "shed release by cli"}
	if d := cmp.Diff(want, h.commands()); d != "" {
		t.Error(d)
	}
}

func TestReports(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	if got := must[control.Status](a, "GET", "/v1/status", ""); !got.Ready || len(got.Doors) != 2 {
		t.Errorf("status %+v", got)
	}
	if got := must[[]control.Finding](a, "GET", "/v1/doctor", ""); len(got) != 1 || !got[0].Wrong {
		t.Errorf("doctor %+v", got)
	}
	must[struct{}](a, "POST", "/v1/alarms/7/ack", `{"by":"eve"}`)
	if got := must[[]control.Alarm](a, "GET", "/v1/alarms", ""); got[0].AckedBy != "eve" {
		t.Errorf("alarms %+v", got)
	}
	got := must[control.Why](a, "GET", "/v1/why?door=front&bits=8:a5&at=2026-11-21T18:00:00Z", "")
	if got.Steps[0].Input != "8 bits" || got.Steps[0].Result != "2026-11-21T18:00:00Z" {
		t.Errorf("why %+v", got)
	}
	must[control.Why](a, "GET", "/v1/why?door=front&credential=abcd", "")
}

func TestEvents(t *testing.T) {
	h := newHouse(t)
	h.events = []site.Event{{Seq: 1, Door: "front"}, {Seq: 2, Door: "shed"}}
	a := h.api(t)
	if got := objects[site.Event](a, "GET", "/v1/events?door=shed", ""); len(got) != 1 || got[0].Seq != 2 {
		t.Errorf("events %+v", got)
	}
	if got := objects[site.Event](a, "GET", "/v1/events?after=9", ""); len(got) != 0 {
		t.Errorf("events %+v", got)
	}
	// A stream that breaks off says so in its last line; one that never began
	// has a status.
	h.tailErr = errors.New("the disk is gone")
	status, text := a.ask("GET", "/v1/events", "")
	if lines := strings.Split(strings.TrimSpace(text), "\n"); status != 200 || len(lines) != 3 || lines[2] != `{"error":"the disk is gone"}` {
		t.Errorf("%d %s", status, text)
	}
	if status, text = a.ask("GET", "/v1/events?after=9", ""); status != 500 || !strings.Contains(text, "disk") {
		t.Errorf("%d %s", status, text)
	}
}

// TestWhoseFault: each class of error has its status.
func TestWhoseFault(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	for _, tt := range []struct {
		err  error
		want int
	}{
		{fmt.Errorf("x: %w", control.ErrNotFound), 404}, {fmt.Errorf("x: %w", control.ErrRefused), 409}, {fmt.Errorf("x: %w", control.ErrInput), 400},
		{fmt.Errorf("x: %w", control.ErrNotReady), 503}, {errors.New("x"), 500},
		// What says by itself that it is not found says so once.
		{fmt.Errorf("%w: %w", control.ErrNotFound, fmt.Errorf("x: %w", store.ErrNotFound)), 404},
	} {
		h.fail = tt.err
		if status, text := a.ask("POST", "/v1/doors/front/lock", ""); status != tt.want || !strings.Contains(text, `{"error":"x`) {
			t.Errorf("%v: %d %s", tt.err, status, text)
		}
	}
}

// TestNoStore: without a store the policy's routes say that they are not ready.
func TestNoStore(t *testing.T) {
	h := newHouse(t)
	h.storeErr = fmt.Errorf("%w: the key is missing", control.ErrNotReady)
	a := h.api(t)
	for _, r := range [][3]string{
		{"GET", "/v1/holders", ""}, {"POST", "/v1/holders", `{"name":"A"}`}, {"GET", "/v1/holders/h1", ""}, {"DELETE", "/v1/holders/h1", ""},
		{"GET", "/v1/credentials", ""}, {"POST", "/v1/credentials", ada}, {"GET", "/v1/credentials/abcd", ""}, {"POST", "/v1/credentials/import", "holder\n"},
		{"GET", "/v1/credentials/export", ""}, {"POST", "/v1/credentials/enrol", `{"reader":"front-in"}`}, {"GET", "/v1/levels", ""}, {"GET", "/v1/schedules", ""},
		{"GET", "/v1/holidays", ""}, {"DELETE", "/v1/levels/x", ""},
	} {
		if status, text := a.ask(r[0], r[1], r[2]); status != 503 || !strings.Contains(text, "the key is missing") {
			t.Errorf("%v: %d %s", r, status, text)
		}
	}
}

// TestClosedStore: a store that fails is no fault of the request.
func TestClosedStore(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][3]string{{"GET", "/v1/holders", ""}, {"POST", "/v1/holders", `{"name":"A"}`}, {"GET", "/v1/credentials/abcdef", ""}, {"POST", "/v1/credentials", ada}, {"GET", "/v1/credentials/export", ""}} {
		if status, text := a.ask(r[0], r[1], r[2]); status != 503 {
			t.Errorf("%v: %d %s", r, status, text)
		}
	}
}

// TestBadInput: what is wrong gets its status, says where, and changes nothing.
func TestBadInput(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	id := "/v1/credentials/" + string(a.addAda().ID)
	must[struct{}](a, "PUT", "/v1/schedules/office", `{"intervals":["daily 08:00-18:00"]}`)
	big := `{"name":"` + strings.Repeat("a", 1<<20) + `"}`
	add := func(members string) string { return `{"holder":"Bob",` + members + `}` }
	const fresh = `"format":"H10301","facility":1,"card":2`
	for _, tt := range []struct {
		method, path, body string
		want               int
		text               string
	}{
		{"GET", "/v1/nothing", "", 404, "not found"},
		{"GET", "/", "", 404, "not found"},
		{"PUT", "/v1/holders", `{}`, 405, "method not allowed"},
		{"DELETE", "/v1/doors", "", 405, "method not allowed"},

		{"POST", "/v1/holders", big, 400, "too large"},
		{"POST", "/v1/holders", `{"name":"x"}` + strings.Repeat(" ", 1<<20), 400, "too large"},
		{"POST", "/v1/holders", `{"name":"x"}{}`, 400, "more than one"},
		{"POST", "/v1/holders", `{"name":7}`, 400, "name"},
		{"POST", "/v1/holders", `{"nick":"x"}`, 400, "nick"},
		{"POST", "/v1/holders", `[]`, 400, "body"},
		{"POST", "/v1/holders", `{"name":`, 400, "body"},
		{"POST", "/v1/holders", "", 400, "name: is empty"},
		{"POST", "/v1/holders", `{"name":"a\u0007b"}`, 400, "control character"},
		{"POST", "/v1/lockdown", `{"target":{"all":true},"until":"2020-01-01T00:00:00Z"}`, 400, "no door was locked down"},
		{"POST", "/v1/alarms/7/ack", `{"by":"eve\nbob"}`, 400, "control character"},
		{"POST", "/v1/alarms/7/ack", `{"by":""}`, 400, "say who"},
		{"GET", "/v1/holders?limit=-1", "", 400, "-1"},
		{"GET", "/v1/holders/h77", "", 404, "h77"},
		{"GET", "/v1/holders/nobody", "", 404, "nobody"},
		{"GET", "/v1/holders/nobody/export", "", 404, "nobody"},
		{"POST", "/v1/holders/nobody/erase", "", 404, "nobody"},
		{"POST", "/v1/holders/h1/rename", `{"name":""}`, 400, "name"},
		{"DELETE", "/v1/holders/h1", "", 409, "still has"},

		{"GET", "/v1/credentials?state=lost", "", 400, "state"},
		{"GET", "/v1/credentials?source=x", "", 400, "source"},
		{"GET", "/v1/credentials/export?state=x", "", 400, "want active, blocked, revoked or all"},
		{"GET", "/v1/credentials?door=attic", "", 404, "attic"},
		{"GET", "/v1/credentials?holder=nobody", "", 404, "nobody"},
		{"GET", "/v1/credentials/zzzz", "", 404, "zzzz"},
		{"GET", "/v1/credentials/0000", "", 404, "0000"},
		{"POST", "/v1/credentials", `{"surname":"x"}`, 400, "surname"},
		{"POST", "/v1/credentials", ada, 409, "is enrolled"},
		{"POST", "/v1/credentials", `{` + fresh + `}`, 400, "holder: is missing"},
		{"POST", "/v1/credentials", add(`"holder_id":"h1",` + fresh), 400, "holder_id"},
		{"POST", "/v1/credentials", add(`"facility":1`), 400, "format: is missing"},
		{"POST", "/v1/credentials", add(`"format":"H1"`), 400, "format"},
		{"POST", "/v1/credentials", add(`"format":"H10301","facility":1,"card":"x"`), 400, "card"},
		{"POST", "/v1/credentials", add(`"format":"H10301","card":1`), 400, `{"error":"facility: is missing"}`},
		{"POST", "/v1/credentials", add(`"format":"H10301","facility":"x","card":1`), 400, "facility"},
		{"POST", "/v1/credentials", add(`"format":"H10301","facility":256,"card":1`), 400, "at most 255"},
		{"POST", "/v1/credentials", add(`"format":"H10301","bits":"8:01"`), 400, "bits"},
		{"POST", "/v1/credentials", add(`"format":"raw","card":1,"bits":"8:01"`), 400, "raw"},
		{"POST", "/v1/credentials", add(`"bits":"8:0102"`), 400, "bits"},
		{"POST", "/v1/credentials", add(`"bits":"130:` + strings.Repeat("0", 34) + `"`), 400, "bits"},
		{"POST", "/v1/credentials", add(`"card":{}`), 400, "body"},
		{"POST", "/v1/credentials", add(fresh + `,"function":"fly"`), 400, "function"},
		{"POST", "/v1/credentials", add(fresh + `,"ada":"maybe"`), 400, "ada"},
		{"POST", "/v1/credentials", add(fresh + `,"uses":-1`), 400, "uses"},
		{"POST", "/v1/credentials", add(fresh + `,"from":"tomorrow"`), 400, "from"},
		{"POST", "/v1/credentials", add(fresh + `,"from":"2027-01-01T00:00:00Z","until":"2026-01-01T00:00:00Z"`), 400, "until"},
		{"POST", "/v1/credentials", add(fresh + `,"rights":"attic"`), 400, "attic"},
		{"POST", "/v1/credentials", add(fresh + `,"rights":"front@x"`), 400, "schedule"},
		{"POST", "/v1/credentials", add(fresh + `,"rights":"front@"`), 400, "rights"},
		{"POST", "/v1/credentials", add(fresh + `,"rights":"front;front"`), 400, "twice"},
		{"POST", "/v1/credentials", add(fresh + `,"level":"x"`), 400, "level"},
		{"POST", "/v1/credentials", add(fresh + `,"pin":"12"`), 400, "pin"},
		{"POST", "/v1/credentials", add(fresh + `,"duress_pin":"1234"`), 400, "duress_pin"},
		{"DELETE", id, "", 409, "revoke it first"},
		{"POST", id + "/state", `{"state":"lost"}`, 400, "state"},
		{"POST", id + "/state", `{"state":"active","why":1}`, 400, "why"},
		{"POST", "/v1/credentials/0000/state", `{"state":"revoked"}`, 404, "0000"},
		{"POST", id + "/replace", `{"holder":"Eve","bits":"8:01"}`, 400, "stays as it is"},
		{"POST", id + "/replace", `{}`, 400, "format"},
		{"POST", id + "/replace", `{"format":"H10301","facility":77,"card":1568}`, 409, "is enrolled"},
		{"POST", id + "/pin", `{}`, 400, "pin"},
		{"POST", id + "/pin", `{"pin":"abcd"}`, 400, "digits"},
		{"POST", id + "/pin", `{"duress_pin":"1234"}`, 400, "duress_pin"},
		{"POST", id + "/rights", `{"add":[{"door":"shed"},{"door":"attic"}]}`, 400, "attic"},
		{"POST", id + "/rights", `{"add":[{"door":"../x"}]}`, 400, "door"},
		{"POST", id + "/rights", `{"door":"shed"}`, 400, "door"},
		{"POST", id + "/rights", `{}`, 400, "rights"},
		{"POST", id + "/rights", `{"remove":[{"door":"front"},{"door":"shed"}]}`, 409, "does not have"},
		{"DELETE", id + "/rights", "", 400, "door"},
		{"DELETE", id + "/rights?door=shed", "", 409, "does not have"},
		{"PUT", id + "/levels", `{"levels":["x"]}`, 400, "level"},

		{"PUT", "/v1/levels/a%20b", `{}`, 400, "level"},
		{"PUT", "/v1/levels/x", `{"rights":[{"door":"attic"}]}`, 400, "attic"},
		{"PUT", "/v1/levels/x", `{"id":"y"}`, 400, "id"},
		{"PUT", "/v1/levels/x", `{"source":"iphost"}`, 400, "source"},
		{"PUT", "/v1/schedules/x", `{"intervals":[]}`, 400, "intervals"},
		{"PUT", "/v1/schedules/x", `{"intervals":["Mo 8-9"]}`, 400, "HH:MM"},
		{"PUT", "/v1/schedules/x", `{"intervals":[7]}`, 400, "body"},
		{"PUT", "/v1/holidays/x", `{"first":"2026-02-30","last":"2026-03-01"}`, 400, "real day"},
		{"PUT", "/v1/holidays/x", `{"first":"2026-03-02","last":"2026-03-01"}`, 400, "before first"},

		{"POST", "/v1/doors/attic/lock", "", 404, "attic"},
		{"POST", "/v1/doors/front/unlock", `{"for":"-1s"}`, 400, "negative"},
		{"POST", "/v1/doors/front/unlock", `{"for":5}`, 400, "for"},
		{"POST", "/v1/doors/front/mode", `{"mode":"open"}`, 400, "mode"},
		{"POST", "/v1/lockdown", `{}`, 400, "name one door"},
		{"POST", "/v1/lockdown", `{"target":{"all":true,"door":"front"}}`, 400, "name one door"},
		{"POST", "/v1/release", `{"target":{"area":"x"}}`, 404, "area"},
		{"GET", "/v1/why?door=front", "", 400, "credential"},
		{"GET", "/v1/why?door=front&bits=x", "", 400, "bits"},
		{"GET", "/v1/why?door=front&credential=x&at=noon", "", 400, "time"},
		{"GET", "/v1/events?from=noon", "", 400, "noon"},
		{"GET", "/v1/events?last=x", "", 400, "x"},
		{"GET", "/v1/areas/nowhere", "", 404, "nowhere"},
		{"GET", "/v1/certs/root/fetch", "", 405, "method"},
		{"POST", "/v1/areas/forgive", `{}`, 400, "who is forgiven"},
		{"POST", "/v1/areas/forgive", `{"all":true,"area":"lab"}`, 400, "who is forgiven"},
		{"POST", "/v1/areas/forgive", `{"holder":"Nobody"}`, 404, "Nobody"},
		{"POST", "/v1/areas/forgive", `{"everybody":true}`, 400, "everybody"},
		{"GET", "/v1/events?kind=duress", "", 400, "duress"},
		{"POST", "/v1/alarms/x/ack", `{"by":"a"}`, 400, "x"},
		{"POST", "/v1/alarms/7/ack", `{"by":""}`, 400, "who"},
		{"POST", "/v1/alarms/8/ack", `{"by":"a"}`, 404, "8"},
	} {
		t.Run(tt.method+" "+tt.path+" "+tt.text, func(t *testing.T) {
			before := h.log.MaxChange()
			did := len(h.commands())
			status, text := a.ask(tt.method, tt.path, tt.body)
			if status != tt.want || !strings.HasPrefix(text, `{"error":"`) || !strings.Contains(text, tt.text) {
				t.Errorf("%d %s, want %d with %q", status, text, tt.want, tt.text)
			}
			if strings.Count(text, "\n") != 1 {
				t.Errorf("not one line: %s", text)
			}
			if h.log.MaxChange() != before || len(h.commands()) != did {
				t.Error("it changed something")
			}
		})
	}
}

// TestForeign: what came from another source is revoked here and changed there.
func TestForeign(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	res, err := h.store.Apply(t.Context(), "iphost", store.Change{Source: site.SourceIPHost, Ops: []store.Op{
		store.PutCredential{Bits: badge(t, 1, 2), Format: "H10301", HolderName: "Carol", Rights: []site.Right{{Door: "front"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	id := "/v1/credentials/" + res.IDs[0]
	for _, r := range [][3]string{{"POST", id + "/rights", `{"add":[{"door":"shed"}]}`}, {"POST", id + "/pin", `{"pin":"1234"}`}, {"POST", id + "/replace", `{"bits":"8:01"}`}, {"DELETE", id, ""},
		{"PUT", id + "/levels", `{}`}, {"POST", "/v1/holders/h1/erase", ""}, {"POST", id + "/state", `{"state":"active"}`}} {
		if status, text := a.ask(r[0], r[1], r[2]); status != http.StatusConflict {
			t.Errorf("%v: %d %s", r, status, text)
		}
	}
	got := must[control.StateAnswer](a, "POST", id+"/state", `{"state":"revoked"}`)
	if got.Source != site.SourceOperator || got.State != site.CredentialRevoked || got.HolderName != "Carol" || len(got.Rights) != 0 {
		t.Errorf("over it: %+v", got)
	}
}

func TestAreas(t *testing.T) {
	h := newHouse(t)
	h.present = []control.Presence{{ID: "h1", Name: "Ada"}, {ID: "h2", Name: "Eve"}}
	a := h.api(t)
	if got := must[[]control.AreaStatus](a, "GET", "/v1/areas", ""); len(got) != 1 || got[0].Count != 2 || got[0].Present != nil {
		t.Errorf("areas %+v", got)
	}
	if got := must[control.AreaStatus](a, "GET", "/v1/areas/lab", ""); len(got.Present) != 2 {
		t.Errorf("area %+v", got)
	}
	if got := must[control.Forgiven](a, "POST", "/v1/areas/forgive", `{"holder":"Ada"}`); got.Holders != 1 {
		t.Errorf("forgiven %+v", got)
	}
	if got := must[control.Forgiven](a, "POST", "/v1/areas/forgive", `{"area":"lab"}`); got.Holders != 1 {
		t.Errorf("forgiven %+v", got)
	}
	if d := cmp.Diff([]string{"forgive by cli", "forgive by cli"}, h.commands()); d != "" {
		t.Error(d)
	}
}

package link_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// obj is the data of a reply.
type obj = map[string]any

// with returns the members of a reply that passed all checks and those of kv.
func with(kv ...any) obj {
	o := obj{"version": 1.0, "checksum_valid": true, "version_valid": true, "operation_valid": true, "random_response": nil, "response": true}
	for i := 0; i < len(kv); i += 2 {
		name, _ := kv[i].(string)
		if o[name] = kv[i+1]; kv[i+1] == nil && name != "random_response" {
			delete(o, name)
		}
	}
	return o
}

// Each step and each operation of hive.md's tables, with all members of its
// reply, in version 1.
func TestVersion1(t *testing.T) {
	tests := []struct {
		name   string
		device site.DeviceName
		data   string
		status int // with http: true
		want   obj
	}{
		{"version 2 on a version-1 device", "one", `{"version":2,"random_response":[1]}`, 403,
			with("version_valid", false, "response", false, "data", "Invalid version for device.", "operation_valid", nil, "random_response", []any{1.0})},
		{"version 1 on a version-2 device", "two", `{}`, 403,
			with("version_valid", false, "response", false, "data", "Invalid version for device.", "operation_valid", nil)},
		{"version 3", "both", `{"version":3}`, 403,
			with("version_valid", false, "response", false, "data", "Invalid version for device.", "operation_valid", nil)},
		{"version as object", "one", `{"version":{}}`, 403,
			with("version_valid", false, "response", false, "data", "Invalid version for device.", "operation_valid", nil)},
		{"unknown operation", "one", `{"operation":"nope"}`, 400,
			with("operation_valid", false, "response", false, "error", "Invalid operation.")},
		{"swordfish without a handler", "one", `{"operation":"swordfish"}`, 400,
			with("operation_valid", false, "response", false, "error", "Invalid operation.")},
		{"operation as a number", "one", `{"operation":5}`, 400,
			with("operation_valid", false, "response", false, "error", "Invalid operation.")},
		{"operation as an array", "one", `{"operation":[]}`, 400,
			with("operation_valid", false, "response", false, "error", "Invalid operation.")},
		{"get_nonce", "one", `{"operation":"get_nonce","version":"1"}`, 200, with()},
		{"granted", "one", `{"badge":1052895,"item":"main_door","random_response":[0,1,255]}`, 200,
			with("access", true, "reason", "granted", "random_response", []any{0.0, 1.0, 255.0})},
		{"granted, all as text", "one", `{"badge":"1052895","item":"zz","location":"main_door","operation":"ACCESS","version":"1"}`, 200,
			with("access", true, "reason", "granted")},
		{"granted, version 0 and null", "one", `{"badge":1052895.0,"location":null,"item":"main_door","operation":null,"version":0}`, 200,
			with("access", true, "reason", "granted")},
		{"duress answers granted", "one", `{"badge":7,"item":"main_door"}`, 200, with("access", true, "reason", "granted")},
		{"denied", "one", `{"badge":1,"item":"main_door"}`, 401, with("access", false, "error", "Access denied", "reason", "out_of_schedule")},
		{"waiting", "one", `{"badge":2,"item":"main_door"}`, 401, with("access", false, "error", "Access denied", "reason", "pin_required")},
		{"unknown badge", "one", `{"badge":7515388,"item":"main_door"}`, 401, with("access", false, "error", "Unknown badge", "reason", "unknown_credential")},
		{"no badge", "one", `{"item":"main_door"}`, 401, with("access", false, "error", "Unknown badge", "reason", "unknown_format")},
		{"badge of 25 bits", "one", `{"badge":16777216,"item":"main_door"}`, 401, with("access", false, "error", "Unknown badge", "reason", "unknown_format")},
		{"badge below zero", "one", `{"badge":-1,"item":"main_door"}`, 401, with("access", false, "error", "Unknown badge", "reason", "unknown_format")},
		{"badge past 2^63", "one", `{"badge":9223372036854775809,"item":"main_door"}`, 401, with("access", false, "error", "Unknown badge", "reason", "unknown_format")},
		{"badge past 2^64, near a good one", "one", `{"badge":18446744073710604511,"item":"main_door"}`, 401, with("access", false, "error", "Unknown badge", "reason", "unknown_format")},
		{"badge is not whole", "one", `{"badge":1052895.5,"item":"main_door"}`, 401, with("access", false, "error", "Unknown badge", "reason", "unknown_format")},
		{"unknown item", "one", `{"badge":99,"item":"zz"}`, 401, with("access", false, "response", false, "error", "Cannot find item zz", "reason", "no_right")},
		{"no item", "one", `{"badge":99}`, 401, with("access", false, "response", false, "error", "Cannot find item ", "reason", "no_right")},
		{"item in other letters", "one", `{"badge":99,"item":"t\u00fcr\n"}`, 401, with("access", false, "response", false, "error", "Cannot find item t?r?", "reason", "no_right")},
		{"another device's item", "one", `{"badge":1052895,"item":"shed_door"}`, 401, with("access", false, "error", "Device not authorized for shed_door", "reason", "no_right")},
		{"vend", "one", `{"operation":"vend","badge":1052895}`, 200, with("vend", true, "error", "Have a soda.")},
		{"vend without credits", "one", `{"operation":"vend","badge":1}`, 200, with("vend", false, "error", "You have no soda credits.")},
		{"vend to nobody", "one", `{"operation":"vend","badge":5}`, 200, with("vend", false, "error", "Cannot find member associated with this badge.")},
		{"vend without badge", "one", `{"operation":"vend"}`, 200, with("vend", false, "error", "Cannot find member associated with this badge.")},
		{"log to an unknown item", "one", `{"operation":"log","log_data":{"item":"zz","temperature":1}}`, 401, with("response", false, "error", "Unknown item zz")},
		{"log to another's item", "one", `{"operation":"log","log_data":{"item":"shed_door","temperature":1}}`, 401, with("response", false, "error", "Device not authorized for shed_door")},
		{"log without temperature", "one", `{"operation":"log","log_data":{"item":"main_door"}}`, 400, with("response", false, "error", "Invalid temperature.")},
		{"log of nothing", "one", `{"operation":"log"}`, 400, with("response", false, "error", "Nothing to log.")},
		{"log of text", "one", `{"option":"log","messages":["x"]}`, 400, with("response", false, "error", "Invalid messages.")},
		{"messages as object", "one", `{"option":"log","messages":{}}`, 400, with("response", false, "error", "Invalid messages.")},
		{"too many messages", "one", `{"option":"log","messages":[{}` + strings.Repeat(",{}", 256) + `]}`, 400, with("response", false, "error", "More than 256 messages.")},
		{"messages", "one", `{"option":"log","messages":[{"text":"hello"}]}`, 200, with("error", "Data logged.")},
		{"soda status", "one", `{"operation":"soda_status","soda_status":[{"slot":1,"sold_out":true},{"slot":"2","sold_out":0}]}`, 200, with()},
		{"soda status with a bad slot", "one", `{"operation":"soda_status","soda_status":[{"slot":1,"sold_out":true},{"slot":"x","sold_out":0}]}`, 400, with("response", false)},
		{"soda status with a slot twice", "one", `{"operation":"soda_status","soda_status":[{"slot":1,"sold_out":true},{"slot":"1","sold_out":false}]}`, 400, with("response", false)},
		{"soda status without state", "one", `{"operation":"soda_status","soda_status":[{"slot":1}]}`, 400, with("response", false)},
		{"soda status of nothing", "one", `{"operation":"soda_status"}`, 400, with("response", false)},
		{"quiet hours", "one", `{"operation":"quiet_hours"}`, 200, with("in_quiet", false, "start_ms", 16200000.0, "end_ms", 46800000.0)},
		{"too long a random_response", "one", `{"badge":1052895,"item":"main_door","random_response":"` + strings.Repeat("x", 17<<10) + `"}`, 400,
			with("response", false, "data", "random_response is too long.", "version_valid", nil, "operation_valid", nil)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, newWorld())
			status, got := call(t, s, tt.device, tt.data)
			if diff := cmp.Diff(tt.want, got); diff != "" || status != http.StatusOK {
				t.Errorf("status %d (-want +got):\n%s", status, diff)
			}
			flagged := strings.Replace(tt.data, "{", `{"http":true`+comma(tt.data), 1)
			if status, got := call(t, s, tt.device, flagged); status != tt.status {
				t.Errorf("with http: status %d, want %d: %v", status, tt.status, got)
			}
		})
	}
}

func comma(data string) string {
	if data == "{}" {
		return ""
	}
	return ","
}

// The replies that the Perl server gave: ours hold each of their members with
// the same value (but its random ones).
func TestRecordedReplies(t *testing.T) {
	raw, err := os.ReadFile("../testdata/hive.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Replies []struct {
			ID      string
			Request json.RawMessage `json:"request_data"`
			Device  string
			Body    string
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	device := map[string]site.DeviceName{"dev_v1": "one", "dev_v2": "two"}
	for _, r := range file.Replies {
		t.Run(r.ID, func(t *testing.T) {
			w := newWorld()
			s := newServer(t, w)
			var want obj
			if device[r.Device] == "" {
				_, got := post(t, s, `{"device":"nope","data":{"badge":1},"checksum":"00"}`)
				if want := `{"data":"Cannot find device.","response":false,"version":1}`; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				return
			}
			env, err := hive.ParseReply([]byte(r.Body))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(env.Data.Raw()), &want); err != nil {
				t.Fatal(err)
			}
			data := string(r.Request)
			switch r.ID {
			case "v1-denied": // there an enrolled badge without right, here one out of its schedule
				data = strings.Replace(data, "7515388", "1", 1)
			case "v1-vend-none":
				data = strings.Replace(data, "7515388", "1", 1)
			}
			_, got := call(t, s, device[r.Device], data)
			for name, v := range want {
				switch name {
				case "random", "new_nonce", "start_ms", "end_ms":
					if name != "random" && got[name] == nil {
						t.Errorf("%s is missing", name)
					}
				default:
					if diff := cmp.Diff(v, got[name]); diff != "" {
						t.Errorf("%s (-want +got):\n%s", name, diff)
					}
				}
			}
		})
	}
}

// Whatever is refused before the operation moves nothing, and is not run.
func TestRefusalsMoveNothing(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	n := nonce(t, s, "two")
	access := `{"badge":1052895,"item":"main_door","nonce":"` + n + `","version":2}`
	vend := `{"badge":1052895,"operation":"vend","nonce":"` + n + `","version":2}`
	stale := with("nonce_valid", false, "response", false, "data", "Invalid nonce.", "operation_valid", nil, "new_nonce", n)
	wrong := obj{"checksum_valid": false, "response": false, "data": "Invalid checksum.", "version": 1.0}
	before := w.state()
	tests := []struct {
		name, body string
		status     int
		want       obj
	}{
		{"wrong checksum", strings.Replace(sign(t, "two", access), `"checksum":"`, `"checksum":"0`, 1), 200, wrong},
		{"another device's key", strings.Replace(sign(t, "one", access), `"one"`, `"two"`, 1), 200, wrong},
		{"no checksum", `{"device":"two","data":` + vend + `,"checksum":""}`, 200, wrong},
		{"wrong checksum with http", `{"device":"two","data":{"http":1},"checksum":"00"}`, 400, wrong},
		{"changed data", strings.Replace(sign(t, "two", access), "main_door", "main_doo", 1), 200, wrong},
		{"wrong nonce", sign(t, "two", strings.Replace(access, n, strings.Repeat("0", 32), 1)), 200, stale},
		{"nonce as a number", sign(t, "two", `{"version":2,"nonce":0,"operation":"vend"}`), 200, stale},
		{"short nonce", sign(t, "two", strings.Replace(access, n, n[:31], 1)), 200, stale},
		{"no nonce", sign(t, "two", `{"version":2,"badge":1052895,"item":"main_door"}`), 200, stale},
		{"wrong nonce with http", sign(t, "two", `{"version":2,"http":"yes"}`), 403, stale},
		{"unknown operation", sign(t, "two", strings.Replace(vend, "vend", "nope", 1)), 200,
			with("nonce_valid", true, "operation_valid", false, "response", false, "error", "Invalid operation.", "new_nonce", n)},
		{"get_nonce", sign(t, "two", `{"version":2,"operation":"get_nonce"}`), 200, with("nonce_valid", true, "new_nonce", n)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, reply := post(t, s, tt.body)
			if diff := cmp.Diff(tt.want, verified(t, "two", reply)); diff != "" || status != tt.status {
				t.Errorf("status %d, want %d (-want +got):\n%s", status, tt.status, diff)
			}
			if diff := cmp.Diff(before, w.state()); diff != "" {
				t.Errorf("it moved (-before +after):\n%s", diff)
			}
		})
	}
	// After all of that the device is still in step.
	_, got := call(t, s, "two", access)
	next := newNonce(t, got)
	if diff := cmp.Diff(with("nonce_valid", true, "access", true, "reason", "granted", "new_nonce", next), got); diff != "" || next == n {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w.state().Opened != 1 {
		t.Errorf("opened %d times", w.state().Opened)
	}
}

// A recorded packet is refused at once, later, and after restarts.
func TestReplayAndRestart(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	n := nonce(t, s, "both")
	var packets []string
	for i := range 4 {
		op := []string{`"item":"main_door"`, `"operation":"vend"`}[i%2]
		data := fmt.Sprintf(`{"badge":1052895,%s,"nonce":"%s","version":2}`, op, n)
		packets = append(packets, sign(t, "both", data))
		_, got := call(t, s, "both", data)
		n = newNonce(t, got)
		s = newServer(t, w) // a restart: only the world's disk is left
		before := w.state()
		for _, p := range packets {
			_, reply := post(t, s, p)
			if got := verified(t, "both", reply); got["nonce_valid"] != false || got["new_nonce"] != n || got["response"] != false {
				t.Errorf("a replay was answered %v", got)
			}
		}
		if diff := cmp.Diff(before, w.state()); diff != "" {
			t.Errorf("a replay moved (-before +after):\n%s", diff)
		}
	}
	if got := w.state(); got.Opened != 2 || got.Credits[badge(t, goodBadge)] != 1 {
		t.Errorf("opened %d, credits %d, want 2 and 1", got.Opened, got.Credits[badge(t, goodBadge)])
	}
	// Version 2 was accepted: version 1 is over, after a restart too.
	if _, got := call(t, s, "both", `{"badge":1052895,"item":"main_door"}`); got["version_valid"] != false {
		t.Errorf("let back to version 1: %v", got)
	}
	cfg := testConfig()
	cfg.Devices[2].Versions = link.Version1 // the settings list only 1
	s, err := link.New(cfg, w.deps())
	if err != nil {
		t.Fatal(err)
	}
	if _, got := call(t, s, "both", `{"badge":1052895,"item":"main_door"}`); got["access"] != true {
		t.Errorf("settings that list only 1 do not let it back: %v", got)
	}
}

// get_nonce and refused packets do not end version 1.
func TestVersion1StaysOpen(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	nonce(t, s, "both")
	call(t, s, "both", `{"version":2,"nonce":"00"}`)
	if _, got := call(t, s, "both", `{"badge":1052895,"item":"main_door"}`); got["access"] != true {
		t.Errorf("got %v", got)
	}
}

// Of many requests with one nonce one wins.
func TestOneNonceOneWinner(t *testing.T) {
	w := newWorld()
	w.credits[badge(t, goodBadge)] = 100
	s := newServer(t, w)
	body := sign(t, "two", `{"badge":1052895,"operation":"vend","nonce":"`+nonce(t, s, "two")+`","version":2}`)
	replies := make([]string, 16)
	var wg sync.WaitGroup
	for i := range replies {
		wg.Go(func() { _, replies[i] = post(t, s, body) })
	}
	wg.Wait()
	won := 0
	current := nonce(t, s, "two")
	for _, r := range replies {
		got := verified(t, "two", r)
		if got["vend"] == true {
			won++
		}
		if got["new_nonce"] != current {
			t.Errorf("a reply carries another nonce than the next one: %v", got)
		}
	}
	if won != 1 || w.state().Credits[badge(t, goodBadge)] != 99 {
		t.Errorf("%d won, credits %d", won, w.state().Credits[badge(t, goodBadge)])
	}
}

// Vending in version 2: nonce and credit move together, and the nonce of a badge
// without member or form moves too.
func TestVendOnce(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	n := nonce(t, s, "two")
	for i, tt := range []struct {
		badge, text string
		vend        bool
		credits     int
	}{
		{"1052895", "Have a soda.", true, 2},
		{"1", "You have no soda credits.", false, 2},
		{"5", "Cannot find member associated with this badge.", false, 2},
		{`"x"`, "Cannot find member associated with this badge.", false, 2},
		{"1052895", "Have a soda.", true, 1},
	} {
		_, got := call(t, s, "two", `{"badge":`+tt.badge+`,"operation":"vend","version":2,"nonce":"`+n+`"}`)
		next := newNonce(t, got)
		want := with("nonce_valid", true, "new_nonce", next, "vend", tt.vend, "error", tt.text)
		if i == 4 {
			want["alert"] = true
		}
		if diff := cmp.Diff(want, got); diff != "" || next == n {
			t.Errorf("%s (-want +got):\n%s", tt.badge, diff)
		}
		if st := w.state(); st.Uses != i+1 || st.Credits[badge(t, goodBadge)] != tt.credits {
			t.Errorf("%s: %+v", tt.badge, st)
		}
		n = next
	}
}

// forgetful takes credits and leaves the nonce as it is.
type forgetful struct{ *world }

func (f forgetful) Vend(ctx context.Context, a link.VendAsk) (link.VendAnswer, error) {
	a.Nonce = nil
	return f.world.Vend(ctx, a)
}

// A Vender that does not use the nonce up gets no packet accepted.
func TestVendWithoutNonce(t *testing.T) {
	w := newWorld()
	deps := w.deps()
	deps.Vend = forgetful{w}
	s, err := link.New(testConfig(), deps)
	if err != nil {
		t.Fatal(err)
	}
	n := nonce(t, s, "two")
	_, got := call(t, s, "two", `{"badge":1052895,"operation":"vend","version":2,"nonce":"`+n+`"}`)
	if diff := cmp.Diff(with("operation_valid", nil, "vend", false, "error", "Access denied", "reason", "fault", "new_nonce", n), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A store that fails gives a signed refusal, opens nothing and takes nothing.
func TestStoreFails(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	n := nonce(t, s, "two")
	w.fail = true
	fault := func(kv ...any) obj {
		return with(append([]any{"operation_valid", nil, "version_valid", nil, "error", "Access denied", "reason", "fault", "response", false}, kv...)...)
	}
	tests := []struct {
		name   string
		device site.DeviceName
		data   string
		want   obj
	}{
		{"access in version 1", "one", `{"badge":1052895,"item":"main_door"}`, fault("version_valid", true, "operation_valid", true, "access", false, "response", true)},
		{"vend in version 1", "one", `{"badge":1052895,"operation":"vend"}`, fault("version_valid", true, "operation_valid", true, "vend", false, "response", true)},
		{"was version 2 spoken?", "both", `{"badge":1052895,"item":"main_door"}`, fault("access", false, "response", true)},
		{"nonce", "two", `{"badge":1052895,"item":"main_door","version":2,"nonce":"` + n + `"}`, fault("version_valid", true, "access", false, "response", true)},
		{"get_nonce", "two", `{"operation":"get_nonce","version":2}`, fault("version_valid", true)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.taken()
			status, got := call(t, s, tt.device, tt.data)
			if diff := cmp.Diff(tt.want, got); diff != "" || status != 200 {
				t.Errorf("status %d (-want +got):\n%s", status, diff)
			}
			if strings.Contains(tt.data, "item") {
				if e := w.taken(); len(e) != 1 || e[0].Kind != site.KindAccess || e[0].Reason != site.ReasonFault {
					t.Errorf("events %+v", e)
				}
			}
		})
	}
	if w.state().Opened != 0 {
		t.Error("a door opened")
	}
}

// The ask that reaches the door holds the badge's H10301 bits.
func TestAsk(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	call(t, s, "one", `{"badge":1052895,"item":"main_door"}`)
	want := link.Ask{Device: "one", Item: "main_door", Door: "front", Bits: badge(t, goodBadge), Note: "hive version 1: no replay protection"}
	if diff := cmp.Diff([]link.Ask{want}, w.opened); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	m := card.Standard().Decode(w.opened[0].Bits)
	if len(m) != 1 || m[0].Format.Name() != "H10301" || m[0].Number != (card.Number{Facility: 16, Card: 4319, HasFacility: true}) {
		t.Errorf("badge 1052895 is not facility 16, card 4319")
	}
	n := nonce(t, s, "two")
	call(t, s, "two", `{"badge":1052895,"item":"main_door","version":2,"nonce":"`+n+`"}`)
	if got := w.opened[1]; got.Note != "" || got.Device != "two" {
		t.Errorf("version 2 asks %+v", got)
	}
}

package app_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// unmoved is what a host must not change: the policy, and what a card does.
type unmoved struct {
	*running
	version uint64
}

func (r *running) unmoved() unmoved {
	return unmoved{r, r.status().Store.Version}
}

// check presents a card that opens and one that does not, and looks at the policy.
func (u unmoved) check(during string) {
	u.t.Helper()
	from := u.board.Now()
	if ev := u.judged(adaCard); ev.Reason != site.ReasonGranted {
		u.t.Errorf("%s: %+v", during, ev)
	}
	u.energised(from)
	if ev := u.judged(otherCard); ev.Reason != site.ReasonUnknownCredential {
		u.t.Errorf("%s: %+v", during, ev)
	}
	if got := u.status().Store.Version; got != u.version {
		u.t.Errorf("%s: the policy is at version %d, was at %d", during, got, u.version)
	}
	if u.board.Level("GPIO25") != hal.High {
		u.t.Errorf("%s: the shed is open", during)
	}
}

// maxHeap is by how much the heap may rise while a host does its worst: the test's
// own end of the link, with each message several times, is in it, and what the
// collector has not come to yet.
const maxHeap = 128 << 20

// heap watches the heap until it is asked, and tells how far it rose.
func heap() func() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	rest := m.HeapAlloc
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		return max(peak.Load(), rest) - rest
	}
}

// TestUplinkHostileMessages: what a host may send that is no good. Each request is
// answered once, with an error; the doors do not care.
func TestUplinkHostileMessages(t *testing.T) {
	h := newIPHost(t)
	r := uplinkSite(t, h).start()
	r.enrol("Ada,H10301,77,1568,front")
	r.linked()
	same := r.unmoved()
	request := func(id uint32, rest string) string { return fmt.Sprintf(`{"requestId":%d,"request":%s}`, id, rest) }
	for i, tt := range []struct {
		name, text string
		answered   string // part of the 400; empty: it is dropped
	}{
		{"no JSON", `hello`, ""},
		{"half", `{"requestId":999999,"request":{"method":"GET"`, ""},
		{"null", `null`, ""},
		{"a list", `[]`, ""},
		{"nothing known", `{"hello":1}`, ""},
		{"an event", `{"eventId":1,"event":{"eventType":"Audit","source":"edgeDevice","deviceId":"x","eventBody":"{}"}}`, ""},
		{"deep", strings.Repeat("[", 1<<20), ""},
		{"a number too large", `{"requestId":4294967296,"request":{"method":"GET","path":"/","messageBody":""}}`, ""},
		{"a huge number", `{"requestId":1e999999999,"request":{"method":"GET","path":"/","messageBody":""}}`, ""},
		{"a subscription of numbers", `{"subscriptionId":1,"subscription":[1,2,3]}`, ""},
		{"a source that is none", `{"subscriptionId":1,"subscription":[{"source":"door","eventingEnabled":true,"subscriptionBody":{}}]}`, ""},
		{"no method", `{"path":"/gateway/time","messageBody":""}`, "method"},
		{"a method that is a number", `{"method":1,"path":"/gateway/time","messageBody":""}`, "method"},
		{"a body that is an object", `{"method":"PUT","path":"/edgeDevices/dev00000/lockControl","messageBody":{"lockControl":{"lockState":{"nextLockState":"passage"}}}}`, "messageBody"},
		{"a deep request", strings.Repeat(`{"a":`, 1<<18), "nested deeper"},
		{"a request that is a text", `"unlock"`, "request"},
	} {
		before := r.status().Uplink.Malformed
		text := tt.text
		if tt.answered != "" {
			text = request(uint32(1_000_000+i), tt.text)
		}
		if err := h.now().send(text); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		patiently(t, tt.name, func() bool { return r.status().Uplink.Malformed == before+1 })
		if tt.answered == "" {
			continue
		}
		if status, body := h.answer(uint32(1_000_000 + i)); status != 400 || !strings.Contains(body, "statusMessage") || !strings.Contains(body, tt.answered) {
			t.Errorf("%s: %d %s", tt.name, status, body)
		}
	}
	for _, path := range []string{"", "/", "/nowhere", "/edgeDevices/../gateway/time", "/edgeDevices/dev00000/lockStatus/more", "/edgeDevices/dev99999/lockControl",
		"/edgeDevices/front/lockControl", "/" + strings.Repeat("x", 1<<16), "http://127.0.0.1/gateway/time", "/gateway\x00/time"} {
		if status, body := h.ask("PUT", path, `{"lockControl":{"lockState":{"nextLockState":"passage"}}}`); status != 404 || !strings.Contains(body, "statusMessage") {
			t.Errorf("%.80q: %d %.200s", path, status, body)
		}
	}
	h.now() // the connection that was made first
	if u := r.status().Uplink; !u.Connected || u.Attempts != 1 {
		t.Errorf("the connection did not hold: %+v", u)
	}
	same.check("hostile messages")
}

// TestUplinkHostileSizes: a message that is too large is answered, one without end
// ends the connection and no more.
func TestUplinkHostileSizes(t *testing.T) {
	h := newIPHost(t)
	r := uplinkSite(t, h).start()
	r.enrol("Ada,H10301,77,1568,front")
	r.linked()
	same := r.unmoved()
	large := `{"requestId":77,"request":{"method":"PUT","path":"/edgeDevices/dev00000/database","messageBody":"` + strings.Repeat("x", 9<<20) + `"}}`
	rose := heap()
	if err := h.now().send(large); err != nil {
		t.Fatal(err)
	}
	if status, body := h.answer(77); status != 400 || !strings.Contains(body, "8388608") {
		t.Errorf("a message of 9 MiB: %d %s", status, body)
	}
	same.check("a message of 9 MiB")
	c := h.now()
	err := func() error { // a message without end
		c.write.Lock()
		defer c.write.Unlock()
		w, err := c.ws.NextWriter(websocket.TextMessage)
		piece := []byte(strings.Repeat("x", 1<<16))
		for n := 0; err == nil && n < 1<<30; n += len(piece) {
			_ = c.ws.SetWriteDeadline(time.Now().Add(20 * time.Second))
			_, err = w.Write(piece)
		}
		return err
	}()
	if err == nil {
		t.Error("a message of 1 GiB was read")
	}
	if got := rose(); got > maxHeap {
		t.Errorf("the heap rose by %d MiB", got>>20)
	}
	same.check("a message without end")
	patiently(t, "another connection", func() bool { return h.now() != c })
	r.linked()
}

// TestUplinkFlood sends 10,000 requests at once, which ask the doors themselves:
// each is answered once, and cards open doors meanwhile.
func TestUplinkFlood(t *testing.T) {
	const n = 10_000
	h := newIPHost(t)
	r := uplinkSite(t, h).start()
	r.enrol("Ada,H10301,77,1568,front")
	r.linked()
	same := r.unmoved()
	c := h.now()
	ids := make([]uint32, n)
	texts := make([]string, n)
	for i := range n {
		ids[i], texts[i] = h.request("GET", "/edgeDevices/lockStatus", "")
	}
	rose := heap()
	sent := make(chan error, 1)
	go func() {
		for _, text := range texts {
			if err := c.send(text); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	same.check("flood")
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	got := map[int]int{}
	for _, id := range ids {
		status, body := h.answer(id)
		got[status]++
		if status == 200 && !strings.Contains(body, "dev00001") || status == 503 && !strings.Contains(body, "Too many requests") {
			t.Fatalf("answer %d %s", status, body)
		}
	}
	r.acknowledged()
	h.mu.Lock()
	for _, id := range ids {
		if h.answers[id].count != 1 {
			t.Errorf("request %d was answered %d times", id, h.answers[id].count)
		}
	}
	h.mu.Unlock()
	if up := rose(); up > maxHeap {
		t.Errorf("the heap rose by %d MiB", up>>20)
	}
	if got[200]+got[503] != n || got[200] < 256 {
		t.Errorf("answers %v", got)
	}
	t.Logf("answers %v", got)
	same.check("after the flood")
	if status, _ := h.ask("GET", "/gateway/time", ""); status != 200 {
		t.Errorf("after the flood: %d", status)
	}
}

// TestUplinkBombs sends door files that are meant to hurt: each is refused, names
// where, and changes nothing, over the socket and over local HTTPS.
func TestUplinkBombs(t *testing.T) {
	h := newIPHost(t)
	r := uplinkSite(t, h).start()
	r.enrol("Ada,H10301,77,1568,front")
	r.linked()
	token := r.addToken(bothScopes).Token
	user := doorUser(1, otherPrimeCr)
	whole := func(users string) string { return strings.Replace(doorFile(1, otherPrimeCr), user, users, 1) }
	with := func(old, new string) string { return whole(strings.Replace(user, old, new, 1)) }
	many := func(n int, last string) string {
		return whole(strings.Repeat(user+",", n) + last)
	}
	bombs := []struct{ name, file, where string }{
		{"nothing", ``, ""},
		{"deep lists", `{"db":` + strings.Repeat("[", 3<<20), "db"},
		{"deep objects in an unknown tag", `{"x":` + strings.Repeat(`{"x":`, 1<<19) + `1` + strings.Repeat("}", 1<<19) + `,"db":{}}`, ""},
		{"1,000,000 records", `{"db":{"usrRcrd":{"add":[` + strings.Repeat(`{},`, 999_999) + `{}]}}}`, "record 1:"},
		{"1,000,000 numbers to delete", `{"db":{"usrRcrd":{"delete":[` + strings.Repeat(`7,`, 999_999) + `7]}}}`, "record 65535: there are more than 65534"},
		{"one card 15,000 times", many(15_000, user), "record 2"},
		{"a huge number", with(`"usrID":1`, `"usrID":1e999999999`), "record 1: usrID"},
		{"a number of a million digits", with(`"usrID":1`, `"usrID":`+strings.Repeat("9", 1_000_000)), "record 1: usrID"},
		{"a number that is none", with(`"usrID":1`, `"usrID":-0.5`), "record 1: usrID"},
		{"a time of a million digits", with(`"expDtTm":"20991231235900"`, `"expDtTm":`+strings.Repeat("9", 1_000_000)), "record 1: expDtTm"},
		{"a card of 3 MiB", with(otherPrimeCr, strings.Repeat("f", 3<<20)), "record 1: primeCr"},
		{"a schedule of a million digits", with(`"crSch":[1]`, `"crSch":[`+strings.Repeat("1", 1_000_000)+`]`), "record 1: crSch"},
		{"a thousand schedules", strings.Replace(doorFile(1, otherPrimeCr), `"lngth":1440}`, `"lngth":1440}`+strings.Repeat(`,{"days":["Su"],"strtHr":0,"strtMn":0,"lngth":1}`, 999), 1), "schedules"},
		{"a tag of 3 MiB", `{"db":{"` + strings.Repeat("x", 3<<20) + `":1,"usrRcrd":7}}`, ""},
		{"the same list twice", `{"db":{"usrRcrd":{"add":[],"add":[]}}}`, "add"},
		{"two files", doorFile(1, otherPrimeCr) + doorFile(2, adaPrimeCr), ""},
		{"bytes that are no text", with(otherPrimeCr, "\xff\xfe"), "primeCr"},
	}
	same := r.unmoved()
	for name, ask := range map[string]func(string, string, string) (int, string){"socket": h.ask, "https": r.local(token)} {
		rose := heap()
		for _, b := range bombs {
			if name == "socket" && !strings.Contains(b.name, "no text") || name == "https" {
				status, body := ask("PUT", "/edgeDevices/dev00000/database", b.file)
				if status != 400 || !strings.Contains(body, "statusMessage") || !strings.Contains(body, b.where) || len(body) > 1000 {
					t.Errorf("%s, %s: %d %.300s, want %s", name, b.name, status, body, b.where)
				}
			}
		}
		if got := rose(); got > maxHeap {
			t.Errorf("%s: the heap rose by %d MiB", name, got>>20)
		}
		same.check(name)
	}
	if status, body := r.local(token)("PUT", "/edgeDevices/dev00000/database", strings.Repeat("x", 9<<20)); status != 413 || !strings.Contains(body, "statusMessage") {
		t.Errorf("9 MiB over HTTPS: %d %s", status, body)
	}
	same.check("9 MiB over HTTPS")
	a := asker{r, h, h.ask}
	a.stored("dev00000", doorFile(7, otherPrimeCr)) // a good one is taken as ever
	a.presents(otherCard, site.ReasonGranted, "05020000")
}

package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/gateway"
	"gatehouse/agent/site"
	"gatehouse/store"
)

func auditsOf(t testing.TB, body []byte) []struct{ Event, Time string } {
	t.Helper()
	var doc struct {
		EdgeDevice struct {
			Audits []struct{ Event, Time string }
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatalf("%v: %.200s", err, body)
	}
	return doc.EdgeDevice.Audits
}

// finished waits until a device's door file is over and returns its status. It asks
// again without waiting for a time: a file that never ends hangs the test.
func finished(t testing.TB, r *rig, linkID string) string {
	t.Helper()
	for {
		status, body := r.Serve(t.Context(), "GET", "/edgeDevices/"+linkID+"/dbDownloadStatus", "")
		if status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		if text := string(body); !strings.Contains(text, "inProgress") && (!strings.Contains(text, "pending") || linkID == "dev00002") {
			return text
		}
		runtime.Gosched()
	}
}

// The cards of engage.md section 5: facility 77, 1568 and 1570.
const (
	prime1, prime2 = "0d6807e6dbac61481a8ff8b0dce95998", "f7a580a987f982c4ee1d6e6419ad3d17"
	schedules      = `"schedules":[{"days":["Su","Mo","Tu","We","Th","Fr","Sa"],"strtHr":0,"strtMn":0,"lngth":1439},{"days":["Mo"],"strtHr":8,"strtMn":0,"lngth":60}]`
	completed      = `{"downloadStatus":{"status":"completed","downloadPercentComplete":100}}`
)

func (r *rig) rights(t testing.TB, door site.DoorID, bits string) []site.Credential {
	t.Helper()
	b, err := card.ParseBits(bits)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.store.LookupBitsAt(door, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDatabase: a file becomes a door's rights; the next one replaces them there
// alone.
func TestDatabase(t *testing.T) {
	r := newRig(t, nil)
	r.start(t)
	file := `{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[
		{"usrID":1,"adaEn":1,"fnctn":"norm","crSch":[1,2],"actDtTm":"20170101000000","expDtTm":"20180101120000","primeCr":"` + prime1 + `","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"},
		{"usrID":2,"crSch":2,"primeCr":"` + prime2 + `"}]},` + schedules + `,"holidays":[],"autoUnlock":[{"action":"pass","strtHr":8,"strtMn":0,"days":["Mo"]}]},"config":{}}`
	r.want(t, "PUT", "/edgeDevices/dev00000/database", file, 200, "")
	if got := finished(t, r, "dev00000"); got != completed {
		t.Errorf("got %s", got)
	}
	got := r.rights(t, "front", "26:26831000")
	if len(got) != 1 || !got[0].ADA || got[0].Source != site.SourceIPHost || !got[0].Until.Equal(time.Date(2018, 1, 1, 11, 0, 0, 0, time.UTC)) ||
		fmt.Sprint(got[0].Rights) != "[{front } {front front.2}]" {
		t.Errorf("got %+v", got)
	}
	p := r.store.Snapshot()
	if len(p.Files) != 1 || len(p.Files[0].Auto) != 1 || p.Files[0].Cards != 2 {
		t.Errorf("files %+v", p.Files)
	}
	r.want(t, "PUT", "/edgeDevices/dev00001/database", file, 200, "")
	finished(t, r, "dev00001")
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{"usrRcrd":{"deleteAll":1},"autoUnlock":[]}}`, 200, "")
	finished(t, r, "dev00000")
	if got := r.rights(t, "front", "26:26831000"); len(got) != 1 || got[0].Rights[0].Door != "vault" {
		t.Errorf("after deleteAll: %+v", got)
	}
	if p := r.store.Snapshot(); len(p.Files[0].Auto) != 0 || len(p.Files[0].Schedules) != 2 {
		t.Errorf("files %+v", p.Files)
	}
	// The same again changes nothing, and the host is told all the same.
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 200, "")
	finished(t, r, "dev00000")
	e := r.log.last()
	if _, _, _, _, body, ok := r.Convert(e); !ok || !strings.Contains(body, `"06010000"`) || e.Text != "door file: nothing changed" {
		t.Errorf("event %+v", e)
	}
}

// TestDatabaseDecides: the decision at the door after a file: by the schedules of the
// file, until the end that it names, at that door only.
func TestDatabaseDecides(t *testing.T) {
	r := newRig(t, nil)
	r.start(t)
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{"usrRcrd":{"add":[
		{"usrID":1,"crSch":[1],"expDtTm":"20180101120000","primeCr":"`+prime1+`"},{"usrID":2,"crSch":2,"primeCr":"`+prime2+`"}]},`+schedules+`}}`, 200, "")
	finished(t, r, "dev00000")
	r.want(t, "PUT", "/edgeDevices/dev00001/database", `{"db":{"usrRcrd":{"add":[{"usrID":1,"crSch":1,"primeCr":"`+prime2+`"}]},`+schedules+`}}`, 200, "")
	finished(t, r, "dev00001")
	// A holiday of the site does not suspend what a host sent.
	day := site.Date{Year: 2017, Month: 11, Day: 20}
	if _, err := r.store.Apply(t.Context(), "x", store.Change{Source: site.SourceOperator, Ops: []store.Op{store.PutHoliday{Holiday: site.Holiday{ID: "x", First: day, Last: day}}}}); err != nil {
		t.Fatal(err)
	}
	p := r.store.Snapshot()
	policy := access.Compile(r.cfg.Zone, p.Schedules, p.Levels, p.Holidays)
	at := func(d, h, m int) time.Time { return time.Date(2017, 11, d, h, m, 0, 0, r.cfg.Zone) }
	const one, two = "26:26831000", "26:26831140"
	for _, tt := range []struct {
		door    site.DoorID
		bits    string
		at      time.Time
		trusted bool
		want    site.Reason
	}{
		{"front", one, at(20, 3, 0), true, site.ReasonGranted},
		{"front", one, time.Date(2018, 1, 1, 12, 0, 1, 0, r.cfg.Zone), true, site.ReasonExpired},
		{"front", one, at(20, 3, 0), false, site.ReasonGranted}, // always, and so without a clock
		{"vault", one, at(20, 3, 0), true, site.ReasonNoRight},
		{"front", two, at(20, 8, 30), true, site.ReasonGranted}, // a Monday
		{"front", two, at(20, 9, 0), true, site.ReasonOutOfSchedule},
		{"front", two, at(21, 8, 30), true, site.ReasonOutOfSchedule},
		{"front", two, at(20, 8, 30), false, site.ReasonClockUntrusted},
		{"vault", two, at(21, 8, 30), true, site.ReasonGranted},
	} {
		bits, err := card.ParseBits(tt.bits)
		if err != nil {
			t.Fatal(err)
		}
		d := access.Decide(policy, r.rights(t, tt.door, tt.bits), access.Request{Door: tt.door, Bits: bits,
			Clock: site.Clock{Now: tt.at, Trusted: tt.trusted, Mode: site.ClockAlwaysOnly}})
		if d.Reason != tt.want || (d.Outcome == access.Granted) != tt.want.Grants() {
			t.Errorf("%s at %s, %v: %s, want %s", tt.bits, tt.door, tt.at, d.Reason, tt.want)
		}
	}
}

// TestDatabaseFaults: a fault in the file is named by the answer; one that shows
// against what the door has, by the status. Nothing has changed, and an event says so.
func TestDatabaseFaults(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.AcceptedStatus = 202 })
	r.start(t)
	path := "/edgeDevices/dev00000/database"
	add := func(s string) string { return `{"db":{"usrRcrd":{"add":[` + s + `]},` + schedules + `}}` }
	one := `{"usrID":1,"crSch":[1],"primeCr":"` + prime1 + `"}`
	r.want(t, "PUT", path, add(one), 202, `{"statusMessage":"Database accepted"}`)
	finished(t, r, "dev00000")
	version := r.store.Snapshot().Version
	var many strings.Builder
	for i := range 5000 {
		crSch := 1
		if i == 4998 {
			crSch = 17
		}
		fmt.Fprintf(&many, `{"usrID":%d,"crSch":[%d],"primeCr":"%032x"},`, i+10, crSch, i)
	}
	for _, tt := range []struct{ body, fault string }{
		{``, "ends early"},
		{`{"db":{}`, "ends early"},
		{add(strings.TrimSuffix(many.String(), ",")), "add: record 4999: crSch: want a number from 1 to 16"},
		{add(`{"usrID":2,"crSch":[1],"primeCr":"` + prime2 + `"},{"usrID":2,"crSch":[1],"primeCr":"` + prime1 + `"}`), "add: record 2: usrID: 2 is that of record 1 of add"},
		{add(`{"usrID":2,"crSch":[1],"primeCr":"` + strings.Repeat("01", 16) + `"}`), "usrRcrd: none of its cards looks like one: were they encrypted with this site key?"},
	} {
		r.want(t, "PUT", path, tt.body, 400, `{"statusMessage":"`+tt.fault+`"}`)
		r.want(t, "GET", "/edgeDevices/dev00000/dbDownloadStatus", "", 200, `{"downloadStatus":{"status":"failed","downloadPercentComplete":0},"statusMessage":"`+tt.fault+`"}`)
		if e := r.log.last(); e.Text != "door file refused: "+tt.fault || e.Reason != site.ReasonFault || e.Door != "front" {
			t.Errorf("event %+v", e)
		}
	}
	r.want(t, "PUT", path, add(`{"usrID":3,"crSch":[3],"primeCr":"`+prime2+`"}`), 202, `{"statusMessage":"Database accepted"}`)
	if got := finished(t, r, "dev00000"); got != `{"downloadStatus":{"status":"failed","downloadPercentComplete":0},"statusMessage":"add: record 1: crSch: names schedule 3 of 2"}` {
		t.Errorf("got %s", got)
	}
	if _, _, _, _, body, _ := r.Convert(r.log.last()); !strings.Contains(body, `"06000000"`) {
		t.Errorf("event %s", body)
	}
	if v := r.store.Snapshot().Version; v != version || len(r.rights(t, "front", "26:26831000")) != 1 || len(r.rights(t, "front", "26:26831140")) != 0 {
		t.Errorf("version %d, was %d", v, version)
	}
}

// TestDatabaseOneAtATime: a second file is refused while one is on its way in, and
// one that waits can be canceled.
func TestDatabaseOneAtATime(t *testing.T) {
	r := newRig(t, nil)
	hold := make(chan struct{})
	asked := make(chan struct{}, 1)
	var held bool
	clock := r.deps.Clock
	r.deps.Clock = func() site.Clock {
		if held { // the end of the first file waits here
			held = false
			asked <- struct{}{}
			<-hold
		}
		return clock()
	}
	r.restart(t)
	r.start(t)
	held = true
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 200, "")
	<-asked
	busy := `{"statusMessage":"Currently processing previous database"}`
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 403, busy)
	r.want(t, "PUT", "/edgeDevices/dev00001/database", `{"db":{}}`, 403, busy)
	r.want(t, "GET", "/edgeDevices/dev00000/dbDownloadStatus", "", 200, `{"downloadStatus":{"status":"inProgress","downloadPercentComplete":50}}`)
	r.want(t, "DELETE", "/edgeDevices/dev00001/database", "", 403, `{"statusMessage":"Database is not in progress"}`)
	r.want(t, "DELETE", "/edgeDevices/dev00000/database", "", 200, "") // too late: it is in force
	close(hold)
	if got := finished(t, r, "dev00000"); got != completed {
		t.Errorf("got %s", got)
	}
	r.want(t, "DELETE", "/edgeDevices/dev00000/database", "", 403, `{"statusMessage":"Database is not in progress"}`)
	r.want(t, "PUT", "/edgeDevices/dev00001/database", `{"db":{}}`, 200, "")
	finished(t, r, "dev00001")
}

// TestDatabaseCanceled: a file that is canceled before it is switched to changes
// nothing.
func TestDatabaseCanceled(t *testing.T) {
	r := newRig(t, nil)
	stop := r.start(t)
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 200, "")
	finished(t, r, "dev00000")
	var body strings.Builder
	body.WriteString(`{"db":{"usrRcrd":{"add":[`)
	for i := range 3000 {
		fmt.Fprintf(&body, `{"usrID":%d,"primeCr":"%032x"},`, i+1, i)
	}
	body.WriteString(`{"usrID":9000,"primeCr":"` + prime1 + `"}]}}}`)
	done := make(chan string, 1)
	go func() {
		status, answer := r.Serve(t.Context(), "PUT", "/edgeDevices/dev00000/database", body.String())
		done <- fmt.Sprintf("%d %s", status, answer)
	}()
	canceled := false
	for !canceled && len(done) == 0 {
		status, _ := r.Serve(t.Context(), "DELETE", "/edgeDevices/dev00000/database", "")
		canceled = status == 200
		runtime.Gosched()
	}
	answer := <-done
	state := finished(t, r, "dev00000")
	in := len(r.rights(t, "front", "26:26831000")) == 1
	if !canceled || in != (state == completed) || !in && state != `{"downloadStatus":{"status":"canceled","downloadPercentComplete":0}}` {
		t.Errorf("canceled %v, %s, in force %v, status %s", canceled, answer, in, state)
	}
	stop()
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 503, `{"statusMessage":"not ready: door files are not taken now"}`)
}

// TestDatabaseWithout: no key, no store.
func TestDatabaseWithout(t *testing.T) {
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) { d.Cards = nil })
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 503, `{"statusMessage":"not ready: the site has no key: cards cannot be read"}`)
	r = newRig(t, func(_ *gateway.Config, d *gateway.Deps) {
		d.Store = func() (*store.Store, error) { return nil, errDisk }
	})
	r.want(t, "PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 503, `{"statusMessage":"not ready: disk full"}`)
}

// BenchmarkDatabase sends a file of 5,000 records, then one of 8 MiB, to a door until
// it is in force, and reports how much the heap took from the system meanwhile.
func BenchmarkDatabase(b *testing.B) {
	for _, n := range []int{5000, 48_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkDatabase(b, n) })
	}
}

func benchmarkDatabase(b *testing.B, n int) {
	r := newRig(b, nil)
	r.start(b)
	var body bytes.Buffer
	body.WriteString(`{"db":{"usrRcrd":{"deleteAll":1,"add":[`)
	for i := range n {
		c := card.Block{byte(i >> 8), byte(i), 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"usrID":%d,"adaEn":0,"fnctn":"norm","crSch":[1],"actDtTm":"20200101000000","expDtTm":"20301231235959","primeCr":"%s","prCrTyp":"card"}`, i+1, r.deps.Cards.Encrypt(c))
	}
	body.WriteString(`]},` + schedules + `}}`)
	file := body.String()
	b.SetBytes(int64(len(file)))
	var before, after runtime.MemStats
	debug.FreeOSMemory()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		if status, answer := r.Serve(b.Context(), "PUT", "/edgeDevices/dev00000/database", file); status != 200 {
			b.Fatal(status, string(answer))
		}
		if got := finished(b, r, "dev00000"); got != completed {
			b.Fatal(got)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric((float64(after.HeapSys-after.HeapReleased)-float64(before.HeapSys-before.HeapReleased))/(1<<20), "heapMiB")
}

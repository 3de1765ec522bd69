package app_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// linked waits until the link is up and the host has subscribed.
func (r *running) linked() {
	r.t.Helper()
	patiently(r.t, "the link", func() bool {
		u := r.status().Uplink
		return u != nil && u.Connected && len(u.Subscribed) == 2
	})
}

// acknowledged waits until the host has all events.
func (r *running) acknowledged() {
	r.t.Helper()
	patiently(r.t, "the host has all", func() bool { return r.status().Uplink.Waiting == 0 })
}

// kick makes the link try at once.
func (r *running) kick() {
	r.t.Helper()
	r.must(r.ask(http.MethodPost, "/v1/certs/root/fetch", nil, nil))
}

// TestUplinkEvent: a card opens a door, and the host has the audit within a
// second, with its code, device and link. The best of three counts: the machine
// may be busy, the agent has no excuse.
func TestUplinkEvent(t *testing.T) {
	h := newIPHost(t)
	r := uplinkSite(t, h).start()
	r.enrol("Ada,H10301,77,1568,front")
	r.linked()
	_, body := h.ask("GET", "/edgeDevices/linkList", "")
	var list struct {
		LinkList []struct{ LinkID, DeviceName, DeviceID string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.LinkList) != 2 || list.LinkList[0].DeviceName != "Front door" {
		t.Fatalf("linkList %s: %v", body, err)
	}
	front := list.LinkList[0]
	best := time.Hour
	for range 3 {
		n := len(h.got())
		begun := time.Now()
		r.card(adaCard)
		e := h.waitCode(n, "05020000")
		best = min(best, e.at.Sub(begun))
		if e.Event.EventType != "Audit" || e.Event.Source != "edgeDevice" || e.Event.DeviceID != front.DeviceID || !strings.Contains(e.Event.EventBody, `{"edgeDevice":{"linkId":"`+front.LinkID+`","audits":[`) {
			t.Errorf("event %+v, want of %+v", e, front)
		}
		ev := r.waitEvent("grant", site.KindAccess, func(ev site.Event) bool { return uint32(ev.Seq) == e.ID })
		if ev.Reason != site.ReasonGranted || !strings.Contains(e.Event.EventBody, ev.Time.In(berlin(t)).Format("20060102150405")) {
			t.Errorf("event %s of %+v", e.Event.EventBody, ev)
		}
	}
	if best > time.Second {
		t.Errorf("an event took %s", best)
	}
	n := len(h.got())
	r.card(otherCard)
	h.waitCode(n, "050B0000")
	r.board.Drive("GPIO23", hal.High)
	h.waitCode(n, "07210000")
	r.board.Drive("GPIO23", hal.Low)
	h.waitCode(n, "07220000")
}

func berlin(t *testing.T) *time.Location {
	t.Helper()
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// local asks the HTTPS listener with a token.
func (r *running) local(token string) func(method, path, body string) (int, string) {
	client := &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // the site's own certificate
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r.t.Cleanup(client.CloseIdleConnections)
	return func(method, path, body string) (int, string) {
		r.t.Helper()
		req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+r.app.Addresses()["https"]+path, strings.NewReader(body))
		if err != nil {
			r.t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			r.t.Fatalf("%s %s: %v", method, path, err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		return resp.StatusCode, string(got)
	}
}

// asker asks the gateway one way or the other.
type asker struct {
	*running
	host *ipHost
	ask  func(method, path, body string) (int, string)
}

// want asks and holds the answer against a status and a text that it has.
func (a asker) want(method, path, body string, status int, parts ...string) string {
	a.t.Helper()
	got, text := a.ask(method, path, body)
	if got != status {
		a.t.Errorf("%s %s %.80s: %d %.300s, want %d", method, path, body, got, text, status)
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			a.t.Errorf("%s %s %.80s: %.300s, want %s in it", method, path, body, text, p)
		}
	}
	return text
}

func (a asker) control(path, state string, status int, parts ...string) {
	a.t.Helper()
	a.want("PUT", path, `{"lockControl":{"lockState":{"nextLockState":"`+state+`"}}}`, status, parts...)
}

// doorFile is a door file that lets one card in at all times.
func doorFile(id int, primeCr string) string {
	return fmt.Sprintf(`{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[%s]},"schedules":[{"days":["Su","Mo","Tu","We","Th","Fr","Sa"],"strtHr":0,"strtMn":0,"lngth":1440}],"holidays":[],"autoUnlock":[]}}`, doorUser(id, primeCr))
}

func doorUser(id int, primeCr string) string {
	return fmt.Sprintf(`{"usrID":%d,"adaEn":0,"fnctn":"norm","crSch":[1],"actDtTm":"20200101000000","expDtTm":"20991231235900","primeCr":"%s","prCrTyp":"card"}`, id, primeCr)
}

// stored sends a door file and waits until it is the door's.
func (a asker) stored(link, file string) {
	a.t.Helper()
	n := len(a.host.got())
	a.want("PUT", "/edgeDevices/"+link+"/database", file, 200)
	patiently(a.t, "the door file", func() bool {
		_, body := a.ask("GET", "/edgeDevices/"+link+"/dbDownloadStatus", "")
		return strings.Contains(body, `"completed"`)
	})
	a.want("GET", "/edgeDevices/"+link+"/dbDownloadStatus", "", 200, `{"downloadStatus":{"status":"completed","downloadPercentComplete":100}}`)
	a.host.waitCode(n, "06010000")
}

// presents presents a card and wants its decision, at the door and at the host.
func (a asker) presents(card string, want site.Reason, code string) site.Event {
	a.t.Helper()
	n := len(a.host.got())
	ev := a.judged(card)
	if ev.Reason != want {
		a.t.Errorf("card %s: %s, want %s", card, ev.Reason, want)
	}
	if e := a.host.waitCode(n, code); e.ID != uint32(ev.Seq) {
		a.t.Errorf("card %s: the host has event %d, the log %d", card, e.ID, ev.Seq)
	}
	return ev
}

// judged presents a card and returns its decision.
func (r *running) judged(card string) (ev site.Event) {
	r.t.Helper()
	after := url.Values{"kind": {string(site.KindAccess)}, "after": {itoa(r.lastSeq())}}
	r.card(card)
	patiently(r.t, "a decision", func() bool {
		all := r.eventsAsking(after)
		if len(all) > 0 {
			ev = all[0]
		}
		return len(all) > 0
	})
	return ev
}

// TestUplinkResources asks for every resource over the socket and over local
// HTTPS with a token, and looks at what the doors do.
func TestUplinkResources(t *testing.T) {
	h := newIPHost(t)
	r := uplinkSite(t, h).start()
	r.linked()
	both := r.addToken(bothScopes)
	ways := map[string]func(string, string, string) (int, string){"socket": h.ask, "https": r.local(both.Token)}
	for _, name := range []string{"socket", "https"} {
		a := asker{r, h, ways[name]}
		for _, part := range []func(asker){reads, controls, databases, audits} {
			if part(a); t.Failed() {
				t.Fatalf("over %s", name)
			}
		}
	}
	reader := asker{r, h, r.local(r.addToken(control.TokenOrder{Name: "reader"}).Token)}
	reader.want("GET", "/gateway/time", "", 200)
	reader.control("//edgeDevices//dev00000//lockControl", "passage", 403)
	asker{r, h, r.local("")}.want("GET", "//gateway//time", "", 401)
}

func reads(a asker) {
	a.t.Helper()
	now := a.clock.Now().In(berlin(a.t))
	a.want("GET", "/edgeDevices/linkList", "", 200, `{"linkList":[{"linkId":"dev00000","linkCommStatus":"Connected","deviceName":"Front door","modelType":"control","deviceId":"`, `"linkId":"dev00001"`)
	a.want("GET", "/edgeDevices/dev00000/lockStatus", "", 200, `{"edgeDevice":{"linkId":"dev00000"`, `"locked":"T"`, `"doorOpen":"F"`, `{"currentLockState":"sec"}`)
	a.want("GET", "/edgeDevices/lockStatus", "", 200, `{"edgeDevice":[{"linkId":"dev00000"`, `"linkId":"dev00001"`)
	a.want("GET", "/gateway/time", "", 200, `{"rtcTime":"`+now.Format("2006010215"))
	a.want("GET", "/edgeDevices/dev00000/time", "", 200, `{"rtcTime":"`+now.Format("2006010215"), `00"}`)
	a.want("GET", "/edgeDevices/dev00000/params", "", 200, "Front door")
	a.want("GET", "/gateway/deviceInfo", "", 200, gatewaySerial, `"deviceId":"a0b1000000000206"`, `"firmwareVersion":"test"`, "dev00001")
	a.want("GET", "/gateway/scanList", "", 200, `{"gatewayScanList":[]}`)
	a.want("DELETE", "/edgeDevices/dev00000", "", 403, "statusMessage")
	a.want("PUT", "/edgeDevices/dev00000/config", `{"config":{"a":1}}`, 501, "settings of the gateway")
	a.want("GET", "/edgeDevices/dev00009/lockStatus", "", 404, "Unknown linkId")
	a.want("GET", "/gateway/nothing", "", 404, "Unknown resource")
	a.want("POST", "/gateway/time", "", 405, "statusMessage")
	for _, path := range []string{"//gateway//time", "/gateway///time/", "/gateway/time?x=1"} {
		a.want("GET", path, "", 200, "rtcTime")
	}
	a.want("GET", "///edgeDevices//dev00000////lockStatus//", "", 200, `"currentLockState":"sec"`)
	a.board.Drive("GPIO23", hal.High)
	patiently(a.t, "the open door", func() bool {
		_, body := a.ask("GET", "/edgeDevices/dev00000/lockStatus", "")
		return strings.Contains(body, `"doorOpen":"T"`)
	})
	a.board.Drive("GPIO23", hal.Low)
	patiently(a.t, "the closed door", func() bool {
		_, body := a.ask("GET", "/edgeDevices/dev00000/lockStatus", "")
		return strings.Contains(body, `"doorOpen":"F"`)
	})
}

func controls(a asker) {
	a.t.Helper()
	path := "/edgeDevices/dev00000/lockControl"
	n := len(a.host.got())
	a.control("//edgeDevices///dev00000/lockControl/", "momentaryUnlock", 200)
	a.waitLevel("GPIO24", hal.High)
	a.waitLevel("GPIO24", hal.Low)
	a.host.waitCode(n, "0F020000")
	a.want("PUT", path, `{"lockControl":{"lockState":{"nextLockState":"momentaryUnlock","relockDelay":300}}}`, 400, "Relock delay out of bounds")
	a.control(path, "passage", 200)
	a.waitLevel("GPIO24", hal.High)
	a.host.waitCode(n, "0F000000")
	a.want("GET", "/edgeDevices/dev00000/lockStatus", "", 200, `"currentLockState":"pass"`, `"locked":"F"`)
	a.control(path, "frozenSecure", 200)
	a.waitLevel("GPIO24", hal.Low)
	a.host.waitCode(n, "0F040000")
	a.want("GET", "/edgeDevices/dev00000/lockStatus", "", 200, `"currentLockState":"frznSec"`, `"locked":"T"`)
	a.control(path, "momentaryUnlock", 403, "statusMessage")
	a.control(path, "frozenPassage", 200)
	a.waitLevel("GPIO24", hal.High)
	a.control(path, "secure", 200)
	a.waitLevel("GPIO24", hal.Low)
	a.host.waitCode(n, "0F010000")
	a.want("GET", "/edgeDevices/dev00000/lockStatus", "", 200, `"currentLockState":"sec"`, `"locked":"T"`)
	a.control("/edgeDevices/lockControl", "passage", 200)
	a.waitLevel("GPIO25", hal.Low) // active low
	a.control("/edgeDevices/lockControl", "secure", 200)
	a.waitLevel("GPIO25", hal.High)
	a.control(path, "open", 400, "Invalid JSON tag value")
	a.want("PUT", path, `{"lockControl":{}}`, 400, "Invalid JSON tag")
}

func databases(a asker) {
	a.t.Helper()
	a.stored("dev00000", doorFile(7, otherPrimeCr))
	if ev := a.presents(otherCard, site.ReasonGranted, "05020000"); ev.Source != site.SourceIPHost {
		a.t.Errorf("event %+v", ev)
	}
	a.waitLevel("GPIO24", hal.High)
	a.waitLevel("GPIO24", hal.Low)
	n, version := len(a.host.got()), a.status().Store.Version
	bad := strings.Replace(doorFile(8, adaPrimeCr), "]},", ","+strings.Replace(doorUser(9, otherPrimeCr), "prCrTyp\":\"card", "prCrTyp\":\"pin", 1)+"]},", 1)
	a.want("PUT", "/edgeDevices/dev00000/database", bad, 400, "add: record 2: prCrTyp")
	a.host.waitCode(n, "06000000")
	a.want("GET", "/edgeDevices/dev00000/dbDownloadStatus", "", 200, `"failed"`, "record 2")
	if got := a.status().Store.Version; got != version {
		a.t.Errorf("policy version %d after a file that was refused, before it %d", got, version)
	}
	a.presents(otherCard, site.ReasonGranted, "05020000")
	a.presents(adaCard, site.ReasonUnknownCredential, "050B0000")
	a.stored("dev00000", `{"db":{"usrRcrd":{"delete":[7]}}}`)
	if got := a.judged(otherCard).Reason; got.Grants() {
		a.t.Errorf("a card that was taken back: %s", got)
	}
	a.waitLevel("GPIO24", hal.Low) // what was granted before is over
	a.want("DELETE", "/edgeDevices/dev00000/database", "", 403, "Database is not in progress")
}

func audits(a asker) {
	a.t.Helper()
	a.presents(adaCard, site.ReasonUnknownCredential, "050B0000")
	body := a.want("GET", "/edgeDevices/dev00000/audits", "", 200, `{"edgeDevice":{"linkId":"dev00000","audits":[`, `"event":"050B0000"`)
	a.presents(adaCard, site.ReasonUnknownCredential, "050B0000")
	a.want("DELETE", "/edgeDevices/dev00000/audits", "", 200)
	after := a.want("GET", "/edgeDevices/dev00000/audits", "", 200, `"event":"050B0000"`)
	if n := strings.Count(after, `"event":`); n != 1 {
		a.t.Errorf("%d audits after %d were read and deleted and one came: %s", n, strings.Count(body, `"event":`), after)
	}
	a.want("GET", "/edgeDevices/audits", "", 200, `{"edgeDevice":[{"linkId":"dev00000"`)
	a.want("DELETE", "/edgeDevices/audits", "", 200)
	a.want("GET", "/edgeDevices/dev00000/audits", "", 200, `"audits":[]`)
}

// TestUplinkRestart: after a restart the host's rights hold, also while it is
// away, deleted audits stay deleted, and events go on from the cursor: each one
// once, in order.
func TestUplinkRestart(t *testing.T) {
	h := newIPHost(t)
	s := uplinkSite(t, h)
	r := s.start()
	r.linked()
	first := r.status().Log.Last
	a := asker{r, h, h.ask}
	a.stored("dev00000", doorFile(7, otherPrimeCr))
	a.presents(otherCard, site.ReasonGranted, "05020000")
	a.want("GET", "/edgeDevices/dev00000/audits", "", 200, "05020000")
	a.want("DELETE", "/edgeDevices/dev00000/audits", "", 200)
	r.acknowledged()
	r.stop()
	h.away()

	r = s.start()
	if got := r.judged(otherCard); got.Reason != site.ReasonGranted || got.Source != site.SourceIPHost {
		t.Errorf("after a restart without a host: %+v", got)
	}
	r.waitLevel("GPIO24", hal.High)
	r.stop()
	h.back()

	r = s.start()
	r.linked()
	a = asker{r, h, h.ask}
	a.presents(otherCard, site.ReasonGranted, "05020000")
	if body := a.want("GET", "/edgeDevices/dev00000/audits", "", 200); strings.Count(body, "05020000") != 2 {
		t.Errorf("audits since those that were deleted: %s", body)
	}
	r.acknowledged()
	var ids []uint32
	for _, e := range h.got() {
		if len(ids) > 0 && e.ID <= ids[len(ids)-1] {
			t.Errorf("event %d after %d", e.ID, ids[len(ids)-1])
		}
		if strings.Contains(e.Event.EventBody, `"event":"05`) {
			ids = append(ids, e.ID)
		}
	}
	var want []uint32
	for _, ev := range r.events(site.KindAccess) {
		if ev.Seq > first {
			want = append(want, uint32(ev.Seq))
		}
	}
	if fmt.Sprint(ids) != fmt.Sprint(want) || len(want) != 3 {
		t.Errorf("the host has accesses %v, the log %v", ids, want)
	}
}

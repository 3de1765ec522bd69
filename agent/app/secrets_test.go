package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// The cards and PINs of TestNothingInClear. Their numbers are above what a port
// can be, so that nothing else prints them.
const (
	knownFacility, knownCard = 201, 64_817 // enrolled, H10301
	knownBadge               = knownFacility<<16 | knownCard
	strangeFacility          = 203 // never enrolled
	strangeCard              = 63_941
	importCard               = 62_903
	replacedCard             = 61_987
	wide                     = 418_273              // H10304, facility 61733
	wideFacility             = 61_733               //
	rawBits                  = "9D3C71A5E60FB248"   // 64 bits, enrolled as raw
	longBits                 = "5AC3961E87D24BF0A1" // 72 bits, never enrolled
	pinOne, pinDuress        = "90817264", "58392016"
	pinImport, pinBad        = "73920581", "4829107365829104" // the last is too long
)

// frame37 returns an H10304 frame: even parity, facility 16, card 19, odd parity.
func frame37(facility, number uint64) string {
	data := fmt.Sprintf("%016b%019b", facility, number)
	even := strings.Count(data[:18], "1") % 2
	odd := 1 - strings.Count(data[17:], "1")%2
	return fmt.Sprint(even) + data + fmt.Sprint(odd)
}

func frame26(facility, number uint32) string { return haltest.Bits(26, h10301(facility, number)) }

// distinctive is what nothing of the scenario may hold in clear.
func distinctive() []secret {
	return []secret{
		cardSecret("enrolled card", frame26(knownFacility, knownCard), knownCard),
		cardSecret("unknown card", frame26(strangeFacility, strangeCard), strangeCard),
		cardSecret("imported card", frame26(knownFacility, importCard), importCard),
		cardSecret("replacing card", frame26(knownFacility, replacedCard), replacedCard),
		cardSecret("37-bit card", frame37(wideFacility, wide), wide, wideFacility),
		cardSecret("64-bit card", haltest.Bits(64, rawBits)),
		cardSecret("72-bit card", haltest.Bits(72, longBits)),
		numberSecret("badge", knownBadge), numberSecret("unknown badge", strangeFacility<<16|strangeCard),
		pinSecret("PIN", pinOne), pinSecret("duress PIN", pinDuress), pinSecret("imported PIN", pinImport), pinSecret("refused PIN", pinBad),
	}
}

// corpus collects everything that leaves the agent.
type corpus struct {
	mu   sync.Mutex // guards the following
	data map[string][]byte
	seen map[[32]byte]struct{} // what is there already
}

func (c *corpus) add(name string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.data == nil {
		c.data, c.seen = map[string][]byte{}, map[[32]byte]struct{}{}
	}
	sum := sha256.Sum256(data)
	if _, ok := c.seen[sum]; ok {
		return
	}
	c.seen[sum] = struct{}{}
	c.data[fmt.Sprintf("%d %s", len(c.data), name)] = bytes.Clone(data)
}

// addFiles takes every file of the state folder as it is now.
func (c *corpus) addFiles(dir, when string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if data, err := os.ReadFile(path); err == nil {
				c.add(when+": file "+path, data)
			}
		}
		return nil
	})
}

// logBuffer is where the agent logs to.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// spy sends requests to the control socket and keeps each reply as it came.
type spy struct {
	r *running
	c *corpus
	http.Client
}

func newSpy(r *running, c *corpus) *spy {
	s := &spy{r: r, c: c}
	s.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(r.dir, "control.sock"))
	}}
	r.t.Cleanup(s.CloseIdleConnections)
	return s
}

// ask sends a request with a body (a text as it is, anything else as JSON) and
// returns the reply's body.
func (s *spy) ask(method, path string, body any) []byte {
	s.r.t.Helper()
	data := s.fetch(method, path, body)
	s.c.add(method+" "+strings.Split(path, "?")[0], data)
	return data
}

func (s *spy) fetch(method, path string, body any) []byte {
	s.r.t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.r.t.Fatal(err)
		}
		text = string(b)
	}
	req, err := http.NewRequestWithContext(s.r.t.Context(), method, "http://gatehouse"+path, strings.NewReader(text))
	if err != nil {
		s.r.t.Fatal(err)
	}
	resp, err := s.Do(req)
	if err != nil {
		s.r.t.Fatal(err)
	}
	defer resp.Body.Close()
	head, _ := json.Marshal(resp.Header)
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.r.t.Fatal(err)
	}
	return append(append(head, '\n'), data...)
}

// newID returns the id of a credential that was added.
func (s *spy) newID(reply []byte) string {
	s.r.t.Helper()
	_, body, _ := bytes.Cut(reply, []byte("\n"))
	var c struct {
		ID  string
		New struct{ ID string }
	}
	if err := json.Unmarshal(body, &c); err != nil || c.ID+c.New.ID == "" {
		s.r.t.Fatalf("no id in %s", body)
	}
	return c.ID + c.New.ID
}

// TestNothingInClear goes through everything that takes a card or a PIN and then
// searches every file, the log at its most talkative, and every reply for them.
// Only an export that asks for cards may have them, and has.
func TestNothingInClear(t *testing.T) {
	c, out := &corpus{}, &logBuffer{}
	s := newTestSite(t)
	s.log = slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.configure(strings.Replace(testSettings, "hive:\n", "hive:\n  vend: {credits: 5, alert: 1}\n", 1))
	r := s.start()
	sp := newSpy(r, c)
	enrolSecrets(sp)
	refusedSecrets(sp)
	importSecrets(sp)
	readSecrets(r)
	hiveSecrets(r, c)
	listSecrets(sp)
	c.addFiles(s.dir, "running")
	r.stop()
	c.addFiles(s.dir, "stopped")
	r = damageSecrets(t, s)
	listSecrets(newSpy(r, c))
	r.stop()
	c.addFiles(s.dir, "after damage")
	c.add("log", out.b.Bytes())
	if out.b.Len() == 0 {
		t.Error("nothing was logged: the search has not seen the log")
	}
	secrets := distinctive()
	for name, data := range c.data {
		for _, found := range leaks(secrets, data) {
			t.Errorf("%s: %s", name, found)
		}
	}
	t.Logf("%d replies and files searched", len(c.data))
}

// enrolSecrets adds cards of each kind, replaces one and changes PINs.
func enrolSecrets(s *spy) {
	add := func(body map[string]any) string {
		body["holder"], body["rights"] = "Ada", "front;shed"
		return s.newID(s.ask(http.MethodPost, "/v1/credentials", body))
	}
	id := add(map[string]any{"format": "H10301", "facility": knownFacility, "card": knownCard, "pin": pinOne, "duress_pin": pinDuress})
	old := add(map[string]any{"format": "H10304", "facility": wideFacility, "card": wide, "pin": pinOne})
	add(map[string]any{"format": "raw", "bits": "64:" + rawBits})
	s.ask(http.MethodPost, "/v1/credentials/"+id+"/pin", map[string]any{"pin": pinDuress, "duress_pin": pinOne})
	s.ask(http.MethodPost, "/v1/credentials/"+id+"/pin", map[string]any{"pin": pinBad})
	s.newID(s.ask(http.MethodPost, "/v1/credentials/"+old+"/replace", map[string]any{"format": "H10301", "facility": knownFacility, "card": replacedCard, "pin": pinOne}))
	s.ask(http.MethodDelete, "/v1/credentials/"+old, nil)
	s.ask(http.MethodGet, "/v1/credentials/"+id, nil)
}

// refusedSecrets sends what is refused: no refusal may quote it.
func refusedSecrets(s *spy) {
	known := map[string]any{"holder": "Eve", "format": "H10301", "facility": knownFacility, "card": knownCard}
	for _, body := range []any{
		known, // held already
		map[string]any{"holder": "Eve", "format": "H10301", "facility": wideFacility, "card": wide},
		map[string]any{"holder": "Eve", "format": "H10301", "facility": "201", "card": "64817x"},
		map[string]any{"holder": "Eve", "format": "raw", "bits": "26:" + rawBits},
		map[string]any{"holder": "Eve", "format": "raw", "bits": rawBits},
		map[string]any{"holder": "Eve", "format": "raw", "bits": "64:" + rawBits, "card": knownCard},
		map[string]any{"holder": "Eve", "format": "H10301", "facility": 1, "card": 2, "pin": pinBad},
		map[string]any{"holder": "Eve", "format": "H10301", "facility": 1, "card": 2, "duress_pin": pinOne},
		map[string]any{"holder": "Eve", "format": "H10301", "facility": 1, "card": 2, "pin": pinOne, "duress_pin": pinOne},
		map[string]any{"holder": "Eve", "format": "H10301", "card": []int{knownCard}},
		map[string]any{"holder": "Eve", "format": "H10301", "pin": map[string]string{"pin": pinOne}},
		fmt.Sprintf(`{"holder":"Eve","pin":"%s`, pinOne),
		fmt.Sprintf(`{"holder":"Eve","card":%d,}`, knownCard),
		fmt.Sprintf(`{"holder":"Eve","card":"\x%d"}`, knownCard),
	} {
		s.ask(http.MethodPost, "/v1/credentials", body)
	}
	for _, rows := range []string{
		fmt.Sprintf("Eve,H10301,%d,%d,%s\nEve,H10301,%d,%d,\n", knownFacility, strangeCard, pinOne, knownFacility, strangeCard),
		fmt.Sprintf("Eve,H10301,%d,%d,\n", wideFacility, wide),
		fmt.Sprintf("Eve,H10301,%d,%d,\n", knownFacility, knownCard),
		fmt.Sprintf("Eve,H10301,%d,%d,%s\n", knownFacility, strangeCard, pinBad),
		fmt.Sprintf("Eve,H10301,%d,\"%d\n", knownFacility, strangeCard),
		fmt.Sprintf("Eve,H10301,%d,%d,%s,%s\n", knownFacility, strangeCard, pinOne, pinOne),
		fmt.Sprintf("Eve,H10301,x%d,%d,%s\n", wideFacility, strangeCard, pinOne),
	} {
		s.ask(http.MethodPost, "/v1/credentials/import?format=csv", "holder,format,facility,card,pin\n"+rows)
	}
	s.ask(http.MethodPost, "/v1/credentials/import?format=json", fmt.Sprintf(`[{"holder":"Eve","format":"raw","bits":"64:%sZ","pin":%s}]`, rawBits, pinOne))
	s.ask(http.MethodPost, "/v1/credentials/import?format=json", fmt.Sprintf(`[{"holder":"Eve","format":"raw","bits":"64:%s","pin":%s,]`, rawBits, pinOne))
}

// importSecrets makes a small import and one so large that it is staged, and
// takes the files while that runs.
func importSecrets(s *spy) {
	s.r.t.Helper()
	row := fmt.Sprintf("Imported,H10301,%d,%d,%s,front\n", knownFacility, importCard, pinImport)
	const head = "holder,format,facility,card,pin,rights\n"
	s.ask(http.MethodPost, "/v1/credentials/import?format=csv&dry_run=1", head+row)
	s.ask(http.MethodPost, "/v1/credentials/import?format=csv", head+row)
	var b strings.Builder
	b.WriteString(head + row)
	for i := range 4_000 {
		fmt.Fprintf(&b, "Crowd,H10302,,%d,%s,front\n", 1_000_000_000+i, pinImport)
	}
	staged := false
	err := s.r.client.Stream(s.r.t.Context(), http.MethodPost, "/v1/credentials/import", url.Values{"format": {"csv"}}, strings.NewReader(b.String()), func(line []byte) error {
		s.c.add("import line", line)
		if fi, err := os.Stat(filepath.Join(s.r.dir, "import.stage")); err == nil && fi.Size() > 0 && !staged {
			staged = true
			s.c.addFiles(s.r.dir, "while importing")
		}
		return nil
	})
	s.r.must(err)
	if !staged {
		s.r.t.Error("the stage of the import was never seen")
	}
}

// readSecrets presents cards at the Wiegand reader.
func readSecrets(r *running) {
	r.t.Helper()
	last := r.lastSeq()
	seen := func() (n int) {
		for _, ev := range r.events(site.KindAccess) {
			if ev.Seq > last {
				n++
			}
		}
		return n
	}
	for _, bits := range []string{
		frame26(strangeFacility, strangeCard), frame37(wideFacility, wide), haltest.Bits(72, longBits),
		frame26(knownFacility, knownCard)[:25], // a bit is missing
		frame26(knownFacility, knownCard)[1:] + "1",
		strings.Repeat(frame26(knownFacility, knownCard), 6), // longer than a card
		frame26(knownFacility, knownCard), haltest.Bits(64, rawBits),
	} {
		n := seen()
		r.frame(bits)
		wait(r.t, "an event for each card", func() bool { return seen() > n })
	}
	r.waitLevel("GPIO24", hal.High)
}

// hiveSecrets sends badges by each way, well formed and not.
func hiveSecrets(r *running, c *corpus) {
	r.t.Helper()
	listen := func(h *hiveClient) *hiveClient {
		post := h.post
		h.post = func(b []byte) ([]byte, int) {
			answer, status := post(b)
			c.add("hive reply", answer)
			return answer, status
		}
		return h
	}
	const strange = strangeFacility<<16 | strangeCard
	kiosk, tls := listen(r.hive("kiosk", kioskKey)), listen(r.hiveTLS("kiosk", kioskKey))
	for _, h := range []*hiveClient{kiosk, tls} {
		if got := h.ask1("front_door", knownBadge); got["access"] != true {
			r.t.Fatalf("not granted: %v", got)
		}
		h.ask1("front_door", strange)
		h.ask1("shed_door", knownBadge)
		h.send(map[string]any{"operation": "vend", "badge": knownBadge})
		h.send(map[string]any{"operation": "vend", "badge": strange})
		h.send(map[string]any{"operation": "access", "item": "front_door", "badge": fmt.Sprint(knownBadge)})
		h.send(map[string]any{"operation": "access", "item": "front_door", "badge": []int{knownBadge}})
		h.send(map[string]any{"operation": "nothing", "badge": knownBadge})
		h.send(map[string]any{"operation": "log", "log_data": map[string]any{"item": "fridge", "temperature": 4}})
		h.send(map[string]any{"version": 9, "badge": knownBadge})
		for _, body := range []string{
			fmt.Sprintf(`{"device":"kiosk","data":{"badge":%d},"checksum":"00"}`, knownBadge),
			fmt.Sprintf(`{"device":"kiosk","data":{"badge":%d,"badge":%d},"checksum":"00"}`, knownBadge, knownBadge),
			fmt.Sprintf(`{"device":"kiosk","data":%d,"checksum":"00"}`, knownBadge),
			fmt.Sprintf(`{"device":"kiosk","data":{"badge":%d`, knownBadge),
			fmt.Sprintf(`{"device":"kiosk","data":{"badge":%dx}}`, knownBadge),
			fmt.Sprintf(`{"device":{"badge":%d},"data":{}}`, knownBadge),
			fmt.Sprintf("%d", knownBadge),
		} {
			h.post([]byte(body))
		}
	}
	line := listen(r.hiveLine("shed", hiveKey, r.line))
	nonce := line.fetchNonce()
	got := line.ask2("shed_door", knownBadge, nonce)
	if got["access"] != true {
		r.t.Fatalf("not granted on the line: %v", got)
	}
	line.ask2("shed_door", strange, got["new_nonce"].(string))
	line.ask2("shed_door", knownBadge, nonce)
	if _, err := fmt.Fprintf(r.line, "{\"device\":\"shed\",\"data\":{\"badge\":%d\n", knownBadge); err != nil {
		r.t.Fatal(err)
	}
}

// listSecrets asks for all that can be listed.
func listSecrets(s *spy) {
	for _, path := range []string{
		"/v1/status", "/v1/doctor", "/v1/doors", "/v1/events", "/v1/alarms", "/v1/credentials?limit=50", "/v1/holders?limit=50",
		"/v1/schedules", "/v1/levels", "/v1/holidays", "/v1/credentials/export?format=csv&holder=Ada", "/v1/credentials/export?format=json",
		"/v1/why?door=front&bits=26:" + h10301(knownFacility, knownCard), "/v1/why?door=front&bits=26:" + h10301(strangeFacility, strangeCard),
		"/v1/why?door=front&bits=64:" + rawBits, "/v1/why?door=front&bits=72:" + longBits, "/v1/why?door=front&bits=26:" + rawBits,
		"/v1/why?door=front&bits=" + rawBits + "zz",
	} {
		s.ask(http.MethodGet, path, nil)
	}
	for _, name := range []string{"Ada", "Imported"} {
		var list []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		}
		_ = s.r.client.Stream(s.r.t.Context(), http.MethodGet, "/v1/holders", nil, nil, func(line []byte) error {
			list = append(list, struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			}{})
			return json.Unmarshal(line, &list[len(list)-1])
		})
		for _, h := range list {
			if h.Name == name {
				s.ask(http.MethodGet, "/v1/holders/"+h.ID+"/export", nil)
			}
		}
	}
	// What may show cards does, in clear: the search would have found them.
	cards := s.fetch(http.MethodGet, "/v1/credentials/export?format=csv&with_cards=1&holder=Ada", nil)
	found := strings.Join(leaks(distinctive(), cards), "; ")
	for _, want := range []string{"enrolled card as decimal", "64-bit card as hex"} {
		if !strings.Contains(found, want) {
			s.r.t.Errorf("the export with cards: found %q, want %q among it", found, want)
		}
	}
	if strings.Contains(found, "PIN") {
		s.r.t.Errorf("the export with cards has PINs: %s", found)
	}
}

// damageSecrets damages policy and log, so that the quarantine has files, and
// starts the agent again.
func damageSecrets(t *testing.T, s *testSite) *running {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.dir, "events", "*.spool"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no event log: %v", err)
	}
	for _, name := range append(logs, filepath.Join(s.dir, "policy.db")) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 200; i < len(data)-1; i += 4096 {
			data[i] ^= 0xA5
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := s.start()
	wait(t, "the faults", func() bool { return r.hasFault("store.policy") && r.hasFault("spool.damaged") })
	return r
}

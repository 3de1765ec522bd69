package app_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatehouse/agent/card"
	"gatehouse/agent/swordfish"
	"gatehouse/hal/haltest"
)

// primeCr encrypts a card of n bits with the site key, as a host does.
func primeCr(t *testing.T, n int, left string) string {
	t.Helper()
	key, err := hex.DecodeString(siteKeyHex)
	if err != nil {
		t.Fatal(err)
	}
	cards, err := swordfish.NewCards(key)
	if err != nil {
		t.Fatal(err)
	}
	bits, err := card.ParseBits(fmt.Sprintf("%d:%s", n, left))
	if err != nil {
		t.Fatal(err)
	}
	block, err := bits.Block()
	if err != nil {
		t.Fatal(err)
	}
	return cards.Encrypt(block)
}

// plainly is a secret that is searched for as it is, and in upper case.
func plainly(name, text string) secret {
	return secret{name, []form{{name: "as it is", needle: []byte(text)}, {name: "upper case", needle: []byte(strings.ToUpper(text))}}}
}

// TestUplinkNothingInClear links a site, lets the host send cards and present
// them, and searches every file, the log at its most talkative, every reply and
// all that the gateway says for them, for the site key and for the link's password.
func TestUplinkNothingInClear(t *testing.T) {
	c, out, h := &corpus{}, &logBuffer{}, newIPHost(t)
	h.mu.Lock()
	h.onRaw = func(data []byte) { c.add("message of the gateway", data) }
	h.mu.Unlock()
	s := uplinkSite(t, h)
	s.log = slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := s.start()
	r.linked()
	token := r.addToken(bothScopes).Token
	narrow, long := h10301(knownFacility, knownCard), rawBits
	one, two := primeCr(t, 26, narrow), primeCr(t, 64, long)
	file := strings.Replace(doorFile(1, one), "]},", ","+doorUser(2, two)+"]},", 1)
	a := asker{r, h, h.ask}
	a.stored("dev00000", file)
	bad := strings.Replace(file, `"prCrTyp":"card"}]`, `"prCrTyp":"`+two+`"}]`, 1)
	for name, ask := range map[string]func(string, string, string) (int, string){"socket": h.ask, "https": r.local(token)} {
		for _, text := range []string{bad, file[:len(file)-40], file + file, strings.Replace(file, one, one+"0", 1), strings.Replace(file, `"usrID"`, `"`+one+`"`, 1)} {
			status, body := ask("PUT", "/edgeDevices/dev00000/database", text)
			if c.add(name, []byte(body)); status != 400 {
				t.Errorf("%s: %d %s", name, status, body)
			}
			_, body = ask("GET", "/edgeDevices/dev00000/dbDownloadStatus", "")
			c.add(name, []byte(body))
		}
	}
	for _, bits := range []string{haltest.Bits(26, narrow), haltest.Bits(64, long)} {
		before := r.lastSeq()
		r.frame(bits)
		patiently(t, "a decision", func() bool { return r.lastSeq() > before })
	}
	r.acknowledged()
	a.want("GET", "/edgeDevices/audits", "", 200, "0502")
	h.drop()
	r.kick()
	r.linked()
	sp := newSpy(r, c)
	for _, path := range []string{"/v1/certs", "/v1/status", "/v1/doctor", "/v1/credentials", "/v1/holders", "/v1/events", "/v1/alarms", "/v1/tokens", "/v1/doors", "/v1/credentials/export?format=csv"} {
		sp.ask("GET", path, nil)
	}
	c.addFiles(s.dir, "running")
	r.stop()
	c.addFiles(s.dir, "stopped")
	c.add("log", out.b.Bytes())
	key, _ := hex.DecodeString(siteKeyHex)
	h.mu.Lock()
	password := h.password
	h.mu.Unlock()
	secrets := []secret{
		cardSecret("the host's card", haltest.Bits(26, narrow), knownCard), cardSecret("the host's 64-bit card", haltest.Bits(64, long)),
		plainly("primeCr", one), plainly("second primeCr", two), plainly("site key", siteKeyHex), plainly("site key's bytes", string(key)), plainly("password", password),
	}
	if len(leaks(secrets, []byte("x "+password+" "+siteKeyHex))) != 2 || !bytes.Contains(out.b.Bytes(), []byte("connected to the IP host")) {
		t.Error("the search finds nothing, or the log is not that of the link")
	}
	for name, data := range c.data {
		if strings.HasSuffix(name, "/sitekey") {
			continue
		}
		for _, found := range leaks(secrets, data) {
			t.Errorf("%s: %s", name, found)
		}
	}
	t.Logf("%d replies, messages and files searched", len(c.data))
}

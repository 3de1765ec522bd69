package link_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// TestSerialPage: every message of docs/serial.md is, byte for byte, what this
// code writes for its data, commands by the function that sends them.
func TestSerialPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/serial.md")
	if err != nil {
		t.Fatal(err)
	}
	key := link.Key(regexp.MustCompile("whose key is the 22 bytes `([^`]+)`").FindSubmatch(page)[1])
	if len(key) != 22 {
		t.Fatalf("the key has %d bytes", len(key))
	}
	commands, others := 0, 0
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1) {
		for line := range strings.Lines(string(block[1])) {
			line = strings.TrimSuffix(line, "\n")
			env, err := hive.ParseRequest([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if !hive.Verify(key, env.Data, env.Checksum) {
				t.Errorf("%s: the checksum is wrong", line)
			}
			want := string(hive.Encode(key, env.Device, env.Data))
			if env.Data.Get("to").Present() {
				commands++
				want = commandAgain(t, key, env.Device, env.Data)
			} else {
				others++
			}
			if line != want {
				t.Errorf("the page has\n%s\nthe code writes\n%s", line, want)
			}
		}
	}
	if commands < 5 || others < 8 {
		t.Errorf("%d commands and %d other messages", commands, others)
	}
	hashed := regexp.MustCompile("(?s)```text\n(.*?)\n```").FindSubmatch(page)[1]
	if !strings.Contains(string(page), `"data":`+string(hashed)+`,"device"`) {
		t.Error("what is hashed is not the first example")
	}
}

// commandAgain writes a command anew out of its members.
func commandAgain(t *testing.T, key link.Key, device site.DeviceName, data hive.Value) string {
	t.Helper()
	var random [16]byte
	for i, v := range data.Get("random").Elems() {
		n, _ := v.Int()
		random[i] = byte(n)
	}
	op, _ := data.Get("operation").Text()
	counter, _ := data.Get("counter").Int()
	var extra []hive.Member
	for _, m := range data.Members() {
		switch m.Name {
		case "to", "operation", "counter", "random":
		default:
			extra = append(extra, m)
		}
	}
	b, err := link.Command(key, device, op, uint64(counter), random, extra)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

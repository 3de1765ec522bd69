package link_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive/link"
	"gatehouse/hal/haltest"
)

// longBody is a JSON object of about size bytes with characters of one to four
// bytes.
func longBody(t testing.TB, size int) string {
	t.Helper()
	const piece = `aä€😀\"\\ `
	b := `{"text":"` + strings.Repeat(piece, size/len(piece)) + `"}`
	if !json.Valid([]byte(b)) {
		t.Fatal("the body is no JSON")
	}
	return b
}

const getFile = `"operation":"swordfish","method":"GET","path":"/swordfish/lock/db/0"`

// A long body reaches its device whole, in parts, while the others of the bus are
// polled in between; what is lost on the way comes again.
func TestTransferOnABus(t *testing.T) {
	tests := []struct {
		name string
		baud int
		size int
		lose int           // every so many parts or acknowledgements are lost; 0: none
		gap  time.Duration // the longest that another device waits for a poll
		took time.Duration
	}{
		{"115200 baud", 115200, 100_000, 0, 600 * time.Millisecond, time.Minute},
		{"921600 baud", 921600, 300_000, 0, 300 * time.Millisecond, time.Minute},
		{"9600 baud", 9600, 10_000, 0, 5 * time.Second, 5 * time.Minute},
		{"with losses", 115200, 100_000, 5, 900 * time.Millisecond, 2 * time.Minute},
		{"just too long for one", 115200, 4097, 0, 600 * time.Millisecond, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBus(t, 4, tt.baud)
				defer w.end()
				w.host.body = longBody(t, tt.size)
				lock := w.nodes[3]
				time.Sleep(5 * time.Second)
				n := 0
				if tt.lose > 0 {
					lock.set(func() {
						lock.spoil = func(op string, m []byte) []byte {
							if n++; op == "part" && n%tt.lose == 0 {
								return nil
							}
							return m
						}
					})
				}
				began := time.Now()
				lock.queue(getFile)
				until(t, tt.took, "the body", func() bool {
					lock.mu.Lock()
					defer lock.mu.Unlock()
					return len(lock.bodies) > 0
				})
				took := time.Since(began)
				lock.set(func() {
					if lock.bodies[0] != w.host.body {
						t.Error("the body is another")
					}
				})
				if calls := w.host.taken(); len(calls) != 1 {
					t.Errorf("%d calls", len(calls))
				}
				for _, other := range w.nodes[:3] {
					gap := other.gap(began)
					if gap > tt.gap {
						t.Errorf("%s waited %v for a poll", other.name, gap)
					}
					t.Logf("%s: at most %v without a poll, %v in all", other.name, gap, took)
				}
				reply := lock.copyReplies()[0]
				if reply["size"] != float64(len(w.host.body)) || reply["body"] != nil || reply["status"] != 200.0 {
					t.Errorf("reply %v", reply)
				}
				if off := w.offlines(); len(off) > 0 {
					t.Errorf("%v", off)
				}
			})
		})
	}
}

// A part that four times has no answer, or that the device refuses, ends the
// transfer; the device gets its file when it calls again.
func TestTransferGivenUp(t *testing.T) {
	for _, how := range []string{"no answer", "refused", "dead"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBus(t, 2, 115200)
				defer w.end()
				w.host.body = longBody(t, 30_000)
				lock, parts := w.nodes[1], 0
				lock.set(func() {
					lock.spoil = func(op string, m []byte) []byte {
						if op != "part" {
							return m
						}
						switch parts++; {
						case how == "no answer" && parts > 2:
							return nil
						case how == "dead" && parts > 2:
							lock.mute = true
							return nil
						case how == "refused" && parts == 2:
							lock.want = 0 // it has forgotten what it asked for
						}
						return m
					}
				})
				lock.queue(getFile)
				time.Sleep(20 * time.Second)
				want := map[string]int{"no answer": 6, "refused": 3, "dead": 3}[how]
				lock.set(func() {
					if parts != want || len(lock.bodies) > 0 {
						t.Errorf("%d parts were sent, %d bodies came", parts, len(lock.bodies))
					}
					lock.spoil, lock.mute = nil, false
				})
				lock.queue(getFile)
				until(t, 20*time.Second, "the body", func() bool {
					lock.mu.Lock()
					defer lock.mu.Unlock()
					return len(lock.bodies) == 1 && lock.bodies[0] == w.host.body
				})
			})
		})
	}
}

// A new call of the device ends what was on its way.
func TestTransferEndsWithANewCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 9600)
		defer w.end()
		w.host.body = longBody(t, 30_000)
		lock := w.nodes[1]
		lock.queue(getFile)
		until(t, 20*time.Second, "the first part", func() bool {
			lock.mu.Lock()
			defer lock.mu.Unlock()
			return len(lock.parts) > 0
		})
		w.host.mu.Lock()
		w.host.body = `{"short":true}`
		w.host.mu.Unlock()
		lock.queue(`"operation":"swordfish","method":"POST","path":"/swordfish/lock/alert","body":{}`)
		until(t, 10*time.Second, "the reply", func() bool { return len(lock.copyReplies()) == 2 })
		had := 0
		lock.set(func() { had = len(lock.parts) })
		time.Sleep(10 * time.Second)
		lock.set(func() {
			if len(lock.parts) != had {
				t.Error("parts go on")
			}
		})
	})
}

// uploads are the members of a device's body in parts.
func uploads(path, body string, size int) (calls []string) {
	parts := link.Cut(body, size)
	for i, p := range parts {
		text, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		calls = append(calls, fmt.Sprintf(`"operation":"swordfish","method":"POST","path":%q,"part":%d,"parts":%d,"text":%s`, path, i+1, len(parts), text))
	}
	return calls
}

// A long body of a device is put together and handed on once, whole.
func TestUpload(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(fmt.Sprintf("lose %v", lose), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBus(t, 2, 921600)
				defer w.end()
				lock := w.nodes[1]
				body := longBody(t, 60_000)
				calls := uploads("/swordfish/lock/audit", body, 4096)
				pieces := 0
				if lose { // what the agent sends, now and then: replies too
					w.bus.Warp(func(from *haltest.Tap, b []byte) []byte {
						if pieces++; from == nil && pieces%97 == 0 {
							return nil
						}
						return b
					})
				}
				lock.queue(calls...)
				until(t, 2*time.Minute, "the replies", func() bool { return len(lock.copyReplies()) >= len(calls) })
				replies := lock.copyReplies()
				for i, r := range replies[:len(replies)-1] {
					if r["response"] != true || r["status"] != 100.0 {
						t.Fatalf("part %d: %v", i+1, r)
					}
				}
				if last := replies[len(replies)-1]; last["status"] != 200.0 && !lose {
					t.Errorf("the last: %v", last)
				}
				want := []link.Call{{Device: "d1", Method: "POST", Path: "/swordfish/lock/audit", Body: []byte(body), Via: link.ViaSerial}}
				if diff := cmp.Diff(want, w.host.taken()); diff != "" {
					t.Errorf("calls (-want +got):\n%.500s", diff)
				}
			})
		})
	}
}

// Parts that do not fit together end the body, and nothing of it is handed on.
func TestUploadRefused(t *testing.T) {
	part := func(path string, n, parts any, text string) string {
		return fmt.Sprintf(`"operation":"swordfish","method":"POST","path":%q,"part":%v,"parts":%v,"text":%q`, path, n, parts, text)
	}
	big := make([]string, 0, 300)
	for i := range 257 { // 1 MiB and 4 KiB
		big = append(big, part("/a", i+1, 400, strings.Repeat("x", 4096)))
	}
	tests := []struct {
		name  string
		calls []string
		want  float64 // status of the last
		error string
		body  string // handed on, by the last
	}{
		{"two parts", []string{part("/a", 1, 2, `{"a"`), part("/a", 2, 2, `:1}`)}, 200, "", `{"a":1}`},
		{"a part again", []string{part("/a", 1, 2, `{"a"`), part("/a", 1, 2, `{"a"`), part("/a", 2, 2, `:1}`)}, 200, "", `{"a":1}`},
		{"begun anew", []string{part("/a", 1, 2, `{"a"`), part("/a", 1, 2, `{"b"`), part("/a", 2, 2, `:1}`)}, 200, "", `{"b":1}`},
		{"numbers as text", []string{part("/a", `"1"`, `"1"`, `{}`)}, 200, "", `{}`},
		{"another call between", []string{part("/a", 1, 2, `{"a"`), `"operation":"get_nonce","x":1`, part("/a", 2, 2, `:1}`)}, 200, "", `{"a":1}`},
		{"the second first", []string{part("/a", 2, 2, `{}`)}, 400, "The part is not the next.", ""},
		{"one left out", []string{part("/a", 1, 3, `{`), part("/a", 3, 3, `}`)}, 400, "The part is not the next.", ""},
		{"after one left out", []string{part("/a", 1, 3, `{`), part("/a", 3, 3, `}`), part("/a", 2, 3, `}`)}, 400, "The part is not the next.", ""},
		{"another path", []string{part("/a", 1, 2, `{`), part("/b", 2, 2, `}`)}, 400, "The part belongs to another call.", ""},
		{"another number of parts", []string{part("/a", 1, 2, `{`), part("/a", 2, 3, `}`)}, 400, "The part belongs to another call.", ""},
		{"no parts", []string{part("/a", 1, 0, `{}`)}, 400, "A part needs part, parts (1 to 512) and text, and no body.", ""},
		{"513 parts", []string{part("/a", 1, 513, `{}`)}, 400, "A part needs part, parts (1 to 512) and text, and no body.", ""},
		{"text is a number", []string{`"operation":"swordfish","method":"POST","path":"/a","part":1,"parts":1,"text":7`}, 400, "A part needs part, parts (1 to 512) and text, and no body.", ""},
		{"text and body", []string{part("/a", 1, 1, `{}`) + `,"body":{}`}, 400, "A part needs part, parts (1 to 512) and text, and no body.", ""},
		{"a long text", []string{part("/a", 1, 1, strings.Repeat("x", 4097))}, 413, "The text of a part is too long.", ""},
		{"no object", []string{part("/a", 1, 1, `[1]`)}, 400, "The body is no object.", ""},
		{"no JSON", []string{part("/a", 1, 2, `{"a":`), part("/a", 2, 2, `}`)}, 400, "The body is no object.", ""},
		{"too large", big, 413, "The body is too large.", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBus(t, 2, 921600)
				defer w.end()
				n := w.nodes[0]
				n.queue(tt.calls...)
				until(t, 2*time.Minute, "the replies", func() bool { return len(n.copyReplies()) == len(tt.calls) })
				got := n.copyReplies()[len(tt.calls)-1]
				text, _ := got["error"].(string)
				if got["status"] != tt.want || text != tt.error || got["response"] != (tt.error == "") {
					t.Errorf("got %v", got)
				}
				calls := w.host.taken()
				if tt.body == "" && len(calls) > 0 || tt.body != "" && (len(calls) != 1 || string(calls[0].Body) != tt.body) {
					t.Errorf("calls %+v", calls)
				}
				if !strings.HasPrefix(tt.name, "another call") && w.s.Bodies() != 0 {
					t.Errorf("%d bodies are held", w.s.Bodies())
				}
			})
		})
	}
}

// What a device sent in parts is forgotten when it goes away or goes on with
// nothing, and no more than 16 bodies are held.
func TestUploadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 921600)
		defer w.end()
		begin := `"operation":"swordfish","method":"POST","path":"/a","part":1,"parts":2,"text":"{"`
		w.nodes[0].queue(begin)
		w.nodes[1].queue(begin)
		until(t, 5*time.Second, "the bodies", func() bool { return w.s.Bodies() == 2 })
		w.nodes[0].set(func() { w.nodes[0].mute = true })
		until(t, 15*time.Second, "the end of one", func() bool { return w.s.Bodies() == 1 })
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = w.s.Run(ctx) }()
		until(t, 4*time.Minute, "the end of the other", func() bool { return w.s.Bodies() == 0 })
		stop()
		release := w.s.TakeBodies(16)
		w.nodes[1].queue(begin)
		until(t, 5*time.Second, "the reply", func() bool { return len(w.nodes[1].copyReplies()) == 2 })
		if got := w.nodes[1].copyReplies()[1]; got["status"] != 503.0 {
			t.Errorf("got %v", got)
		}
		w.host.body = longBody(t, 9000)
		w.nodes[1].queue(getFile)
		until(t, 5*time.Second, "the reply", func() bool { return len(w.nodes[1].copyReplies()) == 3 })
		if got := w.nodes[1].copyReplies()[2]; got["status"] != 503.0 || got["response"] != false {
			t.Errorf("got %v", got)
		}
		release()
	})
}

// Bodies that cannot travel are a signed fault.
func TestTransferOfWhatIsNoBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, body := range []string{strings.Repeat("x", 5000), `{"a":"` + strings.Repeat("\xff", 5000) + `"}`, longBody(t, 2_100_000), "[", `{"a":` + strings.Repeat("[", 20)} {
			w := newBus(t, 2, 921600)
			w.host.body = body
			n := w.nodes[1]
			n.queue(getFile)
			until(t, 5*time.Second, "the reply", func() bool { return len(n.copyReplies()) == 1 })
			if got := n.copyReplies()[0]; got["response"] != false || got["reason"] != "fault" {
				t.Errorf("%.20q: got %v", body, got)
			}
			w.end()
		}
	})
}

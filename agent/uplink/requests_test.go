package uplink_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"gatehouse/agent/uplink"
)

func TestBadMessages(t *testing.T) {
	w := newWorld(t)
	w.run()
	hc := w.conn(0)
	for i, tt := range []struct{ name, text, want string }{
		{"no JSON", "hello", ""},
		{"no id", `{"request":{}}`, ""},
		{"response", `{"requestId":1,"response":{"status":"200","messageBody":""}}`, ""},
		{"bad response", `{"requestId":1,"response":{}}`, ""},
		{"event", auditEvent, ""},
		{"bad subscription", `{"subscriptionId":1,"subscription":[{"source":"door"}]}`, ""},
		{"wrong type", `{"requestId":3,"request":{"method":1,"path":"/","messageBody":""}}`, "request.method does not satisfy type"},
		{"nothing in it", `{"requestId":4}`, "none of request"},
		{"cut JSON", `{"requestId":5,"request":`, "not JSON"},
		{"wide", `{"requestId":6,"x":[` + strings.Repeat("0,", 1<<20) + `0]}`, "more than 4096 parts"},
	} {
		hc.send(tt.text)
		if tt.want != "" {
			var id uint64
			if _, err := fmt.Sscanf(tt.text, `{"requestId":%d`, &id); err != nil {
				t.Fatal(err)
			}
			if a := hc.answer(id); a.status != "400" || !strings.Contains(a.body, `{"statusMessage":"`) || !strings.Contains(a.body, tt.want) {
				t.Errorf("%s: answer %v", tt.name, a)
			}
		}
		if a := hc.ask(uint64(100+i), "GET", "/ok", ""); a.status != "200" {
			t.Errorf("%s: then %v", tt.name, a)
		}
	}
	hc.write.Lock()
	err := hc.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"requestId":7,"request":{"method":"GET","path":"/","messageBody":""}}`))
	hc.write.Unlock()
	if a := hc.ask(200, "GET", "/ok", ""); err != nil || a.status != "200" {
		t.Errorf("after a binary message: %v, %v", a, err)
	}
	hc.mu.Lock()
	_, one := hc.answers[1]
	_, seven := hc.answers[7]
	hc.mu.Unlock()
	if st := w.client.Status(); st.Malformed != 11 || one || seven || w.connCount() != 1 {
		t.Errorf("%d malformed, answered %v %v, %d connections", st.Malformed, one, seven, w.connCount())
	}
}

func TestLargestMessage(t *testing.T) {
	w := newWorld(t)
	w.deps.Handler = handlerFunc(func(_ context.Context, r uplink.Request) uplink.Response {
		return uplink.Response{Status: 200, Body: fmt.Sprint(len(r.Body))}
	})
	w.run()
	hc := w.conn(0)
	head, tail := `{"requestId":%d,"request":{"method":"PUT","path":"/x","messageBody":"`, `"}}`
	sized := func(id, size int) string {
		h := fmt.Sprintf(head, id)
		return h + strings.Repeat("x", size-len(h)-len(tail)) + tail
	}
	hc.send(sized(1, uplink.MaxMessage))
	if a := hc.answer(1); a.status != "200" || a.body != fmt.Sprint(uplink.MaxMessage-len(head)+1-len(tail)) {
		t.Errorf("8 MiB: %v", a)
	}
	hc.send(sized(2, uplink.MaxMessage+1))
	if a := hc.answer(2); a.status != "400" || !strings.Contains(a.body, "more than 8388608 bytes") {
		t.Errorf("8 MiB + 1: %v", a)
	}
	hc.send(sized(3, 3*uplink.MaxMessage))
	if a := hc.answer(3); a.status != "400" {
		t.Errorf("24 MiB: %v", a)
	}
	if a := hc.ask(4, "GET", "/", ""); a.status != "200" || w.connCount() != 1 {
		t.Errorf("afterwards: %v, %d connections", a, w.connCount())
	}
	// One without end is not read for ever.
	hc.write.Lock()
	out, err := hc.ws.NextWriter(websocket.TextMessage)
	for piece := []byte(strings.Repeat("x", 1<<20)); err == nil; {
		_, err = out.Write(piece)
	}
	hc.write.Unlock()
	w.conn(1)
	w.until(t, "the cause is told", func() bool { return strings.Contains(w.client.Status().LastError, "a message of more than") })
}

func TestLargeAnswer(t *testing.T) {
	w := newWorld(t)
	w.deps.Handler = handlerFunc(func(_ context.Context, r uplink.Request) uplink.Response {
		size := uplink.MaxMessage - 1000
		if r.Path == "/more" {
			size = uplink.MaxMessage
		}
		return uplink.Response{Status: 200, Body: strings.Repeat("x", size)}
	})
	w.run()
	hc := w.conn(0)
	if a := hc.ask(1, "GET", "/", ""); a.status != "200" || len(a.body) != uplink.MaxMessage-1000 {
		t.Errorf("status %s, %d bytes", a.status, len(a.body))
	}
	if a := hc.ask(2, "GET", "/more", ""); a.status != "500" {
		t.Errorf("too large: %s, %d bytes", a.status, len(a.body))
	}
}

// TestManyRequests: ten thousand at once, none of which ends.
func TestManyRequests(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	var running, most atomic.Int64
	w.deps.Handler = handlerFunc(func(_ context.Context, r uplink.Request) uplink.Response {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if r.Path == "/panic" {
			panic("injected")
		}
		<-release
		return uplink.Response{Status: 200}
	})
	w.run()
	hc := w.conn(0)
	for i := range 10_000 {
		hc.send(fmt.Sprintf(`{"requestId":%d,"request":{"method":"GET","path":"/","messageBody":""}}`, i))
	}
	w.until(t, "the surplus is refused", func() bool { return w.client.Status().Refused == 10_000-256 })
	close(release)
	count := map[string]int{}
	for i := range 10_000 {
		count[hc.answer(uint64(i)).status]++
	}
	if diff := cmp.Diff(map[string]int{"200": 256, "503": 10_000 - 256}, count); diff != "" || most.Load() > 8 {
		t.Errorf("%d at once (-want +got)\n%s", most.Load(), diff)
	}
	if a := hc.ask(20_000, "GET", "/panic", ""); a.status != "500" || w.connCount() != 1 {
		t.Errorf("a panic: %v", a)
	}
}

// TestRequestOutlivesConnection: what was accepted is carried out.
func TestRequestOutlivesConnection(t *testing.T) {
	w := newWorld(t)
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	w.deps.Handler = handlerFunc(func(ctx context.Context, _ uplink.Request) uplink.Response {
		close(begun)
		<-release
		ended <- ctx.Err()
		return uplink.Response{Status: 200}
	})
	w.run()
	hc := w.conn(0)
	hc.send(`{"requestId":1,"request":{"method":"PUT","path":"/","messageBody":""}}`)
	<-begun
	hc.drop()
	w.conn(1)
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("it was cut short: %v", err)
	}
}

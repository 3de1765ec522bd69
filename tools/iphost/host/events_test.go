package host_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/tools/iphost/journal"
)

func TestEvents(t *testing.T) {
	n := start(t, nil)
	token := n.site()
	g := n.connect(n.gateway(serialA))
	if err := g.Write([]byte(`{"eventId":1,"event":{"eventType":"Other","source":"gateway","deviceId":"x","eventBody":{"a":1}}}`)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`{"eventId":1}`, `[]`, `{"eventId":"x","event":{}}`} {
		if err := g.Write([]byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	send(t, g, 2, 1000)
	if err := g.Ping(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	diff(t, "all, by pages", span(1, 1000), ids(n.stored(token, "limit=77")))
	diff(t, "of one type", span(2, 1000), ids(n.stored(token, "type=Audit&limit=1000&gateway="+serialA)))
	diff(t, "of the other type", []uint32{1}, ids(n.stored(token, "type=Other")))
	diff(t, "of another gateway", []uint32{}, ids(n.stored(token, "gateway=0000000000000000A0B1000000000299")))
	diff(t, "of the past", []uint32{}, ids(n.stored(token, "to=2020-01-01T00:00:00Z")))
	diff(t, "since the past", 1000, len(n.stored(token, "from=2020-01-01T00:00:00Z&limit=1000")))
	diff(t, "of the future", []uint32{}, ids(n.stored(token, "from="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))))

	first := n.stored(token, "limit=1000")[1]
	if string(first.Event) != `{"eventType":"Audit","source":"edgeDevice","deviceId":"a100000000002479","eventBody":"{\"edgeDevice\":{\"linkId\":\"dev00000\",\"audits\":[{\"event\":\"07040000\",\"time\":\"20171120104717\"}]}}"}` ||
		first.Gateway != serialA || first.Site != "demo" {
		t.Errorf("stored as %+v %s", first, first.Event)
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "after=x", "after=1", "from=yesterday", "gateway=1", "type=a&type=b", "more=1", "site=../x"} {
		diff(t, bad, 400, n.broker(token, "GET", "/events?"+bad, "").Status)
	}
	diff(t, "method", 405, n.broker(token, "DELETE", "/events", "").Status)
}

// live reads server-sent events.
type live struct {
	t *testing.T
	*bufio.Reader
	close func() error
}

func (n *node) live(token, query, last string) *live {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), "GET", "https://"+n.BrokerAddr().String()+"/events/live"+query, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	res, err := n.client().Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		n.t.Fatalf("status %d, %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	l := &live{n.t, bufio.NewReader(res.Body), res.Body.Close}
	if line := l.line(); line != ": connected" {
		n.t.Fatalf("first line %q", line)
	}
	return l
}

func (l *live) line() string {
	l.t.Helper()
	s, err := l.ReadString('\n')
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSuffix(s, "\n")
}

// next returns the next event.
func (l *live) next() journal.Event {
	l.t.Helper()
	id := ""
	for {
		line := l.line()
		if v, ok := strings.CutPrefix(line, "id: "); ok {
			id = v
		}
		if v, ok := strings.CutPrefix(line, "data: "); ok {
			var e journal.Event
			if err := json.Unmarshal([]byte(v), &e); err != nil {
				l.t.Fatal(err)
			}
			if e.ID != id {
				l.t.Fatalf("id %s of event %s", id, e.ID)
			}
			return e
		}
	}
}

func TestLiveEvents(t *testing.T) {
	n := start(t, nil)
	token := n.site()
	g := n.connect(n.gateway(serialA))
	send(t, g, 1, 3)
	if err := g.Ping(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	l := n.live(token, "?type=Audit&gateway="+serialA, "")
	send(t, g, 4, 30)
	if err := g.Ping(t.Context(), "after"); err != nil {
		t.Fatal(err)
	}
	var seen []journal.Event
	for range 27 {
		seen = append(seen, l.next())
	}
	diff(t, "only new ones", span(4, 30), ids(seen))
	l.close()

	// It comes back in the middle of what was one batch.
	l = n.live(token, "", seen[10].ID)
	diff(t, "resumed", seen[11].EventID, l.next().EventID)
	l = n.live(token, "?after=0.0", "")
	diff(t, "from the oldest", uint32(1), l.next().EventID)

	done := make(chan struct{})
	go func() { n.stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(9 * time.Second):
		t.Error("an open stream holds up the stop")
	}
}

// TestLiveRevoked: a stream that is open ends when its token is revoked.
func TestLiveRevoked(t *testing.T) {
	n := start(t, nil)
	token := n.site()
	g := n.connect(n.gateway(serialA))
	l := n.live(token, "", "")
	send(t, g, 1, 1)
	diff(t, "before", uint32(1), l.next().EventID)
	name, _, _ := strings.Cut(token, ".")
	if err := n.Registry().RevokeToken(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, l)
	}()
	for id, end := uint32(2), time.Now().Add(20*time.Second); ; id++ {
		send(t, g, id, id)
		select {
		case <-ended:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("the stream goes on")
		}
	}
}

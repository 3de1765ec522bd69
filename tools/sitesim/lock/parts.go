package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"gatehouse/tools/sitesim/wire"
)

// Bounds of long bodies (engage.md section 6).
const (
	maxPart  = 4096 // bytes of text
	maxParts = 4096 // of an answer
)

// assembly is a long answer that comes in parts.
type assembly struct {
	parts, size, got int
	text             []byte
	moved            chan struct{} // a part came; capacity 1, what does not fit is dropped
	done             chan error    // capacity 1: all parts came, or why not
}

// part takes one part of a long answer. The last part again is acknowledged
// again, for its acknowledgement may have been lost.
func (d *Device) part(c command) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.incoming
	switch {
	case a == nil:
		return errors.New("no long answer is awaited")
	case c.Parts != a.parts:
		return fmt.Errorf("parts %d, not %d", c.Parts, a.parts)
	case c.Part == a.got && a.got > 0:
		return nil
	case c.Part != a.got+1:
		return fmt.Errorf("part %d after %d", c.Part, a.got)
	case len(c.Text) > maxPart:
		return fmt.Errorf("a text of %d bytes", len(c.Text))
	case len(a.text)+len(c.Text) > a.size:
		return errors.New("more text than size said")
	}
	a.got++
	a.text = append(a.text, c.Text...)
	if a.got < a.parts {
		select {
		case a.moved <- struct{}{}:
		default:
		}
		return nil
	}
	var err error
	if len(a.text) != a.size {
		err = fmt.Errorf("lock: %d bytes came where %d were announced", len(a.text), a.size)
	}
	a.done <- err
	return err
}

// callReply is what a reply to a Swordfish call has.
type callReply struct {
	Response *bool           `json:"response"`
	Error    string          `json:"error"`
	Data     string          `json:"data"`
	Status   int             `json:"status"`
	Body     json.RawMessage `json:"body"`
	Parts    int             `json:"parts"`
	Size     int             `json:"size"`
}

// replied hands a reply to the request that waits for it. A long answer is
// prepared for here, for its first part may be the next line.
func (d *Device) replied(data json.RawMessage, challenge []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pending
	if p == nil || p.challenge == nil || !slices.Equal(p.challenge, challenge) {
		return // an answer that nobody waits for any more
	}
	var r callReply
	if json.Unmarshal(data, &r) == nil && r.Parts > 0 && r.Parts <= maxParts && r.Size >= 0 && r.Size <= MaxFile && p.data["operation"] == "swordfish" {
		d.incoming = &assembly{parts: r.Parts, size: r.Size, moved: make(chan struct{}, 1), done: make(chan error, 1)}
	}
	d.pending = nil
	p.reply <- append(json.RawMessage(nil), data...)
}

// Call makes a Swordfish call over the line. A body that is no JSON object, or is
// longer than 4096 bytes, goes in parts. An answer that came as an object has lost
// the order of its members; one that came in parts has not.
func (d *Device) Call(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	d.calling.Lock()
	defer d.calling.Unlock()
	d.mu.Lock()
	d.incoming = nil
	d.mu.Unlock()
	var reply callReply
	var err error
	if len(body) <= maxPart && (body == nil || isObject(body)) {
		data := map[string]any{"operation": "swordfish", "method": method, "path": path}
		if body != nil {
			data["body"] = json.RawMessage(body)
		}
		reply, err = d.ask(ctx, data)
	} else {
		reply, err = d.callInParts(ctx, method, path, body)
	}
	if err != nil {
		return 0, nil, nil, err
	}
	if reply.Parts > 0 {
		text, err := d.collect(ctx)
		return reply.Status, text, http.Header{}, err
	}
	if string(reply.Body) == "null" {
		reply.Body = nil
	}
	return reply.Status, reply.Body, http.Header{bodyForm: {bodyObject}}, nil
}

func isObject(body []byte) bool {
	return len(body) > 0 && body[0] == '{' && json.Valid(body)
}

// ask sends one request of a call and reads its reply. A call that went no
// further has a status and a text.
func (d *Device) ask(ctx context.Context, data map[string]any) (callReply, error) {
	var r callReply
	raw, err := d.session.Ask(ctx, data)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("lock: reply: %w", err)
	}
	switch {
	case r.Status == 0, r.Response == nil:
		return r, fmt.Errorf("lock: the agent refused the call: %q", r.Error+r.Data)
	case !*r.Response:
		r.Body = json.RawMessage(r.Error)
	}
	return r, nil
}

// callInParts sends a long body. Every part but the last is answered 100.
func (d *Device) callInParts(ctx context.Context, method, path string, body []byte) (callReply, error) {
	texts := cut(body)
	var r callReply
	for i, text := range texts {
		var err error
		r, err = d.ask(ctx, map[string]any{"operation": "swordfish", "method": method, "path": path,
			"part": i + 1, "parts": len(texts), "text": text})
		if err != nil {
			return r, fmt.Errorf("part %d of %d: %w", i+1, len(texts), err)
		}
		if r.Status != http.StatusContinue {
			if i+1 < len(texts) && r.Status < 400 {
				return r, fmt.Errorf("lock: part %d of %d was answered %d, want 100", i+1, len(texts), r.Status)
			}
			break
		}
		if i+1 == len(texts) {
			return r, fmt.Errorf("lock: the last of %d parts was answered 100", len(texts))
		}
	}
	return r, nil
}

// cut makes texts of at most maxPart bytes, cut between characters.
func cut(body []byte) (texts []string) {
	for len(body) > maxPart {
		n := maxPart
		for n > maxPart-utf8.UTFMax && !utf8.RuneStart(body[n]) {
			n--
		}
		texts = append(texts, string(body[:n]))
		body = body[n:]
	}
	return append(texts, string(body))
}

// collect waits for the parts of a long answer.
func (d *Device) collect(ctx context.Context) ([]byte, error) {
	d.mu.Lock()
	a := d.incoming
	d.mu.Unlock()
	if a == nil {
		return nil, errors.New("lock: the announced parts or size are out of range")
	}
	t := time.NewTimer(answerWithin)
	defer t.Stop()
	for {
		select {
		case err := <-a.done:
			return a.text, err
		case <-a.moved:
			t.Reset(answerWithin)
		case <-d.line.done:
			return nil, errClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.C:
			d.mu.Lock()
			got := a.got
			d.incoming = nil
			d.mu.Unlock()
			return nil, fmt.Errorf("lock: part %d of %d: %w within %s", got+1, a.parts, wire.ErrNoAnswer, answerWithin)
		}
	}
}

var _ Caller = (*Device)(nil)

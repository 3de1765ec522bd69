package lock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ErrHTTP is wrapped by every error about an answer that breaks the rules of
// engage.md section 5: HTTP/1.1 only, a Content-Length spelled so on each answer,
// no chunking, no body where none is allowed.
var ErrHTTP = errors.New("lock: the answer breaks the locks' HTTP rules")

// maxAnswer bounds an answer.
const maxAnswer = MaxFile + 1<<10

// HTTPCaller is a Caller over HTTP or HTTPS. Each call has a device token.
type HTTPCaller struct {
	// Clock is what tokens are made of until the server has said its own time;
	// nil: time.Now.
	Clock func() time.Time
	// Token, where set, is sent in place of the proper one, for tests.
	Token string

	base    string
	client  *http.Client
	serial  string
	siteKey []byte

	mu     sync.Mutex // guards following
	host   time.Time  // the server's time, when it last said so
	heard  time.Time
	newest time.Time // of the last token: the next is not before it
}

// HTTP calls a device server at base, as in http://10.0.0.5:8088. A nil client is
// one with a RawTransport, which also sees how headers are spelled. A Caller keeps
// a connection: one lock, one Caller.
func HTTP(base string, client *http.Client, serial string, siteKey []byte) *HTTPCaller {
	if client == nil {
		client = &http.Client{Transport: new(RawTransport), CheckRedirect: noRedirect}
	}
	return &HTTPCaller{base: strings.TrimRight(base, "/"), client: client, serial: serial, siteKey: siteKey}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

var (
	_ Caller  = (*HTTPCaller)(nil)
	_ Fetcher = (*HTTPCaller)(nil)
)

// Call makes one call.
func (h *HTTPCaller) Call(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, h.base+path, in)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("lock: %w", err)
	}
	token, err := h.token()
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Device "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, answer, err := h.do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	h.hear(resp.Header.Get("X-Device-Last-Connected"))
	return resp.StatusCode, answer, resp.Header, nil
}

// Fetch fetches a certificate file (engage.md section 4).
func (h *HTTPCaller) Fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	resp, answer, err := h.do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{"GET " + url, resp.StatusCode, shorten(answer)}
	}
	if t := resp.Header.Get("Content-Type"); t != "application/octet-stream" {
		return nil, fmt.Errorf("%w: a certificate file as %q", ErrHTTP, t)
	}
	return answer, nil
}

// do sends a request and reads the whole answer.
func (h *HTTPCaller) do(req *http.Request) (*http.Response, []byte, error) {
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("lock: %w", err)
	}
	defer resp.Body.Close()
	if err := checkAnswer(resp); err != nil {
		return nil, nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("lock: answer: %w", err)
	}
	switch {
	case len(answer) > maxAnswer:
		return nil, nil, fmt.Errorf("%w: more than %d bytes", ErrHTTP, maxAnswer)
	case resp.StatusCode == http.StatusCreated && len(answer) > 0, resp.StatusCode == http.StatusAccepted && len(answer) > 0:
		return nil, nil, fmt.Errorf("%w: a body of %d bytes with status %d", ErrHTTP, len(answer), resp.StatusCode)
	}
	return resp, answer, nil
}

// checkAnswer checks an answer's head.
func checkAnswer(resp *http.Response) error {
	switch {
	case resp.ProtoMajor != 1 || resp.ProtoMinor != 1:
		return fmt.Errorf("%w: %s", ErrHTTP, resp.Proto)
	case len(resp.TransferEncoding) > 0:
		return fmt.Errorf("%w: Transfer-Encoding %s", ErrHTTP, strings.Join(resp.TransferEncoding, ", "))
	case len(resp.Header.Values("Content-Length")) != 1 && resp.ContentLength < 0:
		return fmt.Errorf("%w: no Content-Length with status %d", ErrHTTP, resp.StatusCode)
	}
	return nil
}

// token makes the next token: of the server's time where it said one, and never
// of an earlier time than the last (engage.md section 5).
func (h *HTTPCaller) token() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Token != "" {
		return h.Token, nil
	}
	now := time.Now
	if h.Clock != nil {
		now = h.Clock
	}
	at := now()
	if !h.host.IsZero() {
		at = h.host.Add(now().Sub(h.heard))
	}
	if at.Before(h.newest) {
		at = h.newest
	}
	h.newest = at
	return DeviceToken(h.serial, h.siteKey, at)
}

// hear keeps the server's time.
func (h *HTTPCaller) hear(digits string) {
	t, err := time.Parse(digits14, digits)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.host, h.heard = t, time.Now()
	if h.Clock != nil {
		h.heard = h.Clock()
	}
}

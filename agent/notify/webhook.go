package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/site"
)

const (
	hookTimeout  = 30 * time.Second
	maxAnswer    = 64 << 10
	maxRedirects = 3
)

// Call is the body of a webhook's call.
type Call struct {
	Site   string     `json:"site"`
	Serial string     `json:"serial"`
	Test   bool       `json:"test,omitempty"` // sent by hand; the event has no number
	Event  site.Event `json:"event"`
}

// hook calls a webhook.
type hook struct {
	url    *url.URL
	secret Secret
	deps   *Deps
	client *http.Client
}

func newHook(c Config, deps *Deps) (*hook, error) {
	u, err := c.hook()
	if err != nil {
		return nil, err
	}
	return &hook{url: u, secret: c.Secret, deps: deps, client: &http.Client{
		Timeout: hookTimeout, CheckRedirect: sameHost,
		Transport: &http.Transport{
			DialContext: deps.Dial, TLSClientConfig: deps.TLS.Clone(), ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: 30 * time.Second,
			MaxConnsPerHost: 2, MaxResponseHeaderBytes: maxAnswer,
		}}}, nil
}

// sameHost follows a redirect only where the same call goes to the same server.
func sameHost(req *http.Request, via []*http.Request) error {
	from := via[0].URL
	if req.Method != http.MethodPost || req.URL.Scheme != from.Scheme || req.URL.Host != from.Host || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

func (*hook) most() int          { return 1 }
func (*hook) gap() time.Duration { return 0 }
func (h *hook) target() string   { return h.url.Scheme + "://" + h.url.Host }
func (*hook) kind() string       { return "webhook" }
func (h *hook) rest()            { h.client.CloseIdleConnections() }

// Sign returns the value of the header X-Gatehouse-Signature for a body: the
// HMAC-SHA256 (RFC 2104) of its bytes under the receiver's secret.
func Sign(secret, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// send calls the webhook with the one event of d.
func (h *hook) send(ctx context.Context, d delivery) (result, error) {
	ev := h.deps.show(d.events[0])
	body, err := json.Marshal(Call{Site: h.deps.Site, Serial: h.deps.Serial, Test: d.test, Event: ev})
	if err != nil {
		return result{}, &failure{verdict: poison, err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.String(), bytes.NewReader(body))
	if err != nil {
		return result{}, plainError(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gatehouse")
	req.Header.Set("Idempotency-Key", h.key(ev, d.test))
	if len(h.secret) > 0 {
		req.Header.Set("X-Gatehouse-Signature", Sign(h.secret, body))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return result{}, plainError(err)
	}
	defer resp.Body.Close()
	// What the receiver says beside its status is for people: an answer that
	// breaks off changes nothing.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	answer := strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return result{answer: answer}, nil
	}
	if resp.StatusCode < 400 {
		answer += ", which is not followed"
	}
	if said := clean(string(text), 200); said != "" {
		answer += ": " + said
	}
	return result{}, &failure{verdict: judge(resp.StatusCode), after: retryAfter(resp.Header, h.deps.Now()), err: errors.New(answer)}
}

// key names an event for ever: what is sent again has the same one.
func (h *hook) key(ev site.Event, test bool) string {
	if test {
		return fmt.Sprintf("%s/test/%d", h.deps.Serial, ev.Time.UnixNano())
	}
	return fmt.Sprintf("%s/%s/%d", h.deps.Serial, ev.Log, ev.Seq)
}

// judge says what a status other than 2xx means.
func judge(status int) verdict {
	switch {
	case status >= 500 || status < 300:
		return again
	case slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, status):
		return again
	case status < 400, slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusGone}, status):
		return closed
	}
	return poison
}

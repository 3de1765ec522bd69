package uplink

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	callWait  = 30 * time.Second // for newCredentials and for the upgrade, each
	writeSize = 16 << 10         // of a frame; larger messages are fragmented
	// rootAgain is how long a failing link waits before it fetches the root once
	// more; the first time it does not wait.
	rootAgain = 10 * time.Minute
)

// join makes a connection with new credentials: root, DNS, TCP, TLS,
// credentials, upgrade. A host that cannot be believed makes it fetch the root
// and try once more; a 401 at the upgrade makes it renew and try once more.
func (c *Client) join(ctx context.Context, st *stages) (*websocket.Conn, error) {
	st.reset()
	if pool, _ := c.deps.Root.Current(); pool == nil {
		if err := c.fetchRoot(ctx, st); err != nil {
			return nil, err
		}
	}
	ws, err := c.enter(ctx, st)
	if untrusted(err) && ctx.Err() == nil {
		if rerr := c.distrust(ctx, st, err); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		ws, err = c.enter(ctx, st)
	}
	if f, ok := errors.AsType[*failure](err); ok && f.renew && ctx.Err() == nil {
		c.log.Info("the host wants new credentials", "err", err)
		ws, err = c.enter(ctx, st)
	}
	return ws, err
}

// distrust fetches the root after TLS failed because of err. A link that fails
// on does that once in a while; in between it gives the same answer again.
func (c *Client) distrust(ctx context.Context, st *stages, err error) error {
	now := time.Now()
	if !c.rootFetched.IsZero() && now.Sub(c.rootFetched) < rootAgain {
		if c.rootErr != nil {
			return st.fail(noRoot(c.rootErr))
		}
		return errors.New("the root was fetched again a short time ago")
	}
	c.log.Warn("the host is not vouched for by the pinned root, which is fetched again", "err", err)
	c.rootFetched = now
	c.rootErr = c.fetchRoot(ctx, st)
	if f, ok := errors.AsType[*failure](c.rootErr); ok {
		c.rootErr = f.err
		return f
	}
	return nil
}

// fetchRoot returns nil or a *failure.
func (c *Client) fetchRoot(ctx context.Context, st *stages) error {
	st.working(StageRoot)
	if err := c.deps.Root.Refresh(ctx); err != nil {
		return st.fail(noRoot(err))
	}
	_, about := c.deps.Root.Current()
	st.ok(StageRoot, "%s", about)
	return nil
}

// enter gets credentials and upgrades.
func (c *Client) enter(ctx context.Context, st *stages) (*websocket.Conn, error) {
	pw, err := c.credentials(ctx, st)
	if err != nil {
		return nil, err
	}
	ws, err := c.upgrade(ctx, st, pw)
	if err != nil {
		return nil, err
	}
	c.rootFetched, c.rootErr = time.Time{}, nil // believed: the next distrust is a new one
	return ws, nil
}

// newToken makes a token of a second that was not used before: a host refuses
// a repeated cipher text.
func (c *Client) newToken(ctx context.Context) (Token, error) {
	for {
		now := c.deps.Clock().Now.In(c.cfg.Zone)
		stamp := now.Format(stampLayout)
		if stamp != c.lastStamp {
			c.lastStamp = stamp
			return NewToken(c.cfg.Key, c.cfg.Serial, now)
		}
		select {
		case <-time.After(time.Second - time.Duration(now.Nanosecond())):
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}
	}
}

// credentials calls newCredentials.
func (c *Client) credentials(ctx context.Context, st *stages) (Password, error) {
	tok, err := c.newToken(ctx)
	if err != nil {
		return "", st.fail(&failure{stage: StageCredentials, err: err, advice: "check the site key"})
	}
	conn, err := c.dialTLS(ctx, st)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	st.working(StageCredentials)
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	at := url.URL{Scheme: "https", Host: c.server.Host, Path: CredentialsPath}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(tok.Encode()))
	if err != nil {
		return "", st.fail(explain(StageCredentials, err))
	}
	req.Header.Set("Content-Type", "text/plain")
	transport := &http.Transport{
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1 only
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", st.fail(explain(StageCredentials, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", st.fail(explainHTTP(StageCredentials, resp, c.deps.Clock().Now))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", st.fail(explain(StageCredentials, err))
	}
	pw, err := ParsePassword(body)
	if err != nil {
		return "", st.fail(&failure{stage: StageCredentials, err: err, advice: "the host does not speak ENGAGE as documented: check host and port in uplink.server_url"})
	}
	st.ok(StageCredentials, "given at %s", c.deps.Clock().Now.UTC().Format(time.DateTime))
	return pw, nil
}

// upgrade opens the WebSocket.
func (c *Client) upgrade(ctx context.Context, st *stages, pw Password) (*websocket.Conn, error) {
	raw, err := c.dialTLS(ctx, st)
	if err != nil {
		return nil, err
	}
	st.working(StageUpgrade)
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	conn := newWireConn(raw, maxHeader)
	dialer := websocket.Dialer{
		NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		Subprotocols:      []string{SubProtocol}, ReadBufferSize: writeSize, WriteBufferSize: writeSize,
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	basic := base64.StdEncoding.EncodeToString([]byte(c.cfg.Serial.String() + ":" + string(pw)))
	ws, resp, err := dialer.DialContext(ctx, c.server.String(), http.Header{"Authorization": {"Basic " + basic}})
	if err != nil {
		_ = conn.Close()
		if errors.Is(err, websocket.ErrBadHandshake) && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, st.fail(explainHTTP(StageUpgrade, resp, c.deps.Clock().Now))
		}
		return nil, st.fail(explain(StageUpgrade, err))
	}
	if !stop() {
		return nil, errors.Join(st.fail(explain(StageUpgrade, ctx.Err())), ws.Close())
	}
	if got := ws.Subprotocol(); got != "" && got != SubProtocol {
		f := &failure{stage: StageUpgrade, err: fmt.Errorf("the host speaks the sub-protocol %.60q, not %s", got, SubProtocol), advice: "check the path in uplink.server_url: it must be that of gateways"}
		return nil, errors.Join(st.fail(f), ws.Close())
	}
	conn.release()
	st.ok(StageUpgrade, "%s", c.server.Redacted())
	st.waiting(StageSubscription, "the host has not subscribed to events yet")
	return ws, nil
}

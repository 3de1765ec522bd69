package uplink

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

const (
	dialWait      = 10 * time.Second // for one address
	handshakeWait = 15 * time.Second
	maxAddresses  = 4
	// maxHeader bounds what a host or proxy may say before the WebSocket is up.
	maxHeader = 64 << 10
)

// dialTLS makes a TLS connection to the host and notes each stage.
func (c *Client) dialTLS(ctx context.Context, st *stages) (net.Conn, error) {
	raw, err := c.dialHost(ctx, st)
	if err != nil {
		return nil, err
	}
	st.working(StageTLS)
	pool, about := c.deps.Root.Current()
	if pool == nil {
		return nil, errors.Join(st.fail(noRoot(errors.New("no root certificate is pinned"))), raw.Close())
	}
	secure := tls.Client(raw, &tls.Config{
		RootCAs: pool, ServerName: c.server.Hostname(), MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, Time: func() time.Time { return c.deps.Clock().Now },
	})
	limited, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	if err := secure.HandshakeContext(limited); err != nil {
		return nil, errors.Join(st.fail(c.explainTLS(err)), raw.Close())
	}
	state := secure.ConnectionState()
	leaf := state.PeerCertificates[0]
	st.ok(StageTLS, "%s, certificate %s until %s", tls.VersionName(state.Version), leaf.Subject, leaf.NotAfter.Format(time.DateOnly))
	st.ok(StageRoot, "%s", about)
	return secure, nil
}

// explainTLS adds what the clock has to do with it.
func (c *Client) explainTLS(err error) *failure {
	f := explain(StageTLS, err)
	if clock := c.deps.Clock(); untrusted(err) && !clock.Trusted {
		f.advice += fmt.Sprintf("; this board's clock is not trusted and says %s", clock.Now.UTC().Format(time.DateTime))
	}
	return f
}

func noRoot(err error) *failure {
	return &failure{stage: StageRoot, err: err, advice: "check uplink.ca_url and that the CA server answers; compare the site key here and on the host"}
}

// dialHost makes a TCP connection to the host, through the proxy if there is
// one.
func (c *Client) dialHost(ctx context.Context, st *stages) (net.Conn, error) {
	host := net.JoinHostPort(c.server.Hostname(), portOf(c.server, "443"))
	st.working(StageDNS)
	ask := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: host, Path: c.server.Path}, Header: http.Header{}}
	proxy, err := c.cfg.Proxy(ask)
	if err != nil {
		return nil, st.fail(&failure{stage: StageDNS, err: fmt.Errorf("proxy: %w", err), advice: "check the proxy's address in the settings and in HTTPS_PROXY"})
	}
	if proxy == nil {
		return c.dialTCP(ctx, st, c.server.Hostname(), portOf(c.server, "443"), "")
	}
	if proxy.Scheme != "http" || proxy.Hostname() == "" {
		return nil, st.fail(&failure{stage: StageDNS, err: fmt.Errorf("proxy %q is not one with http://", proxy.Redacted()), advice: "set a proxy with http:// (CONNECT)"})
	}
	conn, err := c.dialTCP(ctx, st, proxy.Hostname(), portOf(proxy, "80"), "proxy ")
	if err != nil {
		return nil, err
	}
	after, err := connect(ctx, conn, proxy, host)
	if err != nil {
		f := explain(StageTCP, fmt.Errorf("proxy %s: %w", proxy.Host, err))
		if refused, ok := errors.AsType[refusedByProxy](err); ok {
			f.advice = refused.advice()
		}
		return nil, errors.Join(st.fail(f), conn.Close())
	}
	st.ok(StageTCP, "%s through proxy %s", host, proxy.Host)
	return after, nil
}

func portOf(u *url.URL, or string) string {
	if p := u.Port(); p != "" {
		return p
	}
	return or
}

// dialTCP resolves a name and tries its addresses in order.
func (c *Client) dialTCP(ctx context.Context, st *stages, name, port, what string) (net.Conn, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, st.fail(&failure{stage: StageDNS, err: fmt.Errorf("%sport %q is not a number", what, port), advice: "check the port"})
	}
	addrs, err := c.resolve(ctx, name)
	if err != nil {
		return nil, st.fail(explain(StageDNS, err))
	}
	st.ok(StageDNS, "%s%s is %s", what, name, addrs[0])
	st.working(StageTCP)
	var all error
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		to := netip.AddrPortFrom(a.Unmap(), uint16(n))
		limited, cancel := context.WithTimeout(ctx, dialWait)
		conn, err := c.deps.Network.Dial(limited, to, c.cfg.KeepAlive)
		cancel()
		if err == nil {
			st.ok(StageTCP, "%s%s", what, to)
			return conn, nil
		}
		all = errors.Join(all, err)
	}
	return nil, st.fail(explain(StageTCP, all))
}

func (c *Client) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	limited, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	addrs, err := c.deps.Network.Lookup(limited, name)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: name, IsNotFound: true}
	}
	return addrs, err
}

// refusedByProxy is the status of a proxy that does not connect.
type refusedByProxy struct{ code int }

// Error says what the proxy answered.
func (r refusedByProxy) Error() string {
	return fmt.Sprintf("it answers %d %s", r.code, http.StatusText(r.code))
}

func (r refusedByProxy) advice() string {
	if r.code == http.StatusProxyAuthRequired {
		return "the proxy wants a user and password: write them into its address"
	}
	return "ask whoever runs the proxy to allow CONNECT to the IP host"
}

// connect asks a proxy for a tunnel (RFC 9110, section 9.3.6).
func connect(ctx context.Context, conn net.Conn, proxy *url.URL, host string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(handshakeWait)); err != nil {
		return nil, err
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: host}, Host: host, Header: http.Header{}}
	if u := proxy.User; u != nil {
		pw, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+pw)))
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	br := bufio.NewReader(io.LimitReader(conn, maxHeader))
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusedByProxy{resp.StatusCode}
	}
	if br.Buffered() > 0 { // TLS begins with the client
		return nil, errors.New("it speaks before it is asked")
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return conn, conn.SetDeadline(time.Time{})
}

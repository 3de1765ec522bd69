package lock

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxHead bounds the head of an answer.
const maxHead = 16 << 10

// RawTransport is an http.RoundTripper that reads the head of each answer itself,
// so that it sees the spelling of "Content-Length", which net/http hides. It
// speaks HTTP/1.1 only and keeps one connection for the next request. The zero
// value is ready; it may be used from any goroutine.
type RawTransport struct {
	TLS *tls.Config // for https; nil: the system's roots

	mu   sync.Mutex // guards following
	host string
	idle *rawConn
}

type rawConn struct {
	net.Conn
	in *bufio.Reader
}

var _ http.RoundTripper = (*RawTransport)(nil)

// RoundTrip sends one request. A kept connection that the server closed in the
// meantime is replaced, once, where nothing of an answer had come.
func (t *RawTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	ctx := req.Context()
	c := t.takeIdle(req)
	kept := c != nil
	for {
		if c == nil {
			var err error
			if c, err = t.dial(ctx, req); err != nil {
				return nil, err
			}
		}
		resp, started, err := c.exchange(ctx, req, body)
		if err == nil {
			if resp.Close {
				_ = c.Close()
			} else {
				t.keep(req, c)
			}
			return resp, nil
		}
		_ = c.Close()
		if !kept || started || ctx.Err() != nil {
			return nil, err
		}
		c, kept = nil, false
	}
}

// CloseIdleConnections closes the connection that is kept.
func (t *RawTransport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle != nil {
		_ = t.idle.Close()
		t.idle = nil
	}
}

func where(req *http.Request) string { return req.URL.Scheme + " " + req.URL.Host }

func (t *RawTransport) takeIdle(req *http.Request) *rawConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.idle
	t.idle = nil
	if c != nil && t.host != where(req) {
		_ = c.Close()
		c = nil
	}
	return c
}

func (t *RawTransport) keep(req *http.Request, c *rawConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle != nil {
		_ = t.idle.Close()
	}
	t.host, t.idle = where(req), c
}

func (t *RawTransport) dial(ctx context.Context, req *http.Request) (*rawConn, error) {
	address, port := req.URL.Host, "80"
	if req.URL.Scheme == "https" {
		port = "443"
	}
	if req.URL.Port() == "" {
		address = net.JoinHostPort(req.URL.Hostname(), port)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme == "https" {
		cfg := t.TLS.Clone()
		if cfg == nil {
			cfg = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if cfg.ServerName == "" {
			cfg.ServerName = req.URL.Hostname()
		}
		cfg.NextProtos = []string{"http/1.1"}
		secure := tls.Client(c, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		c = secure
	}
	return &rawConn{Conn: c, in: bufio.NewReaderSize(c, maxHead)}, nil
}

// exchange sends the request and reads the answer, whole. started says that
// something of it came.
func (c *rawConn) exchange(ctx context.Context, req *http.Request, body []byte) (_ *http.Response, started bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	out := req.Clone(ctx)
	out.ContentLength = int64(len(body))
	out.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	if err := out.Write(c); err != nil {
		return nil, false, err
	}
	head, err := c.head()
	if err != nil {
		return nil, len(head) > 0, err
	}
	if err := checkHead(head); err != nil {
		return nil, true, err
	}
	in := bufio.NewReader(io.MultiReader(bytes.NewReader(head), c.in))
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, true, fmt.Errorf("%w: %w", ErrHTTP, err)
	}
	if err := checkAnswer(resp); err != nil {
		return nil, true, err
	}
	if resp.ContentLength > maxAnswer {
		return nil, true, fmt.Errorf("%w: more than %d bytes", ErrHTTP, maxAnswer)
	}
	whole, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, true, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(whole))
	if in.Buffered() > 0 || c.in.Buffered() > 0 {
		return nil, true, fmt.Errorf("%w: bytes after the end of the answer", ErrHTTP)
	}
	return resp, true, nil
}

// head reads up to and with the empty line.
func (c *rawConn) head() (head []byte, err error) {
	for {
		line, err := c.in.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return head, err
		case len(head) > maxHead:
			return head, fmt.Errorf("%w: a head of more than %d bytes", ErrHTTP, maxHead)
		case len(bytes.TrimRight(line, "\r\n")) == 0 && err == nil:
			return head, nil
		}
	}
}

// checkHead checks what net/http does not show: the spelling of Content-Length,
// and that it is there once.
func checkHead(head []byte) error {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("%w: %.12q where HTTP/1.1 was wanted", ErrHTTP, head)
	}
	n := 0
	for line := range strings.SplitSeq(string(head), "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch {
		case !strings.EqualFold(name, "Content-Length"):
		case name != "Content-Length":
			return fmt.Errorf("%w: Content-Length is spelled %q", ErrHTTP, name)
		default:
			n++
		}
	}
	if n != 1 && !bytes.Contains(bytes.ToLower(head), []byte("\r\ntransfer-encoding:")) {
		return fmt.Errorf("%w: Content-Length %d times", ErrHTTP, n)
	}
	return nil
}

package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// ErrNoAgent is returned when no agent answers on the socket.
var ErrNoAgent = errors.New("no agent answers")

// Client speaks to a running agent. Its methods may be called from any
// goroutine. A path has its parts escaped (url.PathEscape).
type Client struct {
	find func() (string, error) // the socket's path, or why there is none
	http *http.Client
}

// Dial makes a client for the socket at path. Nothing is opened until a call.
func Dial(path string) *Client { return DialLater(func() (string, error) { return path, nil }) }

// DialLater is Dial for a path that the first call asks for, once. Where there
// is none, each call returns find's error.
func DialLater(find func() (string, error)) *Client {
	find = sync.OnceValues(find)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, err := find()
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{find: find, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Get asks for a resource and reads the answer into v.
func (c *Client) Get(ctx context.Context, path string, query url.Values, v any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, v)
}

// Do sends a command with a JSON body (nil: none) and reads the answer into v
// (nil: discarded).
func (c *Client) Do(ctx context.Context, method, path string, in, v any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.call(ctx, method, path, nil, bytes.NewReader(data), v)
}

// Stream sends a request with a raw body (nil: none) and calls fn with each
// line of the answer. fn owns no part of the line after it returns. A last line
// {"error": TEXT} becomes the error.
func (c *Client) Stream(ctx context.Context, method, path string, query url.Values, in io.Reader, fn func(line []byte) error) error {
	resp, err := c.open(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for r := bufio.NewReaderSize(resp.Body, 1<<16); ; {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if bytes.HasPrefix(line, []byte(`{"error":`)) {
				return refusal(line)
			}
			if err := fn(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
}

// Copy sends a request and copies the answer's bytes to w.
func (c *Client) Copy(ctx context.Context, path string, query url.Values, w io.Writer) error {
	resp, err := c.open(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values, in io.Reader, v any) error {
	resp, err := c.open(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("agent: answer: %w", err)
	}
	return nil
}

// open sends the request and turns a refusal into its error.
func (c *Client) open(ctx context.Context, method, path string, query url.Values, in io.Reader) (*http.Response, error) {
	socket, err := c.find()
	if err != nil {
		return nil, err
	}
	u := "http://gatehouse" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, in)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err
		}
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return nil, fmt.Errorf("%w on %s: %w", ErrNoAgent, socket, op.Err)
		}
		return nil, fmt.Errorf("agent: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return nil, refusal(data)
}

// Refusal is what the agent answered instead of doing it.
type Refusal struct {
	Text   string
	Faults []Wrong // of an import: the first ones
	More   int     // faults that are not listed
	// Reached, of a site-wide command, are the doors that it reached all the same.
	Reached *Reached
}

// Error is the agent's own text.
func (r *Refusal) Error() string { return r.Text }

func refusal(data []byte) error {
	var e refused
	if json.Unmarshal(data, &e) != nil || e.Error == "" {
		return &Refusal{Text: "agent: " + string(bytes.TrimSpace(data))}
	}
	return &Refusal{Text: e.Error, Faults: e.Faults, More: e.More, Reached: e.Reached}
}

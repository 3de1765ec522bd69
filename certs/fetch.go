package certs

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// newClient returns a client that follows nothing and keeps nothing open.
func newClient(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  15 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		},
	}
}

// fetch returns a certificate file that carries the site key's hash.
func (p *Pin) fetch(ctx context.Context) ([]byte, error) {
	ask := *p.base
	query := Query{Serial: p.cfg.Serial, HashType: "primary", Version: "2"}.Encode()
	if ask.RawQuery != "" {
		query = ask.RawQuery + "&" + query
	}
	ask.RawQuery, ask.Fragment = query, ""
	body, err := p.get(ctx, &ask, MaxAnswer)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	a, err := ParseAnswer(body)
	if err != nil {
		return nil, err
	}
	at, err := p.base.Parse(a.CertURL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return nil, fmt.Errorf("%w: cert_url %.200q is not a URL with http:// or https://", ErrAnswer, a.CertURL)
	}
	file, err := p.get(ctx, at, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("certificate file: %w", err)
	}
	if err := CheckHash(p.cfg.Key, file, a.Hash); err != nil {
		return nil, fmt.Errorf("%w: compare the site key here and on the host; if they are equal, somebody altered the file on its way", err)
	}
	return file, nil
}

// get returns a body of at most limit bytes.
func (p *Pin) get(ctx context.Context, at *url.URL, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		return nil, fmt.Errorf("%s redirects to %.200q: redirects are not followed, set that address", at.Redacted(), to)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d %s, want 200", at.Redacted(), resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.Redacted(), err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%s answers with more than %d bytes", at.Redacted(), limit)
	}
	return body, nil
}

package lock_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/tools/sitesim/lock"
)

// TestDeviceToken makes the two ciphers of engage.md section 1.
func TestDeviceToken(t *testing.T) {
	key := unhex(t, "112233445566778899aabbccddeeff112233445566778899aabbccddeeff1122")
	for _, tt := range []struct{ serial, at, cipher string }{
		{"0000000000000000A060000000002112", "20200109202500", "1FF07F20F9FE8539DC2B0183750D5F7E243AC0D0A1165349B7B77FDD267B38CB"},
		{"0000000000000000A0B1000000000206", "20171120154239", "C0F15939A7F6C51C0360CC5869C5380C7B1DB71E5CE29803636FE6B9205F682D"},
	} {
		at, err := time.Parse("20060102150405", tt.at)
		if err != nil {
			t.Fatal(err)
		}
		token, err := lock.DeviceToken(strings.ToLower(tt.serial), key, at)
		if err != nil {
			t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(token)
		if want := tt.serial + ":" + tt.cipher + ":1"; err != nil || string(text) != want || len(token) != 132 {
			t.Errorf("%s, want %s", text, want)
		}
	}
	if _, err := lock.DeviceToken("12", key, time.Now()); err == nil {
		t.Error("a serial of two digits was taken")
	}
}

// rawServer answers every request on every connection with the same bytes.
func rawServer(t *testing.T, say string, end bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					if _, err := io.WriteString(c, say); err != nil || end {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestHTTPRules answers with each break of the locks' HTTP rules.
func TestHTTPRules(t *testing.T) {
	for _, tt := range []struct {
		name, say string
		end       bool // the server closes the connection
		want      string
	}{
		{"proper", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false, ""},
		{"proper without body", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", false, ""},
		{"closed after it", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true, ""},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false, "Transfer-Encoding chunked"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n{}", true, "Content-Length 0 times"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", false, "Content-Length 2 times"},
		{"length in lower case", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false, `Content-Length is spelled "content-length"`},
		{"length in another case", "HTTP/1.1 200 OK\r\nContent-length: 2\r\n\r\n{}", false, `Content-Length is spelled "Content-length"`},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", true, "HTTP/1.1 was wanted"},
		{"HTTP/2", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", true, "HTTP/1.1 was wanted"},
		{"a body with 201", "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", false, "a body of 2 bytes with status 201"},
		{"a body with 202", "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", false, "a body of 2 bytes with status 202"},
		{"more than announced", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}", false, "bytes after the end"},
		{"an endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 40000) + "\r\n\r\n", false, "a head of more than"},
		{"an absurd length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", false, "more than 8389632 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := lock.HTTP(rawServer(t, tt.say, tt.end), nil, serial, unhex(t, siteKeyHex))
			for range 2 { // the second over the connection that was kept
				_, _, _, err := c.Call(t.Context(), http.MethodPost, "/swordfish/lock/audit", []byte("{}"))
				if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, lock.ErrHTTP) || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%v, want %q", err, tt.want)
				}
			}
		})
	}
}

// TestHTTP2 calls a server that speaks HTTP/2: a lock's own transport does not ask
// for it, and an ordinary client that gets it is told.
func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	ordinary := s.Client()
	_, _, _, err := lock.HTTP(s.URL, ordinary, serial, unhex(t, siteKeyHex)).Call(t.Context(), http.MethodGet, "/", nil)
	if !errors.Is(err, lock.ErrHTTP) || !strings.Contains(err.Error(), "HTTP/2.0") {
		t.Errorf("an ordinary client: %v", err)
	}
	transport, ok := ordinary.Transport.(*http.Transport)
	if !ok {
		t.Fatal("no http.Transport")
	}
	raw := &lock.RawTransport{TLS: transport.TLSClientConfig}
	defer raw.CloseIdleConnections()
	_, body, _, err := lock.HTTP(s.URL, &http.Client{Transport: raw}, serial, unhex(t, siteKeyHex)).Call(t.Context(), http.MethodGet, "/", nil)
	if err != nil || string(body) != "HTTP/1.1" {
		t.Errorf("%q, %v", body, err)
	}
}

// TestTokens: each call has a token, of the server's time once it is known, and
// never of an earlier one.
func TestTokens(t *testing.T) {
	var tokens []string
	says := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Device "))
		w.Header().Set("X-Device-Last-Connected", says)
		w.Header().Set("Content-Length", "0")
	}))
	defer s.Close()
	key := unhex(t, siteKeyHex)
	now := time.Date(1970, 1, 1, 0, 0, 9, 0, time.UTC)
	c := lock.HTTP(s.URL, nil, serial, key)
	c.Clock = func() time.Time { return now }
	var want []string
	for _, step := range []struct{ says, token string }{
		{"", "19700101000009"}, {"20260722100000", "19700101000019"}, {"20200101000000", "20260722100010"}, {"", "20260722100010"},
	} {
		says = step.says
		if _, _, _, err := c.Call(t.Context(), http.MethodGet, "/", nil); err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse("20060102150405", step.token)
		if err != nil {
			t.Fatal(err)
		}
		token, err := lock.DeviceToken(serial, key, at)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, token)
		now = now.Add(10 * time.Second)
	}
	for i := range want {
		if tokens[i] != want[i] {
			t.Errorf("token %d is not of the time that was wanted", i+1)
		}
	}
}

// TestCertificate fetches a file once for each hash, and refuses one of another key.
func TestCertificate(t *testing.T) {
	key, der := unhex(t, siteKeyHex), []byte("a certificate")
	fetched, kind := 0, "application/octet-stream"
	hash := lock.CertHash(key, der)
	var url string
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) {
		fetched++
		w.Header().Set("Content-Type", kind)
		w.Write(der)
	})
	mux.HandleFunc("/swordfish/lock/certificates/current", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"cert_url":%q,"hash":%q}`, url+"/file", hash)
	})
	mux.HandleFunc("/swordfish/lock/db/", func(w http.ResponseWriter, r *http.Request) {
		file := golden
		if !strings.HasSuffix(r.URL.Path, "/0") {
			file = noChange(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		io.WriteString(w, file)
	})
	mux.HandleFunc("POST /swordfish/lock/audit", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	mux.HandleFunc("PUT /swordfish/lock/Config", func(http.ResponseWriter, *http.Request) {})
	s := httptest.NewServer(mux)
	defer s.Close()
	url = s.URL
	l, c := lock.New(config(t)), lock.HTTP(s.URL, nil, serial, key)
	for range 2 {
		if res, err := l.CallIn(t.Context(), c, wednesday); err != nil || fetched != 1 || res.CertHash != hash {
			t.Errorf("%+v, %v, fetched %d times", res, err, fetched)
		}
	}
	hash = lock.CertHash(make([]byte, 32), der)
	if _, err := l.CallIn(t.Context(), c, wednesday); err == nil || !strings.Contains(err.Error(), "the hash is not that of the file") {
		t.Errorf("another key's hash: %v", err)
	}
	kind = "text/plain"
	if _, err := l.CallIn(t.Context(), c, wednesday); !errors.Is(err, lock.ErrHTTP) {
		t.Errorf("a file as text: %v", err)
	}
}

package link_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/agent/hive/link"
)

// BenchmarkHTTP measures version-1 access requests over keep-alive beside the
// same listener answering a constant (design.md section 5).
func BenchmarkHTTP(b *testing.B) {
	s := newServer(b, newWorld())
	body := sign(b, "one", `{"badge":1052895,"item":"main_door","random_response":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]}`)
	_, constant := post(b, s, body)
	quiet := newWorldDeps()
	fast, err := link.New(testConfig(), quiet)
	if err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name    string
		handler http.Handler
	}{
		{"constant", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, constant)
		})},
		{"access", fast.Handler()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			srv := httptest.NewServer(bb.handler)
			defer srv.Close()
			client := srv.Client()
			if tr, ok := client.Transport.(*http.Transport); ok {
				tr.MaxIdleConnsPerHost = 16
			}
			b.SetParallelism(8) // 16 connections on two cores
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := client.Post(srv.URL, "application/json", strings.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		})
	}
}

// BenchmarkAnswer measures one version-1 request without the network.
func BenchmarkAnswer(b *testing.B) {
	s, err := link.New(testConfig(), newWorldDeps())
	if err != nil {
		b.Fatal(err)
	}
	h := s.Handler()
	body := sign(b, "one", `{"badge":1052895,"item":"main_door","random_response":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]}`)
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, link.Path, strings.NewReader(body))
		h.ServeHTTP(httptest.NewRecorder(), req)
	}
}

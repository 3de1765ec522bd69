package control_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"gatehouse/agent/control"
)

var root = control.CertStatus{Name: "iphost root", Subject: "CN=host", SHA256: "ab12", Until: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}

func (h *house) Roots() []control.CertStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := root
	if !h.fetched {
		r.Error = "the hash is wrong"
	}
	return []control.CertStatus{{Name: "site"}, r}
}

func (h *house) FetchRoot(context.Context) (control.CertStatus, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fetched {
		return control.CertStatus{}, fmt.Errorf("%w: once is enough", control.ErrRefused)
	}
	h.fetched = true
	return root, nil
}

func TestCerts(t *testing.T) {
	a := newHouse(t).api(t)
	if got := must[[]control.CertStatus](a, "GET", "/v1/certs", ""); len(got) != 2 || got[1].Error == "" {
		t.Errorf("%+v", got)
	}
	if got := must[control.CertStatus](a, "POST", "/v1/certs/root/fetch", ""); got.SHA256 != "ab12" {
		t.Errorf("%+v", got)
	}
	if got := must[[]control.CertStatus](a, "GET", "/v1/certs", ""); got[1].Error != "" {
		t.Errorf("%+v", got)
	}
}

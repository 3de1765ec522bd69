package app_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"gatehouse/agent/control"
)

// TestLocalCredentials: a token that may control gets credentials, a new password
// each time; the one before ends, one that is put back is the last to be had, and
// it opens the API. One that may only read gets none.
func TestLocalCredentials(t *testing.T) {
	s := newTestSite(t)
	s.configure(testSettings + "gateway: {local: true}\n")
	r := s.start()
	const path = "/gateway/newCredentials"
	reader := r.addToken(control.TokenOrder{Name: "reader"})
	if status, body := r.https("GET", path, reader.Token); status != http.StatusForbidden {
		t.Errorf("a reader: %d %s", status, body)
	}
	admin := r.addToken(control.TokenOrder{Name: "admin", Scopes: []string{"gateway", "gateway-control"}})
	get := func() string {
		t.Helper()
		status, body := r.https("GET", path, admin.Token)
		var c struct {
			Credentials struct{ Usr, Pwd string }
		}
		if err := json.Unmarshal([]byte(body), &c); status != 200 || err != nil || c.Credentials.Usr == "" || c.Credentials.Pwd == "" {
			t.Fatalf("%d %s, %v", status, body, err)
		}
		return c.Credentials.Pwd
	}
	put := func(pwd string) int {
		status, _ := r.local(admin.Token)("PUT", path, `{"credentials":{"usr":"gateway","pwd":"`+pwd+`"}}`)
		return status
	}
	first, second := get(), get()
	if first == second {
		t.Error("the same password twice")
	}
	if status, _ := r.https("GET", "/gateway/time", first); status != http.StatusUnauthorized {
		t.Errorf("a password that was replaced: %d", status)
	}
	if status, _ := r.https("GET", "/gateway/time", second); status != 200 {
		t.Errorf("the last password: %d", status)
	}
	issued := func() (out []control.TokenStatus) {
		var list []control.TokenStatus
		r.must(r.ask("GET", "/v1/tokens", nil, &list))
		for _, i := range list {
			if i.Name == "gateway" && i.State == "valid" {
				out = append(out, i)
			}
		}
		return out
	}
	if list := issued(); len(list) != 1 {
		t.Errorf("%d of the passwords are valid", len(list))
	} else {
		r.must(r.ask("POST", "/v1/tokens/"+list[0].ID+"/revoke", nil, nil))
	}
	second = get() // the one before was ended by an operator
	if status := put(first); status != 400 {
		t.Errorf("an old password was put: %d", status)
	}
	if status := put(second); status != 201 {
		t.Errorf("put: %d", status)
	}
	for _, method := range []string{"GET", "PUT"} {
		if status, body := r.local(admin.Token)(method, path, "{}"); status != http.StatusForbidden {
			t.Errorf("%s once they are established: %d %s", method, status, body)
		}
	}
}

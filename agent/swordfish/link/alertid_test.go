package link_test

import (
	"testing"
	"time"
)

// TestAlertWithAuditID: an alert with an auditId that comes once more after its upload,
// and after another one, is a repeat; an equal one with another auditId is not.
func TestAlertWithAuditID(t *testing.T) {
	w := newWorld(t)
	const at = `"time":"20260719120000","auditId":`
	alert := func(event, id string) {
		t.Helper()
		if a := w.call(serial1, "POST", "/swordfish/lock/alert", `{"asyncEvent":{"event":"`+event+`",`+at+id+`}}`); a.status != 200 {
			t.Fatal(a.status)
		}
	}
	alert("07000000", `"1"`)
	if a := w.call(serial1, "POST", "/swordfish/lock/audit", `{"audits":[{"event":"07000000",`+at+`"1"}]}`); a.status != 202 {
		t.Errorf("the upload of the alert: %d", a.status)
	}
	alert("07210000", `"2"`)
	alert("07000000", `"1"`)
	if got := w.kept(); len(got) != 2 {
		t.Errorf("%v", got)
	}
	w.pass(3 * time.Minute) // before, an equal one is a repeat whatever its auditId
	alert("07000000", `"3"`)
	if got := w.kept(); len(got) != 3 {
		t.Errorf("%v", got)
	}
}

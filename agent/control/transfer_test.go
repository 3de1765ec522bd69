package control_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

const people = "holder,format,facility,card,rights,function,pin\nAda,H10301,77,1568,front;shed,,4711\nBob,H10301,77,1570,front,,\nCarol,H10301,55,10984,front,blocked,\n"

// imported returns the result of an import, which is the last line.
func imported(t *testing.T, a *api, query, body string) control.ImportResult {
	t.Helper()
	lines := objects[control.ImportLine](a, "POST", "/v1/credentials/import"+query, body)
	last := lines[len(lines)-1]
	if last.Result == nil || last.Done != last.Total {
		t.Fatalf("last line %+v", last)
	}
	return *last.Result
}

func TestImportExport(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	if got := imported(t, a, "?dry_run=1", people); got != (control.ImportResult{DryRun: true, Rows: 3, Added: 3, Holders: 3}) {
		t.Errorf("dry run %+v", got)
	}
	if h.log.MaxChange() != 0 {
		t.Fatal("a dry run changed something")
	}
	if got := imported(t, a, "?format=csv", people); got != (control.ImportResult{Rows: 3, Added: 3, Holders: 3}) {
		t.Errorf("import %+v", got)
	}
	if got := imported(t, a, "", people); got != (control.ImportResult{Rows: 3, Unchanged: 3}) {
		t.Errorf("again %+v", got)
	}
	ada := objects[control.CredentialView](a, "GET", "/v1/credentials?holder=Ada", "")[0]
	must[control.StateAnswer](a, "POST", "/v1/credentials/"+string(ada.ID)+"/state", `{"state":"revoked"}`)

	status, plain := a.ask("GET", "/v1/credentials/export", "")
	if status != 200 || strings.Contains(plain, "1570") || strings.Contains(plain, "4711") || strings.Contains(plain, "Ada") || strings.Count(plain, "\n") != 3 {
		t.Errorf("export: %d\n%s", status, plain)
	}
	if status, text := a.ask("GET", "/v1/credentials/export?state=all&source=all", ""); status != 200 || strings.Count(text, "\n") != 4 {
		t.Errorf("export of all: %d\n%s", status, text)
	}
	for _, format := range []string{"csv", "json"} {
		_, text := a.ask("GET", "/v1/credentials/export?with_cards=1&format="+format, "")
		if !strings.Contains(text, "1570") || strings.Contains(text, "4711") {
			t.Errorf("export with cards:\n%s", text)
		}
		other := newHouse(t).api(t)
		if got := imported(t, other, "?format="+format, text); got.Added != 2 {
			t.Errorf("%s: import of an export: %+v", format, got)
		}
	}
}

func TestImportRefused(t *testing.T) {
	for _, tt := range []struct {
		name, query, body string
		want              int
		text              string
		faults            []control.Wrong
	}{
		{"format", "?format=xml", people, 400, "csv or json", nil},
		{"flag", "?dry_run=perhaps", people, 400, "dry_run", nil},
		{"empty", "", "", 400, `{"error":"import: the file is empty"}`, nil},
		{"empty JSON", "?format=json", " \n", 400, `{"error":"import: the file is empty"}`, nil},
		{"unknown column", "", "holder,shoe\n", 400, "shoe", nil},
		{"not JSON", "?format=json", people, 400, "import", nil},
		{"records", "", people + "Dan,H10301,999,1,front,,\nEd,H10301,9,1,attic,,\n", 400, "record 4",
			[]control.Wrong{{Record: 4, Field: "card", Why: "card format H10301: facility: at most 255: out of range"}, {Record: 5, Field: "rights", Why: `door "attic": not found`}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			a := h.api(t)
			status, text := a.ask("POST", "/v1/credentials/import"+tt.query, tt.body)
			if status != tt.want || !strings.HasPrefix(text, `{"error":"`) || !strings.Contains(text, tt.text) {
				t.Errorf("%d %s", status, text)
			}
			if h.log.MaxChange() != 0 {
				t.Error("it changed something")
			}
			err := dial(t, h).Stream(t.Context(), "POST", "/v1/credentials/import"+tt.query, nil, strings.NewReader(tt.body), nothing)
			refusal, ok := errors.AsType[*control.Refusal](err)
			if !ok {
				t.Fatalf("client: %v", err)
			}
			if d := cmp.Diff(tt.faults, refusal.Faults); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestNoSecretsOut: card numbers and PINs come in and do not go out, in answers,
// events or refusals.
func TestNoSecretsOut(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	var out strings.Builder
	ask := func(method, path, body string) {
		_, text := a.ask(method, path, body)
		out.WriteString(text)
	}
	row := `{"holder":"Ada","format":"H10301","facility":201,"card":54321,"pin":"86420","duress_pin":"97531"}`
	ask("POST", "/v1/credentials", row)
	ask("POST", "/v1/credentials", row)
	ask("POST", "/v1/credentials", strings.Replace(row, "54321", "543210", 1))
	ask("POST", "/v1/credentials", strings.Replace(row, `"86420"`, `"86420x"`, 1))
	ask("POST", "/v1/credentials", strings.Replace(row, `"86420"`, `[86420]`, 1))
	ask("POST", "/v1/credentials", strings.Replace(row, `54321,`, `54321`, 1))
	ask("POST", "/v1/credentials/import", "holder,format,facility,card,pin\nAda,H10301,201,54321,86420\nAda,H10301,201,54321,86420\nAda,H10301,2010,543210,8642O\n")
	ask("GET", "/v1/credentials", "")
	ask("GET", "/v1/holders/h1", "")
	ask("GET", "/v1/holders/h1/export", "")
	ask("GET", "/v1/credentials/export", "")
	for _, e := range h.log.Events() {
		e.Sealed = nil
		fmt.Fprintf(&out, "%+v\n", e)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s", control.Row{PIN: "86420", Card: "54321"}, control.Row{PIN: "86420"}, control.Enrolment{Row: control.Row{PIN: "86420"}}, control.Row{PIN: "86420"})
	for _, secret := range []string{"54321", "86420", "97531", "8642O"} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("%s went out: %s", secret, out.String()[max(0, i-80):i+20])
		}
	}
}

// TestManyRows: an import tells how far it is while it is sent, and listings of
// many come whole.
func TestManyRows(t *testing.T) {
	h := newHouse(t)
	c := dial(t, h)
	const rows = 12_000
	var b strings.Builder
	b.WriteString("holder,format,facility,card,rights\n")
	for i := range rows {
		fmt.Fprintf(&b, "Holder %d,H10301,%d,%d,front\n", i/10, 1+i/5000, i%5000)
	}
	progress, last := 0, control.ImportLine{}
	err := c.Stream(t.Context(), http.MethodPost, "/v1/credentials/import", nil, strings.NewReader(b.String()), func(line []byte) error {
		progress++
		last = decode[control.ImportLine](t, line)
		return nil
	})
	if err != nil || last.Result == nil || last.Result.Added != rows || last.Result.Holders != rows/10 {
		t.Fatalf("%+v, %v", last.Result, err)
	}
	if progress < 3 || progress > 400 {
		t.Errorf("%d lines of progress", progress)
	}
	n := 0
	seen := map[site.CredentialID]bool{}
	err = c.Stream(t.Context(), http.MethodGet, "/v1/credentials", nil, nil, func(line []byte) error {
		n++
		seen[decode[control.CredentialView](t, line).ID] = true
		return nil
	})
	if err != nil || n != rows || len(seen) != rows {
		t.Errorf("%d listed, %d of them different: %v", n, len(seen), err)
	}
}

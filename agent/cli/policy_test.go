package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// step is a command with what it is to say; ID stands for the first credential.
type step struct {
	args   string // separated by "|" where an argument has spaces
	stdout string // lines; "…" at the end: it begins so
}

func (s step) split() []string {
	if strings.Contains(s.args, "|") {
		return strings.Split(s.args, "|")
	}
	return strings.Fields(s.args)
}

// TestPolicy goes through a day of an operator.
func TestPolicy(t *testing.T) {
	a := newAgent(t)
	const id = "0123456789abcdef-26"
	first := ""
	for _, s := range []step{
		{"holder list", "ID  NAME  SOURCE"},
		{"holder list --json", "[]"},
		{"level list --json", "[]"},
		{"schedule list --json", "[]"},
		{"holiday list --json", "[]"},
		{"credential list --json", "[]"},
		{"holder|add|Ada L.", "holder h1 is added: Ada L."},
		{"holder add Bob --json", `{"id":"h2","source":"operator","name":"Bob"}`},
		{"holder list --name ada", "ID  NAME    SOURCE\nh1  Ada L.  operator"},
		{"holder list -n 1 --json", `[{"id":"h1","source":"operator","name":"Ada L."}]`},
		{"holder|rename|Ada L.|Ada", "holder h1 is now Ada"},
		{"holder remove Bob", "holder h2 is removed"},
		{"schedule|set|office|--on|mo-fr|--from|8:00|--to|18:00|--interval|Sa 22:00-24:00|--name|Office", "schedule office is set"},
		{"schedule set always --from 00:00 --to 24:00 --ignore-holidays", "schedule always is set"},
		{"schedule list", "ID      NAME    INTERVALS                             HOLIDAYS  SOURCE\nalways  -       daily 00:00-24:00                     ignored   operator\noffice  Office  Sa 22:00-24:00; Mo-Fr 08:00-18:00  off       operator"},
		{"schedule show always --json", `{"id":"always","source":"operator","name":"","intervals":["daily 00:00-24:00"],"ignore_holidays":true}`},
		{"schedule|set|cafe|--days|mo-fr,h1|--from|10:00|--to|17:00|--interval|H2-H4 10:00-12:00", "schedule cafe is set"},
		{"schedule show cafe", "ID    NAME  INTERVALS                                   HOLIDAYS  SOURCE\ncafe  -     H2-H4 10:00-12:00; Mo-Fr,H1 10:00-17:00  H1-H4     operator"},
		{"schedule remove cafe", "schedule cafe is removed"},
		{"level set staff --right front@office --right shed", "level staff is set"},
		{"level set all --right front,shed --json", `{"done":"level all is set"}`},
		{"level show staff", "ID     NAME  RIGHTS             SOURCE\nstaff  -     front@office;shed  operator"},
		{"holiday add xmas 2026-12-24 2026-12-26 --name Christmas", "holiday xmas is set"},
		{"holiday add may 2027-05-01 --kind 2", "holiday may is set"},
		{"holiday list", "ID    NAME       KIND  FIRST       LAST        SOURCE\nmay   -          H2    2027-05-01  2027-05-01  operator\nxmas  Christmas  H1    2026-12-24  2026-12-26  operator"},
		{"credential add --holder Ada --format H10301 --facility 77 --card 1568 --right front@office --level staff --until 2027-01-01T00:00:00Z", "credential " + id + " (…68 a41f0c) of Ada is added"},
		{"credential list", "ID                   CARD        HOLDER  STATE   FUNCTION  PIN  USES  RIGHTS        LEVELS  FROM  UNTIL                SOURCE\n" +
			id + "  …68 a41f0c  Ada     active  norm      -    -     front@office  staff   -     2027-01-01 00:00:00  operator"},
		{"credential list --door shed --state active --holder Ada --source operator --json", `[{"id":"` + id + `","source":"operator","holder":"h1","bits":26,"format":"H10301","card":"…68 a41f0c","state":"active",…`},
		{"credential list --state revoked --json", "[]"},
		{"credential show ID", "WHAT      VALUE\nid        " + id + "\ncard      …68 a41f0c\nholder    Ada\n…"},
		{"right list ID", "DOOR   SCHEDULE  BY\nfront  office    itself\nfront  office    level staff\nshed   always    level staff"},
		{"right add ID front@always shed", "credential " + id + " (…68 a41f0c) of Ada has rights: front@office;front@always;shed"},
		{"right remove ID front@office front@always", "credential " + id + " (…68 a41f0c) of Ada has rights: shed"},
		{"right list ID --json", `[{"door":"shed"},{"door":"front","schedule":"office","level":"staff"},{"door":"shed","level":"staff"}]`},
		{"credential level ID all staff", "credential " + id + " (…68 a41f0c) of Ada has levels: all, staff"},
		{"credential level ID", "credential " + id + " (…68 a41f0c) of Ada has levels: -"},
		{"level remove all", "level all is removed"},
		{"credential block ID", "credential " + id + " (…68 a41f0c) of Ada is blocked"},
		{"credential unblock ID", "credential " + id + " (…68 a41f0c) of Ada is active"},
		{"credential replace ID --format H10301 --facility 77 --card 1600", "credential " + id + " (…00 a41f0c) of Ada is added, and " + id + " is revoked"},
		{"credential revoke ID --json", `{"id":"` + id + `","source":"operator","holder":"h1","bits":26,"format":"H10301","card":"…68 a41f0c","state":"revoked",…`},
		{"credential remove ID", "credential " + id + " (…68 a41f0c) of Ada is removed"},
		{"holder show Ada", "h1  Ada  (operator)\nID  …"},
		{"holder export Ada", `{"holder":{"id":"h1","source":"operator","name":"Ada"}}` + "\n" + `{"credential":{"id":…`},
		{"holder erase Ada", `holder h1 is now "erased 000001"; its credentials are revoked`},
		{"holiday remove xmas", "holiday xmas is removed"},
		{"schedule remove always", "schedule always is removed"},
	} {
		args := s.split()
		for i := range args {
			if args[i] == "ID" {
				args[i] = first
			}
		}
		got := a.must(args...)
		if first == "" {
			first = ids.FindString(got)
		}
		text := strings.Join(lines(plain(got)), "\n")
		want, begins := strings.CutSuffix(s.stdout, "…")
		if begins && strings.HasPrefix(squeeze(text), squeeze(want)) || squeeze(text) == squeeze(want) {
			continue
		}
		t.Errorf("%q (-want +got):\n%s", args, cmp.Diff(want, text))
	}
}

// squeeze makes the columns of a table one space apart: their widths are not the
// matter of these tests.
func squeeze(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		out = append(out, strings.Join(strings.Fields(l), " "))
	}
	return strings.Join(out, "\n")
}

func TestEnrolAndPIN(t *testing.T) {
	a := newAgent(t)
	b, err := card.HiveBadge(77<<16 | 1568)
	if err != nil {
		t.Fatal(err)
	}
	a.next = b
	code, stdout, stderr := a.run("credential", "enrol", "--reader", "front-in", "--holder", "Ada", "--right", "front")
	if code != 0 || plain(stdout) != "credential 0123456789abcdef-26 (…68 a41f0c) of Ada is added\n" || stderr != "present the card at reader front-in within 30s\n" {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	id := site.CredentialID(ids.FindString(stdout))
	stdin(t, "4711\n0815\n")
	if got := a.must("credential", "pin", string(id), "--pin-stdin"); !strings.HasSuffix(got, "of Ada has a new PIN\n") || strings.Contains(got, "4711") {
		t.Error(got)
	}
	for pin, wantDuress := range map[string]bool{"4711": false, "0815": true} {
		if ok, duress, err := a.store.CheckPIN(id, pin); !ok || duress != wantDuress || err != nil {
			t.Errorf("%s: %v %v %v", pin, ok, duress, err)
		}
	}
	if b, err = card.HiveBadge(77<<16 | 1600); err != nil {
		t.Fatal(err)
	}
	a.next = b
	code, stdout, stderr = a.run("credential", "replace", string(id), "--reader", "front-in", "--json")
	if code != 0 || !strings.Contains(stdout, `"had_pin":true`) || !strings.Contains(stdout, `"still_opens":[]`) {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	next := ids.FindAllString(stdout, 2)[1]
	stdin(t, "1234")
	a.must("credential", "pin", next, "--pin-stdin")
	if got := a.must("credential", "pin", next, "--clear"); !strings.HasSuffix(got, "has no PIN\n") {
		t.Error(got)
	}
	stdin(t, "2222\n")
	a.must("credential", "add", "--holder-id", "h1", "--bits", "8:a5", "--uses", "3", "--ada", "--function", "toggle", "--from", "2026-01-01", "--pin-stdin")
	if got := a.must("credential", "list", "--holder", "Ada"); !strings.Contains(squeeze(got), "active toggle yes 0 of 3 - - 2026-01-01 00:00:00 - operator") {
		t.Error(got)
	}
	a.next = card.Bits{}
	code, _, stderr = a.run("credential", "enrol", "--reader", "front-in", "--holder", "Ada", "--wait", "1ms")
	if code != 1 || !strings.Contains(stderr, "no card was presented within 1ms") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestTransfer(t *testing.T) {
	a := newAgent(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	people := file("people.csv", "holder,format,facility,card,rights\nAda,H10301,77,1568,front;shed\nBob,H10301,77,1570,front\n")
	if got, want := a.must("credential", "import", "--dry-run", people), "dry run, nothing was changed: 2 records: 2 credentials added, 0 changed, 0 unchanged; 2 holders added\n"; got != want {
		t.Error(got)
	}
	if a.log.MaxChange() != 0 {
		t.Fatal("a dry run changed something")
	}
	if got, want := a.must("credential", "import", people), "2 records: 2 credentials added, 0 changed, 0 unchanged; 2 holders added\n"; got != want {
		t.Error(got)
	}
	stdin(t, `[{"holder":"Ada","format":"H10301","facility":77,"card":1568,"rights":"front"}]`)
	if got, want := a.must("credential", "import", "-", "--format", "json", "--json"), `{"rows":1,"added":0,"changed":1,"unchanged":0,"holders":0,"still_blocked":0}`+"\n"; got != want {
		t.Error(got)
	}
	a.must("credential", "revoke", ids.FindString(a.must("credential", "list", "--holder", "Ada", "--json")))
	if got := a.must("credential", "import", people); !strings.HasSuffix(got, "1 records are of credentials that are, and stay, revoked or blocked\n") {
		t.Error(got)
	}

	code, stdout, stderr := a.run("credential", "import", file("bad.csv", "holder,format,facility,card,rights\nEd,H10301,77,3,attic\nEd,H10301,999,4,front\n"))
	path := filepath.Join(dir, "bad.csv")
	want := path + ": record 1: rights: door \"attic\": not found\n" + path + ": record 2: card: card format H10301: facility: at most 255: out of range\n" +
		"gatehouse: import: " + path + ": 2 faults; nothing was changed\n"
	if code != 1 || stdout != "" || stderr != want {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}

	empty := file("empty.csv", "")
	if code, _, stderr := a.run("credential", "import", empty); code != 1 || stderr != "gatehouse: import: "+empty+": the file is empty\n" {
		t.Errorf("%d %s", code, stderr)
	}
	if err := os.Remove(empty); err != nil {
		t.Fatal(err)
	}

	if got, want := a.must("credential", "export"), "holder,format,function,ada,uses,level,rights,from,until\nBob,H10301,norm,false,,,front,,\n"; got != want {
		t.Error(got)
	}
	out := filepath.Join(dir, "out.json")
	a.must("credential", "export", "--with-cards", "--state", "all", "-o", out)
	data, err := os.ReadFile(out)
	var rows []map[string]string
	if err != nil || json.Unmarshal(data, &rows) != nil || len(rows) != 2 || !strings.Contains(string(data), `"card":"1570"`) {
		t.Errorf("%v %s", err, data)
	}
	if fi, err := os.Stat(out); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	code, _, _ = a.run("credential", "export", "--source", "nobody", "-o", filepath.Join(dir, "none.csv"))
	if files, err := os.ReadDir(dir); code != 1 || err != nil || len(files) != 3 {
		t.Errorf("a failed export left %v", files)
	}
}

// TestImportProgress: a long import says how far it is, on standard error.
func TestImportProgress(t *testing.T) {
	a := newAgent(t)
	var b strings.Builder
	b.WriteString("holder,bits\n")
	for i := range 12_000 {
		b.WriteString("Ada,16:" + string("0123456789abcdef"[i>>12&15]) + string("0123456789abcdef"[i>>8&15]) + string("0123456789abcdef"[i>>4&15]) + string("0123456789abcdef"[i&15]) + "\n")
	}
	stdin(t, b.String())
	code, stdout, stderr := a.run("credential", "import", "-")
	if code != 0 || !strings.HasPrefix(stdout, "12000 records: 12000 credentials added") {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	said := lines(stderr)
	if len(said) == 0 || len(said) > 11 || said[len(said)-1] != "importing: 100 % of 12000 records" {
		t.Errorf("progress %q", said)
	}
	if got := lines(a.must("credential", "list", "--holder", "Ada")); len(got) != 12_001 {
		t.Errorf("%d lines listed", len(got))
	}
}

// TestHostileName: a name cannot steer the terminal of who lists it.
func TestHostileName(t *testing.T) {
	a := newAgent(t)
	var h site.Holder
	c := control.Dial(filepath.Join(a.dir, "control.sock"))
	if err := c.Do(t.Context(), "POST", "/v1/holders", map[string]string{"name": "A\u009b31mda"}, &h); err != nil {
		t.Fatal(err)
	}
	if got := a.must("holder", "list"); strings.ContainsRune(got, 0x9B) || !strings.Contains(got, "A?31mda") {
		t.Errorf("%q", got)
	}
}

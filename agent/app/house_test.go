package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The house of design.md section 3: which package stands on which floor, who
// may import whom, and which package a third party's module stays behind.

const module = "gatehouse"

// floors lists each floor from left to right. On floors 1 and 3 a package may
// import what stands to its left; on floor 2 nobody imports another family.
var floors = [][]string{
	0: {"agent/site", "agent/task", "agent/card", "agent/hive", "agent/bacnetws/oauth", "hal", "netcfg", "certs", "board/watchdog", "board/update"},
	1: {"agent/access", "agent/swordfish", "store", "hal/gpio", "hal/serial", "hal/sim", "board"},
	2: {"agent/door", "agent/reader", "agent/hive/link", "agent/swordfish/link", "agent/gateway", "agent/uplink", "agent/telemetry", "agent/bacnetws", "agent/presence", "agent/console", "agent/control", "agent/notify"},
	3: {"agent/config", "agent/app", "agent/cli", "agent"},
}

// subPackages belong to the family of their parent.
var subPackages = map[string]string{
	"store/spool":          "store",
	"agent/task/supervise": "agent/task",
	"agent/door/area":      "agent/door",
}

// groundImports are the only edges between packages of floor 0.
var groundImports = map[string][]string{
	"agent/card": {"agent/site"},
	"agent/hive": {"agent/site"},
}

// testOnly may be imported by _test.go files and by tools.
var testOnly = []string{"hal/haltest", "store/storetest", "certs/certstest"}

// thirdParties names, for each module, the packages that may import it. The
// rule binds neither tools nor tests.
var thirdParties = map[string][]string{
	"go.etcd.io/bbolt":                         {"store"},
	"periph.io/x/conn/v3":                      {"hal/gpio", "board"},
	"periph.io/x/host/v3":                      {"hal/gpio", "board"},
	"github.com/warthog618/go-gpiocdev":        {"hal/gpio"},
	"go.bug.st/serial":                         {"hal/serial"},
	"github.com/goccy/go-yaml":                 {"agent/config"},
	"github.com/spf13/cobra":                   {"agent/cli"},
	"github.com/spf13/pflag":                   {"agent/cli"},
	"github.com/eclipse/paho.mqtt.golang":      {"agent/telemetry"},
	"github.com/golang-jwt/jwt/v5":             {"agent/bacnetws/oauth"},
	"github.com/vishvananda/netlink":           {"netcfg"},
	"filippo.io/age":                           {"store"},
	"github.com/gorilla/websocket":             {"agent/uplink", "agent/bacnetws"},
	"github.com/santhosh-tekuri/jsonschema/v6": {"agent/uplink"},
	"github.com/prometheus/client_golang":      {"agent/app"},
	"golang.org/x/sys":                         {"hal", "hal/gpio", "hal/serial", "hal/sim", "agent/task/supervise", "store", "store/spool", "agent/app", "agent/cli"},
	"golang.org/x/sync":                        nil, // anywhere
}

type goPackage struct {
	ImportPath   string
	Dir          string
	Standard     bool
	Module       *struct{ Path string }
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// place is where a package stands.
type place struct {
	floor, slot int
	family      string
}

func places() map[string]place {
	m := map[string]place{}
	for f, names := range floors {
		for i, n := range names {
			m[n] = place{f, i, n}
		}
	}
	for sub, parent := range subPackages {
		m[sub] = m[parent]
	}
	return m
}

// edgeFault says why from may not import to, or "".
func edgeFault(all map[string]place, from, to string) string {
	if slices.Contains(testOnly, to) {
		if strings.HasPrefix(from, "tools/") || slices.Contains(testOnly, from) {
			return ""
		}
		return "only tests and tools import it"
	}
	if strings.HasPrefix(to, "tools/") {
		if sameTool(from, to) {
			return ""
		}
		return "nothing imports tools"
	}
	if strings.HasPrefix(from, "tools/") || slices.Contains(testOnly, from) {
		return ""
	}
	a, ok := all[from]
	if !ok {
		return "the importer stands on no floor"
	}
	b, ok := all[to]
	if !ok {
		return "the imported stands on no floor"
	}
	switch {
	case a.family == b.family:
		return ""
	case a.floor == 0:
		if b.floor == 0 && slices.Contains(groundImports[from], to) {
			return ""
		}
		return "floor 0 imports nothing of ours but card and hive: site"
	case b.floor < a.floor:
		return ""
	case b.floor > a.floor:
		return "imports upwards"
	case a.floor == 2:
		return "floor 2 never imports floor 2"
	case b.slot < a.slot:
		return ""
	}
	return "imports to its right"
}

// sameTool reports whether both are packages of one tool.
func sameTool(a, b string) bool {
	x, y := strings.SplitN(a, "/", 3), strings.SplitN(b, "/", 3)
	return len(x) > 1 && len(y) > 1 && x[0] == "tools" && x[0] == y[0] && x[1] == y[1]
}

// TestImportTable fails on any edge that design.md section 3 does not have.
func TestImportTable(t *testing.T) {
	all := places()
	for _, p := range listPackages(t) {
		from, ours := ourName(p.ImportPath)
		if !ours {
			continue
		}
		if _, ok := all[from]; !ok && !strings.HasPrefix(from, "tools/") && !slices.Contains(testOnly, from) {
			t.Errorf("%s: not in the house of design.md section 3", from)
		}
		for _, imp := range p.Imports {
			if to, ours := ourName(imp); ours {
				if why := edgeFault(all, from, to); why != "" {
					t.Errorf("%s imports %s: %s", from, to, why)
				}
			}
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			if to, ours := ourName(imp); ours && strings.HasPrefix(to, "tools/") && !sameTool(from, to) {
				t.Errorf("%s: its tests import %s: nothing imports tools", from, to)
			}
		}
	}
}

// TestThirdParties keeps each outside module behind its one package.
func TestThirdParties(t *testing.T) {
	for _, p := range listPackages(t) {
		from, ours := ourName(p.ImportPath)
		if !ours || strings.HasPrefix(from, "tools/") || slices.Contains(testOnly, from) {
			continue
		}
		for _, imp := range p.Imports {
			if _, ours := ourName(imp); ours || !strings.Contains(strings.Split(imp, "/")[0], ".") {
				continue
			}
			if why := thirdPartyFault(from, imp); why != "" {
				t.Error(why)
			}
		}
	}
}

func thirdPartyFault(from, imp string) string {
	for mod, users := range thirdParties {
		if imp != mod && !strings.HasPrefix(imp, mod+"/") {
			continue
		}
		if users == nil || slices.Contains(users, from) {
			return ""
		}
		return fmt.Sprintf("%s imports %s: that stays behind %v", from, imp, users)
	}
	return fmt.Sprintf("%s imports %s: the module is not in design.md section 4", from, imp)
}

// TestEdgeFaultFinds shows that the check above can fail.
func TestEdgeFaultFinds(t *testing.T) {
	all := places()
	for _, tt := range []struct {
		from, to string
		allowed  bool
	}{
		{"agent/door", "agent/reader", false},
		{"agent/site", "agent/card", false},
		{"agent/access", "store", false},
		{"store", "agent/door", false},
		{"agent/app", "agent/cli", false},
		{"agent/app", "tools/sitesim", false},
		{"agent/app", "hal/haltest", false},
		{"agent/nowhere", "agent/site", false},
		{"agent/card", "agent/site", true},
		{"store", "agent/access", true},
		{"store", "store/spool", true},
		{"agent/hive/link", "agent/hive", true},
		{"agent/cli", "agent/app", true},
		{"tools/bench", "agent/app", true},
		{"tools/bench", "hal/haltest", true},
	} {
		if got := edgeFault(all, tt.from, tt.to) == ""; got != tt.allowed {
			t.Errorf("%s to %s: allowed %v, want %v", tt.from, tt.to, got, tt.allowed)
		}
	}
	if thirdPartyFault("agent/door", "go.etcd.io/bbolt") == "" {
		t.Error("bbolt in agent/door was not found")
	}
	if thirdPartyFault("store", "example.com/unknown") == "" {
		t.Error("an unknown module was not found")
	}
}

// TestPackageDocs wants one package comment in each package that says more
// than its name.
func TestPackageDocs(t *testing.T) {
	for _, p := range listPackages(t) {
		from, ours := ourName(p.ImportPath)
		if !ours || len(p.GoFiles) == 0 {
			continue
		}
		if doc := packageDoc(t, p); len(doc) < 60 {
			t.Errorf("%s: package comment is %q: say what it owns, its promises and limits", from, doc)
		}
	}
}

func packageDoc(t *testing.T, p goPackage) string {
	t.Helper()
	var docs []string
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			docs = append(docs, f.Doc.Text())
		}
	}
	if len(docs) > 1 {
		t.Errorf("%s: %d package comments, want one", p.ImportPath, len(docs))
	}
	return strings.TrimSpace(strings.Join(docs, "\n"))
}

func ourName(path string) (string, bool) {
	return strings.CutPrefix(path, module+"/")
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

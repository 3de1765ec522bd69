package config_test

import (
	"os"
	"regexp"
	"testing"

	"gatehouse/agent/config"
)

// TestWiringPage: the settings of docs/wiring.md are accepted as they stand,
// and a pull away from normal is what its table of cut wires says.
func TestWiringPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/wiring.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Fatal("the page has no settings")
	}
	for _, b := range blocks {
		c, issues := config.Parse(b[1], "wiring.md", options(config.AllParts()...))
		if len(issues) > 0 || c == nil {
			t.Errorf("%v", texts(issues))
		}
	}
	// Settings in the text are parts of such a file: their keys exist.
	inline := regexp.MustCompile("`([a-z_]+: \\{[^`]*\\})`").FindAllSubmatch(page, -1)
	if len(inline) < 8 {
		t.Errorf("only %d settings are named", len(inline))
	}
	for _, m := range inline {
		if !known(string(m[1])) {
			t.Errorf("%s is not taken", m[1])
		}
	}
}

// known puts a setting where it may stand and reports whether one place takes
// it without a word on its form.
func known(setting string) bool {
	for _, src := range []string{
		setting,
		"inputs: {" + setting + "}",
		"doors: [{id: d, " + setting + "}]",
		"readers: [{id: r, door: d, " + setting + "}]",
	} {
		_, issues := config.Parse([]byte(src+"\n"), "f", options(config.AllParts()...))
		ok := true
		for _, i := range issues {
			ok = ok && !regexp.MustCompile("unknown key|want |not known|not valid").MatchString(i.Text)
		}
		if ok {
			return true
		}
	}
	return false
}

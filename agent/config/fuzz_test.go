package config_test

import (
	"reflect"
	"testing"

	"gatehouse/agent/config"
	"gatehouse/agent/door/area"
)

// FuzzParse: no panic; a Config exactly where nothing is worse than a warning;
// every issue has a place inside the file and the issues are in its order; an
// accepted file means the same with line ends of another kind and a comment.
func FuzzParse(f *testing.F) {
	f.Add(read(f, "example.yaml"))
	f.Add(config.Reference())
	f.Add(config.Minimal())
	f.Add([]byte(base))
	f.Add([]byte(whole))
	for _, s := range []string{
		"", "- 1", "a: [1", "a: &a [*a]", "? [a]\n: b", "<<: {a: 1}", "!!map {a: 1}", "a: |\n  b\n", "---\n...\n---\n",
		"doors: [{strike: {unlock: 5}}]", "readers: [{mode: [{mode: pin}]}]", "hive: {devices: [{items: {a: b}, versions: [9]}]}",
		"formats: [{bits: 999, card: {at: 127, len: 64}}]", "version: 0x1\n", "\"a\\u0000\": 1", "a:\n  - - - b",
	} {
		f.Add([]byte(s))
		f.Add([]byte(base + s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		opts := options(config.AllParts()...)
		c, issues := config.Parse(src, "f", opts)
		if (c != nil) != (config.Worst(issues) == config.Warning) {
			t.Fatalf("config %v with %v", c != nil, issues)
		}
		last := 0
		for _, i := range issues {
			if i.Line < last || i.Line > len(src)+1 || i.Text == "" || i.String() == "" {
				t.Fatalf("issue out of place: %+v", i)
			}
			last = i.Line
		}
		if c == nil {
			return
		}
		c.Lines()
		if _, err := area.New(c.Area()); err != nil {
			t.Fatalf("an accepted file whose areas cannot be: %v", err)
		}
		again, issues := config.Parse(append(append([]byte{}, src...), "\n# end\n"...), "f", opts)
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("the same file gave another config: %v", issues)
		}
	})
}

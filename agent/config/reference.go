package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
)

const referenceHead = `# The settings of gatehouse, all of them. Generated from the code: do not edit.
#
# A key that is not marked "required" may be left out; "default" says what then
# holds. A line of the form "#key: value" is a setting that the rest of this
# example does not need. Times have a unit (ms, s, m, h, d), sizes too (KiB,
# MiB, GiB, TiB). Paths are relative to the file's folder. Key files hold one
# line: hex digits, or text: and the key's own characters.

`

// Reference returns a settings file with every key, its meaning and its
// default. It is a valid file.
func Reference() []byte {
	var b bytes.Buffer
	b.WriteString(referenceHead)
	writeObject(&b, reflect.TypeFor[rawFile](), "", "", false)
	return b.Bytes()
}

// Minimal returns a short settings file to begin with: one door with an exit
// button and a reader. It is a valid file.
func Minimal() []byte {
	return []byte(`version: 1
site: {name: My site, timezone: Europe/Berlin}
device: {serial: "0000000000000000A0B1000000000206"}
doors:
  - id: front
    strike: {line: GPIO24}
    rex: {line: GPIO22}
readers:
  - {id: front-in, door: front, wiegand: {d0: GPIO17, d1: GPIO18}}
`)
}

// writeObject writes the members of t. first is what stands before the first
// key of a list's item.
func writeObject(b *bytes.Buffer, t reflect.Type, indent, first string, off bool) {
	for i, m := range membersOf(t) {
		lead := indent
		if i == 0 && first != "" {
			lead = first
		}
		writeMember(b, &m, indent, lead, off || m.off)
	}
}

func writeMember(b *bytes.Buffer, m *member, indent, lead string, off bool) {
	if off {
		// The mark stands in the first column, so that taking it away leaves
		// the right indentation.
		lead = "#" + strings.TrimPrefix(lead, "#")
	}
	note := "  # " + m.doc
	if m.req {
		note += "; required"
	}
	if m.enum != nil {
		note += " (" + strings.Join(m.enum, " | ") + ")"
	}
	if m.def != "" {
		note += "; default " + m.def
	}
	if v, ok := memberValue(m); ok {
		fmt.Fprintf(b, "%s%s: %s%s\n", lead, m.key, v, note)
		return
	}
	deeper := indent + "  "
	if off && !strings.HasPrefix(indent, "#") {
		deeper = "#" + deeper
	}
	if m.typ.Kind() == reflect.Slice {
		fmt.Fprintf(b, "%s%s:%s\n", lead, m.key, note)
		writeObject(b, m.typ.Elem(), deeper+"  ", deeper+"- ", off)
		return
	}
	t, _ := structOf(m.typ)
	if len(membersOf(t)) == 0 {
		fmt.Fprintf(b, "%s%s: {}%s\n", lead, m.key, note)
		return
	}
	fmt.Fprintf(b, "%s%s:%s\n", lead, m.key, note)
	writeObject(b, t, deeper, "", off)
}

// memberValue is the value of a scalar, a list of scalars, a custom form, or of
// an object that is written in one line.
func memberValue(m *member) (string, bool) {
	t := m.typ
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || !isLeaf(t) {
		return m.ex, m.ex != ""
	}
	if c, ok := reflect.New(t).Interface().(custom); ok {
		return c.reference(), true
	}
	if m.ex != "" {
		return m.ex, true
	}
	return m.def, true
}

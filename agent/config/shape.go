package config

import (
	"reflect"
	"strings"
)

// member is one key of a raw struct, read from its tags.
type member struct {
	index int
	typ   reflect.Type
	key   string
	doc   string
	def   string
	ex    string
	enum  []string
	check string
	min   string
	max   string
	req   bool
	off   bool
}

// membersOf describes a raw struct, in the order of its fields. A field without
// a key tag (At) is no member.
func membersOf(t reflect.Type) []member {
	var out []member
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key := tag.Get("key")
		if key == "" {
			continue
		}
		m := member{
			index: i, typ: t.Field(i).Type, key: key, doc: tag.Get("doc"), def: tag.Get("def"), ex: tag.Get("ex"),
			check: tag.Get("check"), min: tag.Get("min"), max: tag.Get("max"),
			req: tag.Get("req") != "", off: tag.Get("off") != "",
		}
		if e := tag.Get("enum"); e != "" {
			m.enum = strings.Split(e, "|")
		}
		out = append(out, m)
	}
	return out
}

// structOf returns the struct behind t, a struct or a pointer to one, and
// whether t is an object of the settings at all (a scalar and a custom form
// are structs to Go, too).
func structOf(t reflect.Type) (reflect.Type, bool) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || isLeaf(t) {
		return nil, false
	}
	return t, true
}

var (
	scalarType = reflect.TypeFor[scalar]()
	customType = reflect.TypeFor[custom]()
)

func isLeaf(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(scalarType) || p.Implements(customType)
}

// suggest returns the word of words nearest to s, or "" when none is near.
func suggest(s string, words []string) string {
	best, limit := "", 1+len(s)/4
	for _, w := range words {
		if d := distance(s, w); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between a and b (optimal string alignment). Long words are not
// compared.
func distance(a, b string) int {
	const tooLong = 64
	if len(a) > tooLong || len(b) > tooLong {
		return tooLong
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

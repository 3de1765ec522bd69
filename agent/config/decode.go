package config

import (
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// custom is a raw type with a form of its own.
type custom interface {
	// load reads the node and notes faults.
	load(d *decoder, n ast.Node, a at)
	// schema is its JSON schema, reference its value in the reference file.
	schema() map[string]any
	reference() string
}

// decoder fills raw structs from a document and notes each fault.
type decoder struct {
	*issueList
	keys map[string]at // place of each key that was read, by path
}

// place returns the place of n; a mapping in block form is at its first key.
func place(n ast.Node, path string) at {
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		t = m.Values[0].Key.GetToken()
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		t = m.Key.GetToken()
	}
	return tokenAt(t, path)
}

func tokenAt(t *token.Token, path string) at {
	if t == nil || t.Position == nil {
		return at{Path: path}
	}
	return at{Line: t.Position.Line, Col: t.Position.Column, Path: path}
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// describe names a node for a person.
func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	}
	return "something else"
}

// plain reports whether n may be read at all, and notes why not.
func (d *decoder) plain(n ast.Node, a at) bool {
	switch n.(type) {
	case nil:
		d.errorf(a, "has no value; leave the key out instead")
	case *ast.NullNode:
		d.errorf(a, "has no value; leave the key out instead")
	case *ast.AnchorNode, *ast.AliasNode:
		d.errorf(a, "anchors and aliases are not taken")
	case *ast.TagNode:
		d.errorf(a, "tags are not taken")
	default:
		return true
	}
	return false
}

// entries returns the pairs of a mapping in either of the parser's forms.
func entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

// pair is one key of a mapping with its value.
type pair struct {
	key   string
	at    at // of the key
	value ast.Node
}

// pairs returns the pairs of a mapping whose keys are plain text and given
// once, and notes all others.
func (d *decoder) pairs(n ast.Node, a at) []pair {
	es, ok := entries(n)
	if !ok {
		d.errorf(place(n, a.Path), "want keys with values, found %s", describe(n))
		return nil
	}
	var out []pair
	first := map[string]at{}
	for _, e := range es {
		s, ok := e.Key.(*ast.StringNode)
		if !ok {
			what := "a key that is not plain text"
			if _, merge := e.Key.(*ast.MergeKeyNode); merge {
				what = "merge keys are not taken"
			}
			d.errorf(tokenAt(e.Key.GetToken(), a.Path), "%s", what)
			continue
		}
		p := pair{key: s.Value, at: tokenAt(s.GetToken(), join(a.Path, s.Value)), value: e.Value}
		if f, dup := first[p.key]; dup {
			d.errorf(tokenAt(s.GetToken(), a.Path), "key %s is given twice, first in line %d", quote(p.key), f.Line)
			continue
		}
		first[p.key] = p.at
		out = append(out, p)
	}
	return out
}

// object fills the raw struct v from a mapping.
func (d *decoder) object(n ast.Node, v reflect.Value, a at) {
	v.FieldByName("At").Set(reflect.ValueOf(a))
	members := membersOf(v.Type())
	var names []string
	byKey := map[string]*member{}
	for i := range members {
		names = append(names, members[i].key)
		byKey[members[i].key] = &members[i]
	}
	seen := map[string]bool{}
	for _, p := range d.pairs(n, a) {
		m, ok := byKey[p.key]
		if !ok {
			d.unknownKey(p, a.Path, names)
			continue
		}
		seen[p.key] = true
		d.keys[p.at.Path] = p.at
		d.value(p.value, v.Field(m.index), m, p.at)
	}
	_, isMap := entries(n)
	for i := range members {
		if m := &members[i]; !seen[m.key] {
			if m.req && isMap {
				d.errorf(a, "%s is required (%s)", m.key, m.doc)
			}
			d.absent(v.Field(m.index), m, at{Path: join(a.Path, m.key)})
		}
	}
}

func (d *decoder) unknownKey(p pair, path string, names []string) {
	a := p.at
	a.Path = path
	if w := suggest(p.key, names); w != "" {
		d.errorf(a, "unknown key %s (did you mean %s?)", quote(p.key), w)
		return
	}
	d.errorf(a, "unknown key %s", quote(p.key))
}

// absent gives a field that the file does not have its defaults.
func (d *decoder) absent(v reflect.Value, m *member, a at) {
	if s, ok := v.Addr().Interface().(scalar); ok {
		if m.def == "" {
			return
		}
		if err := s.set(unquote(m.def), a, m, false); err != nil {
			d.errorf(a, "default: %v", err)
		}
		return
	}
	if _, ok := structOf(v.Type()); ok && v.Kind() == reflect.Struct {
		members := membersOf(v.Type())
		v.FieldByName("At").Set(reflect.ValueOf(a))
		for i := range members {
			d.absent(v.Field(members[i].index), &members[i], at{Path: join(a.Path, members[i].key)})
		}
	}
}

// unquote strips the quotes that a tag writes for the reference file.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// value fills one field. key is the place of the key (or of the list's item).
func (d *decoder) value(n ast.Node, v reflect.Value, m *member, key at) {
	if n == nil || !d.plain(n, key) {
		if n == nil {
			d.plain(nil, key)
		}
		d.absent(v, m, at{Path: key.Path})
		return
	}
	switch f := v.Addr().Interface().(type) {
	case custom:
		f.load(d, n, place(n, key.Path))
		return
	case scalar:
		d.scalar(n, f, m, place(n, key.Path))
		return
	}
	switch v.Kind() {
	case reflect.Slice:
		d.list(n, v, m, key)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.object(n, v.Elem(), key)
	default:
		d.object(n, v, key)
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, m *member, a at) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.errorf(place(n, a.Path), "want a list, found %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		path := fmt.Sprintf("%s[%d]", a.Path, i)
		if item == nil {
			d.plain(nil, tokenAt(seq.GetToken(), path))
			continue
		}
		d.value(item, v.Index(i), m, place(item, path))
	}
}

func (d *decoder) scalar(n ast.Node, f scalar, m *member, a at) {
	got, s := classOther, ""
	switch t := n.(type) {
	case *ast.StringNode:
		got, s = classText, t.Value
	case *ast.IntegerNode:
		got, s = classInt, t.GetToken().Value
	case *ast.BoolNode:
		got, s = classBool, t.GetToken().Value
	}
	want := f.class()
	if got == want {
		if err := f.set(s, a, m, true); err != nil {
			d.errorf(a, "%v", err)
		}
		return
	}
	switch want {
	case classInt:
		d.errorf(a, "want a whole number, found %s", describe(n))
	case classBool:
		d.errorf(a, "want true or false, found %s", describe(n))
	case classText, classOther:
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			d.errorf(a, "%s", wantText(f, describe(n)))
		default:
			d.errorf(a, "want text, found %s", describe(n))
		}
	}
}

// wantText says what to write instead of a number or a bool.
func wantText(f scalar, found string) string {
	switch f.(type) {
	case *dur:
		return "want a time with its unit (ms, s, m, h, d), as 5s, found " + found
	case *size:
		return "want a size with its unit (KiB, MiB, GiB, TiB), as 1GiB, found " + found
	case *level:
		return "want low or high, found " + found
	}
	return "want text, found " + found + "; put it in quotes"
}

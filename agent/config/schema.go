package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
)

// Schema returns the JSON schema (draft-07) of the settings file, made from
// the same description as the decoder. It says what a schema can: keys, types,
// words, forms. References between settings are Parse's.
func Schema() []byte {
	s := objectSchema(reflect.TypeFor[rawFile]())
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "gatehouse settings"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return nil // maps, strings and numbers only: cannot happen
	}
	return b.Bytes()
}

func objectSchema(t reflect.Type) map[string]any {
	props := map[string]any{}
	var required []string
	for _, m := range membersOf(t) {
		p := memberSchema(&m)
		p["description"] = m.doc
		props[m.key] = p
		if m.req {
			required = append(required, m.key)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if required != nil {
		s["required"] = required
	}
	return s
}

func memberSchema(m *member) map[string]any {
	if m.typ.Kind() == reflect.Slice {
		item := *m
		item.typ, item.def = m.typ.Elem(), ""
		return map[string]any{"type": "array", "items": memberSchema(&item)}
	}
	switch f := reflect.New(m.typ).Interface().(type) {
	case custom:
		return f.schema()
	case scalar:
		return scalarSchema(m, f)
	}
	t, _ := structOf(m.typ)
	return objectSchema(t)
}

// scalarSchema describes one scalar. Bounds of times and sizes have no form in
// JSON schema; Parse checks them.
func scalarSchema(m *member, f scalar) map[string]any {
	s := map[string]any{"type": "string"}
	switch f.(type) {
	case *number:
		s["type"] = "integer"
		if n, err := strconv.Atoi(m.min); err == nil {
			s["minimum"] = n
		}
		if n, err := strconv.Atoi(m.max); err == nil {
			s["maximum"] = n
		}
	case *flag:
		s["type"] = "boolean"
	case *dur:
		s["pattern"] = `^[0-9.]+(ms|s|m|h|d)([0-9.]+(ms|s|m|h))*$`
	case *size:
		s["pattern"] = `^[0-9]+(KiB|MiB|GiB|TiB)$`
	case *daytime:
		s["pattern"] = `^([01][0-9]|2[0-3]):[0-5][0-9]$`
	case *level:
		s["enum"] = []string{"low", "high"}
	case *text:
		if m.enum != nil {
			s["enum"] = m.enum
		} else if p := checks[m.check].pattern; p != "" {
			s["pattern"] = p
		}
	}
	if m.def != "" {
		s["default"] = defaultValue(m, f)
	}
	return s
}

// defaultValue is the default in JSON's types.
func defaultValue(m *member, f scalar) any {
	switch f.(type) {
	case *number:
		n, _ := strconv.Atoi(m.def)
		return n
	case *flag:
		return m.def == "true"
	}
	return unquote(m.def)
}

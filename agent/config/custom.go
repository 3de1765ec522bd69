package config

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// rawModes is a reader's mode: one word, or a list of rules.
type rawModes struct {
	At    at
	Mode  text
	Rules []rawModeRule
}

// modeWords is the member of the one-word form: the mode of a rule.
func modeWords() *member {
	ms := membersOf(reflect.TypeFor[rawModeRule]())
	return &ms[1]
}

func (m *rawModes) load(d *decoder, n ast.Node, a at) {
	m.At = a
	if _, ok := n.(*ast.SequenceNode); !ok {
		d.scalar(n, &m.Mode, modeWords(), a)
		return
	}
	d.list(n, reflect.ValueOf(&m.Rules).Elem(), &member{}, a)
	if len(m.Rules) == 0 {
		d.errorf(a, "the list of modes is empty")
	}
	for i, r := range m.Rules {
		if last := i == len(m.Rules)-1; r.Schedule.Set == last {
			if last {
				d.errorf(r.At, "the last mode has no schedule: it holds at all other times")
			} else {
				d.errorf(r.At, "a mode without schedule holds always; only the last may be so")
			}
		}
	}
}

func (m *rawModes) schema() map[string]any {
	one := scalarSchema(modeWords(), &m.Mode)
	one["default"] = "card"
	return map[string]any{"oneOf": []any{one, map[string]any{
		"type": "array", "minItems": 1, "items": objectSchema(reflect.TypeFor[rawModeRule]()),
	}}}
}

func (m *rawModes) reference() string { return "card" }

// rawItems maps the items that a Hive device asks for to doors.
type rawItems struct {
	List []rawItem
}

// rawItem is one of them. Name is what the device sends.
type rawItem struct {
	Name string
	Door text
}

var itemDoor = &member{check: "id"}

func (m *rawItems) load(d *decoder, n ast.Node, a at) {
	for _, p := range d.pairs(n, a) {
		item := rawItem{Name: p.key}
		if _, err := checkLabel(p.key); err != nil {
			d.errorf(p.at, "name of an item: %v", err)
		}
		if d.plain(p.value, p.at) {
			d.scalar(p.value, &item.Door, itemDoor, place(p.value, p.at.Path))
		}
		m.List = append(m.List, item)
	}
}

func (m *rawItems) schema() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string", "pattern": checks["id"].pattern}}
}

func (m *rawItems) reference() string { return "{shed_door: front}" }

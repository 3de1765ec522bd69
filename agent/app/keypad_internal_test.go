package app

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
)

func TestKeypad(t *testing.T) {
	const pause = '_' // longer than a keypad remembers
	for _, tt := range []struct {
		name, keys string
		want       []string
	}{
		{"entered", "4711#", []string{"4711"}},
		{"not entered", "4711", nil},
		{"enter alone", "##", nil},
		{"cleared", "99*4711#", []string{"4711"}},
		{"clear alone", "*4711#", []string{"4711"}},
		{"two", "1234#5678#", []string{"1234", "5678"}},
		{"full without enter", "123456789012", []string{"123456789012"}},
		{"full, then more", "1234567890123#", []string{"123456789012", "3"}},
		{"forgotten", "47_11#", []string{"11"}},
		{"forgotten before enter", "4711_#", nil},
		{"short", "1#", []string{"1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var k keypad
			var got []string
			at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
			for _, c := range tt.keys {
				at = at.Add(time.Second)
				var key card.Key
				switch c {
				case pause:
					at = at.Add(keyGap)
					continue
				case '*':
					key = card.KeyClear
				case '#':
					key = card.KeyEnter
				default:
					key = card.Key(c - '0')
				}
				if pin, ok := k.key(key, at); ok {
					got = append(got, string(pin))
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

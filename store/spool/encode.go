package spool

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"gatehouse/agent/site"
)

// appendEvent appends the payload of an event that has its place: byte for byte
// what encoding/json makes of it, which a test compares field by field. It is
// written out because making the payload was most of what keeping an event
// cost. ev comes from clean.
func appendEvent(b []byte, ev *site.Event) []byte {
	b = append(b, `{"log":`...)
	b = appendText(b, string(ev.Log))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, uint64(ev.Seq), 10)
	b = append(b, `,"time":`...)
	b = appendTime(b, ev.Time)
	b = append(b, `,"trusted":`...)
	b = strconv.AppendBool(b, ev.Trusted)
	b = appendField(b, `,"kind":`, string(ev.Kind))
	b = appendField(b, `,"door":`, string(ev.Door))
	b = appendField(b, `,"reader":`, string(ev.Reader))
	b = appendField(b, `,"reason":`, string(ev.Reason))
	b = appendField(b, `,"holder":`, ev.Holder)
	b = appendField(b, `,"card":`, ev.Card.String())
	b = appendField(b, `,"by":`, ev.By)
	b = appendField(b, `,"source":`, string(ev.Source))
	if ev.Cleared {
		b = append(b, `,"cleared":true`...)
	}
	b = appendOptional(b, `,"holder_id":`, string(ev.HolderID))
	b = appendOptional(b, `,"credential":`, string(ev.Credential))
	b = appendOptional(b, `,"device":`, string(ev.Device))
	b = appendOptional(b, `,"item":`, ev.Item)
	b = appendOptional(b, `,"area":`, string(ev.Area))
	b = appendOptional(b, `,"mode":`, ev.Mode)
	if !ev.Until.IsZero() {
		b = append(b, `,"until":`...)
		b = appendTime(b, ev.Until)
	}
	b = appendCount(b, `,"count":`, ev.Count)
	b = appendOptional(b, `,"text":`, ev.Text)
	b = appendOptional(b, `,"code":`, ev.Code)
	b = appendOptional(b, `,"data":`, ev.Data)
	b = appendOptional(b, `,"lock_time":`, ev.LockTime)
	b = appendOptional(b, `,"as":`, string(ev.As))
	if len(ev.Sealed) > 0 {
		b = append(b, `,"sealed":"`...)
		b = base64.StdEncoding.AppendEncode(b, ev.Sealed)
		b = append(b, '"')
	}
	return append(appendCount(b, `,"change":`, ev.Change), '}')
}

func appendField(b []byte, name, s string) []byte {
	return appendText(append(b, name...), s)
}

// appendOptional appends nothing for an empty text.
func appendOptional(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendField(b, name, s)
}

func appendCount(b []byte, name string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(append(b, name...), n, 10)
}

// appendTime appends a time in UTC that clean has let pass.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// appendText appends a text as encoding/json does. A text with anything that
// wants an escape is left to encoding/json itself.
func appendText(b []byte, s string) []byte {
	if !plain(s) {
		quoted, err := json.Marshal(s)
		if err != nil { // a string never fails
			return append(b, `""`...)
		}
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// plain reports whether encoding/json writes s as it is.
func plain(s string) bool {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
			return false
		}
		i += n
	}
	return true
}

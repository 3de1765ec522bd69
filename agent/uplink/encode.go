package uplink

import "strconv"

// appendEvent appends an event as it goes on the wire: byte for byte what
// marshal makes of its wire form, which a test and a fuzz target compare. It is
// written out because encoding was much of what sending an event cost. Whatever
// the message holds, the result passes the schema of events; that is tested
// too, and not checked again for each event.
func appendEvent(b []byte, id uint32, m Message) []byte {
	b = append(b, `{"eventId":`...)
	b = strconv.AppendUint(b, uint64(id), 10)
	b = append(b, `,"event":{"eventType":`...)
	b = appendText(b, m.Type)
	b = append(b, `,"source":`...)
	b = appendText(b, string(m.Source))
	b = append(b, `,"deviceId":`...)
	b = appendText(b, m.DeviceID)
	b = append(b, `,"eventBody":`...)
	b = appendText(b, m.Body)
	return append(b, "}}"...)
}

// appendText appends a text as marshal does. One with anything but ASCII that
// can be printed is left to encoding/json.
func appendText(b []byte, s string) []byte {
	start := len(b)
	b = append(b, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c < ' ' || c > '~':
			return appendQuoted(b[:start], s)
		case c == '"' || c == '\\':
			b = append(b, s[done:i]...)
			b = append(b, '\\')
			done = i
		}
	}
	b = append(b, s[done:]...)
	return append(b, '"')
}

func appendQuoted(b []byte, s string) []byte {
	quoted, err := marshal(s)
	if err != nil { // a string never fails
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

// eventSize is about the size of an event's frame: its fixed text, its number,
// and as many escapes as a body of ours has.
func eventSize(m Message) int {
	return 128 + len(m.Type) + len(m.Source) + len(m.DeviceID) + len(m.Body)*5/4
}

package link

import (
	"bytes"

	"gatehouse/agent/hive"
)

// splitter cuts the bytes of a serial line into messages. It holds at most one
// message of hive.MaxBytes; what is longer is dropped up to its end.
type splitter struct {
	held     []byte
	dropping bool
}

// reset forgets what was begun.
func (s *splitter) reset() { s.held, s.dropping = s.held[:0], false }

// feed takes the next bytes and calls message for each line that they end,
// without its "\n" or "\r\n", and dropped for each line that was too long. Empty
// lines are skipped. The slice is message's until it returns.
func (s *splitter) feed(b []byte, message func([]byte), dropped func()) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		part, ended := b, i >= 0
		if ended {
			part, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if !s.dropping && len(s.held)+len(part) > hive.MaxBytes+1 { // 1 for a "\r"
			s.dropping, s.held = true, nil
			dropped()
		}
		if s.dropping {
			s.dropping = !ended
			continue
		}
		s.held = append(s.held, part...)
		if ended {
			if line := bytes.TrimSuffix(s.held, []byte("\r")); len(line) > 0 {
				message(line)
			}
			s.held = s.held[:0]
		}
	}
}

package store

import (
	"encoding/binary"
	"errors"
	"time"

	"gatehouse/agent/site"
)

// The payloads of the smaller records. Each starts with its version, 1.

func appendHolder(dst []byte, source byte, name string) []byte {
	return appendText(append(dst, 1, source), name)
}

func decodeHolder(b []byte) (source byte, name string, err error) {
	d := decoder{b: b}
	v := d.byte()
	source, name = d.byte(), d.text()
	if v != 1 {
		d.fail(errors.New("holder record version is not known"))
	}
	return source, name, d.end()
}

func appendLevel(dst []byte, l *site.Level) []byte {
	return appendRights(appendText(append(dst, 1), l.Name), l.Rights)
}

func decodeLevel(b []byte, in *interner, l *site.Level) error {
	d := decoder{b: b, in: in}
	v := d.byte()
	l.Name, l.Rights = d.text(), d.rights()
	if v != 1 {
		d.fail(errors.New("level record version is not known"))
	}
	return d.end()
}

func appendSchedule(dst []byte, s *site.Schedule) []byte {
	ignore := byte(0)
	if s.IgnoreHolidays {
		ignore = 1
	}
	dst = append(appendText(append(dst, 1), s.Name), ignore)
	dst = binary.AppendUvarint(dst, uint64(len(s.Intervals)))
	for _, iv := range s.Intervals {
		dst = append(dst, byte(iv.Days))
		dst = binary.AppendUvarint(dst, uint64(iv.Start))
		dst = binary.AppendUvarint(dst, uint64(iv.End))
	}
	return dst
}

const maxIntervals = 256

func decodeSchedule(b []byte, in *interner, s *site.Schedule) error {
	d := decoder{b: b, in: in}
	v := d.byte()
	s.Name = d.text()
	ignore := d.byte()
	n := d.count(maxIntervals)
	for range n {
		iv := site.Interval{Days: site.Days(d.byte()), Start: d.count(1439), End: d.count(1440)}
		s.Intervals = append(s.Intervals, iv)
		if d.err != nil {
			break
		}
	}
	s.IgnoreHolidays = ignore == 1
	if v != 1 || ignore > 1 {
		d.fail(errors.New("schedule record version or flag is not known"))
	}
	return d.end()
}

func appendDate(dst []byte, d site.Date) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.Year))
	return append(dst, byte(d.Month), byte(d.Day))
}

func (d *decoder) date() site.Date {
	return site.Date{Year: d.count(9999), Month: time.Month(d.byte()), Day: int(d.byte())}
}

func appendHoliday(dst []byte, h *site.Holiday) []byte {
	return appendDate(appendDate(appendText(append(dst, 1), h.Name), h.First), h.Last)
}

func decodeHoliday(b []byte, in *interner, h *site.Holiday) error {
	d := decoder{b: b, in: in}
	v := d.byte()
	h.Name, h.First, h.Last = d.text(), d.date(), d.date()
	if v != 1 {
		d.fail(errors.New("holiday record version is not known"))
	}
	return d.end()
}

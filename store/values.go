package store

import (
	"encoding/binary"
	"errors"
	"time"

	"gatehouse/agent/site"
)

// The payloads of the smaller records. Each starts with its version. Schedules and
// holidays are written in version 2; those of version 1 knew no kinds of holidays:
// days in one byte, and no kind.

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
	dst = append(appendText(append(dst, 2), s.Name), ignore)
	dst = binary.AppendUvarint(dst, uint64(len(s.Intervals)))
	for _, iv := range s.Intervals {
		dst = binary.AppendUvarint(dst, uint64(iv.Days))
		dst = binary.AppendUvarint(dst, uint64(iv.Start))
		dst = binary.AppendUvarint(dst, uint64(iv.End))
	}
	return dst
}

const maxIntervals = 256

// allDays are the days of the week and the holidays of all kinds.
const allDays = site.AllDays | (1<<site.HolidayKinds-1)<<7

func decodeSchedule(b []byte, in *interner, s *site.Schedule) error {
	d := decoder{b: b, in: in}
	v := d.byte()
	s.Name = d.text()
	ignore := d.byte()
	n := d.count(maxIntervals)
	for range n {
		var iv site.Interval
		if v == 1 {
			iv.Days = site.Days(d.byte())
		} else {
			iv.Days = site.Days(d.count(int(allDays)))
		}
		iv.Start, iv.End = d.count(1439), d.count(1440)
		s.Intervals = append(s.Intervals, iv)
		if d.err != nil {
			break
		}
	}
	s.IgnoreHolidays = ignore == 1
	if v != 1 && v != 2 || ignore > 1 {
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
	dst = appendDate(appendDate(appendText(append(dst, 2), h.Name), h.First), h.Last)
	return append(dst, byte(h.HolidayKind()))
}

func decodeHoliday(b []byte, in *interner, h *site.Holiday) error {
	d := decoder{b: b, in: in}
	v := d.byte()
	h.Name, h.First, h.Last, h.Kind = d.text(), d.date(), d.date(), 1
	if v == 2 {
		h.Kind = int(d.byte())
	}
	if v != 1 && v != 2 || h.Kind < 1 || h.Kind > site.HolidayKinds {
		d.fail(errors.New("holiday record version or kind is not known"))
	}
	return d.end()
}

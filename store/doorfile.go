package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// A door file of the IP host is kept as the host sent it, door by door: who may
// pass, how and when belongs to the door and not to the card, for another file may
// say something else of the same card. The table of files (bucketFile) has a record
// for each door that has one: its lists, and the number of the bucket with its
// cards. So a file is replaced by filling a bucket beside it and one small commit.

// srcIPHost is the code of site.SourceIPHost.
const srcIPHost = 2

// DoorFile is what the IP host's door file says of a door beside its cards. It is
// shared and must not be changed.
type DoorFile struct {
	Door      site.DoorID
	Cards     int
	Schedules []site.Interval // schedule n is at n-1
	Holidays  []swordfish.Holiday
	Auto      []swordfish.Auto

	gen uint32 // of the bucket with its cards
}

// Asks returns the mode that the file asks of its door at now, a time in the site's
// zone, and since when: passage or secured by the last of the autoUnlock changes, in
// a holiday by that. It is false where the file asks nothing. What an operator
// ordered at the door comes before it, and while the clock is not trusted it must
// not be asked (door.md, Modes and Untrusted clock).
func (f *DoorFile) Asks(now time.Time) (mode site.Mode, since time.Time, ok bool) {
	if h := f.holiday(now); h != nil {
		if h.Action == swordfish.HolidayPassage {
			return site.ModePassage, h.Start, true
		}
		return site.ModeSecured, h.Start, true
	}
	for back := range 8 { // today, and each day of the week before
		day := now.AddDate(0, 0, -back)
		var last *swordfish.Auto
		for i := range f.Auto {
			a := &f.Auto[i]
			if a.Days.Has(day.Weekday()) && (last == nil || a.Minute >= last.Minute) && !atMinute(day, a.Minute).After(now) {
				last = a
			}
		}
		if last == nil {
			continue
		}
		if last.Unlock {
			mode = site.ModePassage
		}
		return mode, atMinute(day, last.Minute), true
	}
	return site.ModeSecured, time.Time{}, false
}

// atMinute is when a wall clock of day's zone shows the minute on that day.
func atMinute(day time.Time, minute int) time.Time {
	y, m, d := day.Date()
	return time.Date(y, m, d, minute/60, minute%60, 0, 0, day.Location())
}

// holiday returns the holiday of now; of several the strictest.
func (f *DoorFile) holiday(now time.Time) *swordfish.Holiday {
	var out *swordfish.Holiday
	for i := range f.Holidays {
		h := &f.Holidays[i]
		if !now.Before(h.Start) && now.Before(h.End) && (out == nil || h.Action < out.Action) {
			out = h
		}
	}
	return out
}

// fileSchedule is the id of schedule n, from 1, of a door's file.
func fileSchedule(door site.DoorID, n int) site.ScheduleID {
	return site.ScheduleID(string(door) + "." + strconv.Itoa(n))
}

// allWeek reports whether an interval never ends.
func allWeek(iv site.Interval) bool {
	return iv.Days&site.AllDays == site.AllDays && (iv.End-iv.Start == 1440 || iv.End == iv.Start)
}

// fileCard is one card of a door file.
type fileCard struct {
	enc         [16]byte
	user        uint16
	schedules   uint16 // bit n-1 stands for schedule n
	function    site.Function
	ada         bool
	from, until int64 // Unix; 0: none
}

const (
	flagFileADA   = 1 << 4 // above the function
	flagFileFrom  = 1 << 5
	flagFileUntil = 1 << 6
)

func appendFileCard(dst []byte, c *fileCard) []byte {
	flags := byte(c.function)
	if c.ada {
		flags |= flagFileADA
	}
	if c.from != 0 {
		flags |= flagFileFrom
	}
	if c.until != 0 {
		flags |= flagFileUntil
	}
	dst = append(dst, 1, flags)
	dst = binary.LittleEndian.AppendUint16(dst, c.user)
	dst = binary.LittleEndian.AppendUint16(dst, c.schedules)
	if c.from != 0 {
		dst = binary.AppendVarint(dst, c.from)
	}
	if c.until != 0 {
		dst = binary.AppendVarint(dst, c.until)
	}
	return dst
}

func decodeFileCard(key, b []byte, c *fileCard) error {
	if len(key) != len(c.enc) {
		return fmt.Errorf("card of a door file: key of %d bytes", len(key))
	}
	d := decoder{b: b}
	v, flags := d.byte(), d.byte()
	*c = fileCard{enc: [16]byte(key), function: site.Function(flags & 0x0F), ada: flags&flagFileADA != 0}
	if n := d.take(4); n != nil {
		c.user, c.schedules = binary.LittleEndian.Uint16(n), binary.LittleEndian.Uint16(n[2:])
	}
	if flags&flagFileFrom != 0 {
		c.from = d.time().Unix()
	}
	if flags&flagFileUntil != 0 {
		c.until = d.time().Unix()
	}
	if v != 1 || flags&0x80 != 0 || c.function > site.FunctionBlocked || c.user == 0 {
		d.fail(errors.New("card of a door file: version, flags or user are not known"))
	}
	return d.end()
}

func appendDoorFile(dst []byte, f *DoorFile) []byte {
	dst = binary.LittleEndian.AppendUint32(append(dst, 1), f.gen)
	dst = binary.AppendUvarint(dst, uint64(f.Cards))
	dst = append(dst, byte(len(f.Schedules)))
	for _, iv := range f.Schedules {
		dst = append(dst, byte(iv.Days))
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(iv.Start)), uint64(iv.End))
	}
	dst = append(dst, byte(len(f.Holidays)))
	for _, h := range f.Holidays {
		dst = append(dst, byte(h.Action))
		dst = binary.AppendVarint(binary.AppendVarint(dst, h.Start.Unix()), h.End.Unix())
	}
	dst = append(dst, byte(len(f.Auto)))
	for _, a := range f.Auto {
		unlock := byte(0)
		if a.Unlock {
			unlock = 1
		}
		dst = binary.AppendUvarint(append(dst, unlock, byte(a.Days)), uint64(a.Minute))
	}
	return dst
}

func decodeDoorFile(key, b []byte, f *DoorFile) error {
	d := decoder{b: b}
	v := d.byte()
	*f = DoorFile{Door: site.DoorID(key)}
	if n := d.take(4); n != nil {
		f.gen = binary.LittleEndian.Uint32(n)
	}
	f.Cards = d.count(swordfish.MaxUserID)
	for range d.list(swordfish.MaxSchedules) {
		f.Schedules = append(f.Schedules, site.Interval{Days: site.Days(d.byte()), Start: d.count(1439), End: d.count(1440)})
	}
	for range d.list(swordfish.MaxHolidays) {
		f.Holidays = append(f.Holidays, swordfish.Holiday{Action: swordfish.HolidayAction(d.byte()), Start: d.time(), End: d.time()})
	}
	for range d.list(swordfish.MaxAuto) {
		f.Auto = append(f.Auto, swordfish.Auto{Unlock: d.byte() == 1, Days: site.Days(d.byte()), Minute: d.count(1439)})
	}
	if v != 1 || len(key) == 0 {
		d.fail(errors.New("door file: version or door are not known"))
	}
	return d.end()
}

// list reads the length of a list.
func (d *decoder) list(limit int) int {
	n := int(d.byte())
	if n > limit {
		d.fail(fmt.Errorf("list of %d", n))
		return 0
	}
	return n
}

// fileBucket is the name of the bucket with the cards of a file.
func fileBucket(gen uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{codeFileCard}, gen)
}

// readFiles reads the table of files into the policy.
func (s *Store) readFiles(tx *bbolt.Tx, p *Policy) error {
	return eachIn(tx, bucketFile, func(k, b []byte) error {
		var f DoorFile
		if err := decodeDoorFile(k, b, &f); err != nil {
			return asDamage(err)
		}
		p.Files = append(p.Files, f)
		for i, iv := range f.Schedules {
			// The host sends its own holidays: the site's do not suspend its rights.
			p.Schedules = append(p.Schedules, site.Schedule{ID: fileSchedule(f.Door, i+1), Source: site.SourceIPHost,
				Intervals: []site.Interval{iv}, IgnoreHolidays: true})
		}
		return nil
	})
}

// tableEntry returns the record of a door in the table, or none.
func tableEntry(tx *bbolt.Tx, door string) (f DoorFile, found bool, err error) {
	b := tx.Bucket(bucketFile)
	if b == nil {
		return f, false, damaged("table of door files is missing")
	}
	v := b.Get([]byte(door))
	if v == nil {
		return f, false, nil
	}
	p, err := openValue(codeFile, []byte(door), v)
	if err == nil {
		err = decodeDoorFile([]byte(door), p, &f)
	}
	if err != nil {
		return f, false, damaged("door file: %w", err)
	}
	return f, true, nil
}

// putEntry writes the record of a door in the table.
func putEntry(tx *bbolt.Tx, f *DoorFile) error {
	b := tx.Bucket(bucketFile)
	if b == nil {
		return damaged("table of door files is missing")
	}
	key := []byte(f.Door)
	return b.Put(key, appendValue(nil, codeFile, key, appendDoorFile(nil, f)))
}

// The content of a change has the lists of a door's record, then its cards, each
// named by its door and its block. The number of the bucket and the count of cards
// are not taken from there: they are others after a recovery.

// applyFile takes the lists of a door's file as a content has them. A door without
// a file gets one.
func applyFile(tx *bbolt.Tx, key, value []byte) error {
	if value == nil {
		return errors.New("content: a door file is not removed")
	}
	p, err := openValue(codeFile, key, value)
	if err != nil {
		return damaged("content: %w", err)
	}
	var f DoorFile
	if err := decodeDoorFile(key, p, &f); err != nil {
		return fmt.Errorf("content: %w", err)
	}
	old, found, err := tableEntry(tx, string(key))
	if err != nil {
		return err
	}
	f.gen, f.Cards = old.gen, old.Cards
	if !found {
		if f.gen, err = freeFile(tx); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(fileBucket(f.gen)); err != nil {
			return err
		}
	}
	return putEntry(tx, &f)
}

func fileContentKey(door site.DoorID, enc [16]byte) []byte {
	return append(append([]byte{byte(len(door))}, door...), enc[:]...)
}

// applyFileCard puts or removes a card of a file as a content has it.
func applyFileCard(tx *bbolt.Tx, key, value []byte) error {
	if len(key) < 1 || len(key) != 1+int(key[0])+16 {
		return fmt.Errorf("content: key of %d bytes", len(key))
	}
	f, found, err := tableEntry(tx, string(key[1:1+key[0]]))
	if err != nil {
		return err
	}
	if !found {
		return errors.New("content: card of a door without a file")
	}
	b := tx.Bucket(fileBucket(f.gen))
	if b == nil {
		return damaged("cards of a door file are missing")
	}
	enc := bytes.Clone(key[1+key[0]:])
	had := b.Get(enc) != nil
	if value == nil {
		if had {
			f.Cards--
		}
		return errors.Join(b.Delete(enc), putEntry(tx, &f))
	}
	p, err := openValue(codeFileCard, key, value)
	if err != nil {
		return damaged("content: %w", err)
	}
	if !had {
		f.Cards++
	}
	return errors.Join(b.Put(enc, appendValue(nil, codeFileCard, enc, p)), putEntry(tx, &f))
}

package store

import (
	"slices"
	"time"

	"gatehouse/agent/site"
)

// dropID checks that the source has the record and returns its key.
func (c *change) dropID(code byte, field, id string) ([]byte, error) {
	key := idKey(c.src, id)
	p, err := c.get(code, key)
	if err == nil && p == nil {
		err = fieldErr(field, "%.64q: %w", id, ErrNotFound)
	}
	return key, err
}

func (o PutLevel) apply(c *change) (string, string, error) {
	l := o.Level
	if err := site.CheckID(string(l.ID)); err != nil {
		return "", "", fieldErr("level", "%w", err)
	}
	if len(l.Name) > 0 {
		if err := checkName("name", l.Name); err != nil {
			return "", "", err
		}
	}
	if err := c.checkRights(l.Rights, nil); err != nil {
		return "", "", err
	}
	text := "level " + string(l.ID) + " set"
	return string(l.ID), text, c.put(codeLevel, idKey(c.src, string(l.ID)), appendLevel(nil, &l))
}

func (o DeleteLevel) apply(c *change) (string, string, error) {
	key, err := c.dropID(codeLevel, "level", string(o.ID))
	if err != nil {
		return "", "", err
	}
	err = c.eachCredential(func(k []byte, rec *credential) error {
		if slices.Contains(rec.Levels, o.ID) {
			ck := credKey(k)
			return fieldErr("level", "credential %s still has it", ck.id())
		}
		return nil
	})
	if err != nil {
		return "", "", err
	}
	return string(o.ID), "level " + string(o.ID) + " removed", c.del(codeLevel, key)
}

func (o PutSchedule) apply(c *change) (string, string, error) {
	v := o.Schedule
	if err := site.CheckID(string(v.ID)); err != nil {
		return "", "", fieldErr("schedule", "%w", err)
	}
	if len(v.Name) > 0 {
		if err := checkName("name", v.Name); err != nil {
			return "", "", err
		}
	}
	if len(v.Intervals) > maxIntervals {
		return "", "", fieldErr("intervals", "more than %d", maxIntervals)
	}
	for _, iv := range v.Intervals {
		if iv.Days == 0 || iv.Days&^allDays != 0 {
			return "", "", fieldErr("intervals", "days are missing")
		}
		if v.IgnoreHolidays && iv.Days&^site.AllDays != 0 {
			return "", "", fieldErr("intervals", "name holidays, which the schedule ignores")
		}
		if iv.Start < 0 || iv.Start > 1439 || iv.End < 1 || iv.End > 1440 {
			return "", "", fieldErr("intervals", "want start 0 to 1439 and end 1 to 1440 minutes")
		}
	}
	text := "schedule " + string(v.ID) + " set"
	return string(v.ID), text, c.put(codeSchedule, idKey(c.src, string(v.ID)), appendSchedule(nil, &v))
}

func (o DeleteSchedule) apply(c *change) (string, string, error) {
	key, err := c.dropID(codeSchedule, "schedule", string(o.ID))
	if err != nil {
		return "", "", err
	}
	uses := func(rights []site.Right) bool {
		return slices.ContainsFunc(rights, func(r site.Right) bool { return r.Schedule == o.ID })
	}
	err = eachIn(c.tx, bucketLevel, func(k, p []byte) error {
		var l site.Level
		if err := decodeLevel(p, &c.s.in, &l); err != nil {
			return asDamage(err)
		}
		if uses(l.Rights) {
			return fieldErr("schedule", "level %s still has it", k[1:])
		}
		return nil
	})
	if err != nil {
		return "", "", err
	}
	err = c.eachCredential(func(k []byte, rec *credential) error {
		if uses(rec.Rights) {
			ck := credKey(k)
			return fieldErr("schedule", "credential %s still has it", ck.id())
		}
		return nil
	})
	if err != nil {
		return "", "", err
	}
	return string(o.ID), "schedule " + string(o.ID) + " removed", c.del(codeSchedule, key)
}

func realDate(d site.Date) bool {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)
	return d.Year >= 1 && d.Year <= 9999 && site.DateOf(t) == d
}

func (o PutHoliday) apply(c *change) (string, string, error) {
	v := o.Holiday
	if err := site.CheckID(string(v.ID)); err != nil {
		return "", "", fieldErr("holiday", "%w", err)
	}
	if len(v.Name) > 0 {
		if err := checkName("name", v.Name); err != nil {
			return "", "", err
		}
	}
	switch {
	case !realDate(v.First):
		return "", "", fieldErr("first", "is not a real day")
	case !realDate(v.Last):
		return "", "", fieldErr("last", "is not a real day")
	case v.Last.Compare(v.First) < 0:
		return "", "", fieldErr("last", "is before first")
	case v.Kind < 0 || v.Kind > site.HolidayKinds:
		return "", "", fieldErr("kind", "want 1 to %d", site.HolidayKinds)
	}
	text := "holiday " + string(v.ID) + " set"
	return string(v.ID), text, c.put(codeHoliday, idKey(c.src, string(v.ID)), appendHoliday(nil, &v))
}

func (o DeleteHoliday) apply(c *change) (string, string, error) {
	key, err := c.dropID(codeHoliday, "holiday", string(o.ID))
	if err != nil {
		return "", "", err
	}
	return string(o.ID), "holiday " + string(o.ID) + " removed", c.del(codeHoliday, key)
}

package store

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// rowParser turns rows into records. It keeps what repeats.
type rowParser struct {
	s         *Store
	src       byte
	formats   *card.Set
	doors     func(site.DoorID) bool
	schedules map[site.ScheduleID]bool
	levels    map[site.LevelID]bool
	rights    map[string][]site.Right
	levelSets map[string][]site.LevelID
}

// maxRemembered bounds what the parser keeps.
const maxRemembered = 4096

// parsed is a row that was understood. rec.Holder is not set.
type parsed struct {
	key    credKey
	rec    credential
	has    uint16
	holder string
}

func (p *rowParser) parse(row *Row, out *parsed) error {
	*out = parsed{has: row.has, holder: row.values[colHolder]}
	if out.holder != "" {
		if err := checkName("holder", out.holder); err != nil {
			return err
		}
	}
	if err := p.card(row, out); err != nil {
		return err
	}
	v := &row.values
	var err error
	if out.rec.Function, err = site.ParseFunction(v[colFunction]); err != nil {
		return fieldErr("function", "is not known")
	}
	switch v[colADA] {
	case "", "false", "0", "no":
	case "true", "1", "yes":
		out.rec.ADA = true
	default:
		return fieldErr("ada", "want true or false")
	}
	if v[colUses] != "" {
		n, err := strconv.ParseUint(v[colUses], 10, 32)
		if err != nil {
			return fieldErr("uses", "want a number up to 4294967295")
		}
		out.rec.Uses = uint32(n)
	}
	if out.rec.From, err = parseTime("from", v[colFrom]); err != nil {
		return err
	}
	if out.rec.Until, err = parseTime("until", v[colUntil]); err != nil {
		return err
	}
	if f, u := out.rec.From, out.rec.Until; !f.IsZero() && !u.IsZero() && !f.Before(u) {
		return fieldErr("until", "is not after from")
	}
	if out.rec.Rights, err = p.parseRights(v[colRights]); err != nil {
		return err
	}
	if out.rec.Levels, err = p.parseLevels(v[colLevel]); err != nil {
		return err
	}
	return p.pins(row, out)
}

func parseTime(field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() < minUnix || t.Unix() > maxUnix {
		return time.Time{}, fieldErr(field, "want a time as 2026-01-31T08:00:00Z")
	}
	return t.UTC(), nil
}

func (p *rowParser) pins(row *Row, out *parsed) error {
	c := change{s: p.s}
	pin, duress := row.values[colPIN], row.values[colDuressPIN]
	if duress != "" && pin == "" {
		return fieldErr("duress_pin", "needs a pin")
	}
	return c.pins(&out.key, &out.rec, pin, duress, false)
}

// card finds the bits of a row: of a format with facility and card, or raw.
func (p *rowParser) card(row *Row, out *parsed) error {
	v := &row.values
	name := v[colFormat]
	var bits card.Bits
	var err error
	switch {
	case name == "raw" || name == "" && v[colBits] != "":
		if v[colFacility] != "" || v[colCard] != "" {
			return fieldErr("card", "does not go with format raw")
		}
		if bits, err = card.ParseBits(v[colBits]); err != nil {
			return fieldErr("bits", "%w", err)
		}
		name = "raw"
	case name == "":
		return fieldErr("format", "is missing")
	default:
		if v[colBits] != "" {
			return fieldErr("bits", "goes with format raw only")
		}
		f, ok := p.formats.ByName(name)
		if !ok {
			return fieldErr("format", "%.32q is not known", name)
		}
		var n card.Number
		if n.Card, err = strconv.ParseUint(v[colCard], 10, 64); err != nil {
			return fieldErr("card", "want a decimal number")
		}
		if v[colFacility] != "" {
			if n.Facility, err = strconv.ParseUint(v[colFacility], 10, 64); err != nil {
				return fieldErr("facility", "want a decimal number")
			}
			n.HasFacility = true
		}
		if bits, err = f.Encode(n); err != nil {
			if !n.HasFacility && f.Spec().Facility.Len > 0 {
				return fieldErr("facility", "is missing")
			}
			return fieldErr("card", "%w", err)
		}
		name, out.rec.Last2 = f.Name(), n.Last2()
	}
	block, err := bits.Block()
	if err != nil {
		return fieldErr("bits", "%w", err)
	}
	out.rec.Format = name
	out.key = p.s.cardKey(block, bits.Len(), p.src)
	return nil
}

func (p *rowParser) parseRights(s string) ([]site.Right, error) {
	if s == "" {
		return nil, nil
	}
	if r, ok := p.rights[s]; ok {
		return r, nil
	}
	var out []site.Right
	for part := range strings.SplitSeq(s, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		door, sched, at := strings.Cut(part, "@")
		r := site.Right{Door: site.DoorID(door), Schedule: site.ScheduleID(sched)}
		if err := site.CheckID(door); err != nil {
			return nil, fieldErr("rights", "door: %w", err)
		}
		if p.doors != nil && !p.doors(r.Door) {
			return nil, fieldErr("rights", "door %q: %w", door, ErrNotFound)
		}
		if at && !p.schedules[r.Schedule] {
			return nil, fieldErr("rights", "schedule %.64q: %w", sched, ErrNotFound)
		}
		if slices.Contains(out, r) {
			return nil, fieldErr("rights", "door %q is named twice with the same schedule", door)
		}
		if out = append(out, r); len(out) > maxRights {
			return nil, fieldErr("rights", "more than %d", maxRights)
		}
	}
	if len(p.rights) < maxRemembered {
		p.rights[strings.Clone(s)] = out
	}
	return out, nil
}

func (p *rowParser) parseLevels(s string) ([]site.LevelID, error) {
	if s == "" {
		return nil, nil
	}
	if l, ok := p.levelSets[s]; ok {
		return l, nil
	}
	var out []site.LevelID
	for part := range strings.SplitSeq(s, ";") {
		l := site.LevelID(strings.TrimSpace(part))
		if l == "" {
			continue
		}
		if !p.levels[l] {
			return nil, fieldErr("level", "%.64q: %w", l, ErrNotFound)
		}
		if slices.Contains(out, l) {
			return nil, fieldErr("level", "%q is named twice", l)
		}
		if out = append(out, l); len(out) > maxLevels {
			return nil, fieldErr("level", "more than %d", maxLevels)
		}
	}
	if len(p.levelSets) < maxRemembered {
		p.levelSets[strings.Clone(s)] = out
	}
	return out, nil
}

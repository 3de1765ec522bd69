package store

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Columns of an import and an export (contract.md, Import and export).
const (
	colHolder = iota
	colFormat
	colFacility
	colCard
	colBits
	colPIN
	colDuressPIN
	colFunction
	colADA
	colUses
	colLevel
	colRights
	colFrom
	colUntil
	columns
)

var columnNames = [columns]string{"holder", "format", "facility", "card", "bits", "pin", "duress_pin",
	"function", "ada", "uses", "level", "rights", "from", "until"}

// Limits of an import. They bound memory and time.
const (
	MaxImportRows  = 2_000_000
	MaxImportBytes = 1 << 30
	maxRowBytes    = 64 << 10
)

// Row is one record of an import as text. It holds card numbers and PINs in
// clear: it never prints, and it is kept only while its record is made.
type Row struct {
	values [columns]string
	has    uint16 // bit set of the columns that were given
}

// String says what it is, never what it holds.
func (Row) String() string { return "import row" }

// Format writes String whatever the verb is.
func (r Row) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// Set sets a column by its name, for those who make rows by themselves.
func (r *Row) Set(column, value string) error {
	i := slices.Index(columnNames[:], column)
	if i < 0 {
		return fmt.Errorf("column %.32q is not known", column)
	}
	r.values[i] = value
	r.has |= 1 << i
	return nil
}

// Rows gives the rows of an import one by one. Next returns io.EOF at the end
// and a *RecordError, with Record from 1, for a row that cannot be read; after
// any error there are no more rows. An import calls it on one goroutine of its own,
// and returns after the last call has.
type Rows interface {
	Next(*Row) error
}

// boundReader fails when more than a row's worth of bytes is read without a
// row, or more than an import's in all.
type boundReader struct {
	r     io.Reader
	total int64
	row   int64 // offset of the row that is being read
}

var (
	errRowTooLong  = fmt.Errorf("longer than %d bytes", maxRowBytes)
	errFileTooLong = fmt.Errorf("file is longer than %d bytes", MaxImportBytes)
)

func (b *boundReader) Read(p []byte) (int, error) {
	if b.total-b.row > maxRowBytes+64<<10 { // what the parser reads ahead
		return 0, errRowTooLong
	}
	if b.total > MaxImportBytes {
		return 0, errFileTooLong
	}
	if len(p) > 32<<10 {
		p = p[:32<<10]
	}
	n, err := b.r.Read(p)
	b.total += int64(n)
	return n, err
}

// CSVRows reads an import in CSV with a header.
type CSVRows struct {
	b    *boundReader
	r    *csv.Reader
	cols []int
	n    int
	end  error // what every further call gives
}

// NewCSV reads the header. Columns stand in any order, missing ones are
// allowed, unknown ones and repeated ones are errors.
func NewCSV(r io.Reader) (*CSVRows, error) {
	b := &boundReader{r: r}
	br := bufio.NewReaderSize(b, 32<<10)
	if bom, err := br.Peek(3); err == nil && string(bom) == "\uFEFF" {
		_, _ = br.Discard(3)
	}
	c := &CSVRows{b: b, r: csv.NewReader(br)}
	c.r.ReuseRecord = true
	head, err := c.r.Read()
	if err != nil {
		return nil, fmt.Errorf("import: header: %w", csvCause(err))
	}
	seen := uint16(0)
	for _, name := range head {
		i := slices.Index(columnNames[:], strings.TrimSpace(name))
		if i < 0 {
			return nil, fmt.Errorf("import: header: column %.32q is not known", name)
		}
		if seen&(1<<i) != 0 {
			return nil, fmt.Errorf("import: header: column %q stands twice", columnNames[i])
		}
		seen |= 1 << i
		c.cols = append(c.cols, i)
	}
	return c, nil
}

// csvCause takes the reason out of a csv error, without the text of the file.
func csvCause(err error) error {
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d: %w", pe.Line, pe.Err)
	}
	return err
}

// Next reads the next row.
func (c *CSVRows) Next(row *Row) error {
	if c.end == nil {
		c.end = c.next(row)
	}
	return c.end
}

func (c *CSVRows) next(row *Row) error {
	c.b.row = c.r.InputOffset()
	rec, err := c.r.Read()
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	c.n++
	if err != nil {
		return &RecordError{Record: c.n, Err: csvCause(err)}
	}
	*row = Row{}
	for i, v := range rec {
		row.values[c.cols[i]] = v
		row.has |= 1 << c.cols[i]
	}
	return checkText(c.n, row)
}

func checkText(n int, row *Row) error {
	size := 0
	for i, v := range row.values {
		size += len(v)
		if !utf8.ValidString(v) {
			return &RecordError{Record: n, Field: columnNames[i], Err: errors.New("is not UTF-8")}
		}
	}
	if size > maxRowBytes {
		return &RecordError{Record: n, Err: errRowTooLong}
	}
	return nil
}

// JSONRows reads an import in JSON: an array of objects with the columns as
// members, each a text, a number, a boolean or null.
type JSONRows struct {
	b   *boundReader
	d   *json.Decoder
	n   int
	end error // what every further call gives
}

// NewJSON reads up to the first object.
func NewJSON(r io.Reader) (*JSONRows, error) {
	j := &JSONRows{b: &boundReader{r: r}}
	j.d = json.NewDecoder(j.b)
	j.d.UseNumber()
	t, err := j.d.Token()
	if err != nil {
		return nil, fmt.Errorf("import: %w", jsonCause(err))
	}
	if t != json.Delim('[') {
		return nil, errors.New("import: want an array of objects")
	}
	return j, nil
}

// jsonCause takes the text of the file out of a JSON error.
func jsonCause(err error) error {
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON at byte %d", se.Offset)
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Next reads the next object.
func (j *JSONRows) Next(row *Row) error {
	if j.end == nil {
		j.end = j.next(row)
	}
	return j.end
}

func (j *JSONRows) next(row *Row) error {
	j.b.row = j.d.InputOffset()
	if !j.d.More() {
		if _, err := j.d.Token(); err != nil {
			return &RecordError{Record: j.n + 1, Err: jsonCause(err)}
		}
		if _, err := j.d.Token(); !errors.Is(err, io.EOF) {
			return &RecordError{Record: j.n + 1, Err: errors.New("text after the array")}
		}
		return io.EOF
	}
	j.n++
	if field, err := j.object(row); err != nil {
		return &RecordError{Record: j.n, Field: field, Err: err}
	}
	return checkText(j.n, row)
}

func (j *JSONRows) object(row *Row) (field string, err error) {
	*row = Row{}
	t, err := j.d.Token()
	if err != nil {
		return "", jsonCause(err)
	}
	if t != json.Delim('{') {
		return "", errors.New("is not an object")
	}
	for j.d.More() {
		t, err := j.d.Token()
		if err != nil {
			return "", jsonCause(err)
		}
		name, _ := t.(string)
		i := slices.Index(columnNames[:], name)
		if i < 0 {
			return "", fmt.Errorf("member %.32q is not known", name)
		}
		if row.has&(1<<i) != 0 {
			return name, errors.New("stands twice")
		}
		if t, err = j.d.Token(); err != nil {
			return name, jsonCause(err)
		}
		switch v := t.(type) {
		case string:
			row.values[i] = v
		case json.Number:
			row.values[i] = v.String()
		case bool:
			row.values[i] = strconv.FormatBool(v)
		case nil:
			continue
		default:
			return name, errors.New("is not a text, a number or a boolean")
		}
		row.has |= 1 << i
	}
	_, err = j.d.Token()
	if err != nil {
		return "", jsonCause(err)
	}
	return "", nil
}

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

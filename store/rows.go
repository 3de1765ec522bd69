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
	"unicode/utf8"
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
	errFileEmpty   = errors.New("import: the file is empty")
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
	if errors.Is(err, io.EOF) {
		return nil, errFileEmpty
	}
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
	if errors.Is(err, io.EOF) {
		return nil, errFileEmpty
	}
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

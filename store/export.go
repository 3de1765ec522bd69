package store

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Format is how an export is written.
type Format uint8

// The formats of an export.
const (
	FormatCSV Format = iota
	FormatJSON
)

// ExportOptions choose what an export holds. The zero value is CSV without
// cards.
type ExportOptions struct {
	// WithCards adds facility, card and bits in clear.
	WithCards bool
	Format    Format
	Formats   *card.Set // nil: card.Standard
	Filter    Filter
}

// Export writes credentials in the columns of an import, never a PIN. It reads
// in short transactions: what is changed meanwhile is in it as it was or as it
// is. It returns how many it wrote.
func (s *Store) Export(ctx context.Context, w io.Writer, opt ExportOptions) (int, error) {
	if opt.Formats == nil {
		opt.Formats = card.Standard()
	}
	bw := bufio.NewWriterSize(w, 64<<10)
	out := newRowWriter(bw, opt)
	n := 0
	part := make([]exportItem, 0, exportPart)
	err := out.begin()
	if err == nil {
		err = s.eachChosen(ctx, opt.Filter, func(k *credKey, c site.Credential) (err error) {
			if part = append(part, exportItem{*k, c}); len(part) == exportPart {
				n += len(part)
				err = s.exportRows(out, part, opt)
				part = part[:0]
			}
			return err
		})
	}
	if err == nil {
		n += len(part)
		err = s.exportRows(out, part, opt)
	}
	if err == nil {
		err = out.end()
	}
	if err == nil {
		err = bw.Flush()
	}
	return n, storeErr("export", err)
}

func exportColumns(opt ExportOptions) []int {
	cols := []int{colHolder, colFormat}
	if opt.WithCards {
		cols = append(cols, colFacility, colCard, colBits)
	}
	return append(cols, colFunction, colADA, colUses, colLevel, colRights, colFrom, colUntil)
}

// exportPart is how many rows share one look at their holders: a transaction
// for each row would meet every decision at bbolt's lock.
const exportPart = 500

type exportItem struct {
	key credKey
	c   site.Credential
}

// exportRows writes a part of the rows.
func (s *Store) exportRows(out *rowWriter, part []exportItem, opt ExportOptions) error {
	names := make([]string, len(part))
	err := s.policy.view(func(tx *bbolt.Tx) error {
		head, err := getHeader(tx)
		for i := 0; i < len(part) && err == nil; i++ {
			n, none := holderNumber(part[i].c.Holder)
			if none != nil || head.hidden(n) {
				continue
			}
			names[i], err = holderNameIn(tx, n)
		}
		return err
	})
	for i := 0; i < len(part) && err == nil; i++ {
		var row *Row
		if row, err = s.exportRow(&part[i], names[i], opt); err == nil {
			err = out.row(row)
		}
	}
	return err
}

func (s *Store) exportRow(item *exportItem, holder string, opt ExportOptions) (*Row, error) {
	c := &item.c
	r := &Row{}
	v := &r.values
	v[colHolder], v[colFormat] = holder, c.Format
	if opt.WithCards {
		if err := s.exportCard(item, opt, v); err != nil {
			return nil, err
		}
	}
	v[colFunction], v[colADA] = c.Function.String(), strconv.FormatBool(c.ADA)
	if c.Uses != 0 {
		v[colUses] = strconv.FormatUint(uint64(c.Uses), 10)
	}
	levels := make([]string, len(c.Levels))
	for i, l := range c.Levels {
		levels[i] = string(l)
	}
	rights := make([]string, len(c.Rights))
	for i, x := range c.Rights {
		rights[i] = rightText(x)
	}
	v[colLevel], v[colRights] = strings.Join(levels, ";"), strings.Join(rights, ";")
	if !c.From.IsZero() {
		v[colFrom] = c.From.Format(time.RFC3339)
	}
	if !c.Until.IsZero() {
		v[colUntil] = c.Until.Format(time.RFC3339)
	}
	return r, nil
}

// exportCard fills facility and card where the record's format reads its bits,
// else bits. A record that does not know its length has neither.
func (s *Store) exportCard(item *exportItem, opt ExportOptions, v *[columns]string) error {
	length := int(item.key[17])
	if length == 0 {
		return nil
	}
	var block card.Block
	s.keys.blocks.Decrypt(block[:], item.key[:16])
	bits, err := card.NewBits(length, block[:(length+7)/8])
	if err != nil {
		return err
	}
	if f, ok := opt.Formats.ByName(item.c.Format); ok {
		if n, ok := f.Decode(bits); ok {
			v[colCard] = strconv.FormatUint(n.Card, 10)
			if n.HasFacility {
				v[colFacility] = strconv.FormatUint(n.Facility, 10)
			}
			if back, err := f.Encode(n); err == nil && back == bits {
				return nil
			}
			v[colCard], v[colFacility] = "", ""
		}
	}
	v[colFormat], v[colBits] = "raw", bits.Text()
	return nil
}

// Bits returns the bits of a card in clear: for an export that was asked for
// them and for locks that need the card. They are empty for a record that does
// not know its length; Block has its block.
func (s *Store) Bits(id site.CredentialID) (card.Bits, error) {
	block, n, err := s.clearBlock(id)
	if err != nil || n == 0 {
		return card.Bits{}, err
	}
	return card.NewBits(n, block[:(n+7)/8])
}

// Block returns the 16-byte block of a card in clear, for door files.
func (s *Store) Block(id site.CredentialID) (card.Block, error) {
	block, _, err := s.clearBlock(id)
	return block, err
}

// rowWriter writes the rows of an export.
type rowWriter struct {
	w    io.Writer
	csv  *csv.Writer // nil: JSON
	cols []int
	n    int // rows so far
}

func newRowWriter(w io.Writer, opt ExportOptions) *rowWriter {
	r := &rowWriter{w: w, cols: exportColumns(opt)}
	if opt.Format == FormatCSV {
		r.csv = csv.NewWriter(w)
	}
	return r
}

func (r *rowWriter) begin() error {
	if r.csv == nil {
		_, err := io.WriteString(r.w, "[")
		return err
	}
	head := make([]string, len(r.cols))
	for i, c := range r.cols {
		head[i] = columnNames[c]
	}
	return r.csv.Write(head)
}

func (r *rowWriter) row(row *Row) error {
	r.n++
	if r.csv != nil {
		rec := make([]string, len(r.cols))
		for i, c := range r.cols {
			rec[i] = row.values[c]
		}
		return r.csv.Write(rec)
	}
	line := []byte{'\n'}
	if r.n > 1 {
		line = []byte(",\n")
	}
	line = append(line, '{')
	for i, c := range r.cols {
		text, err := json.Marshal(row.values[c])
		if err != nil {
			return err
		}
		if i > 0 {
			line = append(line, ',')
		}
		line = append(append(append(line, '"'), columnNames[c]...), '"', ':')
		line = append(line, text...)
	}
	_, err := r.w.Write(append(line, '}'))
	return err
}

func (r *rowWriter) end() error {
	if r.csv != nil {
		r.csv.Flush()
		return r.csv.Error()
	}
	_, err := io.WriteString(r.w, "\n]\n")
	return err
}

package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// tableRows is how many rows share their column widths: a listing of a million
// is shown as it comes.
const tableRows = 500

// tableWriter writes rows in aligned columns.
type tableWriter struct {
	w *tabwriter.Writer
	n int
}

func (e *env) newTable(header []string) *tableWriter {
	t := &tableWriter{w: tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)}
	if !e.json {
		fmt.Fprintln(t.w, strings.Join(header, "\t")) // an error comes again with flush
	}
	return t
}

// printable keeps what names hold out of the terminal's control.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 {
			return '?'
		}
		return r
	}, s)
}

// printables is printable for the cells of a row.
func printables(row []string) []string {
	cells := make([]string, len(row))
	for i, c := range row {
		cells[i] = printable(c)
	}
	return cells
}

func (t *tableWriter) add(row []string) error {
	fmt.Fprintln(t.w, strings.Join(printables(row), "\t")) // an error comes again with flush
	if t.n++; t.n%tableRows == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *tableWriter) flush() error { return t.w.Flush() }

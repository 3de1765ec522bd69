package store_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// feed gives rows without end; what happens at a row is up to each.
type feed struct {
	n     int
	at    func(n int) error
	ended atomic.Bool // the import has returned
	late  atomic.Bool // a row was asked for after that
}

func (f *feed) Next(r *store.Row) error {
	if f.ended.Load() {
		f.late.Store(true)
	}
	f.n++
	if err := f.at(f.n); err != nil {
		return err
	}
	*r = store.Row{}
	return errors.Join(r.Set("holder", "P"), r.Set("format", "H10301"), r.Set("facility", strconv.Itoa(f.n>>16&0xFF)), r.Set("card", strconv.Itoa(f.n&0xFFFF)))
}

// TestImportEnds: however the rows end, the import says why, nothing changes, and
// no row is asked for afterwards.
func TestImportEnds(t *testing.T) {
	broken := errors.New("the line broke")
	for _, tt := range []struct {
		name string
		row  int
		end  func(cancel func()) error
		want error // empty: a *store.RecordError of the row
	}{
		{"cancelled", 5000, func(cancel func()) error { cancel(); return nil }, context.Canceled},
		{"cancelled at the first", 1, func(cancel func()) error { cancel(); return nil }, context.Canceled},
		{"broken", 3000, func(func()) error { return broken }, broken},
		{"broken at once", 1, func(func()) error { return broken }, broken},
		{"cut", 700, func(func()) error { return io.ErrUnexpectedEOF }, io.ErrUnexpectedEOF},
		{"at fault", 2999, func(func()) error { return &store.RecordError{Record: 2999, Err: errors.New("no row")} }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, l := storetest.New(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f := &feed{at: func(n int) error {
				if n == tt.row {
					return tt.end(cancel)
				}
				return nil
			}}
			res, err := s.Import(ctx, "t", site.SourceOperator, f, store.ImportOptions{})
			f.ended.Store(true)
			re, isRecord := errors.AsType[*store.RecordError](err)
			if tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && (!isRecord || re.Record != tt.row) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if res.Change != 0 || s.Snapshot().Version != 0 || len(l.Events()) != 0 {
				t.Errorf("changed: %+v", res)
			}
			// The store is free for the next one.
			if _, err := s.Import(t.Context(), "t", site.SourceOperator, csvRows(t, "holder,format,facility,card\nA,H10301,1,1\n"), store.ImportOptions{}); err != nil {
				t.Error(err)
			}
			if f.late.Load() {
				t.Error("a row was asked for after the end")
			}
		})
	}
}

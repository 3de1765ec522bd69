package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"gatehouse/agent/site"
)

// readRow is a row of an import that was read and parsed.
type readRow struct {
	n    int   // its number, from 1
	end  error // there is no such row: io.EOF, or why it and all others cannot be read
	err  error // the row is at fault
	data parsed
}

// readBatch is how many rows are handed on at once.
const readBatch = 256

// read brings all rows into the stage. A goroutine of its own reads and parses
// them, which is half of the work, while those before are staged; it has ended
// when read returns.
func (im *importer) read(rows Rows) error {
	ctx, cancel := context.WithCancel(im.ctx)
	full := make(chan []readRow, 2)  // closed by the goroutine
	empty := make(chan []readRow, 3) // all that there are, so handing one back never blocks
	for range cap(empty) {
		empty <- make([]readRow, 0, readBatch)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(full)
		im.parseAll(ctx, rows, full, empty)
	})
	err := im.stageAll(full, empty)
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	twice, err := im.st.finish()
	if err != nil {
		return err
	}
	for _, re := range twice {
		im.faults.add(re)
	}
	return im.verdict()
}

// parseAll reads rows until there are no more or ctx ends.
func (im *importer) parseAll(ctx context.Context, rows Rows, full chan<- []readRow, empty <-chan []readRow) {
	p := im.parser()
	var row Row
	for n, more := 1, true; more; {
		var batch []readRow
		select {
		case batch = <-empty:
		case <-ctx.Done():
			return
		}
		for batch = batch[:0]; more && len(batch) < readBatch; n++ {
			batch = batch[:len(batch)+1]
			r := &batch[len(batch)-1]
			r.n, r.err, r.end = n, nil, rows.Next(&row)
			if r.end == nil && n > MaxImportRows {
				r.end = &RecordError{Record: n, Err: fmt.Errorf("more than %d records", MaxImportRows)}
			}
			if more = r.end == nil; more {
				r.err = p.parse(&row, &r.data)
			}
		}
		select {
		case full <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// stageAll stages the rows as they come.
func (im *importer) stageAll(full <-chan []readRow, empty chan<- []readRow) error {
	var scratch []byte
	for batch := range full {
		for i := range batch {
			r := &batch[i]
			if r.n%1024 == 0 {
				if err := im.ctx.Err(); err != nil {
					return err
				}
				im.opt.Progress(r.n, 0)
			}
			if r.end != nil {
				return im.ended(r.end)
			}
			im.res.Rows = r.n
			err := r.err
			if err == nil {
				scratch, err = im.st.add(&r.data, r.n, scratch)
			}
			if err != nil {
				re, ok := errors.AsType[*RecordError](err)
				if !ok {
					return err
				}
				re.Record = r.n
				im.faults.add(re)
			}
		}
		empty <- batch
	}
	return im.ctx.Err()
}

// ended judges why there are no more rows.
func (im *importer) ended(err error) error {
	if re, ok := errors.AsType[*RecordError](err); ok {
		im.faults.add(re)
		return nil
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (im *importer) parser() *rowParser {
	p := &rowParser{s: im.s, src: im.src, formats: im.opt.Formats, doors: im.opt.Doors,
		schedules: make(map[site.ScheduleID]bool), levels: make(map[site.LevelID]bool),
		rights: make(map[string][]site.Right), levelSets: make(map[string][]site.LevelID)}
	pol := im.s.Snapshot()
	for _, v := range pol.Schedules {
		if v.Source == im.source {
			p.schedules[v.ID] = true
		}
	}
	for _, v := range pol.Levels {
		if v.Source == im.source {
			p.levels[v.ID] = true
		}
	}
	return p
}

package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

const (
	// contactDebounce is above what a switch bounces and below what a hand can.
	contactDebounce = 50 * time.Millisecond
	contactQueue    = 64
	// contactRetry is the time until a contact that was lost is claimed again.
	contactRetry = 5 * time.Second
)

// watchContact tells when the tamper contact opens and closes, until ctx ends.
// Its line is a group of its own: a contact that cannot be had is a fault, is
// tried again, and costs no card. Where the whole board is lost, Run ends before
// that is told.
func (r *Reader) watchContact(ctx context.Context) {
	for {
		err := r.followContact(ctx)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, hal.ErrClosed) && r.begins(site.KindFault, itemContact, "tamper contact: line cannot be had") {
			r.log.Warn("reader tamper contact is not watched", "line", string(r.cfg.Tamper), "err", err)
		}
		retry := time.NewTimer(contactRetry)
		select {
		case <-ctx.Done():
			retry.Stop()
			return
		case <-retry.C:
		}
	}
}

// followContact claims the line and follows it. It returns nil when ctx ends, and
// hal.ErrClosed when a line that was claimed is lost.
func (r *Reader) followContact(ctx context.Context) error {
	line := r.cfg.Tamper
	// The bias is away from normal, so that a cut wire reads as a tamper.
	pull := hal.PullUp
	if r.cfg.TamperNormal == hal.High {
		pull = hal.PullDown
	}
	g, err := r.board.Inputs(contactQueue, hal.Input{Line: line, Pull: pull, Debounce: contactDebounce})
	if err != nil {
		return fmt.Errorf("claim: %v", err) // not ErrClosed, which is for a line that was there
	}
	defer g.Close() // nothing is driven; a line that is lost is claimed anew
	look := true    // at the start, and where edges were lost
	for {
		if look {
			v, err := g.Read(line)
			if err != nil {
				return fmt.Errorf("read: %w", err)
			}
			r.ends(site.KindFault, itemContact)
			r.contact(v)
		}
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-g.Edges():
			if !ok {
				return hal.ErrClosed
			}
			if look = e.Lost; !look {
				r.contact(e.Level)
			}
		}
	}
}

func (r *Reader) contact(v hal.Level) {
	if v != r.cfg.TamperNormal {
		r.begins(site.KindTamper, itemContact, "tamper contact of the reader")
		return
	}
	r.ends(site.KindTamper, itemContact)
}

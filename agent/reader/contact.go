package reader

import (
	"context"
	"errors"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

const (
	// contactDebounce is above what a switch bounces and below what a hand can.
	contactDebounce = 50 * time.Millisecond
	contactQueue    = 64
)

// watchContact tells when the tamper contact opens and closes, until ctx ends or
// the board is lost. Its lines are a group of their own: a contact that cannot be
// had costs no card.
func (r *Reader) watchContact(ctx context.Context) {
	line := r.cfg.Tamper
	// The bias is away from normal, so that a cut wire reads as a tamper.
	pull := hal.PullUp
	if r.cfg.TamperNormal == hal.High {
		pull = hal.PullDown
	}
	const cannot = "tamper contact: line cannot be had"
	g, err := r.board.Inputs(contactQueue, hal.Input{Line: line, Pull: pull, Debounce: contactDebounce})
	if err != nil {
		r.log.Warn("reader tamper contact is not watched", "line", string(line), "err", err)
		r.begins(site.KindFault, itemContact, cannot)
		return
	}
	defer func() {
		if err := g.Close(); err != nil && !errors.Is(err, hal.ErrClosed) {
			r.log.Warn("reader tamper contact was not given back", "line", string(line), "err", err)
		}
	}()
	look := true // at the start, and where edges were lost
	for {
		if look {
			v, err := g.Read(line)
			if err != nil {
				r.log.Warn("reader tamper contact cannot be read", "line", string(line), "err", err)
				r.begins(site.KindFault, itemContact, cannot)
			} else {
				r.ends(site.KindFault, itemContact)
				r.contact(v)
			}
		}
		select {
		case <-ctx.Done():
			return
		case e, ok := <-g.Edges():
			if !ok {
				return // the reader's own lines are lost with it, and Run ends
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

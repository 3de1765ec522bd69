package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"gatehouse/agent/site"
)

// Log is the event log (store/spool).
type Log interface {
	// Read returns kept events from the number from on, in order, none when
	// there are none yet.
	Read(ctx context.Context, from site.EventSeq, maxEvents, maxBytes int) ([]site.Event, error)
	// Wait blocks until there is an event after the number after, or ctx ends.
	Wait(ctx context.Context, after site.EventSeq) error
	// Last is the highest number kept.
	Last() site.EventSeq
}

// Cursor is the receiver's own place in the log, kept on disk.
type Cursor interface {
	Position() site.EventSeq
	Known() bool // it was moved once
	Advance(site.EventSeq) error
}

// Deps is what a receiver needs of the site.
type Deps struct {
	Log    Log
	Cursor Cursor
	// Append records that an alarm was skipped. It must not block.
	Append func(site.Event)
	// Fault says what is wrong for more than two minutes, or that an address is
	// refused; an empty text says that it is over. Nil: nobody asks. It must not
	// block, and may be called repeatedly with the same.
	Fault func(text string)
	// Holder joins a holder's name; nil: names are not known.
	Holder func(site.HolderID) string

	Site   string // shown to people
	Serial string
	Zone   *time.Location // of times in mails; nil: UTC

	// Dial opens connections; nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is the base of every TLS connection; nil: the system's roots.
	TLS *tls.Config
	// Now is the wall clock of the Date of a mail; nil: time.Now.
	Now func() time.Time
	// Logger is for diagnostics; nil: discard.
	Logger *slog.Logger
}

// dialTimeout bounds opening a connection, TLS not included.
const dialTimeout = 15 * time.Second

func (d Deps) withDefaults() (Deps, error) {
	if d.Log == nil || d.Cursor == nil || d.Append == nil {
		return d, errors.New("log, cursor and append are wanted")
	}
	if d.Fault == nil {
		d.Fault = func(string) {}
	}
	if d.Holder == nil {
		d.Holder = func(site.HolderID) string { return "" }
	}
	if d.Zone == nil {
		d.Zone = time.UTC
	}
	if d.Dial == nil {
		d.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if d.TLS == nil {
		d.TLS = &tls.Config{}
	}
	d.TLS = d.TLS.Clone()
	d.TLS.MinVersion = max(d.TLS.MinVersion, tls.VersionTLS12)
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

// show makes an event fit for a receiver: with the holder's name, without
// sealed content.
func (d *Deps) show(ev site.Event) site.Event {
	ev.Sealed = nil
	ev.Holder = ""
	if ev.HolderID != "" {
		ev.Holder = d.Holder(ev.HolderID)
	}
	return ev
}

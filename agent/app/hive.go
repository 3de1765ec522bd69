package app

import (
	"context"
	"errors"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/door"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// hiveAccess brings the badges of Hive devices to their doors.
type hiveAccess struct {
	doors *doorSet
	enrol *enroller
}

// Access lets the door decide, act and record. The answer waits for no disk.
func (h hiveAccess) Access(ctx context.Context, ask link.Ask) (link.Answer, error) {
	d, err := h.doors.door(ask.Door)
	if err != nil {
		return link.Answer{}, err
	}
	if ask.Reader != "" && h.enrol.take(ask.Reader, ask.Bits) {
		return link.Answer{Reason: site.ReasonUnknownCredential}, nil
	}
	res, err := d.Present(ctx, door.Presented{Reader: ask.Reader, Bits: ask.Bits, Device: ask.Device, Item: ask.Item, Note: ask.Note})
	if errors.Is(err, door.ErrBusy) {
		// The door has recorded it.
		return link.Answer{Reason: site.ReasonFault}, nil
	}
	if err != nil {
		return link.Answer{}, err
	}
	return link.Answer{Granted: res.Outcome == access.Granted, Reason: res.Reason}, nil
}

// errNoStore is what asks for the store get when it could not be opened.
var errNoStore = errors.New("the store is not open")

// hiveNonces keeps nonces in the store.
type hiveNonces struct{ store *store.Store }

// Current returns the nonce that the device's next packet must carry.
func (h hiveNonces) Current(device site.DeviceName) ([16]byte, error) {
	if h.store == nil {
		return [16]byte{}, errNoStore
	}
	return h.store.Nonce(device)
}

// Use replaces the nonce, durably.
func (h hiveNonces) Use(ctx context.Context, device site.DeviceName, nonce [16]byte) ([16]byte, bool, error) {
	if h.store == nil {
		return [16]byte{}, false, errNoStore
	}
	return h.store.UseNonce(ctx, device, nonce)
}

// SawVersion2 reports whether a version-2 packet was ever accepted.
func (h hiveNonces) SawVersion2(device site.DeviceName) (bool, error) {
	if h.store == nil {
		return false, errNoStore
	}
	return h.store.Version2Seen(device)
}

// hiveVend takes credits in the store.
type hiveVend struct{ *policyHolder }

// Vend takes one credit of the badge's member: the holder of a credential that
// is not revoked or blocked.
func (h hiveVend) Vend(ctx context.Context, ask link.VendAsk) (link.VendAnswer, error) {
	if h.store == nil {
		return link.VendAnswer{}, errNoStore
	}
	recs, err := h.store.LookupBits(ask.Bits, nil)
	if err != nil {
		return link.VendAnswer{}, err
	}
	var payer site.Credential
	for _, r := range recs {
		if r.State == site.CredentialActive && r.Function != site.FunctionBlocked {
			payer = r
			break
		}
	}
	clock := h.clock.Clock()
	card := h.cardRef(ask.Bits)
	res, err := h.store.Vend(ctx, store.Vend{
		Device: ask.Device, Nonce: ask.Nonce, Holder: payer.Holder, Initial: uint32(max(ask.Initial, 0)),
		Event: func(taken bool, _ uint32) site.Event {
			ev := site.Event{Time: clock.Now.Round(0).UTC(), Trusted: clock.Trusted, Kind: site.KindVend, Card: card,
				Credential: payer.ID, Source: payer.Source, Text: ask.Note}
			ev.Reason = site.ReasonGranted
			switch {
			case payer.ID == "":
				ev.Reason = site.ReasonUnknownCredential
			case !taken:
				ev.Reason = site.ReasonUsedUp
			}
			return ev
		},
	})
	if err != nil && !errors.Is(err, store.ErrNotLogged) {
		return link.VendAnswer{}, err
	}
	return link.VendAnswer{NonceOK: res.NonceOK, Next: res.Next, Known: payer.ID != "", Vend: res.Taken, Left: int(res.Left)}, nil
}

// presenter brings the cards of Wiegand readers to their doors.
type presenter struct {
	doors   *doorSet
	enrol   *enroller
	readers map[site.ReaderID]site.DoorID
	pads    map[site.ReaderID]*keypad // each belongs to its reader's goroutine
}

func newPresenter(doors *doorSet, enrol *enroller, readers []reader.Config) presenter {
	p := presenter{doors, enrol, map[site.ReaderID]site.DoorID{}, map[site.ReaderID]*keypad{}}
	for _, r := range readers {
		p.readers[r.ID] = r.Door
		p.pads[r.ID] = &keypad{}
	}
	return p
}

// Present lets the door decide. What went wrong is recorded there.
func (p presenter) Present(ctx context.Context, r site.ReaderID, b card.Bits) {
	d, err := p.doors.door(p.readers[r])
	if err != nil || p.enrol.take(r, b) {
		return // taken; or no such door, which the settings do not allow
	}
	p.pads[r].clear() // keys before a card are not its PIN
	// ErrBusy is recorded by the door; after the door has stopped nothing is
	// decided any more.
	_, _ = d.Present(ctx, door.Presented{Reader: r, Bits: b})
}

// Key collects keys and lets the door decide on the PIN that they make.
func (p presenter) Key(ctx context.Context, r site.ReaderID, k card.Key) {
	pad := p.pads[r]
	if pad == nil {
		return
	}
	pin, ok := pad.key(k, time.Now())
	if !ok {
		return
	}
	if d, err := p.doors.door(p.readers[r]); err == nil {
		_, _ = d.Present(ctx, door.Presented{Reader: r, PIN: pin})
	}
}

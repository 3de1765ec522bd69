package link

import (
	"context"
	"log/slog"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Deps is what a Server needs of the site. Access, Nonces, Vend and Events must
// be there, Ports where the settings have lines.
type Deps struct {
	Access    Access
	Nonces    Nonces
	Vend      Vender
	Events    Events
	Swordfish Swordfish // nil: swordfish is an invalid operation, as it is in version 1
	Ports     hal.Ports // opens the serial lines
	Counters  Counters  // nil: nothing is polled or ordered; must be there for a bus
	// Due says whether a lock on a line should call for its door file, which
	// its next poll then tells it. It must not wait. nil: never.
	Due   func(site.DeviceName) bool
	Clock func() site.Clock // nil: the system's, not trusted
	Log   *slog.Logger      // nil: discard
}

// Via says how a request came.
type Via uint8

// The ways of a request.
const (
	ViaHTTP Via = iota
	ViaSerial
)

// String returns the way's name.
func (v Via) String() string {
	if v == ViaSerial {
		return "serial"
	}
	return "http"
}

// Ask is a badge at a door's reader.
type Ask struct {
	Device site.DeviceName
	Item   string        // as the device wrote it
	Door   site.DoorID   // what Item means to this device
	Reader site.ReaderID // the reader of a serial line; empty over HTTP
	Bits   card.Bits     // the H10301 bits of the badge
	Via    Via
	Note   string // for the event's Text: that version 1 has no replay protection
}

// Answer is what became of an Ask. A duress answers ReasonGranted.
type Answer struct {
	Granted bool
	Reason  site.Reason
}

// Access decides an Ask, opens its door when granted and records the event,
// granted or not. An error means that no decision was made and nothing was
// recorded; the Server then records it as refused with the reason fault.
type Access interface {
	Access(ctx context.Context, ask Ask) (Answer, error)
}

// Nonces keeps the version-2 nonce of each device in a file that outlives the
// process. It must be safe for concurrent use.
type Nonces interface {
	// Current returns the nonce that the device's next packet must carry,
	// making one of 16 random bytes for a device that has none.
	Current(device site.DeviceName) (nonce [16]byte, err error)
	// Use replaces nonce by a new random one if it is the current one, notes
	// that the device has spoken version 2, and returns when both are durable.
	// ok is false, and nothing has moved, when nonce was not the current one;
	// next is then the current one. Of concurrent calls with one nonce exactly
	// one is ok. After an error the nonce may or may not have moved.
	Use(ctx context.Context, device site.DeviceName, nonce [16]byte) (next [16]byte, ok bool, err error)
	// SawVersion2 reports whether a Use of the device was ever ok, also before
	// a restart. It is asked for each version-1 request of a device that may
	// speak both versions, so it should not read the disk.
	SawVersion2(device site.DeviceName) (bool, error)
}

// Counters keeps the counter of what the agent sends to each device. It must be
// safe for concurrent use.
type Counters interface {
	// NextCounter returns a number larger than every one that it returned for
	// the device before, also before a restart. It is asked for each poll, so
	// it should not write to the disk each time.
	NextCounter(device site.DeviceName) (uint64, error)
}

// VendAsk asks for one credit of the badge's member.
type VendAsk struct {
	Device  site.DeviceName
	Bits    card.Bits
	Nonce   *[16]byte // of the packet in version 2, not used up yet; nil in version 1
	Initial int       // credits that a badge starts with that never vended
	Via     Via
	Note    string // as in Ask
}

// VendAnswer is what became of a VendAsk.
type VendAnswer struct {
	// NonceOK says, where the ask has a nonce, that it was the current one and
	// is used up. Without it nothing else was done.
	NonceOK bool
	Next    [16]byte // where the ask has a nonce: the one that is wanted from now on
	Known   bool     // the badge has a member
	Vend    bool     // a credit was taken
	Left    int      // credits that remain
}

// Vender uses up the nonce as Nonces.Use does, takes a credit and keeps the
// vend event, all in one store change, and returns when it is durable. The
// nonce of an ask whose badge has no member is used up too. An error means that
// no credit was taken.
type Vender interface {
	Vend(ctx context.Context, ask VendAsk) (VendAnswer, error)
}

// Events takes events for the log, in order, without waiting for the disk.
type Events interface {
	Append(e site.Event)
}

// Call is a Swordfish call inside an envelope (engage.md section 6).
type Call struct {
	Device       site.DeviceName
	Method, Path string
	Body         []byte // a JSON object as the device wrote it; nil when absent
	Via          Via
}

// Swordfish handles the calls of locks without IP. A call's body that came in
// parts is whole here. The body returned is at most MaxBody bytes, or empty; over
// HTTP, and on a line where it travels in one piece, it must be JSON. An error
// with a status of 400 or more is a refusal: the device gets that status, signed, and
// it is counted as a fault, without a line of the log. Any other error, or a body that
// is not such, is answered as a signed refusal with the reason fault. Only calls of
// version 2 come here.
type Swordfish interface {
	Call(ctx context.Context, call Call) (status int, body []byte, err error)
}

// systemClock is the clock of a Server that was given none.
func systemClock() site.Clock { return site.Clock{Now: time.Now()} }

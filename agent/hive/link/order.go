package link

import (
	"context"
	"errors"
	"time"

	"gatehouse/agent/site"
)

// The bounds of a call's body (engage.md section 6; docs/serial.md).
const (
	MaxCallBody = 1 << 20 // from a device, in parts
	MaxBody     = 2 << 20 // to a device, in parts
	MaxParts    = 512     // either way
	MaxPart     = 4 << 10 // text of a part, in bytes
)

// OrderOp is what an Order asks of a device.
type OrderOp uint8

// The orders.
const (
	OrderUnlock OrderOp = iota + 1 // unlock for Order.For
	OrderMode                      // go to Order.Mode
	OrderStatus                    // say how it is
)

// Order is a command to a device on a serial line (engage.md section 6).
type Order struct {
	Op   OrderOp
	For  time.Duration // of an unlock, 1 s to 10 min; sent in whole seconds, rounded up
	Mode site.Mode     // of OrderMode; ModeDisabled is refused
}

// Report is how a device says that it is, in its answer to an order. Locked,
// Open and Tamper are false where it does not say.
type Report struct {
	Locked    bool
	Open      bool
	Tamper    bool
	Mode      site.Mode
	ModeKnown bool // the device named a mode that is known
	Battery   int  // mV; 0 where it does not say
}

// What an Order can end in, beside ctx's error. Each is wrapped with what was
// ordered and of whom.
var (
	// ErrOffline: nothing was sent. The device is on no line, its port cannot
	// be used, or it has been silent for 8 s.
	ErrOffline = errors.New("the device is offline")
	// ErrRefused: the device answered and did not do it; or the order is one
	// that no device takes, and was not sent.
	ErrRefused = errors.New("the device refused")
	// ErrNoAnswer: it was sent and no answer came. The device may have done
	// it. It is not sent again.
	ErrNoAnswer = errors.New("the device gave no answer")
)

// Order sends an order to a device on a line and returns its answer. It waits
// for what the line is doing, for at most one exchange of each device; when ctx
// ends before it was sent, it is not sent. An unlock or a mode is sent once.
func (s *Server) Order(ctx context.Context, device site.DeviceName, o Order) (Report, error) {
	return Report{}, errors.New("hive: not built yet")
}

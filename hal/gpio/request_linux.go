package gpio

import (
	"fmt"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"

	"gatehouse/hal"
)

// maxAttrs is how many attributes a request has room for
// (GPIO_V2_LINE_NUM_ATTRS_MAX of linux/gpio.h).
const maxAttrs = 10

// outputRequest asks for one output that has its level from the first instant:
// direction and value are in one request.
func outputRequest(offset int, initial hal.Level) *uapi.LineRequest {
	r := &uapi.LineRequest{Lines: 1}
	copy(r.Consumer[:], consumer)
	r.Offsets[0] = uint32(offset)
	r.Config.Flags = uapi.LineFlagV2Output
	r.Config.AddAttribute(uapi.LineConfigAttribute{
		Attr: uapi.OutputValues(initial.Int()).Encode(), Mask: 1,
	})
	return r
}

// inputRequest asks for inputs with both edges and one queue for all of them.
func inputRequest(offsets []int, lines []hal.Input, queue int) (*uapi.LineRequest, error) {
	if len(lines) > uapi.LinesMax {
		return nil, fmt.Errorf("%d lines: a group has at most %d", len(lines), uapi.LinesMax)
	}
	const flags = uapi.LineFlagV2Input | uapi.LineFlagV2EdgeBoth
	r := &uapi.LineRequest{Lines: uint32(len(lines)), EventBufferSize: uint32(min(queue, 1<<16))}
	copy(r.Consumer[:], consumer)
	r.Config.Flags = flags
	bias := make(map[uapi.LineFlagV2]uapi.LineBitmap)
	debounce := make(map[time.Duration]uapi.LineBitmap)
	for i, l := range lines {
		r.Offsets[i] = uint32(offsets[i])
		switch l.Pull {
		case hal.PullUp:
			bias[uapi.LineFlagV2BiasPullUp] |= 1 << i
		case hal.PullDown:
			bias[uapi.LineFlagV2BiasPullDown] |= 1 << i
		case hal.PullNone:
		}
		if l.Debounce < 0 || l.Debounce > time.Minute {
			return nil, fmt.Errorf("%s: debounce %v: want 0 to 1m", l.Line, l.Debounce)
		}
		if l.Debounce > 0 {
			debounce[l.Debounce] |= 1 << i
		}
	}
	if len(bias)+len(debounce) > maxAttrs {
		return nil, fmt.Errorf("%d different debounce times and pulls: a group has at most %d", len(bias)+len(debounce), maxAttrs)
	}
	for b, mask := range bias {
		r.Config.AddAttribute(uapi.LineConfigAttribute{Attr: (flags | b).Encode(), Mask: mask})
	}
	for d, mask := range debounce {
		d = max(d, time.Microsecond) // the kernel's unit
		r.Config.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(d).Encode(), Mask: mask})
	}
	return r, nil
}

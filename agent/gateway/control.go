package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// The texts of engage.md section 3 for a lockControl that is wrong.
const (
	invalidTag   = "Invalid JSON tag"
	invalidValue = "Invalid JSON tag value"
	relockBounds = "Relock delay out of bounds"
)

// ErrCached is what Site.Command wraps when the device is away and gets the order when
// it is back: 202.
var ErrCached = errors.New("cached")

// noLine is the answer to an order for a Wi-Fi lock.
const noLine = "A Wi-Fi lock has no live line: it cannot be controlled now"

// The bounds of relockDelay in seconds. Its tag is not public.
const minRelock, maxRelock = 1, 255

// lockStates are the literals of nextLockState. frozenSecure is documented, the
// others have been seen.
var lockStates = map[string]Op{
	"secure": OpSecure, "passage": OpPassage, "frozenSecure": OpFreezeSecure,
	"frozenPassage": OpFreezePassage, "momentaryUnlock": OpUnlock,
}

// parseControl reads {"lockControl":{"lockState":{"nextLockState":s}}}; a
// momentaryUnlock may have "relockDelay" in seconds beside it. fault is the text of
// its refusal, or empty.
func parseControl(body []byte) (c Command, fault string) {
	var doc struct {
		LockControl *struct {
			LockState *struct {
				NextLockState *json.RawMessage `json:"nextLockState"`
				RelockDelay   *json.RawMessage `json:"relockDelay"`
			} `json:"lockState"`
		} `json:"lockControl"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return c, invalidTag
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return c, invalidTag
	}
	if doc.LockControl == nil || doc.LockControl.LockState == nil || doc.LockControl.LockState.NextLockState == nil {
		return c, invalidTag
	}
	state := doc.LockControl.LockState
	var next string
	if err := json.Unmarshal(*state.NextLockState, &next); err != nil || lockStates[next] == 0 {
		return c, invalidValue
	}
	c.Op = lockStates[next]
	switch {
	case state.RelockDelay == nil:
		return c, ""
	case c.Op != OpUnlock:
		return c, invalidTag
	}
	n, err := strconv.Atoi(string(bytes.Trim(*state.RelockDelay, `"`)))
	switch {
	case errors.Is(err, strconv.ErrRange):
		return c, relockBounds
	case err != nil:
		return c, invalidValue
	case n < minRelock || n > maxRelock:
		return c, relockBounds
	}
	c.For = time.Duration(n) * time.Second
	return c, ""
}

func (g *Gateway) control(ctx context.Context, r *request) reply {
	c, fault := parseControl([]byte(r.body))
	switch {
	case fault != "":
		return message(400, fault)
	case !r.link.live():
		return message(400, noLine)
	}
	switch err := g.deps.Site.Command(ctx, r.link.Door, c); {
	case errors.Is(err, ErrCached):
		return message(202, cached)
	case err != nil:
		return g.failed(err)
	}
	return reply{status: 200}
}

// controlAll orders the same of all devices at once: no door waits for a lock on a
// line that is slow. Each is ordered, whatever another one answers; the answer is the
// first error, and says how many did it. Where none failed it is 202 if one was cached.
func (g *Gateway) controlAll(ctx context.Context, r *request) reply {
	c, fault := parseControl([]byte(r.body))
	if fault != "" {
		return message(400, fault)
	}
	all := g.links.all()
	errs := make([]error, len(all))
	var work sync.WaitGroup
	for i, l := range all {
		if !l.live() {
			errs[i] = fmt.Errorf("%w: %s", ErrInvalid, noLine)
			continue
		}
		work.Go(func() { errs[i] = g.deps.Site.Command(ctx, l.Door, c) })
	}
	work.Wait()
	var first error
	done, waits := 0, false
	for i, err := range errs {
		switch {
		case err == nil:
			done++
		case errors.Is(err, ErrCached):
			waits = true
		case first == nil:
			first = fmt.Errorf("%s: %w", all[i].linkID, err)
		}
	}
	switch {
	case first != nil:
		return g.failed(fmt.Errorf("%d of %d devices did it; %w", done, len(all), first))
	case waits:
		return message(202, cached)
	}
	return reply{status: 200}
}

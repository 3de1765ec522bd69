package link

import (
	"context"
	"sync/atomic"
	"time"
)

// What an accepted request may wait for the store: operationTime, or up to
// operationSlack less, because requests that come within that time share their
// deadline. Making one for each is a context, a channel and a timer that hardly
// ever counts.
const (
	operationTime  = 10 * time.Second
	operationSlack = time.Second
)

// deadlines gives requests the context of their operation.
type deadlines struct{ latest atomic.Pointer[deadline] }

type deadline struct {
	ctx  context.Context
	made time.Time
}

// context returns one that ends in operationTime, or up to operationSlack
// earlier. It does not end with the request's: an operation is not cut short.
func (d *deadlines) context() context.Context {
	now := time.Now()
	if l := d.latest.Load(); l != nil && now.Sub(l.made) < operationSlack {
		return l.ctx
	}
	ctx, cancel := context.WithTimeout(context.Background(), operationTime)
	context.AfterFunc(ctx, cancel) // who shares it is not known: its timer alone ends it
	d.latest.Store(&deadline{ctx, now})
	return ctx
}

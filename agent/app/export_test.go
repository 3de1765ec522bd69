package app

import (
	"context"
	"net/http"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

// SetGateway gives a handler to gatewayRoutes before the agent runs.
func (a *App) SetGateway(h http.Handler) { a.gateway = h }

// Record appends events as doors do and returns when the last one is on disk,
// with their numbers.
func (a *App) Record(ctx context.Context, evs ...site.Event) ([]site.EventSeq, error) {
	receipts := make([]*spool.Receipt, len(evs))
	for i, ev := range evs {
		receipts[i] = a.sink.append(ev)
	}
	out := make([]site.EventSeq, len(evs))
	for i, r := range receipts {
		var err error
		if out[i], err = r.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

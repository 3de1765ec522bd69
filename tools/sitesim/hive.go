package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"gatehouse/tools/sitesim/wire"
)

// asker makes a request of Hive version 2: a wire.Session over HTTP, a device on
// a serial line.
type asker interface {
	Ask(ctx context.Context, data map[string]any) (json.RawMessage, error)
}

// hiveReader is a small reader that speaks version 2 of the Hive protocol, as a
// microcontroller does.
type hiveReader struct {
	item  string
	agent asker
}

// hiveReply is the data of a reply, as far as a reader looks at it.
type hiveReply struct {
	Access bool   `json:"access"`
	Error  string `json:"error"`
	Reason string `json:"reason"`
}

// access asks for the reader's item with a badge: facility × 65536 + number.
func (r *hiveReader) access(ctx context.Context, facility, number uint64) (reply hiveReply, err error) {
	raw, err := r.agent.Ask(ctx, map[string]any{"operation": "access", "item": r.item, "badge": facility<<16 | number})
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return reply, fmt.Errorf("reply: %w", err)
	}
	return reply, nil
}

// overHTTP posts to the agent's Hive route.
func overHTTP(url string) wire.Exchange {
	client := &http.Client{Timeout: 10 * time.Second}
	return func(ctx context.Context, request []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(request))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	}
}

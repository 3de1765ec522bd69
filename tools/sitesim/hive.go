package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// exchange carries one request line to the agent and brings its answer.
type exchange func(ctx context.Context, request []byte) ([]byte, error)

// hiveReader is a small reader that speaks version 2 of the Hive protocol, as a
// microcontroller does: it holds a nonce, sends, checks the reply and acts.
type hiveReader struct {
	device string
	key    []byte
	item   string
	talk   exchange

	mu    sync.Mutex // one request at a time, as on the real device
	nonce string
}

// hiveReply is the data of a reply, as far as a reader looks at it.
type hiveReply struct {
	Response       bool   `json:"response"`
	Access         bool   `json:"access"`
	NonceValid     *bool  `json:"nonce_valid"`
	NewNonce       string `json:"new_nonce"`
	Error          string `json:"error"`
	Reason         string `json:"reason"`
	Data           string `json:"data"`
	RandomResponse []int  `json:"random_response"`
}

// access asks for the reader's item with a badge: facility × 65536 + number. A
// wrong nonce is taken over from the reply and the request sent once more.
func (r *hiveReader) access(ctx context.Context, facility, number uint64) (hiveReply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 2 {
		if r.nonce == "" {
			reply, err := r.send(ctx, map[string]any{"operation": "get_nonce"})
			if err != nil {
				return reply, err
			}
			r.nonce = reply.NewNonce
		}
		reply, err := r.send(ctx, map[string]any{
			"operation": "access", "item": r.item, "badge": facility<<16 | number, "nonce": r.nonce})
		if err != nil {
			return reply, err
		}
		r.nonce = reply.NewNonce
		if reply.NonceValid == nil || *reply.NonceValid {
			return reply, nil
		}
	}
	return hiveReply{}, errors.New("the agent refused two fresh nonces")
}

// send signs data, exchanges it and checks the reply in the order of the
// protocol: checksum, then random_response.
func (r *hiveReader) send(ctx context.Context, data map[string]any) (hiveReply, error) {
	var reply hiveReply
	challenge := make([]int, 16)
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return reply, err
	}
	for i, b := range raw {
		challenge[i] = int(b)
	}
	data["version"] = 2
	data["random_response"] = challenge
	canonical, err := json.Marshal(data) // a map: members sorted; integers and plain ASCII only
	if err != nil {
		return reply, err
	}
	request, err := json.Marshal(map[string]any{"device": r.device, "data": json.RawMessage(canonical), "checksum": r.sign(canonical)})
	if err != nil {
		return reply, err
	}
	answer, err := r.talk(ctx, request)
	if err != nil {
		return reply, err
	}
	var envelope struct {
		Data     json.RawMessage `json:"data"`
		Checksum string          `json:"checksum"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return reply, fmt.Errorf("reply: %w", err)
	}
	if envelope.Checksum == "" {
		return reply, fmt.Errorf("unsigned reply: %s", bytes.TrimSpace(answer))
	}
	if !hmac.Equal([]byte(strings.ToUpper(envelope.Checksum)), []byte(r.sign(envelope.Data))) {
		return reply, errors.New("reply: wrong checksum")
	}
	if err := json.Unmarshal(envelope.Data, &reply); err != nil {
		return reply, fmt.Errorf("reply: %w", err)
	}
	for i, v := range challenge {
		if i >= len(reply.RandomResponse) || reply.RandomResponse[i] != v {
			return reply, errors.New("reply: random_response is not ours")
		}
	}
	return reply, nil
}

func (r *hiveReader) sign(canonical []byte) string {
	h := sha512.New()
	h.Write(r.key)
	h.Write(canonical)
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

// overHTTP posts to the agent's Hive route.
func overHTTP(url string) exchange {
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

// overLine writes one line and waits for the next one.
func overLine(port io.ReadWriter) exchange {
	lines := make(chan []byte, 1)
	go func() {
		defer close(lines)
		for in := bufio.NewReaderSize(port, 1<<16); ; {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			select {
			case lines <- line:
			default: // an answer that nobody waits for
			}
		}
	}()
	return func(ctx context.Context, request []byte) ([]byte, error) {
		select {
		case <-lines: // what came late for an earlier request
		default:
		}
		if _, err := port.Write(append(request, '\n')); err != nil {
			return nil, err
		}
		select {
		case line, ok := <-lines:
			if !ok {
				return nil, errors.New("the line was closed")
			}
			return line, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Second):
			return nil, errors.New("no answer on the line within 10 s")
		}
	}
}

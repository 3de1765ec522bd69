package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrNoAnswer is wrapped by a Talk whose request had no answer in time.
var ErrNoAnswer = errors.New("no answer")

// Talk carries the data of one request to the agent and brings the data of its
// reply, checked. It adds random_response.
type Talk func(ctx context.Context, data map[string]any) (json.RawMessage, error)

// Exchange carries one line to the agent and brings its answer.
type Exchange func(ctx context.Context, request []byte) ([]byte, error)

// Session is a device's side of version 2: it keeps the nonce. It may be used
// from any goroutine; one request goes out at a time, as on the real device.
type Session struct {
	Talk Talk

	mu    sync.Mutex // guards nonce, and is held for a whole request
	nonce string
}

// tries is how often a request is sent that is not answered, or whose nonce was
// not the agent's.
const tries = 3

// Ask sends a request and returns the reply's data. A wrong nonce is taken over
// from the reply, and a request without an answer sent again, at most three times
// in all. data must not be used afterwards.
func (s *Session) Ask(ctx context.Context, data map[string]any) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data["version"] = 2
	last := errors.New("the agent refused fresh nonces")
	for range tries {
		if s.nonce == "" {
			if _, err := s.once(ctx, map[string]any{"operation": "get_nonce", "version": 2}); err != nil {
				if last = err; errors.Is(err, ErrNoAnswer) && ctx.Err() == nil {
					continue
				}
				return nil, err
			}
		}
		data["nonce"] = s.nonce
		reply, err := s.once(ctx, data)
		switch {
		case err == nil:
			return reply, nil
		case errors.Is(err, errNonce):
		case errors.Is(err, ErrNoAnswer) && ctx.Err() == nil:
			last = err
		default:
			return nil, err
		}
	}
	return nil, last
}

var errNonce = errors.New("wrong nonce")

// once sends one request and takes the new nonce.
func (s *Session) once(ctx context.Context, data map[string]any) (json.RawMessage, error) {
	raw, err := s.Talk(ctx, data)
	if err != nil {
		return nil, err
	}
	var reply struct {
		Valid *bool  `json:"nonce_valid"`
		Nonce string `json:"new_nonce"`
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	if reply.Nonce != "" {
		s.nonce = reply.Nonce
	}
	if reply.Valid != nil && !*reply.Valid {
		return nil, errNonce
	}
	return raw, nil
}

// Over makes a Talk of a plain exchange of lines: it signs the request, adds a
// challenge, and checks the reply's checksum, then its random_response.
func Over(device string, key []byte, x Exchange) Talk {
	return func(ctx context.Context, data map[string]any) (json.RawMessage, error) {
		challenge := Challenge()
		data["random_response"] = challenge
		request, err := Seal(device, key, data)
		if err != nil {
			return nil, err
		}
		answer, err := x(ctx, request)
		if err != nil {
			return nil, err
		}
		return CheckReply(answer, key, challenge)
	}
}

// CheckReply opens a reply, checks it in the order of the protocol and returns
// its data.
func CheckReply(answer, key []byte, challenge []int) (json.RawMessage, error) {
	e, err := Open(answer)
	if err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	if e.Checksum == "" {
		return nil, fmt.Errorf("unsigned reply: %.200s", bytes.TrimSpace(answer))
	}
	if !e.Verify(key) {
		return nil, errors.New("reply: wrong checksum")
	}
	var reply struct {
		RandomResponse []int `json:"random_response"`
	}
	if err := json.Unmarshal(e.Data, &reply); err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	if !slices.Equal(reply.RandomResponse, challenge) {
		return nil, errors.New("reply: random_response is not ours")
	}
	return e.Data, nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/agent/uplink"
)

// fileHost is an IP host of one gateway: it subscribes, reads and counts the
// events, and asks one thing after the other.
type fileHost struct {
	*tlsHost
	links   chan *websocket.Conn // capacity 1: the gateway's connection
	answers chan fileAnswer
	gone    chan struct{} // closed when the connection has ended
	events  atomic.Int64

	ws   *websocket.Conn // set by linked
	next uint32          // requestId
}

// fileAnswer is a response as it comes.
type fileAnswer struct {
	RequestID uint32 `json:"requestId"`
	Response  struct {
		Status string `json:"status"`
		Body   string `json:"messageBody"`
	} `json:"response"`
}

func startFileHost() (*fileHost, error) {
	h := &fileHost{links: make(chan *websocket.Conn, 1), answers: make(chan fileAnswer), gone: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+uplink.CredentialsPath, giveCredentials)
	mux.HandleFunc("GET "+drainPath, h.take)
	var err error
	h.tlsHost, err = serveTLS(mux)
	return h, err
}

// take reads until the connection ends. A second one is not taken: the gateway
// must keep the first.
func (h *fileHost) take(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{uplink.SubProtocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	if ws.WriteMessage(websocket.TextMessage, []byte(subscribeAll)) != nil {
		return
	}
	select {
	case h.links <- ws:
	default:
		return
	}
	defer close(h.gone)
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if bytes.HasPrefix(frame, []byte(`{"eventId":`)) {
			h.events.Add(1)
			continue
		}
		var a fileAnswer
		if json.Unmarshal(frame, &a) != nil {
			return
		}
		select {
		case h.answers <- a:
		case <-r.Context().Done():
			return
		}
	}
}

// linked waits for the gateway.
func (h *fileHost) linked(ctx context.Context) error {
	select {
	case h.ws = <-h.links:
		h.links <- h.ws // taken: no other one is wanted
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("the agent has not connected within a minute")
	}
}

// request returns the next message that asks for a resource.
func (h *fileHost) request(method, path, body string) ([]byte, error) {
	h.next++
	return uplink.Frame{Kind: uplink.KindRequest, ID: h.next, Request: uplink.Request{Method: method, Path: path, Body: body}}.Encode()
}

// ask asks for a resource and returns the body of its answer, which must be 200.
func (h *fileHost) ask(ctx context.Context, method, path, body string) (string, error) {
	frame, err := h.request(method, path, body)
	if err != nil {
		return "", err
	}
	return h.send(ctx, path, frame)
}

// send sends a request that was made last and returns its answer.
func (h *fileHost) send(ctx context.Context, path string, frame []byte) (string, error) {
	if err := h.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		return "", err
	}
	select {
	case a := <-h.answers:
		if a.RequestID != h.next || a.Response.Status != "200" {
			return "", fmt.Errorf("%s: answer %d of request %d: %s %.200s", path, a.RequestID, h.next, a.Response.Status, a.Response.Body)
		}
		return a.Response.Body, nil
	case <-h.gone:
		return "", errors.New(path + ": the agent has gone")
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(time.Minute):
		return "", errors.New(path + ": no answer within a minute")
	}
}

// devices returns the links of the gateway by door.
func (h *fileHost) devices(ctx context.Context) (map[string]string, error) {
	body, err := h.ask(ctx, "GET", "/edgeDevices/linkList", "")
	if err != nil {
		return nil, err
	}
	var list struct {
		LinkList []struct{ LinkID, DeviceName string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, l := range list.LinkList {
		out[l.DeviceName] = l.LinkID
	}
	return out, nil
}

// statusEvery is how often a host asks how far a door file is.
const statusEvery = 20 * time.Millisecond

// completed waits until the door file of a device is in force.
func (h *fileHost) completed(ctx context.Context, link string) error {
	for {
		body, err := h.ask(ctx, "GET", "/edgeDevices/"+link+"/dbDownloadStatus", "")
		if err != nil {
			return err
		}
		var st struct{ DownloadStatus struct{ Status string } }
		if err := json.Unmarshal([]byte(body), &st); err != nil {
			return err
		}
		switch st.DownloadStatus.Status {
		case "completed":
			return nil
		case "pending", "inProgress":
			time.Sleep(statusEvery)
		default:
			return fmt.Errorf("door file of %s: %s", link, body)
		}
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

const (
	// maxBrokerRequests are worked on at a time by one host.
	maxBrokerRequests = 2048
	// maxAllBody bounds a request to all gateways.
	maxAllBody = 64 << 10
	// bodyTime bounds how long a client may take to send a body.
	bodyTime = 60 * time.Second
	// busGrace is what an answer may take on the bus beyond the gateway's time.
	busGrace = time.Second
)

// fromHeader tells a client of the broker whether the gateway itself answered.
const fromHeader = "Iphost-From"

// brokerRequest checks the token and passes on to the resource.
func (h *Host) brokerRequest(w http.ResponseWriter, r *http.Request, path string) {
	token, err := h.authorize(r)
	if err != nil {
		if !errors.Is(err, registry.ErrToken) {
			h.cfg.Log.Error("broker: token", "err", err)
			refuse(w, http.StatusServiceUnavailable, "the host cannot check tokens now")
			return
		}
		h.cfg.Log.Warn("broker: refused", "peer", r.RemoteAddr, "path", path, "err", err)
		w.Header().Set("WWW-Authenticate", `Bearer realm="iphost"`)
		refuse(w, http.StatusUnauthorized, "a bearer token is needed")
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "too many requests at a time")
		return
	}
	switch {
	case resource(path):
		h.brokerResource(w, r, path, token)
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET")
		refuse(w, http.StatusMethodNotAllowed, "GET only")
	case path == "/gateways":
		h.listGateways(w, r, token)
	case path == "/events":
		h.storedEvents(w, r, token)
	case path == "/events/live":
		h.liveEvents(w, r, token)
	}
}

func (h *Host) authorize(r *http.Request) (registry.Token, error) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return registry.Token{}, registry.ErrToken
	}
	return h.reg.CheckToken(r.Context(), strings.TrimSpace(text))
}

// brokerResource sends a request to one gateway or to all.
func (h *Host) brokerResource(w http.ResponseWriter, r *http.Request, path string, token registry.Token) {
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		w.Header().Set("Allow", "GET, PUT, POST, DELETE")
		refuse(w, http.StatusMethodNotAllowed, "GET, PUT, POST or DELETE")
		return
	}
	serial, query, err := splitQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	limit := int64(engage.MaxMessage)
	if serial == nil {
		limit = maxAllBody
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		h.cfg.Log.Debug("broker", "err", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
			return
		}
		refuse(w, http.StatusBadRequest, "the body ended early")
		return
	}
	req := engage.Request{Method: r.Method, Path: path, Query: query, Body: body}
	switch _, err := req.Tail(); {
	case errors.Is(err, engage.ErrTooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, err.Error())
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
	case serial != nil:
		a := h.askOne(r.Context(), *serial, req, token)
		h.cfg.Log.Info("broker", "by", token.Name, "method", req.Method, "path", path, "gateway", serial.String(), "status", a.status, "from", string(a.from))
		writeAnswer(w, a)
	default:
		h.cfg.Log.Info("broker", "by", token.Name, "method", req.Method, "path", path, "gateway", "all")
		h.askAll(w, r.Context(), req, token)
	}
}

// splitQuery takes ?gateway=SERIAL out of a raw query and leaves the rest as it
// is, for the gateway.
func splitQuery(raw string) (serial *engage.Serial, rest string, err error) {
	var keep []string
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name != "gateway" {
			if part != "" {
				keep = append(keep, part)
			}
			continue
		}
		if serial != nil {
			return nil, "", errors.New("gateway: one of them, or none for all")
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, "", errors.New("gateway: not a serial: want 32 hex digits")
		}
		s, err := engage.ParseSerial(value)
		if err != nil {
			return nil, "", fmt.Errorf("gateway: %w", err)
		}
		serial = &s
	}
	return serial, strings.Join(keep, "&"), nil
}

// writeAnswer keeps status and body.
func writeAnswer(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set(fromHeader, string(a.from))
	if a.status < 200 { // no final answer in HTTP
		w.Header().Set(fromHeader, string(fromHost))
		a = answer{status: http.StatusBadGateway, body: engage.StatusMessage(fmt.Sprintf("the gateway answered with status %d", a.status))}
	}
	w.WriteHeader(a.status)
	w.Write(a.body) // a client that left is no fault; 204 and 304 have no body
}

func failure(status int, text string) answer {
	return answer{from: fromHost, status: status, body: engage.StatusMessage(text)}
}

// askOne finds where the gateway is and asks there, on any host. A gateway that
// moves meanwhile is looked up once more.
func (h *Host) askOne(ctx context.Context, serial engage.Serial, req engage.Request, token registry.Token) answer {
	asked := ""
	for {
		ses, err := h.reg.Session(ctx, serial)
		switch {
		case errors.Is(err, registry.ErrNotFound) || err == nil && token.Site != "" && ses.Site != token.Site:
			return h.unknown(ctx, serial, token)
		case err != nil:
			h.cfg.Log.Error("broker", "gateway", serial.String(), "err", err)
			return failure(503, "the registry does not answer")
		case ses.Host == "" || ses.ID == asked:
			return failure(503, "the gateway is not connected")
		}
		a, err := h.ask(ctx, ses.Host, serial, req)
		if err == nil && a.from != fromNobody {
			return a
		}
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			switch {
			case errors.Is(err, errLost): // it may have passed the request on: it is not sent twice
				return failure(http.StatusBadGateway, err.Error()+" before it answered")
			case errors.Is(err, nats.ErrMaxPayload):
				return failure(http.StatusRequestEntityTooLarge, "the request is larger than the bus takes")
			case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
				return failure(504, "the gateway's host did not answer in "+(h.cfg.Timeout+busGrace).String())
			case ctx.Err() != nil:
				return failure(503, "the request was cut")
			}
			h.cfg.Log.Error("broker", "gateway", serial.String(), "err", err)
			return failure(503, "the bus does not answer")
		}
		asked = ses.ID
	}
}

// unknown tells a gateway that never connected from one that nobody added, and
// neither to a token of another site.
func (h *Host) unknown(ctx context.Context, serial engage.Serial, token registry.Token) answer {
	g, err := h.reg.Gateway(ctx, serial)
	if err == nil && (token.Site == "" || g.Site == token.Site) {
		return failure(503, "the gateway has not connected yet")
	}
	return failure(404, "no such gateway")
}

// ask asks one host for one gateway.
func (h *Host) ask(ctx context.Context, instance string, serial engage.Serial, req engage.Request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout+busGrace)
	defer cancel()
	m := encode(hostSubject(instance, subjectOne), req, h.cfg.Timeout)
	m.Header.Set(headerGateway, serial.String())
	there, stop := h.whileThere(ctx, instance)
	defer stop()
	back, err := h.bus.NC.RequestMsgWithContext(there, m)
	if err != nil {
		if context.Cause(there) == errLost {
			err = errLost
		}
		return answer{}, err
	}
	got, a, err := parseAnswer(back)
	if err == nil && got != serial {
		err = fmt.Errorf("an answer of gateway %s for %s", got, serial)
	}
	return a, err
}

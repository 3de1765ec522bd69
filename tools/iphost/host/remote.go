package host

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

// What hosts say to each other on the bus. Every host listens under its own
// instance; whoever holds a request looks up in the registry where the gateway
// is and asks that host.
const (
	subjectOne = "one" // a request for one gateway
	subjectAll = "all" // a request for every gateway that is connected there
	subjectEnd = "end" // end a session: the gateway has a newer one
	subjectYet = "yet" // whether the host is still there

	headerGateway = "Iphost-Gateway"
	headerSite    = "Iphost-Site"
	headerSession = "Iphost-Session"
	headerMethod  = "Iphost-Method"
	headerPath    = "Iphost-Path"
	headerQuery   = "Iphost-Query"
	headerTimeout = "Iphost-Timeout" // milliseconds
	headerFrom    = "Iphost-From"
	headerStatus  = "Iphost-Status"
)

func hostSubject(instance, what string) string { return "iphost.host." + instance + "." + what }

// maxBusPending bounds what waits in this process of the other hosts' requests.
const maxBusPending = 256 << 20

// serveBus begins to answer the other hosts.
func (h *Host) serveBus() error {
	for what, f := range map[string]nats.MsgHandler{subjectOne: h.onOne, subjectAll: h.onAll, subjectEnd: h.onEnd, subjectYet: h.onYet} {
		sub, err := h.bus.NC.Subscribe(hostSubject(h.self.Instance, what), f)
		if err != nil {
			return fmt.Errorf("host: %w", err)
		}
		if err := sub.SetPendingLimits(-1, maxBusPending); err != nil {
			return fmt.Errorf("host: %w", err)
		}
	}
	return h.bus.NC.Flush()
}

// encode makes a message that asks for a request.
func encode(subject string, r engage.Request, timeout time.Duration) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Header.Set(headerMethod, r.Method)
	m.Header.Set(headerPath, r.Path)
	if r.Query != "" {
		m.Header.Set(headerQuery, r.Query)
	}
	m.Header.Set(headerTimeout, strconv.FormatInt(timeout.Milliseconds(), 10))
	m.Data = r.Body
	return m
}

// decode reads what encode wrote.
func decode(m *nats.Msg) (tail engage.RequestTail, timeout time.Duration, err error) {
	ms, err := strconv.ParseUint(m.Header.Get(headerTimeout), 10, 31)
	if err != nil {
		return nil, 0, fmt.Errorf("time-out: %w", err)
	}
	tail, err = engage.Request{Method: m.Header.Get(headerMethod), Path: m.Header.Get(headerPath), Query: m.Header.Get(headerQuery), Body: m.Data}.Tail()
	return tail, time.Duration(ms) * time.Millisecond, err
}

// onOne passes a request on to one gateway.
func (h *Host) onOne(m *nats.Msg) {
	h.work.Go(func() {
		serial, err := engage.ParseSerial(m.Header.Get(headerGateway))
		if err != nil {
			h.cfg.Log.Warn("request of another host", "err", err)
			return
		}
		done := func(a answer) { h.reply(m.Reply, serial, a) }
		s := h.session(serial)
		if s == nil {
			done(answer{from: fromNobody, status: 503, body: engage.StatusMessage("the gateway is not connected")})
			return
		}
		tail, timeout, err := decode(m)
		if err != nil {
			done(answer{from: fromHost, status: 400, body: engage.StatusMessage(err.Error())})
			return
		}
		s.request(tail, timeout, done)
	})
}

// onAll passes a request on to every gateway here, of one site if it says so.
func (h *Host) onAll(m *nats.Msg) {
	h.work.Go(func() {
		tail, timeout, err := decode(m)
		if err != nil {
			h.cfg.Log.Warn("request of another host", "err", err)
			return
		}
		site := m.Header.Get(headerSite)
		for _, s := range h.all() {
			if site == "" || s.info.Site == site {
				s.request(tail, timeout, func(a answer) { h.reply(m.Reply, s.info.Serial, a) })
			}
		}
	})
}

// reply sends an answer back.
func (h *Host) reply(to string, serial engage.Serial, a answer) {
	m := nats.NewMsg(to)
	m.Header.Set(headerGateway, serial.String())
	m.Header.Set(headerFrom, string(a.from))
	m.Header.Set(headerStatus, strconv.Itoa(a.status))
	m.Data = a.body
	err := h.bus.NC.PublishMsg(m)
	if err == nats.ErrMaxPayload {
		m.Header.Set(headerFrom, string(fromHost))
		m.Header.Set(headerStatus, "502")
		m.Data = engage.StatusMessage("the gateway's answer is larger than the bus takes")
		err = h.bus.NC.PublishMsg(m)
	}
	if err != nil {
		h.cfg.Log.Warn("an answer is lost", "gateway", serial.String(), "err", err)
	}
}

// parseAnswer reads what reply wrote.
func parseAnswer(m *nats.Msg) (engage.Serial, answer, error) {
	serial, err := engage.ParseSerial(m.Header.Get(headerGateway))
	if err != nil {
		return serial, answer{}, err
	}
	status, err := strconv.Atoi(m.Header.Get(headerStatus))
	if err != nil {
		return serial, answer{}, fmt.Errorf("status: %w", err)
	}
	return serial, answer{from: from(m.Header.Get(headerFrom)), status: status, body: m.Data}, nil
}

// errLost means that a host died with a request.
var errLost = errors.New("the gateway's host was lost")

// checkTime is how soon a host that has not answered is asked whether it is
// still there, and how often.
const checkTime = 2 * time.Second

// whileThere returns a context that ends when a host is gone: the bus does not
// tell so to who waits for an answer. Its cause is then errLost. Call stop when
// the answer is there.
func (h *Host) whileThere(ctx context.Context, instance string) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var t *time.Timer
	set := make(chan struct{})
	t = time.AfterFunc(checkTime, func() {
		<-set
		once, end := context.WithTimeout(ctx, checkTime)
		defer end()
		_, err := h.bus.NC.RequestWithContext(once, hostSubject(instance, subjectYet), nil)
		if errors.Is(err, nats.ErrNoResponders) {
			cancel(errLost)
		} else if ctx.Err() == nil {
			t.Reset(checkTime)
		}
	})
	close(set)
	return ctx, func() { cancel(nil); t.Stop() }
}

func (h *Host) onYet(m *nats.Msg) {
	if err := m.Respond(nil); err != nil {
		h.cfg.Log.Warn("an answer is lost", "err", err)
	}
}

// endElsewhere tells the host of an earlier session to end it. If that host
// does not hear it, the session is gone with it or ends by its pings.
func (h *Host) endElsewhere(before registry.Session) {
	if before.Host == "" || before.Host == h.self.Instance {
		return
	}
	m := nats.NewMsg(hostSubject(before.Host, subjectEnd))
	m.Header.Set(headerGateway, before.Serial.String())
	m.Header.Set(headerSession, before.ID)
	if err := h.bus.NC.PublishMsg(m); err != nil {
		h.cfg.Log.Warn("an older session is not ended", "gateway", before.Serial.String(), "err", err)
	}
}

func (h *Host) onEnd(m *nats.Msg) {
	serial, err := engage.ParseSerial(m.Header.Get(headerGateway))
	if err != nil {
		h.cfg.Log.Warn("message of another host", "err", err)
		return
	}
	if s := h.session(serial); s != nil && s.info.ID == m.Header.Get(headerSession) {
		s.log.Info("the gateway connected to another host")
		s.retire()
	}
}

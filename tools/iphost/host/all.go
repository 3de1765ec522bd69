package host

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

// result is one gateway's in the answer to a request for all.
type result struct {
	Gateway string `json:"gateway"`
	From    from   `json:"from"`
	Status  string `json:"status"`
	Body    string `json:"messageBody"`
}

// resultWriter writes {"results":[…]} as results come, so that the answers of
// thousands of gateways never are in memory at once.
type resultWriter struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
	err   error
}

func (r *resultWriter) add(serial engage.Serial, a answer) {
	b, err := json.Marshal(result{serial.String(), a.from, strconv.Itoa(a.status), string(a.body)})
	if err != nil {
		panic(err) // strings always encode
	}
	lead := `{"results":[`
	if r.begun {
		lead = ","
	}
	r.begun = true
	r.write(append([]byte(lead), b...))
}

func (r *resultWriter) write(b []byte) {
	if r.err != nil {
		return
	}
	// A client that does not read must not hold the answers of all gateways.
	if r.err = r.rc.SetWriteDeadline(time.Now().Add(writeTime)); r.err == nil {
		_, r.err = r.w.Write(b)
	}
}

func (r *resultWriter) end() {
	if !r.begun {
		r.write([]byte(`{"results":[`))
	}
	r.write([]byte("]}\n"))
}

// sweep is a request to all gateways: who has not answered, by host.
type sweep struct {
	h      *Host
	out    *resultWriter
	silent map[string]map[engage.Serial]bool
	hosts  []string
	open   int
}

// askAll asks every gateway that is connected to any host, and writes a result
// for each known one: a gateway that is not connected has status 503, one that
// is silent 504.
func (h *Host) askAll(w http.ResponseWriter, ctx context.Context, req engage.Request, token registry.Token) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s := &sweep{h: h, silent: map[string]map[engage.Serial]bool{}, out: &resultWriter{w: w, rc: http.NewResponseController(w)}}
	inbox := h.bus.NC.NewInbox()
	sub, err := h.bus.NC.SubscribeSync(inbox + ".*")
	if err == nil {
		defer sub.Unsubscribe()
		err = sub.SetPendingLimits(-1, maxBusPending)
	}
	if err == nil {
		err = s.ask(ctx, req, token, inbox)
	}
	if err != nil {
		h.cfg.Log.Error("broker: all gateways", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the bus does not answer")
		return
	}
	s.collect(ctx, sub, inbox)
	for _, host := range s.hosts {
		for serial := range s.silent[host] {
			s.out.add(serial, failure(504, "the gateway did not answer in "+h.cfg.Timeout.String()))
		}
	}
	s.out.end()
}

// ask sends one message to each host that has gateways.
func (s *sweep) ask(ctx context.Context, req engage.Request, token registry.Token, inbox string) error {
	var away []engage.Serial
	known := map[engage.Serial]bool{}
	err := s.h.reg.Sessions(ctx, func(ses registry.Session) error {
		if token.Site != "" && ses.Site != token.Site {
			return nil
		}
		known[ses.Serial] = true
		if ses.Host == "" {
			away = append(away, ses.Serial)
			return nil
		}
		if s.silent[ses.Host] == nil {
			s.silent[ses.Host] = map[engage.Serial]bool{}
			s.hosts = append(s.hosts, ses.Host)
		}
		s.silent[ses.Host][ses.Serial] = true
		s.open++
		return nil
	})
	if err == nil {
		err = s.h.reg.Gateways(ctx, func(g registry.Gateway) error {
			if !known[g.Serial] && (token.Site == "" || g.Site == token.Site) {
				away = append(away, g.Serial)
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	for i, host := range s.hosts {
		m := encode(hostSubject(host, subjectAll), req, s.h.cfg.Timeout)
		m.Reply = inbox + "." + strconv.Itoa(i)
		m.Header.Set(headerSite, token.Site)
		if err := s.h.bus.NC.PublishMsg(m); err != nil {
			return err
		}
	}
	for _, serial := range away {
		s.out.add(serial, failure(503, "the gateway is not connected"))
	}
	return nil
}

// collect writes results until each gateway has one or the time is over.
func (s *sweep) collect(ctx context.Context, sub *nats.Subscription, inbox string) {
	ctx, cancel := context.WithTimeout(ctx, s.h.cfg.Timeout+busGrace)
	defer cancel()
	for s.open > 0 && s.out.err == nil {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.h.cfg.Log.Warn("broker: answers of all gateways", "err", err)
				if err == nats.ErrSlowConsumer {
					continue
				}
			}
			return
		}
		i, err := strconv.Atoi(m.Subject[len(inbox)+1:])
		if err != nil || i < 0 || i >= len(s.hosts) {
			continue
		}
		waiting := s.silent[s.hosts[i]]
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" { // nobody listens there: the host is gone
			for serial := range waiting {
				s.out.add(serial, failure(503, "the gateway is not connected"))
			}
			s.open -= len(waiting)
			clear(waiting)
			continue
		}
		serial, a, err := parseAnswer(m)
		if err != nil {
			s.h.cfg.Log.Warn("broker: an answer cannot be read", "err", err)
			continue
		}
		if waiting[serial] { // one that came after the list was made is left out
			delete(waiting, serial)
			s.open--
			s.out.add(serial, a)
		}
	}
}

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/journal"
	"gatehouse/tools/iphost/registry"
)

// defaultPage is how many events a page has when nobody says.
const defaultPage = 100

// parseFilter reads the query of /events and /events/live. A token of a site
// sees that site only.
func parseFilter(raw string, token registry.Token, allowed []string) (f journal.Filter, limit int, err error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return f, 0, errors.New("the query cannot be read")
	}
	limit = defaultPage
	for name, values := range q {
		if !slices.Contains(allowed, name) || len(values) != 1 {
			return f, 0, fmt.Errorf("%.40q: want one each of %s", name, strings.Join(allowed, ", "))
		}
		v := values[0]
		switch name {
		case "gateway":
			var s engage.Serial
			s, err = engage.ParseSerial(v)
			f.Gateway = &s
		case "site":
			f.Site, err = v, registry.CheckName(v)
		case "type":
			f.Type = v
		case "from":
			f.From, err = time.Parse(time.RFC3339, v)
		case "to":
			f.To, err = time.Parse(time.RFC3339, v)
		case "after":
			var id journal.ID
			id, err = journal.ParseID(v)
			f.After = &id
		case "limit":
			if limit, err = strconv.Atoi(v); err == nil && (limit < 1 || limit > journal.MaxPage) {
				err = fmt.Errorf("want 1 to %d", journal.MaxPage)
			}
		}
		if err != nil {
			return f, 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	if token.Site != "" {
		if f.Site != "" && f.Site != token.Site {
			return f, 0, errors.New("site: the token is of another site")
		}
		f.Site = token.Site
	}
	return f, limit, nil
}

// storedEvents answers GET /events with a page, oldest first.
func (h *Host) storedEvents(w http.ResponseWriter, r *http.Request, token registry.Token) {
	f, limit, err := parseFilter(r.URL.RawQuery, token, []string{"gateway", "site", "type", "from", "to", "after", "limit"})
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Timeout)
	defer cancel()
	page, err := h.journal.Query(ctx, f, limit)
	if err != nil {
		h.cfg.Log.Error("broker: events", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the journal does not answer")
		return
	}
	writeJSON(w, page)
}

// heartbeat keeps a silent event stream open.
const heartbeat = 15 * time.Second

// tokenLook is how long an open event stream believes its token: one that was
// revoked sends nothing after it.
const tokenLook = time.Second

// liveEvents answers GET /events/live with server-sent events. A client that
// comes back with Last-Event-ID, or ?after=, gets what it missed.
func (h *Host) liveEvents(w http.ResponseWriter, r *http.Request, token registry.Token) {
	f, _, err := parseFilter(r.URL.RawQuery, token, []string{"gateway", "site", "type", "after"})
	if id := r.Header.Get("Last-Event-ID"); err == nil && id != "" {
		var at journal.ID
		at, err = journal.ParseID(id)
		f.After = &at
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s := &eventStream{w: w, rc: http.NewResponseController(w), looked: time.Now(), look: func() error {
		_, err := h.authorize(r)
		return err
	}}
	if f.After != nil {
		first, _, err := h.journal.Bounds(r.Context())
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, "the journal does not answer")
			return
		}
		if f.After.Seq+1 < first {
			s.gap = fmt.Sprintf("event: gap\ndata: {\"after\":%q,\"next\":%q}\n\n", f.After, journal.ID{Seq: first})
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.quit, cancel)()
	err = h.journal.Follow(ctx, f, heartbeat, s.event, s.idle)
	switch {
	case !s.begun && err != nil:
		h.cfg.Log.Error("broker: live events", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the journal does not answer")
	case err != nil && ctx.Err() == nil:
		h.cfg.Log.Info("broker: live events end", "by", token.Name, "err", err)
	}
}

// eventStream writes server-sent events.
type eventStream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
	gap   string // told before the first event: some are not kept any more

	look   func() error // checks the token again
	looked time.Time
}

// may returns an error when the token was revoked since the stream began.
func (s *eventStream) may() error {
	if time.Since(s.looked) < tokenLook {
		return nil
	}
	err := s.look()
	s.looked = time.Now()
	return err
}

func (s *eventStream) event(e journal.Event) error {
	if err := s.may(); err != nil {
		return err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.write(fmt.Appendf(nil, "id: %s\ndata: %s\n\n", e.ID, data))
}

func (s *eventStream) idle() error {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "text/event-stream")
		s.w.Header().Set("Cache-Control", "no-store")
		s.w.Header().Set("X-Accel-Buffering", "no")
		return s.write([]byte(": connected\n\n" + s.gap))
	}
	if err := s.may(); err != nil {
		return err
	}
	return s.write([]byte(": \n\n"))
}

func (s *eventStream) write(b []byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the answer cannot be written")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(b, '\n')) // a client that left is no fault
}

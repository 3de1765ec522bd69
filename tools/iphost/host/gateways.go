package host

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

// GatewayStatus is a line of a listing.
type GatewayStatus struct {
	Serial    engage.Serial `json:"gateway"`
	Site      string        `json:"site"`
	Connected bool          `json:"connected"`
	Host      string        `json:"host,omitempty"`
	Remote    string        `json:"remote,omitempty"`
	Since     *time.Time    `json:"since,omitempty"` // of the connection
	Until     *time.Time    `json:"until,omitempty"` // when the last one ended, where that is known
}

// maxGateways is the most lines of one listing.
const maxGateways = 10_000

// Gateways lists what the registry knows, by serial, after one of them, of one
// site or of all. more reports that there are others. A gateway is connected
// when its host is alive and says so.
func Gateways(ctx context.Context, reg *registry.Registry, site string, after *engage.Serial, limit int) (out []GatewayStatus, more bool, err error) {
	wanted := func(serial engage.Serial, of string) bool {
		return (site == "" || site == of) && (after == nil || slices.Compare(serial[:], after[:]) > 0)
	}
	hosts, err := reg.Hosts(ctx)
	if err != nil {
		return nil, false, err
	}
	all := map[engage.Serial]GatewayStatus{}
	err = reg.Gateways(ctx, func(g registry.Gateway) error {
		if wanted(g.Serial, g.Site) {
			all[g.Serial] = GatewayStatus{Serial: g.Serial, Site: g.Site}
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	err = reg.Sessions(ctx, func(s registry.Session) error {
		g, ok := all[s.Serial]
		if !ok {
			return nil
		}
		g.Remote, g.Since = s.Remote, &s.Since
		if h, alive := hosts[s.Host]; alive {
			g.Connected, g.Host = true, h.Name
		} else if !s.Until.IsZero() {
			g.Until = &s.Until
		}
		all[s.Serial] = g
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	out = make([]GatewayStatus, 0, len(all))
	for _, g := range all {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b GatewayStatus) int { return slices.Compare(a.Serial[:], b.Serial[:]) })
	if limit > 0 && len(out) > limit {
		return out[:limit], true, nil
	}
	return out, false, nil
}

// listGateways answers GET /gateways.
func (h *Host) listGateways(w http.ResponseWriter, r *http.Request, token registry.Token) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(cmp.Or(q.Get("limit"), strconv.Itoa(maxGateways)))
	if err != nil || limit < 1 || limit > maxGateways {
		refuse(w, http.StatusBadRequest, "limit: want 1 to "+strconv.Itoa(maxGateways))
		return
	}
	var after *engage.Serial
	if v := q.Get("after"); v != "" {
		s, err := engage.ParseSerial(v)
		if err != nil {
			refuse(w, http.StatusBadRequest, "after: "+err.Error())
			return
		}
		after = &s
	}
	list, more, err := Gateways(r.Context(), h.reg, token.Site, after, limit)
	if err != nil {
		h.cfg.Log.Error("broker: gateways", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the registry does not answer")
		return
	}
	next := ""
	if more {
		next = list[len(list)-1].Serial.String()
	}
	writeJSON(w, struct {
		Gateways []GatewayStatus `json:"gateways"`
		Next     string          `json:"next,omitempty"`
	}{list, next})
}

// errStatus is the HTTP status of a registry's error.
func errStatus(err error) int {
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, registry.ErrExists):
		return http.StatusConflict
	}
	return http.StatusBadRequest
}

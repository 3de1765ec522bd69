package link

import (
	"net/http"
	"time"

	"gatehouse/agent/hive"
)

// quietHours answers the operation quiet_hours. Where none are set it is a
// refusal: a number would make a reader quiet.
func (s *Server) quietHours(r *request) {
	q := s.cfg.QuietHours
	if q.Start == q.End {
		r.set("in_quiet", hive.Boolean(false))
		r.set("error", hive.Text("Quiet hours are not set."))
		r.respond(false)
		r.status = http.StatusBadRequest
		return
	}
	now := s.deps.Clock().Now
	start, end := q.next(now, q.Start), q.next(now, q.End)
	r.set("start_ms", hive.Int(start.Sub(now).Milliseconds()))
	r.set("end_ms", hive.Int(end.Sub(now).Milliseconds()))
	r.set("in_quiet", hive.Boolean(end.Before(start)))
	r.respond(true)
}

// next returns the first moment after now at which clocks of the zone show that
// minute of the day. On the day on which they do not, it is that much after
// they go forward.
func (q QuietHours) next(now time.Time, minute int) time.Time {
	zone := q.Zone
	if zone == nil {
		zone = time.UTC
	}
	y, m, d := now.In(zone).Date()
	for {
		if t := time.Date(y, m, d, minute/60, minute%60, 0, 0, zone); t.After(now) {
			return t
		}
		d++
	}
}

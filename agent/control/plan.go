package control

import (
	"fmt"
	"net/http"

	"gatehouse/agent/site"
	"gatehouse/store"
)

// ScheduleView is a schedule as people write it.
type ScheduleView struct {
	ID             site.ScheduleID `json:"id"`
	Source         site.Source     `json:"source,omitempty"`
	Name           string          `json:"name"`
	Intervals      []Interval      `json:"intervals"`
	IgnoreHolidays bool            `json:"ignore_holidays,omitempty"`
}

func scheduleView(v site.Schedule) ScheduleView {
	out := ScheduleView{ID: v.ID, Source: v.Source, Name: v.Name, Intervals: make([]Interval, len(v.Intervals)), IgnoreHolidays: v.IgnoreHolidays}
	for i, iv := range v.Intervals {
		out.Intervals[i] = Interval(iv)
	}
	return out
}

// planID holds the id of a body, where it has one, to the path's.
func planID(r *http.Request, id string, src site.Source) (string, error) {
	path := r.PathValue("id")
	if id != "" && id != path {
		return "", fieldError("id", "is not that of the path")
	}
	if src != "" && src != site.SourceOperator {
		return "", fieldError("source", "want operator or none")
	}
	return path, nil
}

func (s *server) levels(w http.ResponseWriter, _ *http.Request) error {
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	return ok(w, append([]site.Level{}, st.Snapshot().Levels...))
}

func (s *server) putLevel(w http.ResponseWriter, r *http.Request) error {
	var in site.Level
	if err := body(r, &in); err != nil {
		return err
	}
	id, err := planID(r, string(in.ID), in.Source)
	if err != nil {
		return err
	}
	in.ID, in.Source = site.LevelID(id), site.SourceOperator
	return s.changeOne(w, r, ErrInput, store.PutLevel{Level: in})
}

func (s *server) removeLevel(w http.ResponseWriter, r *http.Request) error {
	return s.changeOne(w, r, ErrRefused, store.DeleteLevel{ID: site.LevelID(r.PathValue("id"))})
}

func (s *server) schedules(w http.ResponseWriter, _ *http.Request) error {
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	out := []ScheduleView{}
	for _, v := range st.Snapshot().Schedules {
		out = append(out, scheduleView(v))
	}
	return ok(w, out)
}

func (s *server) putSchedule(w http.ResponseWriter, r *http.Request) error {
	var in ScheduleView
	if err := body(r, &in); err != nil {
		return err
	}
	id, err := planID(r, string(in.ID), in.Source)
	if err != nil {
		return err
	}
	if len(in.Intervals) == 0 {
		return fmt.Errorf("%w: intervals: none: such a schedule never holds", ErrInput)
	}
	v := site.Schedule{ID: site.ScheduleID(id), Source: site.SourceOperator, Name: in.Name, IgnoreHolidays: in.IgnoreHolidays}
	for _, iv := range in.Intervals {
		v.Intervals = append(v.Intervals, site.Interval(iv))
	}
	return s.changeOne(w, r, ErrInput, store.PutSchedule{Schedule: v})
}

func (s *server) removeSchedule(w http.ResponseWriter, r *http.Request) error {
	return s.changeOne(w, r, ErrRefused, store.DeleteSchedule{ID: site.ScheduleID(r.PathValue("id"))})
}

func (s *server) holidays(w http.ResponseWriter, _ *http.Request) error {
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	return ok(w, append([]site.Holiday{}, st.Snapshot().Holidays...))
}

func (s *server) putHoliday(w http.ResponseWriter, r *http.Request) error {
	var in site.Holiday
	if err := body(r, &in); err != nil {
		return err
	}
	id, err := planID(r, string(in.ID), in.Source)
	if err != nil {
		return err
	}
	in.ID, in.Source = site.HolidayID(id), site.SourceOperator
	return s.changeOne(w, r, ErrInput, store.PutHoliday{Holiday: in})
}

func (s *server) removeHoliday(w http.ResponseWriter, r *http.Request) error {
	return s.changeOne(w, r, ErrRefused, store.DeleteHoliday{ID: site.HolidayID(r.PathValue("id"))})
}

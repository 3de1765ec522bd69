package control

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"gatehouse/agent/site"
)

// Areas is what control needs of the areas; app gives it.
type Areas interface {
	// AreaList returns each area, in the order of the settings, without who is
	// in it.
	AreaList() []AreaStatus
	// AreaShow returns one area with who is in it. ErrNotFound.
	AreaShow(id site.AreaID) (AreaStatus, error)
	// Forgive forgets where a holder is, or everybody in an area, or all. It
	// returns how many were forgiven, when that is kept.
	Forgive(ctx context.Context, f Forgiveness) (int, error)
}

// AreaStatus is one area and how many are in it.
type AreaStatus struct {
	ID       site.AreaID `json:"id"`
	Name     string      `json:"name"`
	Count    int         `json:"count"`
	Reserved int         `json:"reserved"` // were let in and have not gone through yet
	Limit    int         `json:"limit"`    // 0: none
	Passback string      `json:"passback"` // none, soft, timed or hard
	Present  []Presence  `json:"present,omitempty"`
}

// Presence is one holder in an area.
type Presence struct {
	ID    site.HolderID `json:"id"`
	Name  string        `json:"holder"`
	Since time.Time     `json:"since"`
}

// Forgiveness says whose place is forgotten: exactly one of Holder, Area and All
// is set.
type Forgiveness struct {
	Holder string      `json:"holder,omitempty"` // a holder's id or exact name
	Area   site.AreaID `json:"area,omitempty"`
	All    bool        `json:"all,omitempty"`
	By     string      `json:"-"`
}

// Forgiven is the answer to a Forgiveness.
type Forgiven struct {
	Holders int `json:"holders"`
}

func (s *server) areaRoutes() []route {
	return []route{
		{"GET /v1/areas", s.areas},
		{"GET /v1/areas/{id}", s.area},
		{"POST /v1/areas/forgive", s.forgive},
	}
}

func (s *server) areas(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, s.Areas.AreaList())
}

func (s *server) area(w http.ResponseWriter, r *http.Request) error {
	a, err := s.Areas.AreaShow(site.AreaID(r.PathValue("id")))
	if err != nil {
		return err
	}
	return ok(w, a)
}

func (s *server) forgive(w http.ResponseWriter, r *http.Request) error {
	var f Forgiveness
	if err := body(r, &f); err != nil {
		return err
	}
	n := 0
	for _, set := range []bool{f.Holder != "", f.Area != "", f.All} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%w: say who is forgiven: a holder, an area, or all", ErrInput)
	}
	f.By = cli
	count, err := s.Areas.Forgive(r.Context(), f)
	if err != nil {
		return err
	}
	return ok(w, Forgiven{count})
}

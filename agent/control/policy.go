package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// Policy is what control needs to manage the policy; app gives it. Its methods
// may be called from any goroutine.
type Policy interface {
	// Store returns the store, or an error that matches ErrNotReady while
	// there is none.
	Store() (*store.Store, error)
	// HasDoor reports whether the settings have the door.
	HasDoor(id site.DoorID) bool
	// Cards returns the site's card formats.
	Cards() *card.Set
	// Enrol waits for the next card at a reader and takes it: it is not
	// presented to the door. It fails with ErrNotFound for a reader that does
	// not exist, with ErrRefused for one that is taken by another enrolment or
	// cannot enrol, and with ctx's error when ctx ends first.
	Enrol(ctx context.Context, reader site.ReaderID) (card.Bits, error)
}

// policyRoutes are the routes that look at or change the policy.
func (s *server) policyRoutes() []route {
	return []route{
		{"GET /v1/holders", s.holders},
		{"POST /v1/holders", s.addHolder},
		{"GET /v1/holders/{id}", s.holder},
		{"POST /v1/holders/{id}/rename", s.renameHolder},
		{"POST /v1/holders/{id}/erase", s.eraseHolder},
		{"GET /v1/holders/{id}/export", s.exportHolder},
		{"DELETE /v1/holders/{id}", s.removeHolder},

		{"GET /v1/credentials", s.credentials},
		{"POST /v1/credentials", s.addCredential},
		{"POST /v1/credentials/enrol", s.enrolCredential},
		{"POST /v1/credentials/import", s.importCredentials},
		{"GET /v1/credentials/export", s.exportCredentials},
		{"GET /v1/credentials/{id}", s.credential},
		{"DELETE /v1/credentials/{id}", s.removeCredential},
		{"POST /v1/credentials/{id}/state", s.setState},
		{"POST /v1/credentials/{id}/replace", s.replaceCredential},
		{"POST /v1/credentials/{id}/pin", s.setPIN},
		{"POST /v1/credentials/{id}/rights", s.changeRights},
		{"DELETE /v1/credentials/{id}/rights", s.removeRight},
		{"PUT /v1/credentials/{id}/levels", s.setLevels},

		{"GET /v1/levels", s.levels},
		{"PUT /v1/levels/{id}", s.putLevel},
		{"DELETE /v1/levels/{id}", s.removeLevel},
		{"GET /v1/schedules", s.schedules},
		{"PUT /v1/schedules/{id}", s.putSchedule},
		{"DELETE /v1/schedules/{id}", s.removeSchedule},
		{"GET /v1/holidays", s.holidays},
		{"PUT /v1/holidays/{id}", s.putHoliday},
		{"DELETE /v1/holidays/{id}", s.removeHoliday},
	}
}

// classed gives an error a class without changing its text.
type classed struct {
	class error // ErrNotFound, ErrRefused, ErrInput or ErrNotReady
	err   error
}

func (e *classed) Error() string { return e.err.Error() }

func (e *classed) Unwrap() []error { return []error{e.class, e.err} }

// storeError says whose fault an error of the store is. A fault of a record is
// of the class fault, save that a card which is enrolled already, or a PIN that is
// another's, is refused.
func storeError(err, fault error) error {
	for _, c := range []struct{ is, class error }{
		{store.ErrFault, ErrNotReady},
		{store.ErrIncomplete, ErrNotReady},
		{store.ErrClosed, ErrNotReady},
		{store.ErrNotLogged, ErrNotReady},
		{store.ErrNotCopied, ErrNotReady},
		{store.ErrBusy, ErrRefused},
		{store.ErrAmbiguous, ErrInput},
	} {
		if errors.Is(err, c.is) {
			return &classed{c.class, err}
		}
	}
	if re, ok := errors.AsType[*store.RecordError](err); ok {
		if re.Field == "card" || errors.Is(err, store.ErrPINTaken) {
			fault = ErrRefused
		}
		if errors.Is(err, store.ErrNotFound) && errors.Is(fault, ErrRefused) {
			fault = ErrNotFound
		}
		return &classed{fault, err}
	}
	if errors.Is(err, store.ErrNotFound) {
		return &classed{ErrNotFound, err}
	}
	return err
}

// plainer leaves the number of the record out of an error: a person who asked
// for one thing did not number it.
func plainer(err error) error {
	re, ok := errors.AsType[*store.RecordError](err)
	if !ok {
		return err
	}
	if re.Field == "" {
		return re.Err
	}
	return fmt.Errorf("%s: %w", re.Field, re.Err)
}

// change makes one change of the operator's records. A fault that the store
// finds is of the class fault: ErrInput where the request brought the record,
// ErrRefused where it only names one.
func (s *server) change(r *http.Request, st *store.Store, fault error, ops ...store.Op) (store.Result, error) {
	res, err := st.Apply(r.Context(), cli, store.Change{Source: site.SourceOperator, Ops: ops, Doors: s.Policy.HasDoor})
	if err == nil {
		return res, nil
	}
	class := storeError(err, fault)
	if c, ok := class.(*classed); ok {
		c.err = plainer(c.err)
	}
	return res, class
}

// changeOne is change for a request that needs nothing else of the store.
func (s *server) changeOne(w http.ResponseWriter, r *http.Request, fault error, op store.Op) error {
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	if _, err := s.change(r, st, fault, op); err != nil {
		return err
	}
	return ok(w, struct{}{})
}

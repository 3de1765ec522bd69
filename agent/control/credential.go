package control

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"gatehouse/agent/site"
	"gatehouse/store"
)

// CredentialView is a credential with its holder's name. It holds no card
// number and no PIN.
type CredentialView struct {
	site.Credential
	HolderName string `json:"holder_name"`
}

// StateAnswer is what became of a credential, and which locks do not know it
// yet: they keep their own copy of the rights and open until they call. One that
// was made active has none; of one from which rights were taken they are the locks
// that those rights name.
type StateAnswer struct {
	CredentialView
	StillOpens []StillOpen `json:"still_opens"`
}

// Replaced is the answer to a replacement.
type Replaced struct {
	Old site.CredentialID `json:"old"` // revoked
	New CredentialView    `json:"new"`
	// HadPIN: the old credential had a PIN. A PIN belongs to its card, so the
	// new one has none but what the request gave.
	HadPIN     bool        `json:"had_pin"`
	StillOpens []StillOpen `json:"still_opens"` // for the old one
}

// allSources is the word for every source.
const allSources = "all"

// credentialFilter reads the filter of a listing.
func credentialFilter(r *http.Request, st *store.Store, v url.Values) (store.Filter, error) {
	f := store.Filter{Door: site.DoorID(v.Get("door")), Source: site.Source(v.Get("source"))}
	switch f.Source {
	case allSources:
		f.Source = ""
	case "", site.SourceOperator, site.SourceIPHost, site.SourceHive:
	default:
		return f, fmt.Errorf("%w: source %.32q: want operator, iphost, hive or all", ErrInput, string(f.Source))
	}
	if text := v.Get("state"); text != "" {
		if err := f.State.UnmarshalText([]byte(text)); err != nil || f.State == site.CredentialInvalid {
			return f, fmt.Errorf("%w: state %.32q: want active, blocked or revoked", ErrInput, text)
		}
	}
	if text := v.Get("holder"); text != "" {
		h, err := findHolder(r.Context(), st, text)
		if err != nil {
			return f, err
		}
		f.Holder = h.ID
	}
	return f, nil
}

func (s *server) credentials(w http.ResponseWriter, r *http.Request) error {
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	v := r.URL.Query()
	f, err := credentialFilter(r, st, v)
	if err != nil {
		return err
	}
	if f.Door != "" && !s.Policy.HasDoor(f.Door) {
		return fmt.Errorf("door %.64q: %w", string(f.Door), ErrNotFound)
	}
	limit, err := queryNumber(v.Get("limit"))
	if err != nil {
		return err
	}
	return list(w, func(send func(any) error) error {
		send = limited(limit, send)
		return listed(st.Credentials(r.Context(), f, func(c site.Credential) error {
			return send(CredentialView{c, st.HolderName(c.Holder)})
		}))
	})
}

// view reads a credential as it is now.
func view(st *store.Store, id site.CredentialID) (CredentialView, error) {
	c, err := st.Credential(id)
	if err != nil {
		return CredentialView{}, storeError(err, ErrInput)
	}
	return CredentialView{c, st.HolderName(c.Holder)}, nil
}

// pathCredential returns the store and the credential whose id, or the
// unambiguous beginning of it, the path has.
func (s *server) pathCredential(r *http.Request) (*store.Store, site.Credential, error) {
	st, err := s.Policy.Store()
	if err != nil {
		return nil, site.Credential{}, err
	}
	c, err := st.FindCredential(r.PathValue("id"))
	if err != nil {
		return nil, c, storeError(err, ErrInput)
	}
	return st, c, nil
}

// ownCredential is pathCredential for a change that only the owner of a record
// may make.
func (s *server) ownCredential(r *http.Request) (*store.Store, site.Credential, error) {
	st, c, err := s.pathCredential(r)
	if err == nil && c.Source != site.SourceOperator {
		err = fmt.Errorf("%w: credential %s came from %s and is changed there; it can be revoked or blocked here", ErrRefused, c.ID, c.Source)
	}
	return st, c, err
}

func (s *server) credential(w http.ResponseWriter, r *http.Request) error {
	st, c, err := s.pathCredential(r)
	if err != nil {
		return err
	}
	return ok(w, CredentialView{c, st.HolderName(c.Holder)})
}

func (s *server) addCredential(w http.ResponseWriter, r *http.Request) error {
	var row Row
	if err := body(r, &row); err != nil {
		return err
	}
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	op, err := row.put()
	if err != nil {
		return err
	}
	if err := row.card(s.Policy.Cards(), &op); err != nil {
		return err
	}
	return s.answerAdded(w, r, st, op)
}

// answerAdded adds a new credential and answers with it.
func (s *server) answerAdded(w http.ResponseWriter, r *http.Request, st *store.Store, op store.PutCredential) error {
	op.MustBeNew = true
	res, err := s.change(r, st, ErrInput, op)
	if err != nil {
		return err
	}
	out, err := view(st, site.CredentialID(res.IDs[0]))
	if err != nil {
		return err
	}
	return ok(w, out)
}

func (s *server) removeCredential(w http.ResponseWriter, r *http.Request) error {
	st, c, err := s.ownCredential(r)
	if err != nil {
		return err
	}
	if c.State != site.CredentialRevoked {
		return fmt.Errorf("%w: credential %s is %s: revoke it first", ErrRefused, c.ID, c.State)
	}
	open := s.stillOpens(c.ID) // now: a credential that is gone has no card to look for
	if _, err := s.change(r, st, ErrRefused, store.DeleteCredential{ID: c.ID}); err != nil {
		return err
	}
	return ok(w, StateAnswer{CredentialView{c, st.HolderName(c.Holder)}, open})
}

func (s *server) setState(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		State string `json:"state"`
	}
	if err := body(r, &in); err != nil {
		return err
	}
	var state site.CredentialState
	if err := state.UnmarshalText([]byte(in.State)); err != nil || state == site.CredentialInvalid {
		return fmt.Errorf("%w: state %.32q: want active, blocked or revoked", ErrInput, in.State)
	}
	st, c, err := s.pathCredential(r)
	if err != nil {
		return err
	}
	res, err := s.change(r, st, ErrRefused, store.SetState{ID: c.ID, State: state})
	if err != nil {
		return err
	}
	// A record of another source gets one of the operator's over it.
	out, err := view(st, site.CredentialID(res.IDs[0]))
	if err != nil {
		return err
	}
	answer := StateAnswer{out, []StillOpen{}}
	if state != site.CredentialActive {
		answer.StillOpens = s.stillOpens(out.ID)
	}
	return ok(w, answer)
}

func (s *server) setPIN(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		PIN       Text `json:"pin"`
		DuressPIN Text `json:"duress_pin"`
		Clear     bool `json:"clear"`
	}
	if err := body(r, &in); err != nil {
		return err
	}
	if in.PIN == "" && in.DuressPIN == "" && !in.Clear {
		return fmt.Errorf("%w: pin: is missing", ErrInput)
	}
	st, c, err := s.ownCredential(r)
	if err != nil {
		return err
	}
	op := store.SetPIN{ID: c.ID, PIN: string(in.PIN), DuressPIN: string(in.DuressPIN), ClearPIN: in.Clear}
	if _, err := s.change(r, st, ErrInput, op); err != nil {
		return err
	}
	out, err := view(st, c.ID)
	if err != nil {
		return err
	}
	return ok(w, out)
}

// RightsChange is what is given to a credential and taken from it, in one
// change.
type RightsChange struct {
	Remove []site.Right `json:"remove,omitempty"`
	Add    []site.Right `json:"add,omitempty"`
}

func (s *server) changeRights(w http.ResponseWriter, r *http.Request) error {
	var in RightsChange
	if err := body(r, &in); err != nil {
		return err
	}
	fault := ErrInput
	switch {
	case len(in.Add)+len(in.Remove) == 0:
		return fieldError("rights", "none are named")
	case len(in.Add) == 0:
		fault = ErrRefused
	}
	return s.answerRights(w, r, fault, in.Remove, func(id site.CredentialID) []store.Op {
		var ops []store.Op
		for _, v := range in.Remove {
			ops = append(ops, store.RemoveRight{ID: id, Right: v})
		}
		for _, v := range in.Add {
			ops = append(ops, store.AddRight{ID: id, Right: v})
		}
		return ops
	})
}

// removeRight takes the one right of the query.
func (s *server) removeRight(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	in := site.Right{Door: site.DoorID(v.Get("door")), Schedule: site.ScheduleID(v.Get("schedule"))}
	if in.Door == "" {
		return fieldError("door", "is missing")
	}
	return s.answerRights(w, r, ErrRefused, []site.Right{in}, func(id site.CredentialID) []store.Op {
		return []store.Op{store.RemoveRight{ID: id, Right: in}}
	})
}

// answerRights changes rights and answers with the credential, and with the locks
// among the doors of those that are gone that still open by them.
func (s *server) answerRights(w http.ResponseWriter, r *http.Request, fault error, gone []site.Right, ops func(site.CredentialID) []store.Op) error {
	out, err := s.changed(r, fault, ops)
	if err != nil {
		return err
	}
	answer := StateAnswer{out, []StillOpen{}}
	named := func(id site.DoorID) bool {
		return slices.ContainsFunc(gone, func(v site.Right) bool { return v.Door == id })
	}
	// To look into the locks' tables takes its time: not for a door of this board.
	if s.Locks != nil && slices.ContainsFunc(s.Locks.LockList(), func(l LockStatus) bool { return named(l.ID) }) {
		answer.StillOpens = slices.DeleteFunc(s.stillOpens(out.ID), func(o StillOpen) bool { return !named(o.Lock) })
	}
	return ok(w, answer)
}

func (s *server) setLevels(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Levels []site.LevelID `json:"levels"`
	}
	if err := body(r, &in); err != nil {
		return err
	}
	return s.answerChanged(w, r, ErrInput, func(id site.CredentialID) []store.Op {
		return []store.Op{store.SetLevels{ID: id, Levels: in.Levels}}
	})
}

// answerChanged makes one change of the path's credential and answers with it.
func (s *server) answerChanged(w http.ResponseWriter, r *http.Request, fault error, ops func(site.CredentialID) []store.Op) error {
	out, err := s.changed(r, fault, ops)
	if err != nil {
		return err
	}
	return ok(w, out)
}

// changed makes one change of the path's credential and returns what it is then.
func (s *server) changed(r *http.Request, fault error, ops func(site.CredentialID) []store.Op) (CredentialView, error) {
	st, c, err := s.ownCredential(r)
	if err != nil {
		return CredentialView{}, err
	}
	if _, err := s.change(r, st, fault, ops(c.ID)...); err != nil {
		return CredentialView{}, err
	}
	return view(st, c.ID)
}

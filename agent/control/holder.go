package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gatehouse/agent/site"
	"gatehouse/store"
)

// HolderView is one holder with what it holds.
type HolderView struct {
	site.Holder
	Credentials []CredentialView `json:"credentials"`
}

// Erased is what became of a holder, and which locks open for one of its cards
// until they call.
type Erased struct {
	site.Holder
	StillOpens []StillOpen `json:"still_opens"`
}

// Personal is one line of a person's data (holder export): exactly one member
// is set. The holder comes first, then credentials, then events.
type Personal struct {
	Holder     *site.Holder    `json:"holder,omitempty"`
	Credential *CredentialView `json:"credential,omitempty"`
	Event      *site.Event     `json:"event,omitempty"`
}

type holderName struct {
	Name string `json:"name"`
}

// errEnough ends a listing that has as many lines as were asked for.
var errEnough = errors.New("enough")

// limited counts lines; zero has no limit.
func limited(limit uint64, send func(any) error) func(any) error {
	n := uint64(0)
	return func(v any) error {
		if err := send(v); err != nil {
			return err
		}
		if n++; n == limit {
			return errEnough
		}
		return nil
	}
}

// listed makes errEnough a good end and classes the store's errors.
func listed(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return storeError(err, ErrInput)
}

func (s *server) holders(w http.ResponseWriter, r *http.Request) error {
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	v := r.URL.Query()
	limit, err := queryNumber(v.Get("limit"))
	if err != nil {
		return err
	}
	name := strings.ToLower(v.Get("name"))
	return list(w, func(send func(any) error) error {
		send = limited(limit, send)
		return listed(st.Holders(r.Context(), func(h site.Holder) error {
			if !strings.Contains(strings.ToLower(h.Name), name) {
				return nil
			}
			return send(h)
		}))
	})
}

// findHolder returns the holder of an id or of an exact name among the
// operator's. A name that several have is refused: it would be a guess.
func findHolder(ctx context.Context, st *store.Store, idOrName string) (site.Holder, error) {
	h, err := st.FindHolder(site.SourceOperator, idOrName)
	if err != nil {
		return h, storeError(err, ErrInput)
	}
	if string(h.ID) == idOrName {
		return h, nil
	}
	err = st.Holders(ctx, func(o site.Holder) error {
		if o.Source == h.Source && o.Name == h.Name && o.ID != h.ID {
			return fmt.Errorf("%w: holder %.64q: several have this name (%s, %s): name one by its id", ErrRefused, idOrName, h.ID, o.ID)
		}
		return nil
	})
	return h, storeError(err, ErrInput)
}

// pathHolder returns the store and the holder that the path names.
func (s *server) pathHolder(r *http.Request) (*store.Store, site.Holder, error) {
	st, err := s.Policy.Store()
	if err != nil {
		return nil, site.Holder{}, err
	}
	h, err := findHolder(r.Context(), st, r.PathValue("id"))
	return st, h, err
}

func (s *server) addHolder(w http.ResponseWriter, r *http.Request) error {
	var in holderName
	if err := body(r, &in); err != nil {
		return err
	}
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	res, err := s.change(r, st, ErrInput, store.PutHolder{Name: in.Name})
	if err != nil {
		return err
	}
	return ok(w, site.Holder{ID: site.HolderID(res.IDs[0]), Source: site.SourceOperator, Name: in.Name})
}

func (s *server) holder(w http.ResponseWriter, r *http.Request) error {
	st, h, err := s.pathHolder(r)
	if err != nil {
		return err
	}
	out := HolderView{Holder: h, Credentials: []CredentialView{}}
	err = st.Credentials(r.Context(), store.Filter{Holder: h.ID}, func(c site.Credential) error {
		out.Credentials = append(out.Credentials, CredentialView{c, h.Name})
		return nil
	})
	if err != nil {
		return storeError(err, ErrInput)
	}
	return ok(w, out)
}

func (s *server) renameHolder(w http.ResponseWriter, r *http.Request) error {
	var in holderName
	if err := body(r, &in); err != nil {
		return err
	}
	st, h, err := s.pathHolder(r)
	if err != nil {
		return err
	}
	if _, err := s.change(r, st, ErrInput, store.PutHolder{ID: h.ID, Name: in.Name}); err != nil {
		return err
	}
	h.Name = in.Name
	return ok(w, h)
}

func (s *server) removeHolder(w http.ResponseWriter, r *http.Request) error {
	st, h, err := s.pathHolder(r)
	if err != nil {
		return err
	}
	if _, err := s.change(r, st, ErrRefused, store.DeleteHolder{ID: h.ID}); err != nil {
		return err
	}
	return ok(w, h)
}

// pseudonym is the name of an erased holder: its number, which says nothing.
func pseudonym(id site.HolderID) string {
	digits := strings.TrimPrefix(string(id), "h")
	return "erased " + strings.Repeat("0", max(0, 6-len(digits))) + digits
}

// eraseHolder takes the name of a holder away, revokes its credentials and
// forgets their PINs, in one change. Events keep the holder's id only, so they
// show the pseudonym from then on.
func (s *server) eraseHolder(w http.ResponseWriter, r *http.Request) error {
	st, h, err := s.pathHolder(r)
	if err != nil {
		return err
	}
	h.Name = pseudonym(h.ID)
	ops := []store.Op{store.PutHolder{ID: h.ID, Name: h.Name}}
	var ids []site.CredentialID
	err = st.Credentials(r.Context(), store.Filter{Holder: h.ID, Source: site.SourceOperator}, func(c site.Credential) error {
		ids = append(ids, c.ID)
		ops = append(ops, store.SetState{ID: c.ID, State: site.CredentialRevoked}, store.SetPIN{ID: c.ID, ClearPIN: true})
		return nil
	})
	if err != nil {
		return storeError(err, ErrInput)
	}
	if _, err := s.change(r, st, ErrRefused, ops...); err != nil {
		return err
	}
	return ok(w, Erased{h, s.stillOpens(ids...)})
}

// exportHolder streams all that the site keeps of one person.
func (s *server) exportHolder(w http.ResponseWriter, r *http.Request) error {
	st, h, err := s.pathHolder(r)
	if err != nil {
		return err
	}
	return list(w, func(send func(any) error) error {
		if err := send(Personal{Holder: &h}); err != nil {
			return err
		}
		err := st.Credentials(r.Context(), store.Filter{Holder: h.ID}, func(c site.Credential) error {
			return send(Personal{Credential: &CredentialView{c, h.Name}})
		})
		if err != nil {
			return storeError(err, ErrInput)
		}
		return s.Events.Tail(r.Context(), EventQuery{Holder: string(h.ID)}, func(ev site.Event) error {
			return send(Personal{Event: &ev})
		})
	})
}

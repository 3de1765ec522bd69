package control

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"gatehouse/agent/site"
	"gatehouse/store"
)

// ImportLine is one line of the answer to an import: how far it is, or, last,
// what it did.
type ImportLine struct {
	Done   int           `json:"done"`
	Total  int           `json:"total"` // 0 while rows are read
	Result *ImportResult `json:"result,omitempty"`
}

// ImportResult is what an import did, or with dry_run would do.
type ImportResult struct {
	DryRun       bool `json:"dry_run,omitempty"`
	Rows         int  `json:"rows"`
	Added        int  `json:"added"`
	Changed      int  `json:"changed"`
	Unchanged    int  `json:"unchanged"`
	Holders      int  `json:"holders"`       // new ones
	StillBlocked int  `json:"still_blocked"` // rows of credentials that are and stay blocked or revoked
}

// transferFormat reads the format of an import or an export; CSV if absent.
func transferFormat(r *http.Request) (store.Format, error) {
	switch f := r.URL.Query().Get("format"); f {
	case "", "csv":
		return store.FormatCSV, nil
	case "json":
		return store.FormatJSON, nil
	default:
		return store.FormatCSV, fmt.Errorf("%w: format %.32q: want csv or json", ErrInput, f)
	}
}

// queryFlag reads a switch of the query.
func queryFlag(r *http.Request, name string) (bool, error) {
	switch v := r.URL.Query().Get(name); v {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	default:
		return false, fmt.Errorf("%w: %s: want 1 or 0", ErrInput, name)
	}
}

// importCredentials reads rows from the body while it tells how far it is. Its
// limits are the store's (store.MaxImportRows, store.MaxImportBytes).
func (s *server) importCredentials(w http.ResponseWriter, r *http.Request) error {
	format, err := transferFormat(r)
	if err != nil {
		return err
	}
	dry, err := queryFlag(r, "dry_run")
	if err != nil {
		return err
	}
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	// A recorder of a test has no other half to open.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	// A client that still sends when it is refused would not read why.
	defer func() { _, _ = io.CopyN(io.Discard, r.Body, store.MaxImportBytes) }()
	return stream(w, func(send func(any) error) error {
		return s.runImport(r, st, format, dry, send)
	})
}

func (s *server) runImport(r *http.Request, st *store.Store, format store.Format, dry bool, send func(any) error) error {
	var rows store.Rows
	var err error
	if format == store.FormatJSON {
		rows, err = store.NewJSON(r.Body)
	} else {
		rows, err = store.NewCSV(r.Body)
	}
	if err != nil {
		return &classed{ErrInput, err}
	}
	p := progress{send: send}
	res, err := st.Import(r.Context(), cli, site.SourceOperator, rows, store.ImportOptions{
		DryRun: dry, Formats: s.Policy.Cards(), Doors: s.Policy.HasDoor, Progress: p.tell})
	if err != nil {
		if _, ok := errors.AsType[*store.ImportError](err); ok {
			return &classed{ErrInput, err}
		}
		return storeError(err, ErrInput)
	}
	return send(ImportLine{Done: res.Rows, Total: res.Rows, Result: &ImportResult{DryRun: dry, Rows: res.Rows, Added: res.Added,
		Changed: res.Changed, Unchanged: res.Unchanged, Holders: res.Holders, StillBlocked: res.StillBlocked}})
}

// progress sends a line for each hundredth, or each 10,000 rows while they are
// read. An import does not end because nobody listens any more: what it did
// would stay unsaid.
type progress struct {
	send func(any) error
	mu   sync.Mutex // guards the following
	last int
}

func (p *progress) tell(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	step := 10_000
	if total > 0 {
		step = max(1, total/100)
	}
	if done >= p.last && done < p.last+step {
		return
	}
	p.last = done
	_ = p.send(ImportLine{Done: done, Total: total})
}

// allStates is the word for an export of every state.
const allStates = "all"

// exportCredentials writes the credentials in the columns of an import: those
// of the operator that are active, if the query does not say otherwise.
func (s *server) exportCredentials(w http.ResponseWriter, r *http.Request) error {
	format, err := transferFormat(r)
	if err != nil {
		return err
	}
	cards, err := queryFlag(r, "with_cards")
	if err != nil {
		return err
	}
	st, err := s.Policy.Store()
	if err != nil {
		return err
	}
	v := r.URL.Query()
	if v.Get("source") == "" { // what an import of the file would change
		v.Set("source", string(site.SourceOperator))
	}
	// A file does not say that a credential is revoked or blocked: imported
	// elsewhere it would pass.
	switch v.Get("state") {
	case "":
		v.Set("state", site.CredentialActive.String())
	case allStates:
		v.Del("state")
	default:
		var known site.CredentialState
		if err := known.UnmarshalText([]byte(v.Get("state"))); err != nil || known == site.CredentialInvalid {
			return fmt.Errorf("%w: state %.32q: want active, blocked, revoked or all", ErrInput, v.Get("state"))
		}
	}
	f, err := credentialFilter(r, st, v)
	if err != nil {
		return err
	}
	kind := "text/csv; charset=utf-8"
	if format == store.FormatJSON {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	out := &begun{w: w}
	_, err = st.Export(r.Context(), out, store.ExportOptions{WithCards: cards, Format: format, Formats: s.Policy.Cards(), Filter: f})
	if err == nil {
		return nil
	}
	if !out.yes {
		return storeError(err, ErrInput)
	}
	// Half of it is out: only a broken connection says so.
	if r.Context().Err() == nil {
		s.Log.Error("credential export broke off", "err", err)
	}
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
	return nil
}

// begun notes whether anything was written.
type begun struct {
	w   io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.w.Write(p)
}

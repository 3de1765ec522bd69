package lock

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The routes of the device server (engage.md section 5).
const (
	pathConfig = "/swordfish/lock/Config"
	pathDB     = "/swordfish/lock/db/"
	pathAudit  = "/swordfish/lock/audit"
	pathAlert  = "/swordfish/lock/alert"
	pathCert   = "/swordfish/lock/certificates/current"
)

// auditsAtOnce is how many audits one upload has.
const auditsAtOnce = 1000

// bodyForm is the header by which a Caller says that an answer came as a Hive
// object, whose members lost their order.
const (
	bodyForm   = "Lock-Body"
	bodyObject = "object"
)

// StatusError is an answer that a lock did not want.
type StatusError struct {
	Call   string // as in GET db
	Status int
	What   string
}

// Error says which call was answered how.
func (e *StatusError) Error() string {
	return fmt.Sprintf("lock: %s: %d: %s", e.Call, e.Status, e.What)
}

// CallIn calls the device server as a lock does: Config, db, audit, then
// certificates/current. now is the lock's clock.
//
// It ends at the first call that fails, with one exception: after a door file that
// was refused (*FileError) the audits go out all the same, so that the server
// hears of it. An answer with another status than section 5 says is a
// *StatusError; other errors are the Caller's. The Result is right as far as it
// went. Only one call-in of a lock runs at a time.
func (l *Lock) CallIn(ctx context.Context, c Caller, now time.Time) (Result, error) {
	if l.bad != nil {
		return Result{}, l.bad
	}
	l.calling.Lock()
	defer l.calling.Unlock()
	l.mu.Lock()
	s := &session{l: l, c: c, now: now, twice: l.twice}
	l.twice = false
	l.mu.Unlock()

	err := s.all(ctx)
	s.res.Version = l.Version()
	return s.res, err
}

// session is one call-in.
type session struct {
	l     *Lock
	c     Caller
	now   time.Time
	twice bool
	res   Result
}

func (s *session) all(ctx context.Context) error {
	body, err := s.l.configBody()
	if err != nil {
		return err
	}
	if _, err := s.empty(ctx, "PUT Config", http.MethodPut, pathConfig, body, http.StatusOK); err != nil {
		return err
	}
	refused := s.fetchFile(ctx)
	var bad *FileError
	if refused != nil && !errors.As(refused, &bad) {
		return refused
	}
	if err := s.upload(ctx); err != nil {
		return errors.Join(refused, err)
	}
	return errors.Join(refused, s.certificate(ctx))
}

// call makes one call, twice where the lock was told so.
func (s *session) call(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	status, answer, header, err := s.c.Call(ctx, method, path, body)
	if err != nil {
		return status, answer, header, err
	}
	s.res.Bytes += int64(len(body) + len(answer))
	if v := header.Get("X-Device-Last-Connected"); v != "" {
		s.res.Connected = v
	}
	if !s.twice {
		return status, answer, header, nil
	}
	again, second, _, err := s.c.Call(ctx, method, path, body)
	s.res.Bytes += int64(len(body) + len(second))
	switch {
	case err != nil:
		s.res.Repeat = errors.Join(s.res.Repeat, fmt.Errorf("%s %s again: %w", method, path, err))
	case again/100 != status/100:
		s.res.Repeat = errors.Join(s.res.Repeat, fmt.Errorf("lock: %s %s: %d, then %d", method, path, status, again))
	}
	return status, answer, header, nil
}

// empty makes a call whose answer has no body and one of some statuses.
func (s *session) empty(ctx context.Context, name, method, path string, body []byte, want ...int) (int, error) {
	status, answer, _, err := s.call(ctx, method, path, body)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	for _, w := range want {
		if status != w {
			continue
		}
		if len(answer) > 0 {
			return status, &StatusError{name, status, fmt.Sprintf("a body of %d bytes where none is allowed", len(answer))}
		}
		return status, nil
	}
	return status, &StatusError{name, status, shorten(answer)}
}

// shorten makes an answer fit for an error.
func shorten(answer []byte) string {
	if len(answer) == 0 {
		return "no body"
	}
	return fmt.Sprintf("%.120q", answer)
}

// fetchFile asks for the changes since the lock's version and takes them.
func (s *session) fetchFile(ctx context.Context) error {
	version := s.l.Version()
	status, answer, header, err := s.call(ctx, http.MethodGet, pathDB+version, nil)
	if err != nil {
		return fmt.Errorf("GET db: %w", err)
	}
	if status != http.StatusOK {
		return &StatusError{"GET db", status, shorten(answer)}
	}
	return s.l.take(answer, header.Get(bodyForm) == bodyObject, s.now, &s.res)
}

// take stores a door file, or says why not and keeps an audit of it.
func (l *Lock) take(body []byte, loose bool, now time.Time, res *Result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lose == LoseBefore {
		l.lose = LoseNothing
		return ErrLost
	}
	f, err := readFile(body, &l.cfg, l.aes, loose)
	var c *change
	if err == nil {
		err = l.checkVersion(f)
	}
	if err == nil {
		c, err = l.apply(f, l.torn)
	}
	if err != nil {
		code := codeFileError
		var bad *FileError
		if errors.As(err, &bad) && bad.JSON {
			code = codeNoJSON
		}
		l.note(code+noData, now)
		return err
	}
	before := l.version
	l.advance(now)
	l.table, l.nextCall = c.table, f.nextCall
	if f.config != nil {
		l.config = f.config
	}
	*res = Result{Bytes: res.Bytes, Connected: res.Connected, Repeat: res.Repeat,
		Full: f.full, Deleted: c.deleted, Updated: c.updated, Added: c.added, Idle: c.idle}
	if l.lose == LoseAfter {
		l.lose, l.torn = LoseNothing, true
		return ErrLost
	}
	l.version, l.torn = f.version, false
	if f.version != before {
		l.note(codeFileStored+noData, now)
	}
	return nil
}

// checkVersion wants a version that goes on where records change.
func (l *Lock) checkVersion(f *file) error {
	mine, err := parseVersion(l.version)
	if err != nil {
		return &FileError{Where: "nxtDbVerTS", What: "the lock's own version cannot be read"}
	}
	changes := len(f.delete) + len(f.update) + len(f.add)
	switch {
	case f.full:
		return nil
	case mine == 0:
		return &FileError{Where: "db.usrRcrd.deleteAll", What: "is 0 for a lock that has nothing"}
	case f.versionNumber < mine:
		return &FileError{Where: "nxtDbVerTS", What: f.version + " is before the lock's " + l.version}
	case f.versionNumber == mine && changes > 0:
		return &FileError{Where: "nxtDbVerTS", What: fmt.Sprintf("is the lock's own beside %d changes", changes)}
	}
	return nil
}

// auditEntry is an audit on the wire.
type auditEntry struct {
	Event string `json:"event"`
	Time  string `json:"time"`
	ID    string `json:"auditId,omitempty"`
}

// upload sends the audits, oldest first, and forgets what was acknowledged. It
// sends an empty list too, for it says which version the lock has.
func (s *session) upload(ctx context.Context) error {
	for first := true; ; first = false {
		waiting := s.l.Audits()
		if len(waiting) == 0 && !first {
			return nil
		}
		n := min(len(waiting), auditsAtOnce)
		list := make([]auditEntry, 0, n)
		for _, a := range waiting[:n] {
			list = append(list, auditEntry(a))
		}
		body, err := json.Marshal(struct {
			Audits  []auditEntry `json:"audits"`
			Version string       `json:"nxtDbVerTS"`
			Lock    string       `json:"lockId"`
		}{list, s.l.Version(), s.l.cfg.Serial})
		if err != nil {
			return fmt.Errorf("lock: audits: %w", err)
		}
		status, err := s.empty(ctx, "POST audit", http.MethodPost, pathAudit, body, http.StatusCreated, http.StatusAccepted)
		if err != nil {
			return err
		}
		s.res.AuditStatus = status
		s.res.Audits += n
		s.l.mu.Lock()
		s.l.audits = append([]Audit(nil), s.l.audits[n:]...)
		s.l.mu.Unlock()
	}
}

// certificate asks which certificate to trust and fetches it where the Caller can
// and its hash is new. 404 means that the server has none.
func (s *session) certificate(ctx context.Context) error {
	const name = "GET certificates/current"
	status, answer, _, err := s.call(ctx, http.MethodGet, pathCert, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if status == http.StatusNotFound {
		return nil
	}
	if status != http.StatusOK {
		return &StatusError{name, status, shorten(answer)}
	}
	var a struct {
		URL  string `json:"cert_url"`
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return &StatusError{name, status, shorten(answer)}
	}
	if raw, err := base64.StdEncoding.DecodeString(a.Hash); err != nil || len(raw) != 20 || a.URL == "" {
		return &StatusError{name, status, fmt.Sprintf("hash of %d characters, want base64 of 20 bytes, and cert_url", len(a.Hash))}
	}
	s.res.CertHash = a.Hash
	f, can := s.c.(Fetcher)
	s.l.mu.Lock()
	has := s.l.certHash == a.Hash
	s.l.mu.Unlock()
	if !can || has {
		return nil
	}
	der, err := f.Fetch(ctx, a.URL)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	s.res.Bytes += int64(len(der))
	if CertHash(s.l.cfg.SiteKey, der) != a.Hash {
		return errors.New("lock: certificate: the hash is not that of the file under this site key")
	}
	s.l.mu.Lock()
	s.l.certHash = a.Hash
	s.l.mu.Unlock()
	return nil
}

// Alert sends an event (4 hex digits code, 4 hex digits data) at once and keeps
// it as an audit too, as locks do. 0100 and 0101 set the battery from their data,
// which is mV; 0500 and 0501 the mode.
func (l *Lock) Alert(ctx context.Context, c Caller, event, data string, at time.Time) error {
	if l.bad != nil {
		return l.bad
	}
	for _, v := range []string{event, data} {
		if _, err := strconv.ParseUint(v, 16, 16); err != nil || len(v) != 4 {
			return fmt.Errorf("lock: alert: %.8q is not 4 hex digits", v)
		}
	}
	l.mu.Lock()
	switch event {
	case codeLowBattery, "0101":
		if mV, err := strconv.ParseUint(data, 16, 16); err == nil && mV > 0 {
			l.battery = int(mV)
		}
	case codeTamper, codeTamperEnd:
		l.tampered = event == codeTamper
	case codeLockdown:
		l.mode = Lockdown
	case codeLockdownEnd:
		l.mode = Secured
	}
	l.note(event+data, at)
	entry := l.audits[len(l.audits)-1]
	l.mu.Unlock()
	body, err := json.Marshal(map[string]any{"asyncEvent": auditEntry(entry)})
	if err != nil {
		return fmt.Errorf("lock: alert: %w", err)
	}
	s := &session{l: l, c: c}
	_, err = s.empty(ctx, "POST alert", http.MethodPost, pathAlert, body, http.StatusOK)
	return err
}

// configBody is what the lock puts as its Config: who it is and how it fares.
func (l *Lock) configBody() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := "normal"
	if l.battery < lowBattery {
		state = "low"
	}
	return json.Marshal(map[string]any{
		"name": l.cfg.Name, "model": l.cfg.Model, "serialNumber": l.cfg.Serial, "mainFwVer": l.cfg.Firmware,
		"dvcProfile":           map[string]any{"baseType": l.cfg.Model},
		"primaryBatteryStatus": state,
		"battV":                map[string]any{"main": float64(l.battery) / 1000, "li": 3},
	})
}

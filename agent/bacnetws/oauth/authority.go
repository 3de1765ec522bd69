package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds.
const (
	MaxTokens   = 256                  // records, those that ended included
	MaxToken    = 4096                 // bytes of a token
	MaxName     = 64                   // bytes of a token's name
	MinLifetime = time.Minute          // of a token
	MaxLifetime = 366 * 24 * time.Hour // of a token
	keyLife     = 90 * 24 * time.Hour
	keepEnded   = 30 * 24 * time.Hour // a token that ended is listed for so long
)

// Errors of Add and Revoke. They are wrapped with what is wrong.
var (
	ErrOrder    = errors.New("bad token order") // the order itself is wrong
	ErrFull     = errors.New("too many tokens")
	ErrNotFound = errors.New("no such token")
	ErrEnded    = errors.New("token is revoked already")
)

// Clock is the time of one instant and how far it can be believed.
type Clock struct {
	Now         time.Time
	Trusted     bool
	LastTrusted time.Time // the newest time that was trusted, also before a restart; zero: never
	Deny        bool      // no token passes while the clock is not trusted
}

// Options are what Open needs. Only Dir is wanted.
type Options struct {
	// Dir holds oauth.json and device.uuid.
	Dir string
	// UUID names the device, in the form 8-4-4-4-12. Without one it is made at
	// first use and kept. With another UUID all earlier tokens are refused.
	UUID string
	// Clock tells the time; nil: the machine's, trusted.
	Clock func() Clock
	// Record is told of refused uses, perhaps by several goroutines; nil:
	// nobody is. It must not block.
	Record func(Refused)
}

// Issued is what is known of a token. The token itself is not kept.
type Issued struct {
	ID      string    `json:"id"` // 16 hex digits; no secret
	Name    string    `json:"name"`
	Scopes  []Scope   `json:"scopes"`
	Made    time.Time `json:"made"`
	By      string    `json:"by"`
	Until   time.Time `json:"until"`
	Trusted bool      `json:"trusted"` // the clock was trusted when it was made
	Revoked time.Time `json:"revoked,omitzero"`
	Used    time.Time `json:"-"` // last passed use since the start
}

// Authority makes, checks and revokes the tokens of one device. It may be used by
// many goroutines. Run must run for refusals that are held back to be told.
type Authority struct {
	opt      Options
	refusals *refusals

	change sync.Mutex // held over a change and its write
	state  atomic.Pointer[state]
	uuid   atomic.Pointer[string]

	mu sync.Mutex // guards following
	// floor is the last trusted time this process saw, with a monotonic reading
	// of when, so that time goes on while the clock is doubted.
	floor     time.Time
	floorSeen time.Time
	used      map[string]time.Time
}

// Open reads what is there and writes nothing. A file that is damaged is a
// *DamageError.
func Open(opt Options) (*Authority, error) {
	if opt.Clock == nil {
		opt.Clock = func() Clock { return Clock{Now: time.Now(), Trusted: true} }
	}
	if opt.Record == nil {
		opt.Record = func(Refused) {}
	}
	a := &Authority{opt: opt, refusals: newRefusals(opt.Record), used: map[string]time.Time{}}
	id := strings.ToLower(opt.UUID)
	if id != "" && !uuidForm.MatchString(id) {
		return nil, fmt.Errorf("oauth: %.40q is no UUID", opt.UUID)
	}
	if id == "" {
		var err error
		if id, err = loadUUID(filepath.Join(opt.Dir, uuidName)); err != nil {
			return nil, openError(err)
		}
	}
	a.uuid.Store(&id)
	s, err := loadState(filepath.Join(opt.Dir, stateName))
	if err != nil {
		return nil, openError(err)
	}
	a.state.Store(s)
	return a, nil
}

func openError(err error) error {
	if _, damaged := errors.AsType[*DamageError](err); damaged {
		return err
	}
	return fmt.Errorf("oauth: %w", err)
}

// UUID returns the device's UUID and makes it when there is none yet.
func (a *Authority) UUID() (string, error) {
	a.change.Lock()
	defer a.change.Unlock()
	return a.uuidLocked()
}

func (a *Authority) uuidLocked() (string, error) {
	if id := *a.uuid.Load(); id != "" {
		return id, nil
	}
	id := newUUID()
	if err := writeFile(filepath.Join(a.opt.Dir, uuidName), []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("oauth: uuid: %w", err)
	}
	a.uuid.Store(&id)
	return id, nil
}

// now is the time by which ends are judged, and the clock that it comes from.
func (a *Authority) now() (time.Time, Clock) {
	c := a.opt.Clock()
	c.Now = c.Now.Round(0)
	seen := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	trusted := c.LastTrusted.Round(0)
	if c.Trusted && c.Now.After(trusted) {
		trusted = c.Now
	}
	if since := a.floor.Add(seen.Sub(a.floorSeen)); c.Trusted || a.floorSeen.IsZero() || trusted.After(since) {
		a.floor, a.floorSeen = trusted, seen
	} else {
		trusted = since
	}
	if trusted.After(c.Now) {
		return trusted, c
	}
	return c.Now, c
}

// Order says what token is wanted.
type Order struct {
	Name     string // whose it is: sub, and `by` in events
	Scopes   []Scope
	Lifetime time.Duration
	By       string // who asks
}

// reserved are names that mean somebody else in events.
var reserved = []string{"cli", "iphost", "gatehouse"}

func (o *Order) check() error {
	bad := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case o.Name == "" || len(o.Name) > MaxName || !utf8.ValidString(o.Name) || strings.ContainsFunc(o.Name, bad) || strings.TrimSpace(o.Name) != o.Name:
		return fmt.Errorf("%w: name: want 1 to %d printable characters", ErrOrder, MaxName)
	case slices.Contains(reserved, strings.ToLower(o.Name)):
		return fmt.Errorf("%w: name %q is reserved", ErrOrder, o.Name)
	case o.Lifetime < MinLifetime || o.Lifetime > MaxLifetime:
		return fmt.Errorf("%w: lifetime %s: want %s to %d days", ErrOrder, o.Lifetime, MinLifetime, MaxLifetime/(24*time.Hour))
	}
	if _, err := ParseScopes(joinScopes(o.Scopes, " ")); err != nil {
		return fmt.Errorf("%w: %w", ErrOrder, err)
	}
	return nil
}

// Add makes a token and returns when its record is on disk. The token is shown
// nowhere else and cannot be had again.
func (a *Authority) Add(o Order) (Token, Issued, error) {
	if err := o.check(); err != nil {
		return "", Issued{}, err
	}
	a.change.Lock()
	defer a.change.Unlock()
	uuid, err := a.uuidLocked()
	if err != nil {
		return "", Issued{}, err
	}
	now, clock := a.now()
	next := a.state.Load().clone()
	next.drop(now)
	if len(next.tokens) >= MaxTokens {
		return "", Issued{}, fmt.Errorf("%w: %d are valid; revoke one", ErrFull, MaxTokens)
	}
	if err := next.renewKey(now, clock.Trusted); err != nil {
		return "", Issued{}, fmt.Errorf("oauth: key: %w", err)
	}
	now = now.UTC().Truncate(time.Second)
	rec := record{key: next.keys[len(next.keys)-1].id, Issued: Issued{
		ID: newID(), Name: o.Name, Scopes: slices.Clone(o.Scopes), Made: now, By: o.By, Until: now.Add(o.Lifetime).Truncate(time.Second), Trusted: clock.Trusted,
	}}
	token, err := sign(next.keys[len(next.keys)-1], claimsOf(&rec.Issued, uuid))
	if err != nil {
		return "", Issued{}, fmt.Errorf("oauth: sign: %w", err)
	}
	rec.sum = sha256.Sum256([]byte(token))
	next.tokens = append(next.tokens, rec)
	if err := a.write(next); err != nil {
		return "", Issued{}, err
	}
	return token, rec.Issued, nil
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// ended reports whether a token passes no more.
func (i *Issued) ended(now time.Time) bool { return !i.Revoked.IsZero() || !now.Before(i.Until) }

// drop takes off tokens that ended long ago, and where there is no room the
// oldest that ended.
func (s *state) drop(now time.Time) {
	s.tokens = slices.DeleteFunc(s.tokens, func(r record) bool {
		end := r.Until
		if !r.Revoked.IsZero() && r.Revoked.Before(end) {
			end = r.Revoked
		}
		return now.Sub(end) > keepEnded
	})
	for len(s.tokens) >= MaxTokens {
		i := slices.IndexFunc(s.tokens, func(r record) bool { return r.ended(now) })
		if i < 0 {
			break
		}
		s.tokens = slices.Delete(s.tokens, i, i+1)
	}
}

// renewKey makes a key where there is none, or where a trusted clock says that
// the last one has signed long enough. Of the others, those that no token needs
// are dropped.
func (s *state) renewKey(now time.Time, trusted bool) error {
	if n := len(s.keys); n > 0 && (!trusted || now.Sub(s.keys[n-1].made) < keyLife) {
		return nil
	}
	s.keys = slices.DeleteFunc(s.keys, func(k *signingKey) bool {
		return !slices.ContainsFunc(s.tokens, func(r record) bool { return r.key == k.id })
	})
	k, err := newKey(now.UTC())
	s.keys = append(s.keys, k)
	return err
}

// write puts a state on disk, then in force.
func (a *Authority) write(s *state) error {
	data, err := formatState(s)
	if err == nil {
		err = writeFile(filepath.Join(a.opt.Dir, stateName), data)
	}
	if err != nil {
		return fmt.Errorf("oauth: tokens: %w", err)
	}
	a.state.Store(s)
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.used, func(id string, _ time.Time) bool { return s.find(id) == nil })
	return nil
}

// List returns the tokens, oldest first: those that pass, and those that ended in
// the last 30 days or so.
func (a *Authority) List() []Issued {
	out := []Issued{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.state.Load().tokens {
		r.Used = a.used[r.ID]
		out = append(out, r.Issued)
	}
	return out
}

// Revoke ends a token and returns when that is on disk: it passes never again.
func (a *Authority) Revoke(id string) (Issued, error) {
	a.change.Lock()
	defer a.change.Unlock()
	next := a.state.Load().clone()
	rec := next.find(id)
	switch {
	case rec == nil:
		return Issued{}, fmt.Errorf("token %.40q: %w", id, ErrNotFound)
	case !rec.Revoked.IsZero():
		return rec.Issued, fmt.Errorf("token %s: %w", id, ErrEnded)
	}
	now, _ := a.now()
	rec.Revoked = now.UTC().Truncate(time.Second)
	return rec.Issued, a.write(next)
}

// RevokeAll ends every token, drops all keys, and returns the tokens that it
// ended: what to do when the file may have been read by somebody.
func (a *Authority) RevokeAll() ([]Issued, error) {
	a.change.Lock()
	defer a.change.Unlock()
	now, _ := a.now()
	next := a.state.Load().clone()
	next.keys = nil
	out := []Issued{}
	for i := range next.tokens {
		if r := &next.tokens[i]; !r.ended(now) {
			r.Revoked = now.UTC().Truncate(time.Second)
			out = append(out, r.Issued)
		}
	}
	return out, a.write(next)
}

// claims are those of our tokens. Audience stands before the list form of the
// embedded one.
type claims struct {
	jwt.RegisteredClaims
	Version  int    `json:"ver"`
	Audience string `json:"aud"`
	Scope    string `json:"scope"`
}

// issuerInternal is iss of a token that this device made.
const issuerInternal = "0"

func claimsOf(i *Issued, uuid string) *claims {
	return &claims{Version: 1, Audience: uuid, Scope: joinScopes(i.Scopes, " "), RegisteredClaims: jwt.RegisteredClaims{
		Issuer: issuerInternal, Subject: i.Name, ID: i.ID, IssuedAt: jwt.NewNumericDate(i.Made), ExpiresAt: jwt.NewNumericDate(i.Until),
	}}
}

func sign(k *signingKey, c *claims) (Token, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["kid"] = k.id
	text, err := t.SignedString(k.priv)
	return Token(text), err
}

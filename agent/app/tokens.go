package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"gatehouse/agent/bacnetws/oauth"
	"gatehouse/agent/control"
	"gatehouse/agent/gateway"
	"gatehouse/agent/site"
)

// defaultTokenLifetime holds where neither the order nor bacnet.token_lifetime
// says how long.
const defaultTokenLifetime = 24 * time.Hour

// tokenSet are the bearer tokens of this device, to those who manage and to
// those who check them.
//
// What is made, revoked or refused is a sign_in event: Item is the token's id, By
// who made or revoked it, or, for a refused use, the token's own name where its
// signature was good.
type tokenSet struct {
	auth     *oauth.Authority // nil: they could not be opened
	err      error            // why
	sink     *eventSink
	now      func() time.Time
	lifetime time.Duration
}

// openTokens opens the tokens. A file that is damaged is set aside and all
// tokens must be made again; one that cannot be read is a fault, no token passes
// and none can be made. The doors need neither.
func (a *App) openTokens() {
	a.tokens = tokenSet{sink: a.sink, now: a.hw.Clock.Now, lifetime: defaultTokenLifetime}
	opt := oauth.Options{Dir: a.cfg.StateDir, Clock: a.tokenClock, Record: a.tokens.refused}
	if b := a.cfg.BACnet; b != nil {
		opt.UUID = b.UUID
		if b.TokenLifetime > 0 {
			a.tokens.lifetime = b.TokenLifetime
		}
	}
	for range 3 { // there are two files
		a.tokens.auth, a.tokens.err = oauth.Open(opt)
		damage, ok := errors.AsType[*oauth.DamageError](a.tokens.err)
		if !ok {
			break
		}
		aside := setAside(damage.Path)
		if aside == "" {
			break
		}
		a.health.Set("tokens.damaged", damage.Error()+"; all tokens must be made again; kept as "+aside)
	}
	if a.tokens.err != nil {
		a.health.Set("tokens.open", a.tokens.err.Error())
		a.log.Error("tokens could not be opened; none passes", "err", a.tokens.err)
	}
}

// tokenClock is the site's clock for tokens: under clock.untrusted: deny none
// passes while the clock is not trusted.
func (a *App) tokenClock() oauth.Clock {
	c := a.clock.Clock()
	return oauth.Clock{Now: c.Now, Trusted: c.Trusted, LastTrusted: c.LastTrusted, Deny: c.Mode == site.ClockDeny}
}

// run tells of refused uses that were held back.
func (t *tokenSet) run(ctx context.Context) error {
	if t.auth == nil {
		<-ctx.Done()
		return nil
	}
	return t.auth.Run(ctx)
}

// refused records refused uses.
func (t *tokenSet) refused(r oauth.Refused) {
	from := r.From
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	t.sink.Append(site.Event{Kind: site.KindSignIn, Item: r.ID, By: r.Subject, Count: r.Count, Text: "token refused: " + r.Text + " (last from " + from + ")"})
}

// Check checks the use of a token.
func (t *tokenSet) Check(u oauth.Use) (oauth.Grant, error) {
	if t.auth == nil {
		return oauth.Grant{}, t.notOpen()
	}
	return t.auth.Check(u)
}

func (t *tokenSet) notOpen() error { return fmt.Errorf("%w: tokens: %w", control.ErrNotReady, t.err) }

// AddToken makes a token.
func (t *tokenSet) AddToken(ctx context.Context, o control.TokenOrder, by string) (control.TokenMade, error) {
	if t.auth == nil {
		return control.TokenMade{}, t.notOpen()
	}
	scopes := []oauth.Scope{oauth.ScopeGateway}
	if len(o.Scopes) > 0 {
		var err error
		if scopes, err = oauth.ParseScopes(strings.Join(o.Scopes, " ")); err != nil {
			return control.TokenMade{}, fmt.Errorf("%w: %w", control.ErrInput, err)
		}
	}
	life := time.Duration(o.Lifetime)
	if life == 0 {
		life = t.lifetime
	}
	token, issued, err := t.auth.Add(oauth.Order{Name: o.Name, Scopes: scopes, Lifetime: life, By: by})
	if err != nil {
		return control.TokenMade{}, tokenError(err)
	}
	made := control.TokenMade{TokenStatus: t.status(issued), Token: token.Reveal()}
	if !issued.Trusted {
		made.Warning = "the clock is not trusted: the token may end at once when the time becomes known"
	}
	text := fmt.Sprintf("token made for %s: %s", issued.Name, strings.Join(made.Scopes, " "))
	return made, t.tell(ctx, site.Event{Item: issued.ID, By: by, Until: issued.Until, Text: text})
}

// TokenList lists the tokens.
func (t *tokenSet) TokenList() ([]control.TokenStatus, error) {
	if t.auth == nil {
		return nil, t.notOpen()
	}
	return t.statuses(t.auth.List()), nil
}

// RevokeToken ends a token.
func (t *tokenSet) RevokeToken(ctx context.Context, id, by string) (control.TokenStatus, error) {
	if t.auth == nil {
		return control.TokenStatus{}, t.notOpen()
	}
	issued, err := t.auth.Revoke(id)
	if err != nil {
		return control.TokenStatus{}, tokenError(err)
	}
	return t.status(issued), t.tell(ctx, site.Event{Item: issued.ID, By: by, Text: "token of " + issued.Name + " revoked"})
}

// RevokeAllTokens ends all tokens and replaces the keys.
func (t *tokenSet) RevokeAllTokens(ctx context.Context, by string) ([]control.TokenStatus, error) {
	if t.auth == nil {
		return nil, t.notOpen()
	}
	ended, err := t.auth.RevokeAll()
	if err != nil {
		return nil, tokenError(err)
	}
	return t.statuses(ended), t.tell(ctx, site.Event{By: by, Count: uint64(len(ended)), Text: "all tokens revoked, their keys dropped"})
}

// tell returns when the event is kept. What it tells of is done already.
func (t *tokenSet) tell(ctx context.Context, ev site.Event) error {
	ev.Kind = site.KindSignIn
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if _, err := t.sink.appendDurably(ctx, ev); err != nil {
		return fmt.Errorf("%w: done, but the event log could not keep it: %w", control.ErrNotReady, err)
	}
	return nil
}

func tokenError(err error) error {
	switch {
	case errors.Is(err, oauth.ErrOrder):
		return fmt.Errorf("%w: %w", control.ErrInput, err)
	case errors.Is(err, oauth.ErrNotFound):
		return fmt.Errorf("%w: %w", control.ErrNotFound, err)
	case errors.Is(err, oauth.ErrFull), errors.Is(err, oauth.ErrEnded):
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", control.ErrNotReady, err)
}

func (t *tokenSet) statuses(list []oauth.Issued) []control.TokenStatus {
	out := []control.TokenStatus{}
	for _, i := range list {
		out = append(out, t.status(i))
	}
	return out
}

func (t *tokenSet) status(i oauth.Issued) control.TokenStatus {
	st := control.TokenStatus{ID: i.ID, Name: i.Name, State: "valid", Made: i.Made, By: i.By, Until: i.Until, Revoked: i.Revoked, Used: i.Used}
	for _, s := range i.Scopes {
		st.Scopes = append(st.Scopes, string(s))
	}
	if !t.now().Before(i.Until) {
		st.State = "expired"
	}
	if !i.Revoked.IsZero() {
		st.State = "revoked"
	}
	return st
}

// bearerRealm is the realm of challenges outside of BACnet.
const bearerRealm = "gatehouse"

// gatewayRoutes mounts the gateway's resources on the HTTPS listener behind a
// token: reading wants the scope gateway, all else gateway-control, and so do
// credentials, which can do both. Without a handler, or where the settings do not have gateway.local, there are none.
func (a *App) gatewayRoutes(h http.Handler) (out []Route) {
	if h == nil || a.cfg.Gateway == nil || !a.cfg.Gateway.Local {
		return nil
	}
	byMethod := oauth.ByMethod(oauth.ScopeGateway, oauth.ScopeGatewayControl)
	need := func(r *http.Request) []oauth.Scope {
		if strings.HasSuffix(strings.TrimRight(r.URL.Path, "/"), "/newCredentials") {
			return []oauth.Scope{oauth.ScopeGatewayControl}
		}
		return byMethod(r)
	}
	deny := func(w http.ResponseWriter, _ *http.Request, why *oauth.Refusal) {
		status, text := oauth.Status(why)
		gateway.Refuse(w, status, text) // engage.md section 3: an error is a statusMessage
	}
	guard := oauth.Bearer(&a.tokens, bearerRealm, need, deny)
	for _, pattern := range []string{"/gateway", "/gateway/", "/edgeDevices", "/edgeDevices/"} {
		out = append(out, Route{Pattern: pattern, Guard: GuardBearer, handler: guard(h)})
	}
	return out
}

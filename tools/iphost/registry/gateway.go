package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"gatehouse/tools/iphost/engage"
)

// PasswordLife is how long a gateway's password is good (section 1 of the
// protocol: new credentials at least every 24 h).
const PasswordLife = 24 * time.Hour

// Why a gateway gets no credentials or may not connect.
var (
	// ErrClock is returned when the gateway's time is outside the window.
	ErrClock = errors.New("the gateway's clock is outside the window")
	// ErrUnknownKey is returned when no site's key opens the credentials, or
	// another site's than the gateway belongs to.
	ErrUnknownKey = errors.New("no site key of this gateway opens it")
	// ErrPassword is returned for a wrong, replaced or expired password.
	ErrPassword = errors.New("wrong or expired password")
)

// Gateway is a gateway that belongs to a site.
type Gateway struct {
	Serial engage.Serial `json:"serial"`
	Site   string        `json:"site"`
	Added  time.Time     `json:"added"`
}

type gatewayRecord struct {
	Site   string    `json:"site"`
	Added  time.Time `json:"added"`
	Hash   string    `json:"hash,omitempty"` // of the password
	Issued time.Time `json:"issued"`
}

// AddGateway says which site a gateway belongs to before it calls.
func (r *Registry) AddGateway(ctx context.Context, serial engage.Serial, site string) error {
	if err := CheckName(site); err != nil {
		return fmt.Errorf("site: %w", err)
	}
	if _, err := r.Site(ctx, site); err != nil {
		return err
	}
	_, conflict, err := put(ctx, r.gateways, serial.String(), gatewayRecord{Site: site, Added: r.now().UTC()}, 0)
	if conflict {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("gateway %s: %w", serial, err)
	}
	return nil
}

// ForgetGateway removes a gateway and its password. Its events stay.
func (r *Registry) ForgetGateway(ctx context.Context, serial engage.Serial) error {
	if err := remove(ctx, r.gateways, serial.String()); err != nil {
		return fmt.Errorf("gateway %s: %w", serial, err)
	}
	if err := remove(ctx, r.sessions, serial.String()); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("gateway %s: %w", serial, err)
	}
	return nil
}

// Gateway returns one gateway.
func (r *Registry) Gateway(ctx context.Context, serial engage.Serial) (Gateway, error) {
	e, err := get[gatewayRecord](ctx, r.gateways, serial.String())
	if err != nil {
		return Gateway{}, fmt.Errorf("gateway %s: %w", serial, err)
	}
	return Gateway{Serial: serial, Site: e.value.Site, Added: e.value.Added}, nil
}

// Gateways calls f for each gateway.
func (r *Registry) Gateways(ctx context.Context, f func(Gateway) error) error {
	return list(ctx, r.gateways, func(key string, v gatewayRecord) error {
		serial, err := engage.ParseSerial(key)
		if err != nil {
			return err
		}
		return f(Gateway{Serial: serial, Site: v.Site, Added: v.Added})
	})
}

// NewPassword checks a request for credentials and returns a new password for
// its gateway: 44 characters, the only time that they are seen. It replaces
// the one before. The errors are ErrUnknownKey, ErrClock, ErrReplay or of the
// bus; the gateway is not told which secret was wrong.
func (r *Registry) NewPassword(ctx context.Context, sealed engage.Sealed, window time.Duration) (string, error) {
	site, wall, err := r.open(ctx, sealed)
	if err != nil {
		return "", err
	}
	if now := r.now(); !engage.Fresh(wall, now, site.Zone, window) {
		return "", fmt.Errorf("%w: it says %s, the host %s UTC, at most %s apart", ErrClock,
			wall.Format(engage.ClockLayout), now.UTC().Format(engage.ClockLayout), window)
	}
	if _, conflict, err := put(ctx, r.seen, hex.EncodeToString(sealed.Cipher[:]), sealed.Serial.String()+" "+rand.Text(), 0); conflict {
		return "", ErrReplay
	} else if err != nil {
		return "", err
	}
	var raw [32]byte
	rand.Read(raw[:]) // never fails
	password := base64.StdEncoding.EncodeToString(raw[:])
	_, _, err = change(ctx, r.gateways, sealed.Serial.String(), func(e *entry[gatewayRecord]) error {
		if e.rev != 0 && e.value.Site != site.Name {
			return ErrUnknownKey // it was added elsewhere meanwhile
		}
		if e.rev == 0 {
			e.value.Site, e.value.Added = site.Name, r.now().UTC()
		}
		e.value.Hash, e.value.Issued = hash(password), r.now().UTC()
		return nil
	})
	if err != nil {
		return "", err
	}
	return password, nil
}

// open finds the site whose key opens the credentials.
func (r *Registry) open(ctx context.Context, sealed engage.Sealed) (Site, time.Time, error) {
	var sites []Site
	g, err := r.Gateway(ctx, sealed.Serial)
	switch {
	case err == nil:
		s, err := r.Site(ctx, g.Site)
		if err != nil {
			return Site{}, time.Time{}, err
		}
		sites = []Site{s}
	case errors.Is(err, ErrNotFound):
		if sites, err = r.recentSites(ctx); err != nil {
			return Site{}, time.Time{}, err
		}
	default:
		return Site{}, time.Time{}, err
	}
	for _, s := range sites {
		wall, err := sealed.Open(s.Key)
		if errors.Is(err, engage.ErrSeal) {
			continue
		}
		return s, wall, err
	}
	return Site{}, time.Time{}, ErrUnknownKey
}

// CheckPassword returns the site of a gateway whose password is right.
func (r *Registry) CheckPassword(ctx context.Context, serial engage.Serial, password string) (string, error) {
	e, err := get[gatewayRecord](ctx, r.gateways, serial.String())
	if errors.Is(err, ErrNotFound) {
		return "", ErrPassword
	}
	if err != nil {
		return "", err
	}
	g := e.value
	if g.Hash == "" || subtle.ConstantTimeCompare([]byte(g.Hash), []byte(hash(password))) != 1 || r.now().Sub(g.Issued) > PasswordLife {
		return "", ErrPassword
	}
	return g.Site, nil
}

func hash(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/tools/iphost/engage"
)

// Site is a site and its key.
type Site struct {
	Name  string
	Key   engage.SiteKey
	Zone  *time.Location // nil: UTC only
	Added time.Time
}

type siteRecord struct {
	Key   string    `json:"key"` // hex digits, or sealed
	Zone  string    `json:"zone,omitempty"`
	Added time.Time `json:"added"`
}

// AddSite adds a site. zone may be empty, or an IANA name.
func (r *Registry) AddSite(ctx context.Context, name string, key engage.SiteKey, zone string) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("site: %w", err)
	}
	if zone != "" {
		if _, err := time.LoadLocation(zone); err != nil {
			return fmt.Errorf("site %s: zone %.40q: %w", name, zone, err)
		}
	}
	sites, err := r.Sites(ctx)
	if err != nil {
		return err
	}
	for _, s := range sites {
		if s.Key == key {
			return fmt.Errorf("site %s: site %s has the same key: %w", name, s.Name, ErrExists)
		}
	}
	_, conflict, err := put(ctx, r.sites, name, siteRecord{Key: r.sealed(sitePlace(name), []byte(key.Reveal())), Zone: zone, Added: r.now().UTC()}, 0)
	if conflict {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("site %s: %w", name, err)
	}
	r.forgetCache()
	return nil
}

// RemoveSite removes a site without gateways.
func (r *Registry) RemoveSite(ctx context.Context, name string) error {
	used := 0
	err := r.Gateways(ctx, func(g Gateway) error {
		if g.Site == name {
			used++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if used > 0 {
		return fmt.Errorf("site %.40q: %d gateways belong to it: forget them first", name, used)
	}
	if CheckName(name) != nil {
		return fmt.Errorf("site %.40q: %w", name, ErrNotFound)
	}
	if err := remove(ctx, r.sites, name); err != nil {
		return fmt.Errorf("site %s: %w", name, err)
	}
	r.forgetCache()
	return nil
}

// Sites lists all sites by name.
func (r *Registry) Sites(ctx context.Context) ([]Site, error) {
	var out []Site
	err := list(ctx, r.sites, func(name string, v siteRecord) error {
		s, err := r.site(name, v)
		out = append(out, s)
		return err
	})
	slices.SortFunc(out, func(a, b Site) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// Site returns one site.
func (r *Registry) Site(ctx context.Context, name string) (Site, error) {
	e, err := get[siteRecord](ctx, r.sites, name)
	if err != nil {
		return Site{}, fmt.Errorf("site %s: %w", name, err)
	}
	return r.site(name, e.value)
}

func (r *Registry) site(name string, v siteRecord) (Site, error) {
	key, err := r.siteKey(name, v)
	if err != nil {
		return Site{}, fmt.Errorf("site %s: %w", name, err)
	}
	s := Site{Name: name, Key: key, Added: v.Added}
	if v.Zone != "" {
		if s.Zone, err = time.LoadLocation(v.Zone); err != nil {
			return Site{}, fmt.Errorf("site %s: %w", name, err)
		}
	}
	return s, nil
}

// cacheFor keeps strangers from making the host read all sites for each of
// their requests.
const cacheFor = time.Second

// recentSites lists the sites as they were a moment ago. One caller lists them
// for all that wait: many strangers come at once after an outage.
func (r *Registry) recentSites(ctx context.Context) ([]Site, error) {
	if sites, ok := r.fresh(); ok {
		return sites, nil
	}
	select {
	case r.listing <- struct{}{}:
		defer func() { <-r.listing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if sites, ok := r.fresh(); ok {
		return sites, nil
	}
	sites, err := r.Sites(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.cached, r.cacheAt = sites, time.Now()
	r.mu.Unlock()
	return sites, nil
}

func (r *Registry) fresh() ([]Site, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cached, !r.cacheAt.IsZero() && time.Since(r.cacheAt) < cacheFor
}

func (r *Registry) forgetCache() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cached, r.cacheAt = nil, time.Time{}
}

// SiteOf returns the site of a gateway: the one that it belongs to, else the
// only one there is. For a stranger among several sites it is ErrNotFound.
func (r *Registry) SiteOf(ctx context.Context, serial engage.Serial) (Site, error) {
	g, err := r.Gateway(ctx, serial)
	if err == nil {
		return r.Site(ctx, g.Site)
	}
	if !errors.Is(err, ErrNotFound) {
		return Site{}, err
	}
	sites, err := r.recentSites(ctx)
	if err != nil {
		return Site{}, err
	}
	if len(sites) == 1 {
		return sites[0], nil
	}
	return Site{}, fmt.Errorf("gateway %s belongs to none of %d sites: %w", serial, len(sites), ErrNotFound)
}

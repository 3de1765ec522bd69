package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Root is the certificate that gateways trust. Key is the private key (PKCS#8)
// of a CA that the hosts made, or nil for the owner's.
type Root struct {
	DER []byte `json:"der"`
	Key []byte `json:"key,omitempty"`
}

const currentRoot = "current"

// CurrentRoot returns the root that all hosts serve; ErrNotFound if none yet.
func (r *Registry) CurrentRoot(ctx context.Context) (Root, error) {
	e, err := get[Root](ctx, r.roots, currentRoot)
	if err != nil {
		return Root{}, fmt.Errorf("root certificate: %w", err)
	}
	return r.openRoot(e.value)
}

// openRoot returns a root with its key open.
func (r *Registry) openRoot(v Root) (Root, error) {
	if v.Key == nil {
		return v, nil
	}
	key, err := r.sealer.open(rootPlace(v.DER), string(v.Key))
	if err != nil {
		return Root{}, fmt.Errorf("root certificate: %w", err)
	}
	v.Key = key
	return v, nil
}

// ErrOwners is returned where a host should make a CA and the others serve the
// owner's root.
var ErrOwners = errors.New("the installation serves the owner's root certificate: give this host the owner's certificate too, or reset the root")

// ShareOwn returns the root of the CA that the hosts share, and makes it with
// make when there is none. Where another host is faster, its root is returned.
func (r *Registry) ShareOwn(ctx context.Context, make func() (Root, error)) (Root, error) {
	var out Root
	_, _, err := change(ctx, r.roots, currentRoot, func(e *entry[Root]) (err error) {
		if e.value.DER != nil && e.value.Key == nil {
			return ErrOwners
		}
		if e.value.DER == nil {
			made, err := make()
			if err != nil {
				return err
			}
			e.value = made
		}
		if out, err = r.openRoot(e.value); err == nil {
			e.value.Key = []byte(r.sealed(rootPlace(e.value.DER), e.value.Key))
		}
		return err
	})
	if err != nil {
		return Root{}, fmt.Errorf("root certificate: %w", err)
	}
	return out, nil
}

// ShareOwners makes the owner's root the one that all hosts serve, and reports
// whether another one was served before.
func (r *Registry) ShareOwners(ctx context.Context, der []byte) (changed bool, err error) {
	old, _, err := change(ctx, r.roots, currentRoot, func(e *entry[Root]) error {
		e.value = Root{DER: der}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("root certificate: %w", err)
	}
	return old.DER != nil && !bytes.Equal(old.DER, der), nil
}

// ResetRoot forgets the root. The next host that starts makes a CA or brings
// the owner's; gateways fetch it when their pinned one fails.
func (r *Registry) ResetRoot(ctx context.Context) error {
	if err := remove(ctx, r.roots, currentRoot); err != nil {
		return fmt.Errorf("root certificate: %w", err)
	}
	return nil
}

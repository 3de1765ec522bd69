package store

import (
	"errors"
	"fmt"
	"slices"

	"gatehouse/agent/site"
)

func credText(id site.CredentialID, rec *credential, did string) string {
	ref := site.CardRef{Last2: rec.Last2, Tag: string(id[:tagLen])}
	return "credential " + ref.String() + " " + did
}

// ownCredential returns a credential of the change's source.
func (c *change) ownCredential(id site.CredentialID) (credKey, *credential, error) {
	key, rec, err := c.anyCredential(id)
	if err == nil && key[16] != c.src {
		err = fieldErr("credential", "%s belongs to another source", id)
	}
	return key, rec, err
}

func (c *change) anyCredential(id site.CredentialID) (credKey, *credential, error) {
	b, err := c.creds()
	if err != nil {
		return credKey{}, nil, err
	}
	key, v, err := findKey(b, id)
	if errors.Is(err, ErrNotFound) {
		if key, rec, ok, ferr := c.fileCredential(id); ok || ferr != nil {
			return key, rec, ferr
		}
	}
	if err != nil {
		return credKey{}, nil, fieldErr("credential", "%w", err)
	}
	rec := new(credential)
	return key, rec, c.s.decodeCredential(key[:], v, rec)
}

func (o SetState) apply(c *change) (string, string, error) {
	key, rec, err := c.anyCredential(o.ID)
	if err != nil {
		return "", "", err
	}
	if o.State == site.CredentialInvalid || o.State > site.CredentialRevoked {
		return "", "", fieldErr("state", "want active, blocked or revoked")
	}
	if key[16] != c.src {
		if key, rec, err = c.over(key, rec, o.State); err != nil {
			return "", "", err
		}
	}
	if rec.State == site.CredentialRevoked && o.State != site.CredentialRevoked {
		return "", "", fieldErr("state", "a revoked credential stays revoked")
	}
	rec.State = o.State
	id := key.id()
	text := credText(id, rec, map[site.CredentialState]string{
		site.CredentialActive: "unblocked", site.CredentialBlocked: "blocked", site.CredentialRevoked: "revoked",
	}[o.State])
	return string(id), text, c.putCredential(&key, rec)
}

// over returns the record that the operator puts over another source's: no
// rights, so that it only takes away.
func (c *change) over(key credKey, rec *credential, state site.CredentialState) (credKey, *credential, error) {
	if c.source != site.SourceOperator {
		return key, nil, fieldErr("credential", "%s belongs to another source", key.id())
	}
	key[16] = c.src
	p, err := c.get(codeCredential, key[:])
	if err != nil {
		return key, nil, err
	}
	if p != nil {
		own := new(credential)
		if err := decodeCredential(p, &c.s.in, own); err != nil {
			return key, nil, damaged("credential: %w", err)
		}
		return key, own, nil
	}
	if state == site.CredentialActive {
		return key, nil, fieldErr("credential", "belongs to another source, and nothing blocks it here")
	}
	return key, &credential{Holder: rec.Holder, Format: rec.Format, Last2: rec.Last2, State: site.CredentialActive}, nil
}

var errNotHeld = errors.New("the credential does not have it")

func (o SetPIN) apply(c *change) (string, string, error) {
	key, rec, err := c.ownCredential(o.ID)
	if err != nil {
		return "", "", err
	}
	old := *rec
	if err := c.pins(&key, rec, o.PIN, o.DuressPIN, o.ClearPIN); err != nil {
		return "", "", err
	}
	return string(o.ID), credText(o.ID, rec, "PIN changed"), c.putNamed(&key, rec, &old)
}

func (o AddRight) apply(c *change) (string, string, error) {
	key, rec, err := c.ownCredential(o.ID)
	if err != nil {
		return "", "", err
	}
	had := slices.DeleteFunc(slices.Clone(rec.Rights), func(r site.Right) bool { return r == o.Right })
	if !slices.Contains(rec.Rights, o.Right) {
		rec.Rights = append(slices.Clone(rec.Rights), o.Right)
	}
	if err := c.checkRights(rec.Rights, had); err != nil {
		return "", "", err
	}
	return string(o.ID), credText(o.ID, rec, "right added: "+rightText(o.Right)), c.putCredential(&key, rec)
}

func (o RemoveRight) apply(c *change) (string, string, error) {
	key, rec, err := c.ownCredential(o.ID)
	if err != nil {
		return "", "", err
	}
	i := slices.Index(rec.Rights, o.Right)
	if i < 0 {
		return "", "", fieldErr("rights", "%s: %w", rightText(o.Right), errNotHeld)
	}
	rec.Rights = slices.Delete(slices.Clone(rec.Rights), i, i+1)
	return string(o.ID), credText(o.ID, rec, "right removed: "+rightText(o.Right)), c.putCredential(&key, rec)
}

func rightText(r site.Right) string {
	if r.Schedule == "" {
		return string(r.Door)
	}
	return fmt.Sprintf("%s@%s", r.Door, r.Schedule)
}

func (o SetLevels) apply(c *change) (string, string, error) {
	key, rec, err := c.ownCredential(o.ID)
	if err != nil {
		return "", "", err
	}
	if err := c.checkLevels(o.Levels); err != nil {
		return "", "", err
	}
	rec.Levels = slices.Clone(o.Levels)
	return string(o.ID), credText(o.ID, rec, "levels changed"), c.putCredential(&key, rec)
}

func (o DeleteCredential) apply(c *change) (string, string, error) {
	key, rec, err := c.ownCredential(o.ID)
	if err != nil {
		return "", "", err
	}
	if err := c.resetUses(&key); err != nil {
		return "", "", err
	}
	return string(o.ID), credText(o.ID, rec, "removed"), c.del(codeCredential, key[:])
}

package store

import (
	"slices"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// card returns the key of the card of o.
func (o *PutCredential) card(c *change) (credKey, error) {
	block, n := o.Block, 0
	if o.Bits.Len() > 0 {
		var err error
		if block, err = o.Bits.Block(); err != nil {
			return credKey{}, fieldErr("card", "%w", err)
		}
		n = o.Bits.Len()
	} else if block == (card.Block{}) {
		return credKey{}, fieldErr("card", "is missing")
	}
	return c.s.cardKey(block, n, c.src), nil
}

func (s *Store) cardKey(block card.Block, bits int, src byte) credKey {
	var enc [16]byte
	s.keys.blocks.Encrypt(enc[:], block[:])
	return makeCredKey(enc, src, bits)
}

func (o PutCredential) apply(c *change) (string, string, error) {
	key, err := o.card(c)
	if err != nil {
		return "", "", err
	}
	b, err := c.creds()
	if err != nil {
		return "", "", err
	}
	id := key.id()
	var old *credential
	if found, v, err := findKey(b, id); err == nil {
		if found != key {
			return "", "", fieldErr("card", "its id %s is taken by another card", id)
		}
		old = new(credential)
		if err := c.s.decodeCredential(key[:], v, old); err != nil {
			return "", "", err
		}
	}
	if old != nil && o.MustBeNew {
		return "", "", fieldErr("card", "is enrolled as %s for holder %s", id, holderID(old.Holder))
	}
	rec, err := o.record(c, old)
	if err != nil {
		return "", "", err
	}
	if old != nil && rec.Holder != old.Holder && !o.Move {
		return "", "", fieldErr("card", "is enrolled as %s for holder %s", id, holderID(old.Holder))
	}
	if err := c.pins(&key, rec, o.PIN, o.DuressPIN, o.ClearPIN); err != nil {
		return "", "", err
	}
	if old == nil || old.Uses != rec.Uses || old.Function != rec.Function {
		if err := c.resetUses(&key); err != nil {
			return "", "", err
		}
	}
	text := "added"
	if old != nil {
		text = "changed"
	}
	return string(id), credText(id, rec, text), c.putNamed(&key, rec, old)
}

func (c *change) putCredential(key *credKey, rec *credential) error {
	return c.put(codeCredential, key[:], appendCredential(nil, rec))
}

// putNamed is putCredential over old, nil for none. Whether somebody else has a PIN
// that is new to the record, or to its holder, is checked when all is in place. A
// record that is as it was but revoked is not checked: nothing holds that up.
func (c *change) putNamed(key *credKey, rec, old *credential) error {
	same := old != nil && rec.hashes() == old.hashes() && rec.Holder == old.Holder &&
		(rec.State == old.State || rec.State == site.CredentialRevoked)
	if rec.Alone != [16]byte{} && !same {
		c.alone = append(c.alone, alonePut{c.record, *key})
	}
	return c.putCredential(key, rec)
}

// checkAlone refuses a PIN that opens alone and is another's.
func (c *change) checkAlone() error {
	if len(c.alone) == 0 {
		return nil
	}
	creds, idx, err := generationIn(c.tx, c.h.Generation)
	if err != nil {
		return err
	}
	for _, p := range c.alone {
		var rec credential
		v := creds.Get(p.key[:])
		if v == nil {
			continue // removed again
		}
		if err := c.s.decodeCredential(p.key[:], v, &rec); err != nil {
			return err
		}
		by, err := c.s.taken(creds, idx, &p.key, &rec, nil)
		if err == nil && by != nil {
			err = &RecordError{Record: p.record, Field: by.field, Err: ErrPINTaken}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resetUses starts the count of uses anew.
func (c *change) resetUses(key *credKey) error {
	if len(c.resets) == 0 {
		if err := c.s.flushUsesIn(c.tx); err != nil {
			return err
		}
	}
	c.resets = append(c.resets, *key)
	if err := forgetWaiting(c.tx, key); err != nil {
		return err
	}
	if b, err := contentBucket(c.tx, c.h, codeUsed); err != nil || b.Get(key[:]) == nil {
		return err
	}
	return c.del(codeUsed, key[:])
}

// record makes the record of o over old, which may be nil.
func (o *PutCredential) record(c *change, old *credential) (*credential, error) {
	rec := &credential{
		Format: o.Format, Last2: o.Last2, State: o.State, Function: o.Function, ADA: o.ADA,
		Uses: o.Uses, From: o.From, Until: o.Until, Levels: slices.Clone(o.Levels), Rights: slices.Clone(o.Rights),
	}
	if old != nil {
		rec.PIN, rec.Duress, rec.Alone, rec.AloneDuress = old.PIN, old.Duress, old.Alone, old.AloneDuress
	}
	switch {
	case o.State != site.CredentialInvalid:
	case old != nil:
		rec.State = old.State
	default:
		rec.State = site.CredentialActive
	}
	switch {
	case o.Holder != "":
		n, _, err := c.ownHolder(o.Holder)
		if err != nil {
			return nil, err
		}
		rec.Holder = n
	case o.HolderName != "":
		if err := checkName("holder", o.HolderName); err != nil {
			return nil, err
		}
		if rec.Holder = holderByName(c.tx, c.h, c.src, o.HolderName); rec.Holder == 0 {
			n, err := c.makeHolder(o.HolderName)
			if err != nil {
				return nil, err
			}
			rec.Holder = n
		}
	default:
		return nil, fieldErr("holder", "is missing")
	}
	var had []site.Right
	if old != nil {
		had = old.Rights
	}
	return rec, c.checkCredential(rec, had)
}

func (c *change) checkCredential(rec *credential, had []site.Right) error {
	switch {
	case rec.State > site.CredentialRevoked:
		return fieldErr("state", "is not known")
	case rec.Function > site.FunctionBlocked:
		return fieldErr("function", "is not known")
	case len(rec.Format) > site.MaxIDLen:
		return fieldErr("format", "is longer than %d characters", site.MaxIDLen)
	case rec.Last2 != "" && len(rec.Last2) != 2:
		return fieldErr("card", "the visible part is not two digits")
	case !rec.From.IsZero() && (rec.From.Unix() < minUnix || rec.From.Unix() > maxUnix):
		return fieldErr("from", "is out of range")
	case !rec.Until.IsZero() && (rec.Until.Unix() < minUnix || rec.Until.Unix() > maxUnix):
		return fieldErr("until", "is out of range")
	case !rec.From.IsZero() && !rec.Until.IsZero() && !rec.From.Before(rec.Until):
		return fieldErr("until", "is not after from")
	}
	if err := c.checkRights(rec.Rights, had); err != nil {
		return err
	}
	return c.checkLevels(rec.Levels)
}

func (c *change) checkLevels(levels []site.LevelID) error {
	if len(levels) > maxLevels {
		return fieldErr("level", "more than %d", maxLevels)
	}
	for i, l := range levels {
		ok, err := c.known(codeLevel, string(l))
		if err != nil {
			return err
		}
		if !ok {
			return fieldErr("level", "%q: %w", l, ErrNotFound)
		}
		if slices.Contains(levels[:i], l) {
			return fieldErr("level", "%q is named twice", l)
		}
	}
	return nil
}

// checkRights judges rights. Those that were had before may be at a door that is gone
// from the settings since: they open nothing, and do not hold up a change of the others.
func (c *change) checkRights(rights, had []site.Right) error {
	if len(rights) > maxRights {
		return fieldErr("rights", "more than %d", maxRights)
	}
	for i, r := range rights {
		if err := site.CheckID(string(r.Door)); err != nil {
			return fieldErr("rights", "door: %w", err)
		}
		if c.doors != nil && !c.doors(r.Door) && !slices.Contains(had, r) {
			return fieldErr("rights", "door %q: %w", r.Door, ErrNotFound)
		}
		if slices.Contains(rights[:i], r) {
			return fieldErr("rights", "door %q is named twice with the same schedule", r.Door)
		}
		if r.Schedule == "" {
			continue
		}
		ok, err := c.known(codeSchedule, string(r.Schedule))
		if err != nil {
			return err
		}
		if !ok {
			return fieldErr("rights", "schedule %q: %w", r.Schedule, ErrNotFound)
		}
	}
	return nil
}

// known reports whether the source has a level or schedule of that id. Rights
// refer to records of their own source only.
func (c *change) known(code byte, id string) (bool, error) {
	b, err := contentBucket(c.tx, c.h, code)
	if err != nil {
		return false, err
	}
	return b.Get(idKey(c.src, id)) != nil, nil
}

func checkPIN(field, pin string) error {
	if len(pin) < 4 || len(pin) > 12 {
		return fieldErr(field, "want 4 to 12 digits")
	}
	for _, r := range pin {
		if r < '0' || r > '9' {
			return fieldErr(field, "want digits only")
		}
	}
	return nil
}

// pins sets the keyed hashes of rec.
func (c *change) pins(key *credKey, rec *credential, pin, duress string, clearFirst bool) error {
	if clearFirst {
		rec.PIN, rec.Duress, rec.Alone, rec.AloneDuress = [16]byte{}, [16]byte{}, [16]byte{}, [16]byte{}
	}
	if pin != "" {
		if err := checkPIN("pin", pin); err != nil {
			return err
		}
		rec.PIN, rec.Alone = c.s.keys.pinHash(key[:16], pin), c.s.aloneHash(pin)
		if rec.Alone == [16]byte{} {
			rec.AloneDuress = rec.Alone
		}
	}
	if duress != "" {
		if err := checkPIN("duress_pin", duress); err != nil {
			return err
		}
		rec.Duress, rec.AloneDuress = c.s.keys.pinHash(key[:16], duress), [16]byte{}
		if rec.Alone != [16]byte{} {
			rec.AloneDuress = c.s.aloneHash(duress)
		}
	}
	switch {
	case rec.Duress == [16]byte{}:
	case rec.PIN == [16]byte{}:
		return fieldErr("duress_pin", "needs a pin")
	case rec.PIN == rec.Duress:
		return fieldErr("duress_pin", "is the pin")
	}
	return nil
}

// aloneHash is the hash of a PIN that is set now: zero where no reader takes one
// without a card.
func (s *Store) aloneHash(pin string) [16]byte {
	if !s.cfg.PINAlone {
		return [16]byte{}
	}
	return s.keys.aloneHash(pin)
}

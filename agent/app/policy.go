package app

import (
	"sync"
	"sync/atomic"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// policyHolder has the store, or why there is none, and the compiled snapshot
// of its schedules, levels and holidays.
type policyHolder struct {
	cfg   *config.Config
	clock *clockWatch
	store *store.Store // nil: it could not be opened
	err   error        // why

	compiled atomic.Pointer[compiledPolicy]
	mu       sync.Mutex // one compiles at a time
}

type compiledPolicy struct {
	until  <-chan struct{} // closed by the store's next change
	policy *access.Policy  // nil: there never was a policy
}

// current reports whether the store has not changed since.
func (c *compiledPolicy) current() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.until:
		return false
	default:
		return true
	}
}

// policy returns the compiled snapshot of what the store has now. A change that
// was acknowledged is in it.
func (h *policyHolder) policy() *access.Policy {
	if c := h.compiled.Load(); c.current() {
		return c.policy
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.compiled.Load(); c.current() {
		return c.policy
	}
	c := &compiledPolicy{until: h.store.Changed()}
	if from := h.store.Snapshot(); from.Version > 0 {
		c.policy = access.Compile(h.cfg.Site.Zone, from.Schedules, from.Levels, from.Holidays)
	}
	h.compiled.Store(c)
	return c.policy
}

// lookup fills in what the store says of the presented bits: the policy, the
// records, or the fault.
func (h *policyHolder) lookup(req *access.Request, dst []site.Credential) (*access.Policy, []site.Credential) {
	req.Formats = h.cfg.Cards
	if h.store == nil {
		// A fault is more than no policy: say what is wrong.
		req.Fault = h.err
		return access.Compile(h.cfg.Site.Zone, nil, nil, nil), nil
	}
	p := h.policy()
	if req.Bits.Len() == 0 || req.Bits.Len() > card.MaxBlockBits {
		return p, nil
	}
	recs, err := h.store.LookupBitsAt(req.Door, req.Bits, dst)
	if err != nil {
		req.Fault = err
		if p == nil {
			p = access.Compile(h.cfg.Site.Zone, nil, nil, nil)
		}
	}
	return p, recs
}

// cardRef is what people see of a card that may not be enrolled.
func (h *policyHolder) cardRef(bits card.Bits) site.CardRef {
	var ref site.CardRef
	if block, err := bits.Block(); err == nil && h.store != nil {
		ref.Tag = h.store.Tag(block)
	}
	if found := h.cfg.Cards.Decode(bits); len(found) > 0 {
		ref.Last2 = found[0].Number.Last2()
	}
	return ref
}

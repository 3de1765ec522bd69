package door

import "time"

// Next returns the earliest instant, on the scale of Now.Mono, at which a
// [Tick] changes something. False: only another input can. After a step it is
// later than that step.
func (s *State) Next(cfg *Config) (time.Duration, bool) {
	var at time.Duration
	found := false
	add := func(on bool, t time.Duration) {
		if on && (!found || t < at) {
			at, found = t, true
		}
	}
	add(s.override.ends(), s.override.end)
	add(s.freeze.ends(), s.freeze.end)
	add(s.lockdown.ends(), s.lockdown.end)
	add(s.pulse.on, s.pulse.end)
	add(s.grant.on && s.grant.ended && !s.bouncing, s.grant.end)
	for i := range s.waits {
		add(s.waits[i].on, s.waits[i].end)
	}
	add(s.bouncing, s.bounceAt+Settle)
	add(s.releasing, s.releaseAt+Settle)
	add(s.pressed && !s.releasing && !s.faults[PartRex] && cfg.RexStuck > 0, s.pressedAt+cfg.RexStuck)
	add(s.faults[PartStrike], s.retryAt)
	add(s.faults[PartContact], s.changedAt+bounceTime)
	add(s.tamperEnds, s.tamperAt+Settle)
	add(s.bondRuns && !s.faults[PartBond], s.bondFrom+cfg.bondTime())
	warn, alarm := cfg.heldTimes(s.heldADA)
	add(s.held && !s.warned && !s.heldAlarm && warn > 0, s.heldFrom+warn)
	add(s.held && !s.heldAlarm && alarm > 0, s.heldFrom+alarm)
	return at, found
}

func (h hold) ends() bool { return h.on && !h.until.IsZero() }

// heldTimes returns warning and alarm time; zero: none.
func (c *Config) heldTimes(ada bool) (warn, alarm time.Duration) {
	warn, alarm = c.HeldWarn, c.HeldAlarm
	if ada && c.ADAWarn > 0 {
		warn = c.ADAWarn
	}
	if ada && c.ADAAlarm > 0 {
		alarm = c.ADAAlarm
	}
	return warn, alarm
}

// unlockTime returns the length of a pulse.
func (c *Config) unlockTime(ada bool) time.Duration {
	if ada && c.ADAUnlock > 0 {
		return c.ADAUnlock
	}
	return c.Unlock
}

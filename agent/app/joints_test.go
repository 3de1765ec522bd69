package app_test

import (
	"net/url"
	"testing"
	"time"

	"gatehouse/agent/site"
)

// TestWhyEndsNoLockout: a question about tomorrow, when a lock-out of today is
// over, does not end it today.
func TestWhyEndsNoLockout(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,,shed")
	for range 3 {
		r.show("shed-in", adaCard)
		r.want(site.ReasonPINWrong, func() { r.keys("shed-in", "9999#") })
	}
	q := url.Values{"door": {"shed"}, "bits": {"26:" + adaCard}}
	if w := r.explain(q); w.Reason != string(site.ReasonPINLockedOut) {
		t.Errorf("now: %+v", w)
	}
	q.Set("at", s.clock.Now().Add(24*time.Hour).Format(time.RFC3339))
	if w := r.explain(q); w.Reason != string(site.ReasonPINRequired) {
		t.Errorf("tomorrow: %+v", w)
	}
	r.want(site.ReasonPINLockedOut, func() { r.show("shed-in", adaCard) })
}

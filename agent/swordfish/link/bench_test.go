package link_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
)

// BenchmarkDoorFile answers a lock of 5,000 users: with everything, and with nothing
// that changed. The policy's table is ready; writing goes nowhere.
func BenchmarkDoorFile(b *testing.B) {
	w := newWorld(b)
	var all []int
	for i := range 5000 {
		all = append(all, i)
	}
	w.policy.set("room5", all...)
	lock := &testLock{}
	f := w.get(serial1, lock, false)
	for _, v := range []struct{ name, version string }{{"full", "0"}, {"nothing changed", f.Version}} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			r, err := http.NewRequestWithContext(b.Context(), "GET", "/swordfish/lock/db/"+v.version, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Authorization", auth(serial1, start))
			for b.Loop() {
				if got := w.serveRequest(r); got != 200 {
					b.Fatal(got)
				}
			}
		})
	}
}

// BenchmarkNight: 500 locks of 1,000 users call at once for everything.
func BenchmarkNight(b *testing.B) {
	p, _ := swordfish.ProfileOf("nde")
	w := newWorld(b, func(c *link.Config) {
		c.Locks = nil
		for i := range 500 {
			c.Locks = append(c.Locks, link.Lock{ID: site.DoorID(fmt.Sprintf("l%d", i)), Serial: fmt.Sprintf("%032X", 0xA0000+i), Profile: p})
		}
	})
	var all []int
	for i := range 1000 {
		all = append(all, i)
	}
	for _, l := range w.cfg.Locks {
		w.policy.set(l.ID, all...)
	}
	b.ReportAllocs()
	for b.Loop() {
		done := make(chan int)
		for _, l := range w.cfg.Locks {
			go func() {
				r, err := http.NewRequestWithContext(b.Context(), "GET", "/swordfish/lock/db/0", strings.NewReader(""))
				if err != nil {
					done <- 0
					return
				}
				r.Header.Set("Authorization", auth(l.Serial, start))
				done <- w.serveRequest(r)
			}()
		}
		for range w.cfg.Locks {
			if got := <-done; got != 200 {
				b.Fatal(got)
			}
		}
	}
}

package link_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// Orders reach their device within what the others of the bus need, and come
// back with what it says.
func TestOrders(t *testing.T) {
	tests := []struct {
		name  string
		order link.Order
		state string
		want  link.Report
		got   string
		err   string
	}{
		{"an unlock", link.Order{Op: link.OrderUnlock, For: 4100 * time.Millisecond}, `"locked":false,"mode":"secured","battery":5012`,
			link.Report{ModeKnown: true, Battery: 5012}, "unlock 5", ""},
		{"a mode", link.Order{Op: link.OrderMode, Mode: site.ModeFrozenPassage}, `"mode":"frozen_passage","tamper":true,"open":true`,
			link.Report{Open: true, Tamper: true, Mode: site.ModeFrozenPassage, ModeKnown: true}, "mode frozen_passage", ""},
		{"a status that says nothing", link.Order{Op: link.OrderStatus}, `"mode":"asleep","battery":-1`, link.Report{}, "status", ""},
		{"numbers for truth", link.Order{Op: link.OrderStatus}, `"locked":1,"open":"1","battery":"4950"`, link.Report{Locked: true, Open: true, Battery: 4950}, "status", ""},
		{"a refusal", link.Order{Op: link.OrderUnlock, For: time.Second}, `"response":false,"error":"jam\u0000med"`, link.Report{}, "unlock 1", `hive: unlock of "d1": the device refused: jam med`},
		{"a refusal without a word", link.Order{Op: link.OrderUnlock, For: time.Second}, `"response":false`, link.Report{}, "unlock 1", `hive: unlock of "d1": the device refused: it does not say why`},
		{"too short", link.Order{Op: link.OrderUnlock}, ``, link.Report{}, "", `hive: unlock of "d1": the device refused: an unlock lasts from 1s to 10m0s`},
		{"too long", link.Order{Op: link.OrderUnlock, For: time.Hour}, ``, link.Report{}, "", `hive: unlock of "d1": the device refused: an unlock lasts from 1s to 10m0s`},
		{"no mode of a lock", link.Order{Op: link.OrderMode, Mode: site.ModeDisabled}, ``, link.Report{}, "", `hive: mode of "d1": the device refused: no device takes the mode disabled`},
		{"nothing", link.Order{}, ``, link.Report{}, "", `hive: order(0) of "d1": the device refused: it is not known`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBus(t, 3, 115200)
				defer w.end()
				time.Sleep(time.Second)
				lock := w.nodes[1]
				lock.set(func() {
					lock.state = tt.state
					if strings.HasPrefix(tt.state, `"response"`) {
						lock.refuse = true
					}
				})
				began := time.Now()
				got, err := w.s.Order(t.Context(), "d1", tt.order)
				if took := time.Since(began); took > 200*time.Millisecond {
					t.Errorf("took %v", took)
				}
				if text := fmt.Sprint(err); (err != nil || tt.err != "") && text != tt.err {
					t.Errorf("error %s, want %s", text, tt.err)
				}
				if err != nil && !errors.Is(err, link.ErrRefused) {
					t.Errorf("%v is no ErrRefused", err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("report (-want +got):\n%s", diff)
				}
				lock.set(func() {
					if s := strings.Join(lock.got, ","); s != tt.got {
						t.Errorf("the device did %q, want %q", s, tt.got)
					}
				})
			})
		})
	}
}

// An unlock or a mode whose answer is lost is not sent again; a status is, once.
func TestOrdersWithoutAnswer(t *testing.T) {
	for _, tt := range []struct {
		order link.Order
		times int
	}{
		{link.Order{Op: link.OrderUnlock, For: time.Second}, 1},
		{link.Order{Op: link.OrderMode, Mode: site.ModePassage}, 1},
		{link.Order{Op: link.OrderStatus}, 2},
	} {
		t.Run(tt.order.Op.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBus(t, 2, 115200)
				defer w.end()
				time.Sleep(time.Second)
				lock := w.nodes[1]
				lock.set(func() {
					lock.spoil = func(op string, m []byte) []byte {
						if op != "poll" {
							return nil
						}
						return m
					}
				})
				began := time.Now()
				if _, err := w.s.Order(t.Context(), "d1", tt.order); !errors.Is(err, link.ErrNoAnswer) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %v", took)
				}
				time.Sleep(30 * time.Second)
				lock.set(func() {
					if len(lock.got) != tt.times {
						t.Errorf("it did %v", lock.got)
					}
				})
				if off := w.offlines(); len(off) > 0 {
					t.Errorf("%v", off)
				}
			})
		})
	}
}

// A status whose first answer is lost comes with the second.
func TestStatusIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		time.Sleep(time.Second)
		lock, first := w.nodes[1], true
		lock.set(func() {
			lock.spoil = func(op string, m []byte) []byte {
				if op == "status" && first {
					first = false
					return nil
				}
				return m
			}
		})
		if r, err := w.s.Order(t.Context(), "d1", link.Order{Op: link.OrderStatus}); err != nil || !r.Locked {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

// An order that nobody waits for any more is not sent; one that was sent by then
// may have been done.
func TestOrdersThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		time.Sleep(time.Second)
		lock := w.nodes[1]
		lock.set(func() { lock.delay = 150 * time.Millisecond })
		unlock := link.Order{Op: link.OrderUnlock, For: time.Second}
		var wg sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		errs := make([]error, 5)
		for i := range errs {
			wg.Go(func() { _, errs[i] = w.s.Order(ctx, "d1", unlock) })
		}
		wg.Wait()
		time.Sleep(2 * time.Second)
		sent := 0
		for _, err := range errs {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, link.ErrNoAnswer) {
				sent++
			}
		}
		lock.set(func() {
			if len(lock.got) != sent || sent > 1 {
				t.Errorf("%d were sent, done %v", sent, lock.got)
			}
		})
	})
}

// Orders to devices on no line, on a line that does not run, and without counters
// are not sent.
func TestOrdersToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		status := link.Order{Op: link.OrderStatus}
		if _, err := w.s.Order(t.Context(), "nobody", status); !errors.Is(err, link.ErrOffline) {
			t.Errorf("nobody: %v", err)
		}
		w.count.mu.Lock()
		w.count.fail = errStore
		w.count.mu.Unlock()
		if _, err := w.s.Order(t.Context(), "d0", status); !errors.Is(err, errStore) || errors.Is(err, link.ErrNoAnswer) {
			t.Errorf("without counters: %v", err)
		}
		w.end()
		if _, err := w.s.Order(t.Context(), "d0", status); !errors.Is(err, link.ErrOffline) {
			t.Errorf("stopped: %v", err)
		}
	})
}

// Many orders to one device leave the others their polls.
func TestOrdersLeavePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 115200)
		defer w.end()
		time.Sleep(time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if _, err := w.s.Order(t.Context(), "d2", link.Order{Op: link.OrderStatus}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, n := range w.nodes[:2] {
			if gap := n.gap(began); gap > 600*time.Millisecond {
				t.Errorf("%s waited %v for a poll", n.name, gap)
			}
		}
	})
}

// A call that takes long holds up no other device of the bus, and no order.
func TestBusLongCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 115200)
		defer w.end()
		w.host.wait, w.host.body = 5*time.Second, `{"ok":true}`
		n := w.nodes[0]
		n.queue(`"operation":"swordfish","method":"GET","path":"/slow"`)
		time.Sleep(time.Second)
		began := time.Now()
		if _, err := w.s.Order(t.Context(), "d0", link.Order{Op: link.OrderStatus}); err != nil {
			t.Errorf("an order to the device that waits: %v", err)
		}
		until(t, 6*time.Second, "the reply", func() bool { return len(n.copyReplies()) == 1 })
		for _, other := range w.nodes[1:] {
			if gap := other.gap(began); gap > 300*time.Millisecond {
				t.Errorf("%s waited %v for a poll", other.name, gap)
			}
		}
		want := map[string]any{"checksum_valid": true, "nonce_valid": true, "operation_valid": true, "version_valid": true, "response": true,
			"status": 200.0, "body": map[string]any{"ok": true}, "version": 1.0}
		got := n.copyReplies()[0]
		delete(got, "new_nonce")
		delete(got, "random_response")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
	})
}

// A lock that should call is told so by its polls, a reader never.
func TestBusDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		time.Sleep(time.Second)
		w.host.mu.Lock()
		w.host.busy = map[site.DeviceName]bool{"d0": true, "d1": true}
		w.host.mu.Unlock()
		time.Sleep(time.Second)
		for i, n := range w.nodes {
			n.set(func() {
				if (n.dues > 3) != (i == 1) || i == 0 && n.dues > 0 {
					t.Errorf("%s was told %d times", n.name, n.dues)
				}
			})
		}
	})
}

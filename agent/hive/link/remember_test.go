package link_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// counted is a world that counts how often it is asked who spoke version 2, and
// may lose the answer of a Use that was durable.
type counted struct {
	*world
	asked atomic.Int32
	lose  atomic.Bool
}

func (c *counted) SawVersion2(d site.DeviceName) (bool, error) {
	c.asked.Add(1)
	return c.world.SawVersion2(d)
}

func (c *counted) Use(ctx context.Context, d site.DeviceName, n [16]byte) ([16]byte, bool, error) {
	next, ok, err := c.world.Use(ctx, d, n)
	if c.lose.Load() {
		return [16]byte{}, false, errStore
	}
	return next, ok, err
}

// TestVersion2Remembered: version 1 is asked about once, and not let in again
// after a nonce moved, not even where the Server was told that it failed.
func TestVersion2Remembered(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(fmt.Sprintf("lose=%v", lose), func(t *testing.T) {
			w := &counted{world: newWorld()}
			deps := newWorldDeps()
			deps.Access, deps.Nonces, deps.Vend, deps.Events = w, w, w, w
			s, err := link.New(testConfig(), deps)
			if err != nil {
				t.Fatal(err)
			}
			one := sign(t, "both", `{"badge":1052895,"item":"main_door"}`)
			for range 3 {
				if _, text := post(t, s, one); !strings.Contains(text, `"access":true`) {
					t.Fatalf("version 1 was refused: %s", text)
				}
			}
			if got := w.asked.Load(); got != 1 {
				t.Errorf("asked %d times, want 1", got)
			}
			nonce, err := w.Current("both")
			if err != nil {
				t.Fatal(err)
			}
			w.lose.Store(lose)
			post(t, s, sign(t, "both", fmt.Sprintf(`{"badge":1052895,"item":"main_door","nonce":"%X","version":2}`, nonce)))
			if _, text := post(t, s, one); !strings.Contains(text, `"version_valid":false`) {
				t.Errorf("version 1 was let back: %s", text)
			}
		})
	}
}

// stuck is a door that never answers.
type stuck struct{}

func (stuck) Access(ctx context.Context, _ link.Ask) (link.Answer, error) {
	<-ctx.Done()
	return link.Answer{}, ctx.Err()
}

// TestOperationTime: a request waits nine to ten seconds for a door that does
// not answer, whenever it comes, and the next one does too.
func TestOperationTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deps := newWorldDeps()
		deps.Access = stuck{}
		s, err := link.New(testConfig(), deps)
		if err != nil {
			t.Fatal(err)
		}
		body := sign(t, "one", `{"badge":1052895,"item":"main_door"}`)
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				began := time.Now()
				_, text := post(t, s, body)
				if !strings.Contains(text, `"reason":"fault"`) {
					t.Errorf("answered %s", text)
				}
				if took := time.Since(began); took < 9*time.Second || took > 10*time.Second {
					t.Errorf("answered after %v, want 9 s to 10 s", took)
				}
			})
			time.Sleep(330 * time.Millisecond)
		}
		wg.Wait()
	})
}

package app

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/store/spool"
)

// memoryLog is a log in memory that alarms are folded from.
type memoryLog struct{ evs chan site.Event }

func (l memoryLog) Read(_ context.Context, _ site.EventSeq, _, _ int) ([]site.Event, error) {
	select {
	case ev := <-l.evs:
		return []site.Event{ev}, nil
	default:
		return nil, nil
	}
}

func (l memoryLog) Wait(ctx context.Context, _ site.EventSeq) error {
	for len(l.evs) == 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return nil
}

// TestFileAgain: alarms and areas that could not write their file go on when
// they can: a full disk does not end them until the next start.
func TestFileAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string) (b task.Task, change func())
	}{
		{"alarms", func(t *testing.T, path string) (task.Task, func()) {
			b, err := loadAlarms(path)
			if err == nil {
				t.Error("a path through a file is read as if there were none")
			}
			log, n := memoryLog{make(chan site.Event, 9)}, site.EventSeq(0)
			b.log = log
			return b, func() {
				n++
				log.evs <- site.Event{Seq: n, Kind: site.KindDoorForced, Door: "front"}
			}
		}},
		{"areas", func(t *testing.T, path string) (task.Task, func()) {
			log, _, err := spool.Open(spool.Config{Dir: t.TempDir(), Budget: spool.MinBudget}, spool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { log.Close() })
			b, err := newAreaBook(&config.Config{}, path, &eventSink{log: log}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b, b.touch
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				folder := filepath.Join(t.TempDir(), "state")
				if err := os.WriteFile(folder, nil, 0o600); err != nil { // no folder: nothing can be written
					t.Fatal(err)
				}
				path := filepath.Join(folder, tt.name+".json")
				b, change := tt.make(t, path)
				health := task.NewHealth(nil)
				g := task.NewGroup(task.GroupConfig{Health: health})
				g.Add(b, task.Policy{})
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- g.Run(ctx) }()

				change()
				time.Sleep(5 * time.Minute)
				if len(health.List()) == 0 && tt.name == "areas" {
					t.Error("no fault stands although the file cannot be written")
				}
				if err := os.Remove(folder); err != nil {
					t.Fatal(err)
				}
				change()
				time.Sleep(5 * time.Minute)
				if _, err := os.Stat(path); err != nil {
					t.Errorf("not written although it can be: %v", err)
				}
				if f := health.List(); len(f) > 0 {
					t.Errorf("a fault still stands: %s", f[0].Text)
				}
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/task"
)

// keptInputs is what the inputs of the site keep over a restart.
type keptInputs struct {
	Fire      bool      `json:"fire"`
	FireSince time.Time `json:"fire_since,omitzero"`
	Panic     bool      `json:"panic"` // pressed, and the doors are locked down for it
	// What was told and has not ended: it is over where the input is normal at the
	// next start, and somebody has to be told.
	Mains   bool `json:"mains,omitempty"`
	Battery bool `json:"battery,omitempty"`
	Tamper  bool `json:"tamper,omitempty"`
}

// supervised is the place of an input that is told when it begins not to be normal;
// nil for any other kind of event.
func (k *keptInputs) supervised(kind site.Kind) *bool {
	switch kind {
	case site.KindPower:
		return &k.Mains
	case site.KindBattery:
		return &k.Battery
	case site.KindTamper:
		return &k.Tamper
	}
	return nil
}

// keepRetry is the pace at which the file is tried again.
const keepRetry = 5 * time.Second

// inputKeeper keeps keptInputs in one small file. It writes on a goroutine of
// its own: no input waits for the disk.
type inputKeeper struct {
	path   string
	health *task.Health

	mu      sync.Mutex // guards following
	state   keptInputs
	version uint64        // of state
	written uint64        // the version on disk
	news    chan struct{} // closed and replaced at each change of version or written
}

// openInputKeeper reads the file at path. Without one, or with one that is
// damaged and set aside into quarantine, it takes what fromLog knows.
func openInputKeeper(path, quarantine string, health *task.Health, fromLog func() keptInputs) *inputKeeper {
	k := &inputKeeper{path: path, health: health, news: make(chan struct{})}
	data, err := os.ReadFile(path)
	if err == nil {
		if k.state, err = parseKeptInputs(data); err == nil {
			return k
		}
	}
	k.state, k.version = fromLog(), 1 // to be written
	if errors.Is(err, fs.ErrNotExist) {
		return k
	}
	text := fmt.Sprintf("%s was unreadable: %v; fire, panic button and the other inputs are as the event log has them", path, err)
	aside := filepath.Join(quarantine, filepath.Base(path)+"."+strconv.FormatInt(time.Now().UnixNano(), 10))
	if err := errors.Join(os.MkdirAll(quarantine, 0o700), os.Rename(path, aside)); err == nil {
		text += "; kept as " + aside
	}
	health.Set("inputs.damaged", text)
	return k
}

// parseKeptInputs reads what write wrote, and nothing else.
func parseKeptInputs(data []byte) (keptInputs, error) {
	var out keptInputs
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		return keptInputs{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return keptInputs{}, errors.New("more than one value")
	}
	return out, nil
}

// now returns the newest state.
func (k *inputKeeper) now() keptInputs {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// change changes the state. It does not wait; wait does.
func (k *inputKeeper) change(f func(*keptInputs)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.state
	f(&k.state)
	if k.state != was {
		k.version++
		k.wakeLocked()
	}
}

func (k *inputKeeper) wakeLocked() {
	close(k.news)
	k.news = make(chan struct{})
}

// wait returns when what is known now is on disk.
func (k *inputKeeper) wait(ctx context.Context) error {
	k.mu.Lock()
	want := k.version
	k.mu.Unlock()
	for {
		k.mu.Lock()
		done, news := k.written >= want, k.news
		k.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run writes each change until ctx ends, and what is not written then once more.
func (k *inputKeeper) run(ctx context.Context) error {
	for {
		err := k.write()
		k.mu.Lock()
		news, behind := k.news, k.written != k.version
		k.mu.Unlock()
		if behind && err == nil {
			continue
		}
		var again <-chan time.Time
		if err != nil {
			again = time.After(keepRetry)
		}
		select {
		case <-ctx.Done():
			return k.write()
		case <-news:
		case <-again:
		}
	}
}

// write brings the file up to date. One that cannot be written is a fault.
func (k *inputKeeper) write() error {
	k.mu.Lock()
	state, version, same := k.state, k.version, k.version == k.written
	k.mu.Unlock()
	if same {
		return nil
	}
	data, err := json.Marshal(state)
	if err == nil {
		err = writeFileSync(k.path, data, 0o600)
	}
	if err != nil {
		k.health.Set("inputs.kept", "fire, panic button and the other inputs would be forgotten by a restart: "+err.Error())
		return err
	}
	k.mu.Lock()
	k.written = version
	k.wakeLocked()
	k.mu.Unlock()
	k.health.Clear("inputs.kept")
	return nil
}

// inputsFromLog works out what the inputs keep from their newest events.
func (a *App) inputsFromLog(ctx context.Context) (out keptInputs) {
	in := a.cfg.Inputs
	wanted := map[site.Kind]bool{} // still looked for
	for kind, set := range map[site.Kind]bool{site.KindFire: in.Fire != nil, site.KindPanic: in.Panic != nil,
		site.KindPower: in.Mains != nil, site.KindBattery: in.Battery != nil, site.KindTamper: in.Tamper != nil} {
		if set {
			wanted[kind] = true
		}
	}
	err := a.spool.ScanBack(ctx, a.spool.Last(), func(ev site.Event) bool {
		if ev.Door != "" || ev.Reader != "" || !wanted[ev.Kind] {
			return len(wanted) > 0
		}
		delete(wanted, ev.Kind)
		switch at := out.supervised(ev.Kind); {
		case at != nil:
			*at = !ev.Cleared
		case ev.Kind == site.KindPanic:
			out.Panic = !ev.Cleared
		case !ev.Cleared:
			out.Fire, out.FireSince = true, ev.Time
		}
		return len(wanted) > 0
	})
	if err != nil {
		a.log.Error("what the inputs of the site keep could not be worked out from the event log", "err", err)
	}
	return out
}

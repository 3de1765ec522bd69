package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// doorSet is all doors of the site, in the order of the settings.
type doorSet struct {
	list []*door.Door
	cfg  []door.Config
	byID map[site.DoorID]*door.Door
	// areas has the areas of each door: its own, and those that its readers
	// lead from and to.
	areas map[site.DoorID][]site.AreaID
}

// border notes the areas that a reader joins at its door.
func (s *doorSet) border(id site.DoorID, areas ...site.AreaID) {
	if s.areas == nil {
		s.areas = map[site.DoorID][]site.AreaID{}
	}
	s.areas[id] = append(s.areas[id], areas...)
}

func (s *doorSet) add(cfg door.Config, d *door.Door) {
	if s.byID == nil {
		s.byID = map[site.DoorID]*door.Door{}
	}
	s.list, s.cfg = append(s.list, d), append(s.cfg, cfg)
	s.byID[cfg.ID] = d
}

func (s *doorSet) door(id site.DoorID) (*door.Door, error) {
	if d := s.byID[id]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("door %.64q: %w", string(id), control.ErrNotFound)
}

// DoorList returns the state of each door.
func (s *doorSet) DoorList() []site.DoorStatus {
	out := make([]site.DoorStatus, len(s.list))
	for i, d := range s.list {
		out[i] = d.Status()
	}
	return out
}

// command gives one door a command and puts a refusal in control's words.
func (s *doorSet) command(ctx context.Context, id site.DoorID, c door.Command) error {
	d, err := s.door(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err = d.Command(ctx, c)
	switch {
	case errors.Is(err, door.ErrRefused):
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	case errors.Is(err, door.ErrCommand):
		return fmt.Errorf("%w: %w", control.ErrInput, err)
	case errors.Is(err, door.ErrNotKept), errors.Is(err, door.ErrStopped):
		return fmt.Errorf("%w: %w", control.ErrNotReady, err)
	}
	return err
}

// UnlockDoor unlocks one door for a moment.
func (s *doorSet) UnlockDoor(ctx context.Context, id site.DoorID, d time.Duration, by string) error {
	return s.command(ctx, id, door.Command{Op: door.OpUnlock, For: d, By: by})
}

// LockDoor secures one door.
func (s *doorSet) LockDoor(ctx context.Context, id site.DoorID, by string) error {
	return s.command(ctx, id, door.Command{Op: door.OpLock, By: by})
}

// SetMode overrides the mode of one door.
func (s *doorSet) SetMode(ctx context.Context, id site.DoorID, mode site.Mode, until time.Time, by string) error {
	return s.command(ctx, id, door.Command{Op: door.OpMode, Mode: mode, Until: until, By: by})
}

// AutoDoor gives one door back to its schedule.
func (s *doorSet) AutoDoor(ctx context.Context, id site.DoorID, by string) error {
	return s.command(ctx, id, door.Command{Op: door.OpAuto, By: by})
}

// Lockdown locks the targets down. Each door gets its command at once; what has
// to be kept is waited for afterwards, together.
func (s *doorSet) Lockdown(ctx context.Context, t control.Target, until time.Time, by string) ([]site.DoorID, error) {
	return s.each(ctx, t, door.Command{Op: door.OpLockdown, Until: until, By: by})
}

// Release ends the lockdown of the targets.
func (s *doorSet) Release(ctx context.Context, t control.Target, by string) ([]site.DoorID, error) {
	return s.each(ctx, t, door.Command{Op: door.OpRelease, By: by})
}

// each commands all doors of the target at once and returns those that did it.
func (s *doorSet) each(ctx context.Context, t control.Target, c door.Command) ([]site.DoorID, error) {
	ids, err := s.targets(t)
	if err != nil {
		return nil, err
	}
	return commandAll(ids, func(id site.DoorID) error { return s.command(ctx, id, c) })
}

// commandAll calls do for all at once. It returns, in their order, those that did it,
// also where it is not kept over a restart, and the errors of all.
func commandAll(ids []site.DoorID, do func(site.DoorID) error) (done []site.DoorID, err error) {
	errs := make([]error, len(ids))
	var work sync.WaitGroup
	for i, id := range ids {
		work.Go(func() { errs[i] = do(id) })
	}
	work.Wait()
	for i, id := range ids {
		if errs[i] == nil || errors.Is(errs[i], door.ErrNotKept) {
			done = append(done, id)
		}
	}
	return done, errors.Join(errs...)
}

func (s *doorSet) targets(t control.Target) ([]site.DoorID, error) {
	if t.Door != "" {
		if _, err := s.door(t.Door); err != nil {
			return nil, err
		}
		return []site.DoorID{t.Door}, nil
	}
	var ids []site.DoorID
	for _, c := range s.cfg {
		if t.All || t.Area != "" && slices.Contains(s.areas[c.ID], t.Area) {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("area %.64q: no door there: %w", string(t.Area), control.ErrNotFound)
	}
	return ids, nil
}

// Inputs returns the live levels of a door's lines.
func (s *doorSet) Inputs(id site.DoorID) (control.Inputs, error) {
	d, err := s.door(id)
	if err != nil {
		return control.Inputs{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	live, err := d.Inputs(ctx)
	if err != nil {
		return control.Inputs{}, fmt.Errorf("%w: %w", control.ErrNotReady, err)
	}
	out := control.Inputs{Door: id, Locked: d.Status().Locked}
	for _, c := range s.cfg {
		if c.ID != id {
			continue
		}
		if c.Contact != "" {
			out.Open = &live.Open
		}
		if c.Rex != "" {
			out.Exit = &live.Pressed
		}
		if c.Tamper != "" {
			out.Tamper = &live.Tampered
		}
		if c.Bond != "" {
			out.Secure = &live.Secure
		}
	}
	return out, nil
}

// alive reports whether every door's goroutine answers within the context.
func (s *doorSet) alive(ctx context.Context) bool {
	for _, d := range s.list {
		if d.Ping(ctx) != nil {
			return false
		}
	}
	return true
}

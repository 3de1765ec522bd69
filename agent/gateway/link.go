package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"

	"gatehouse/agent/site"
)

// link is an edge device with its names. It does not change.
type link struct {
	Device
	linkID   string
	deviceID string
}

// model is what a host sees: an own door and a serial lock are controls.
func (l *link) model() string {
	if l.Kind == KindWiFi && l.Model != "" {
		return l.Model
	}
	return "control"
}

// live reports whether the device has a live line.
func (l *link) live() bool { return l.Kind != KindWiFi }

// kept is what survives a restart.
type kept struct {
	Links       map[site.DoorID]uint32        `json:"links"` // numbers are never given twice
	Next        uint32                        `json:"next"`
	Unlinked    map[site.DoorID]bool          `json:"unlinked,omitempty"`
	Deleted     map[site.DoorID]site.EventSeq `json:"deleted,omitempty"` // audits up to here
	Established bool                          `json:"established,omitempty"`
}

// links is all devices, and what is kept of them.
type links struct {
	keep   Keeper
	list   []*link // in the order of the settings
	byDoor map[site.DoorID]*link
	byID   map[string]*link

	mu sync.RWMutex // guards the following
	k  kept

	saving sync.Mutex // held while k is saved, so that the last state is saved last
}

// newLinks gives every device its linkId. What was kept and cannot be read is an
// error: other linkIds would bring one door's rights to another.
func newLinks(cfg *Config, serial []byte, keep Keeper) (*links, error) {
	ls := &links{keep: keep, byDoor: map[site.DoorID]*link{}, byID: map[string]*link{}}
	data, err := keep.Load()
	if err != nil {
		return nil, fmt.Errorf("gateway: load links: %w", err)
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &ls.k); err != nil {
			return nil, fmt.Errorf("gateway: links that were kept: %w", err)
		}
	}
	if ls.k.Deleted == nil {
		ls.k.Deleted = map[site.DoorID]site.EventSeq{}
	}
	if ls.k.Links == nil {
		ls.k.Links = map[site.DoorID]uint32{}
	}
	if ls.k.Unlinked == nil {
		ls.k.Unlinked = map[site.DoorID]bool{}
	}
	for _, n := range ls.k.Links {
		ls.k.Next = max(ls.k.Next, n+1)
	}
	fresh := false
	for _, d := range cfg.Devices {
		n, known := ls.k.Links[d.Door]
		if !known {
			n, fresh = ls.k.Next, true
			ls.k.Links[d.Door] = n
			ls.k.Next++
		}
		l := &link{Device: d, linkID: fmt.Sprintf("dev%05d", n), deviceID: deviceID(serial, d)}
		ls.list = append(ls.list, l)
		ls.byDoor[d.Door], ls.byID[l.linkID] = l, l
	}
	if fresh {
		return ls, ls.save()
	}
	return ls, nil
}

// deviceID is stable as long as the appliance's serial and the door's id are.
func deviceID(serial []byte, d Device) string {
	if d.Kind == KindWiFi {
		return strings.ToLower(d.Serial[16:])
	}
	h := sha256.New()
	h.Write([]byte("gatehouse edge device 1\x00"))
	h.Write(serial)
	h.Write([]byte(d.Door))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// sameID reports whether a host means this device: by its deviceId, or by the serial
// that a scan gave.
func sameID(l *link, id string) bool {
	return strings.EqualFold(id, l.deviceID) || l.Serial != "" && strings.EqualFold(id, l.Serial)
}

// linked reports whether a device is linked now.
func (ls *links) linked(l *link) bool {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return !ls.k.Unlinked[l.Door]
}

// all returns the linked devices.
func (ls *links) all() []*link {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	out := make([]*link, 0, len(ls.list))
	for _, l := range ls.list {
		if !ls.k.Unlinked[l.Door] {
			out = append(out, l)
		}
	}
	return out
}

// find returns a linked device by its linkId, or nil.
func (ls *links) find(linkID string) *link {
	if l := ls.byID[linkID]; l != nil && ls.linked(l) {
		return l
	}
	return nil
}

// change changes what is kept and saves it. Where that fails it is as it was.
func (ls *links) change(fn func(k *kept)) error {
	ls.saving.Lock()
	defer ls.saving.Unlock()
	ls.mu.Lock()
	old := ls.k
	next := old
	next.Unlinked, next.Deleted = maps.Clone(old.Unlinked), maps.Clone(old.Deleted)
	fn(&next)
	ls.k = next
	ls.mu.Unlock()
	err := ls.save()
	if err != nil {
		ls.mu.Lock()
		ls.k = old
		ls.mu.Unlock()
	}
	return err
}

func (ls *links) save() error {
	ls.mu.RLock()
	data, err := json.Marshal(&ls.k)
	ls.mu.RUnlock()
	if err == nil {
		err = ls.keep.Save(data)
	}
	if err != nil {
		return fmt.Errorf("gateway: keep links: %w", err)
	}
	return nil
}

// deleted returns up to which event the audits of a device were deleted.
func (ls *links) deleted(door site.DoorID) site.EventSeq {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return ls.k.Deleted[door]
}

func (ls *links) established() bool {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return ls.k.Established
}

package gpio

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"gatehouse/hal"
)

// chip is one GPIO chip as it was found.
type chip struct {
	path    string   // of the device
	name    string   // "gpiochip0"
	label   string   // of the driver, "pinctrl-bcm2711"
	aliases []string // names of links to it
	lines   []string // the kernel's name of each line; may be empty
}

// place is a line of a chip.
type place struct {
	chip   *chip
	offset int
}

// String returns the place as a line name.
func (p place) String() string { return p.chip.name + ":" + strconv.Itoa(p.offset) }

// scan looks at all chips. Chips that cannot be read are left out and told in
// the second result, which matters only when a line is not found elsewhere.
func (k kernel) scan() ([]*chip, error) {
	devices, err := k.devices()
	if err != nil {
		return nil, err
	}
	var (
		chips  []*chip
		faults []error
	)
	byPath := make(map[string]*chip)
	links := make(map[string][]string) // of a device
	slices.SortFunc(devices, func(a, b string) int {
		if d := len(a) - len(b); d != 0 { // gpiochip2 before gpiochip10
			return d
		}
		return strings.Compare(a, b)
	})
	for _, dev := range devices {
		path, err := k.target(dev)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if path != dev {
			links[path] = append(links[path], filepath.Base(dev))
			continue
		}
		c, err := k.look(dev)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		byPath[path] = c
		chips = append(chips, c)
	}
	for path, names := range links {
		if c := byPath[path]; c != nil {
			c.aliases = names
		}
	}
	if len(chips) == 0 && len(faults) == 0 {
		faults = append(faults, fmt.Errorf("this machine%s has no GPIO chip in /dev", k.machine()))
	}
	return chips, errors.Join(faults...)
}

func (k kernel) machine() string {
	if m := k.model(); m != "" {
		return " (" + m + ")"
	}
	return ""
}

// look reads one chip.
func (k kernel) look(path string) (*chip, error) {
	f, err := k.open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := k.chipInfo(f)
	if err != nil {
		return nil, fmt.Errorf("%s: not a GPIO chip: %w", path, err)
	}
	c := &chip{path: path, name: filepath.Base(path), label: uapi.BytesToString(info.Label[:])}
	for i := range int(info.Lines) {
		line, err := k.lineInfo(f, i)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
			return nil, fmt.Errorf("%s: the kernel lacks GPIO character device v2 (5.10 and later): %w", path, err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, i, err)
		}
		c.lines = append(c.lines, uapi.BytesToString(line.Name[:]))
	}
	return c, nil
}

// find resolves a line name.
func (k kernel) find(name hal.LineName) (place, error) {
	chips, faults := k.scan()
	var found, own []place
	for _, c := range chips {
		for i, n := range c.lines {
			if !named(n) || n != string(name) {
				continue
			}
			found = append(found, place{c, i})
			if strings.HasPrefix(c.label, "pinctrl-") {
				own = append(own, place{c, i})
			}
		}
	}
	if len(own) > 0 {
		found = own
	}
	if len(found) == 0 {
		found = byOffset(chips, string(name))
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return place{}, fmt.Errorf("the name is not unique: use one of %v: %w", found, hal.ErrNoLine)
	case faults != nil:
		return place{}, fmt.Errorf("%w: %w", hal.ErrNoLine, faults)
	}
	return place{}, hal.ErrNoLine
}

// byOffset resolves "chip:offset".
func byOffset(chips []*chip, name string) []place {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return nil
	}
	offset, err := strconv.Atoi(name[i+1:])
	if err != nil || strconv.Itoa(offset) != name[i+1:] {
		return nil
	}
	var labelled []place
	for _, c := range chips {
		if offset >= len(c.lines) || offset < 0 {
			continue
		}
		if c.name == name[:i] || slices.Contains(c.aliases, name[:i]) {
			return []place{{c, offset}}
		}
		if c.label == name[:i] {
			labelled = append(labelled, place{c, offset})
		}
	}
	return labelled
}

// named reports whether the kernel's name of a line is one. Device trees write
// "-" and "_" for a line that leads nowhere.
func named(n string) bool { return n != "" && n != "-" && n != "_" }

// lines returns a name for each line of all chips that find resolves.
func (k kernel) lines() ([]hal.LineName, error) {
	chips, err := k.scan()
	if len(chips) == 0 {
		return nil, err
	}
	count := make(map[string]int)
	for _, c := range chips {
		for _, n := range c.lines {
			count[n]++
		}
	}
	var out []hal.LineName
	for _, c := range chips {
		for i, n := range c.lines {
			if !named(n) || count[n] > 1 {
				n = place{c, i}.String()
			}
			out = append(out, hal.LineName(n))
		}
	}
	return out, nil
}

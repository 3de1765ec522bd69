package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// world is DIR/sitesim.json: what hangs where. Relative paths are relative to
// the file.
type world struct {
	Board   string       `json:"board"` // the simulated board's socket
	Doors   []doorDesc   `json:"doors"`
	Readers []readerDesc `json:"readers"`
	Locks   []lockDesc   `json:"locks,omitempty"`   // with credentials of their own
	Inputs  []lineDesc   `json:"inputs,omitempty"`  // of the whole site
	Outputs []lineDesc   `json:"outputs,omitempty"` // sirens, buzzers

	dir string
}

// doorDesc is one door. Levels are 0 or 1.
type doorDesc struct {
	ID       string `json:"id"`
	Strike   string `json:"strike"`
	Unlocked int    `json:"unlocked"` // the strike line's level when the door can be pushed
	Contact  string `json:"contact"`
	Open     int    `json:"open"` // the contact's level when the door is open
	Exit     string `json:"exit"`
	Pressed  int    `json:"pressed"` // the button's level when pressed
}

// readerDesc is one reader: Wiegand lines, or a Hive device over HTTP or on a
// serial line.
type readerDesc struct {
	ID      string `json:"id"`
	Door    string `json:"door"`
	D0      string `json:"d0,omitempty"`
	D1      string `json:"d1,omitempty"`
	Device  string `json:"device,omitempty"`
	KeyFile string `json:"key_file,omitempty"`
	Item    string `json:"item,omitempty"`
	URL     string `json:"url,omitempty"`
	PTY     string `json:"pty,omitempty"` // the link that is made to the pseudo-terminal
}

// lockDesc is one lock: url for one on Wi-Fi; device, key_file and pty for one on
// a serial line, which is a bus where others have the same pty.
type lockDesc struct {
	ID           string `json:"id"`
	Serial       string `json:"serial"` // 32 hex digits
	SiteKeyFile  string `json:"site_key_file"`
	Model        string `json:"model,omitempty"` // nde le control cte rmru
	SoleSchedule bool   `json:"sole_schedule,omitempty"`
	DayEnd       int    `json:"day_end,omitempty"`     // 1439 or 1440; 0: 1439
	NoHolidays   bool   `json:"no_holidays,omitempty"` // the model has none
	Timezone     string `json:"timezone,omitempty"`    // of the lock's clock; empty: this machine's
	URL          string `json:"url,omitempty"`         // as in http://127.0.0.1:8088
	CAFile       string `json:"ca_file,omitempty"`     // what an https URL is trusted by
	Device       string `json:"device,omitempty"`
	KeyFile      string `json:"key_file,omitempty"`
	PTY          string `json:"pty,omitempty"`
}

// lineDesc is an input of the site, or an output of the agent beside the strikes.
type lineDesc struct {
	ID   string `json:"id"`
	Line string `json:"line"`
	On   int    `json:"on"` // the level that means on
}

func loadWorld(dir string) (*world, error) {
	path := filepath.Join(dir, "sitesim.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("site: %w (gatehouse run --demo --state %s writes it)", err, dir)
	}
	w := &world{dir: dir}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(w); err != nil {
		return nil, fmt.Errorf("site: %s: %w", path, err)
	}
	return w, nil
}

// path makes a path of the file usable from here.
func (w *world) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(w.dir, p)
}

func (w *world) door(id string) (doorDesc, error) {
	for _, d := range w.Doors {
		if d.ID == id {
			return d, nil
		}
	}
	return doorDesc{}, fmt.Errorf("door %q is not in sitesim.json", id)
}

func (w *world) reader(id string) (readerDesc, error) {
	for _, r := range w.Readers {
		if r.ID == id {
			return r, nil
		}
	}
	return readerDesc{}, fmt.Errorf("reader %q is not in sitesim.json", id)
}

func (w *world) input(id string) (lineDesc, error) {
	for _, l := range w.Inputs {
		if l.ID == id {
			return l, nil
		}
	}
	return lineDesc{}, fmt.Errorf("input %q is not in sitesim.json", id)
}

// key reads a key file: one line of hex digits, or text: and the characters.
func (w *world) key(file string) ([]byte, error) {
	data, err := os.ReadFile(w.path(file))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	line := strings.TrimSpace(string(data))
	if text, ok := strings.CutPrefix(line, "text:"); ok {
		return []byte(text), nil
	}
	key, err := hex.DecodeString(line)
	if err != nil {
		return nil, fmt.Errorf("key %s: not hex digits", file)
	}
	return key, nil
}

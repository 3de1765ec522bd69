package swordfish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Info is what a lock's Config says of it, where it does. Texts have at most 64
// bytes.
type Info struct {
	Name, Model, Firmware string
	Battery               string  // the lock's own word or number
	Main, Li              float64 // volts, of battV; 0: not told
}

// infoNames are the members that are looked for, the better first; one with a dot is
// that member of that object. name, model and dvcProfile.baseType are known, those of
// batteries are those of other messages (engage.md sections 3 and 5), and those of the
// firmware are candidates: a Config's form is not public.
var infoNames = [...][]string{
	{"name", "deviceName"},
	{"model", "dvcProfile.baseType", "modelType", "baseType"},
	{"firmware", "firmwareVersion", "fwVer", "fwVersion", "mainFwVer"},
	{"primaryBatteryStatus", "batteryStatus", "battery"},
	{"battV.main"},
	{"battV.li"},
}

// ReadInfo finds these in the Config that a lock put (engage.md section 5), wherever
// in it they are: of several the one that is least deep, then the better name, then
// the first. All else is left alone: keep the object itself as it came.
//
// b must be one JSON object of at most MaxConfig bytes and 16 levels. The error is a
// *Fault, or has ErrOverLimit.
func ReadInfo(b []byte) (Info, error) {
	if len(b) > MaxConfig {
		return Info{}, fmt.Errorf("config: %d bytes: %w of %d", len(b), ErrOverLimit, MaxConfig)
	}
	r := infoReader{fileReader: fileReader{lex: newLexer(bytes.NewReader(b))}}
	if err := r.read(); err != nil {
		return Info{}, fmt.Errorf("config: %w", err)
	}
	return Info{
		Name: r.found[0].text, Model: r.found[1].text, Firmware: r.found[2].text, Battery: r.found[3].text,
		Main: volts(r.found[4].text), Li: volts(r.found[5].text),
	}, nil
}

// infoReader reads one Config.
type infoReader struct {
	fileReader
	found [len(infoNames)]finding
}

// finding is the best value for one of infoNames so far.
type finding struct {
	text string
	rank int // depth and name, from 1; 0: none
}

func (r *infoReader) read() error {
	absent, err := r.members(func(name string) error { return r.member("", name) })
	switch {
	case err != nil:
		return err
	case absent:
		return r.fault("want an object")
	}
	if _, err := r.lex.next(); !errors.Is(err, io.EOF) {
		return r.fault("goes on after its end")
	}
	return nil
}

// member reads the value of a member of the object that stands under parent.
func (r *infoReader) member(parent, name string) error {
	t, err := r.next()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case string:
		r.consider(parent, name, t)
	case json.Number:
		r.consider(parent, name, t.String())
	case json.Delim:
		if t == '{' {
			return r.rest(func(inner string) error { return r.member(name, inner) })
		}
		return r.skipRest(t)
	}
	return nil
}

// consider keeps a value where it is better than what was found before.
func (r *infoReader) consider(parent, name, text string) {
	text = strings.TrimSpace(clip(text, maxLockText))
	if text == "" || len(name) > maxLockText || len(parent) > maxLockText { // none of ours, and long ones would cost
		return
	}
	for i, names := range infoNames {
		at := slices.IndexFunc(names, func(s string) bool { return s == name || s == parent+"."+name })
		if at < 0 {
			continue
		}
		depth := r.depth
		if strings.Contains(names[at], ".") {
			depth-- // that of the object
		}
		if rank := depth*len(names) + at + 1; r.found[i].rank == 0 || rank < r.found[i].rank {
			r.found[i] = finding{text, rank}
		}
	}
}

// volts reads a voltage; 0 is none that a lock could have.
func volts(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v < 100) {
		return 0
	}
	return v
}

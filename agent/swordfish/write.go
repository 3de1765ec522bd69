package swordfish

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Numbered is an entry with its usrID.
type Numbered struct {
	ID uint16
	Entry
}

// Card is a user that a lock is to forget.
type Card struct {
	ID    uint16
	Block card.Block
}

// File is a door file as a lock gets it (engage.md section 5).
type File struct {
	Full       bool       // deleteAll 1; all users are in Add, Delete and Update are empty
	Delete     []Card     // all three ascending by Block, no two equal
	Update     []Numbered // carries all members: a time that it has not is none
	Add        []Numbered
	Schedules  []site.Interval // all four are always written whole
	Holidays   []Holiday
	Auto       []Auto
	Config     json.RawMessage // the object of config; nil: none
	DownloadAt time.Time       // dbDwnLdTm, written as a wall clock in the zone shows it; zero: none
	Version    uint64          // nxtDbVerTS; not 0
}

// WriteOptions say how a file is written. All are required.
type WriteOptions struct {
	Cards   *Cards
	Profile *Profile
	Zone    *time.Location
}

// Write writes the file, minified, members in the document's order; the same bytes
// each time. An error that is not the writer's is a *Fault and names no card; what
// was written before it must be forgotten.
func (f *File) Write(w io.Writer, o WriteOptions) error { return errors.New("not built yet") }

// Size returns how many bytes Write writes, for Content-Length, and the same faults.
func (f *File) Size(o WriteOptions) (int64, error) { return 0, errors.New("not built yet") }

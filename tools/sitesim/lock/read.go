package lock

import (
	"bytes"
	"encoding/json"
	"strings"
)

// fileReader reads a door file into f.
type fileReader struct {
	scanner
	cfg *Config
	key *cipherKey
	f   file
}

// readFile reads a door file. loose says that its members may have lost their
// order. The error is a *FileError.
func readFile(body []byte, cfg *Config, key *cipherKey, loose bool) (*file, error) {
	if len(body) > MaxFile {
		return nil, &FileError{What: "is larger than 8 MiB"}
	}
	if !json.Valid(body) {
		return nil, &FileError{What: "is no JSON", JSON: true}
	}
	r := &fileReader{scanner: scanner{b: body, loose: loose}, cfg: cfg, key: key}
	r.object([]string{"db", "config?", "dbDwnLdTm?", "nxtDbVerTS"}, r.top)
	if r.err == nil && r.i != len(body) {
		r.fault("goes on after its end")
	}
	if r.err == nil {
		r.checkLists()
	}
	if r.err != nil {
		return nil, r.err
	}
	return &r.f, nil
}

func (r *fileReader) top(name string) {
	switch name {
	case "db":
		optional := func(name string, absent bool) string {
			if absent {
				return name + "?"
			}
			return name
		}
		r.object([]string{"usrRcrd", "schedules", optional("holidays", r.cfg.NoHolidays), optional("autoUnlock", r.cfg.NoAuto)}, r.db)
	case "config":
		r.f.config = bytes.Clone(r.raw())
	case "dbDwnLdTm":
		r.f.nextCall = r.time(false)
	case "nxtDbVerTS":
		r.f.version = r.text()
		n, err := parseVersion(r.f.version)
		if r.err == nil && (err != nil || n == 0 || !strings.HasPrefix(r.f.version, "0x")) {
			r.fault("%.24q: want 0x and up to 16 hex digits, not 0", r.f.version)
		}
		r.f.versionNumber = n
	}
}

func (r *fileReader) db(name string) {
	switch name {
	case "usrRcrd":
		r.object([]string{"deleteAll", "delete", "update", "add"}, r.records)
	case "schedules":
		r.list(MaxSchedules, r.schedule)
	case "holidays":
		r.list(maxHolidays, r.holiday)
		if r.cfg.NoHolidays && len(r.f.holidays) > 0 {
			r.fault("this model has no holidays")
		}
	case "autoUnlock":
		r.list(maxAuto, r.auto)
		if r.cfg.NoAuto && len(r.f.auto) > 0 {
			r.fault("this model has no autoUnlock")
		}
	}
}

func (r *fileReader) records(name string) {
	switch name {
	case "deleteAll":
		r.f.full = r.integer(0, 1) == 1
	case "delete":
		r.list(MaxUsers, r.user(&r.f.delete, []string{"usrID", "primeCr", "prCrTyp"}))
	case "update":
		r.list(MaxUsers, r.user(&r.f.update, userMembers))
	case "add":
		r.list(MaxUsers, r.user(&r.f.add, userMembers))
	}
}

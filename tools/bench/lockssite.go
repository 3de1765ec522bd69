package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// locksTask is a site with many Wi-Fi locks, of which each has some of the cards.
type locksTask struct {
	Dir   string `json:"dir"` // its state folder
	N     int    `json:"n"`   // credentials, all with a right at the doors on lines
	Locks int    `json:"locks"`
	Large int    `json:"large"` // how many of the locks have as many users as one takes
}

const (
	lockGates = 8    // doors on lines, where cards are shown all the time
	lockUsers = 500  // users of a lock
	hallUsers = 5000 // those of a large one
	// lockMasters are cards that all locks have; of these half are revoked, and as
	// many are new: a change of lockMasters cards for each lock.
	lockMasters = 20
	// masterCard is the first of those that are new.
	masterCard = maxCards
)

// Levels beside that of the doors on lines.
const (
	mastersID  = "masters"
	hallID     = "hall"
	officeID   = "office"
	lockSerial = "0000000000000000A0B1000000010000" // of the first lock; the others count up
)

// groups is how many levels share the cards out among the locks.
func (t locksTask) groups() int { return (t.N - lockMasters) / (lockUsers - lockMasters) }

func lockID(i int) site.DoorID { return site.DoorID(fmt.Sprintf("lock%03d", i)) }

func groupID(i int) string { return fmt.Sprintf("group%03d", i) }

// users is how many all locks have together.
func (t locksTask) users() int { return (t.Locks-t.Large)*lockUsers + t.Large*hallUsers }

// levels are the levels of the site: of the doors, of each group with every lock
// whose turn it is, of the large locks, and of all locks.
func (t locksTask) levels() []store.Op {
	gates := site.Level{ID: levelID, Name: "Staff"}
	for i := range lockGates {
		gates.Rights = append(gates.Rights, site.Right{Door: gateID(i), Schedule: scheduleID})
	}
	hall, masters := site.Level{ID: hallID, Name: "Hall"}, site.Level{ID: mastersID, Name: "Masters"}
	groups := make([]site.Level, t.groups())
	for i := range groups {
		groups[i] = site.Level{ID: site.LevelID(groupID(i)), Name: groupID(i)}
	}
	for i := range t.Locks {
		masters.Rights = append(masters.Rights, site.Right{Door: lockID(i), Schedule: scheduleID})
		switch g := i % len(groups); {
		case i >= t.Locks-t.Large:
			hall.Rights = append(hall.Rights, site.Right{Door: lockID(i), Schedule: scheduleID})
		case g%2 == 0:
			groups[g].Rights = append(groups[g].Rights, site.Right{Door: lockID(i), Schedule: scheduleID})
		default:
			groups[g].Rights = append(groups[g].Rights, site.Right{Door: lockID(i), Schedule: officeID})
		}
	}
	ops := []store.Op{store.PutLevel{Level: gates}, store.PutLevel{Level: hall}, store.PutLevel{Level: masters}}
	for _, l := range groups {
		ops = append(ops, store.PutLevel{Level: l})
	}
	return ops
}

// cardLevels are the levels of card i.
func (t locksTask) cardLevels(i int) string {
	out := levelID
	switch group := i / (lockUsers - lockMasters); {
	case i >= t.N-lockMasters:
		return out + ";" + mastersID
	case group < t.groups():
		out += ";" + groupID(group)
	}
	if t.Large > 0 && i < hallUsers-lockMasters {
		out += ";" + hallID
	}
	return out
}

// fill makes the state folder, and returns the credentials that are to be revoked.
func (t locksTask) fill(ctx context.Context) (revoke []site.CredentialID, err error) {
	if t.groups() < 1 || t.Large > t.Locks || t.Large > 0 && t.N-lockMasters < hallUsers {
		return nil, fmt.Errorf("%d credentials are too few for such locks", t.N)
	}
	h, err := openHouse(t.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	_, err = h.store.Apply(ctx, "bench", store.Change{Source: site.SourceOperator, Ops: append([]store.Op{
		store.PutSchedule{Schedule: site.Schedule{ID: scheduleID, Name: "Always", IgnoreHolidays: true,
			Intervals: []site.Interval{{Days: site.AllDays, Start: 0, End: 24 * 60}}}},
		store.PutSchedule{Schedule: site.Schedule{ID: officeID, Name: "Office",
			Intervals: []site.Interval{{Days: site.AllDays, Start: 7 * 60, End: 19 * 60}}}},
	}, t.levels()...)})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(h.dir, "bench.csv")
	if err := t.writeCSV(path); err != nil {
		return nil, err
	}
	defer os.Remove(path)
	if _, err := h.importFile(ctx, path, t.N); err != nil {
		return nil, err
	}
	if err := h.store.Copy(ctx); err != nil {
		return nil, err
	}
	for i := t.N - lockMasters; i < t.N-lockMasters/2; i++ {
		recs, err := h.store.LookupBits(cardBits(i), nil)
		if err != nil || len(recs) != 1 {
			return nil, fmt.Errorf("card %d has %d records: %w", i, len(recs), err)
		}
		revoke = append(revoke, recs[0].ID)
	}
	return revoke, nil
}

func (t locksTask) writeCSV(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = w.WriteString("holder,format,facility,card,level\n")
	for i := 0; i < t.N && err == nil; i++ {
		num := cardNumber(i)
		_, err = fmt.Fprintf(w, "Person %07d,H10301,%d,%d,%s\n", i, num.Facility, num.Card, t.cardLevels(i))
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// settings are those of the site. Locks call on the plain listener and over HTTPS.
func (t locksTask) settings() string {
	var b strings.Builder
	b.WriteString(gateSettings(t.Dir, lockGates, "", func(int) string { return "" }))
	b.WriteString("locks:\n")
	for i := range t.Locks {
		fmt.Fprintf(&b, "  - {id: %s, serial: \"%s%04X\", model: le}\n", lockID(i), lockSerial[:28], i)
	}
	return b.String()
}

// complete gives settings what gateSettings has no place for.
func (t locksTask) complete(c *config.Config) {
	c.Site.Key = fileKey
	c.Listen.Devices = "127.0.0.1:0"
}

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// FileStage is a door file on its way in. It holds the records that the file has so
// far, with their cards encrypted, about 60 bytes each; nothing of them is in force.
// It belongs to one goroutine.
type FileStage struct {
	s     *Store
	door  site.DoorID
	ops   []stagedCard
	users [1 << 16 / 64]uint64 // of add and update, a bit each
	cards map[[16]byte]struct{}
	n     [swordfish.OpAdd + 1]int
}

type stagedCard struct {
	op  swordfish.Op
	n   int32
	has swordfish.Tags
	rec fileCard
}

// StageFile begins a door file for a door, which must exist.
func (s *Store) StageFile(door site.DoorID) *FileStage {
	return &FileStage{s: s, door: door, cards: map[[16]byte]struct{}{}}
}

// Add takes one record; give it to swordfish.ReadFile. The error says what is wrong
// with the record: one user or one card twice among update and add, or too many.
func (f *FileStage) Add(op swordfish.Op, n int, u *swordfish.User) error {
	if f.n[op]++; f.n[op] > swordfish.MaxUserID {
		return fmt.Errorf("there are more than %d", swordfish.MaxUserID)
	}
	c := stagedCard{op: op, n: int32(n), has: u.Has, rec: fileCard{user: u.ID, schedules: u.Schedules,
		function: u.Function, ada: u.ADA, from: unixOf(u.From), until: unixOf(u.Until)}}
	if u.Has&swordfish.TagCard != 0 {
		c.rec.enc = f.s.enc(u.Block)
	}
	f.ops = append(f.ops, c)
	if op == swordfish.OpDelete {
		return nil
	}
	word, bit := &f.users[u.ID/64], uint64(1)<<(u.ID%64)
	if *word&bit != 0 {
		first := f.first(func(o *stagedCard) bool { return o.rec.user == u.ID })
		return &swordfish.Fault{List: op.String(), Record: n, Field: "usrID", Err: fmt.Errorf("%d is that of record %d of %v", u.ID, first.n, first.op)}
	}
	*word |= bit
	if u.Has&swordfish.TagCard == 0 {
		return nil
	}
	if _, twice := f.cards[c.rec.enc]; twice {
		first := f.first(func(o *stagedCard) bool { return o.has&swordfish.TagCard != 0 && o.rec.enc == c.rec.enc })
		return &swordfish.Fault{List: op.String(), Record: n, Field: "primeCr", Err: fmt.Errorf("is that of record %d of %v", first.n, first.op)}
	}
	f.cards[c.rec.enc] = struct{}{}
	return nil
}

// first finds the record of add or update that a later one repeats. Only a fault
// looks for it, so no index is kept.
func (f *FileStage) first(same func(*stagedCard) bool) stagedCard {
	i := slices.IndexFunc(f.ops, func(o stagedCard) bool { return o.op != swordfish.OpDelete && same(&o) })
	return f.ops[i] // the later one is there in any case
}

func (s *Store) enc(b card.Block) (out [16]byte) {
	s.keys.blocks.Encrypt(out[:], b[:])
	return out
}

// unixOf keeps 0 for no time: the first second of 1970 is the next one.
func unixOf(t time.Time) int64 {
	switch u := t.Unix(); {
	case t.IsZero():
		return 0
	case u == 0:
		return 1
	default:
		return min(max(u, minUnix), maxUnix)
	}
}

// FileResult is what a door file did.
type FileResult struct {
	Added, Changed, Removed, Cards int
	Change                         uint64 // its number; 0: it changed nothing
	Seq                            site.EventSeq
}

// CommitFile makes a door file that was read to its end without a fault the door's,
// in the name of by: whole or not at all. sum is what ReadFile returned. It returns
// when the file is durable and the event log, or for a large one a verified copy,
// holds it; files and imports wait for each other, other changes and decisions wait
// for neither. f is spent.
//
// A *swordfish.Fault names a record that does not fit what the door has; then
// nothing was changed. ErrNotLogged and ErrNotCopied mean that the file holds.
func (s *Store) CommitFile(ctx context.Context, by string, f *FileStage, sum swordfish.Summary) (FileResult, error) {
	res, err := s.commitFile(ctx, by, f, sum)
	if _, is := errors.AsType[*swordfish.Fault](err); err != nil && !is {
		err = fmt.Errorf("store: door file: %w", err)
	}
	return res, err
}

func (s *Store) commitFile(ctx context.Context, by string, f *FileStage, sum swordfish.Summary) (FileResult, error) {
	if err := hold(ctx, s.filing); err != nil {
		return FileResult{}, err
	}
	defer func() { <-s.filing }()
	fl := &filer{s: s, ctx: ctx, by: by, door: f.door}
	if err := fl.load(); err != nil {
		return FileResult{}, err
	}
	if err := fl.merge(f, &sum); err != nil {
		return FileResult{}, err
	}
	f.ops, f.cards = nil, nil // spent; a large file needs the room for its copy
	fl.diff()
	fl.old = nil
	fl.res.Cards = len(fl.next)
	if fl.changes == 0 && bytes.Equal(fl.oldEntry, appendDoorFile(nil, &fl.file)) {
		return fl.res, nil
	}
	var bulk bool
	var err error
	if fl.changes <= directRows {
		bulk, err = fl.direct()
	} else {
		bulk, err = true, fl.staged()
	}
	if err != nil {
		return FileResult{}, err
	}
	if fl.res.Seq, err = s.writeLog(ctx, fl.res.Change); err != nil {
		return fl.res, err
	}
	if bulk {
		if err := s.copyUpTo(ctx, fl.res.Change); err != nil {
			return fl.res, fmt.Errorf("%w: %w", ErrNotCopied, err)
		}
	}
	return fl.res, nil
}

// filer is a door file that is made the door's.
type filer struct {
	s    *Store
	ctx  context.Context // of CommitFile, for as long as it runs
	by   string
	door site.DoorID
	res  FileResult

	file     DoorFile
	found    bool
	oldEntry []byte
	old      []fileCard // by block
	next     []fileCard // by block
	changes  int        // cards that are put or removed
	puts     []fileCard // where changes are no more than directRows
	dels     []fileCard // the same
	resets   []credKey
}

// load reads what the door has. Nobody else changes it meanwhile.
func (fl *filer) load() error {
	if err := site.CheckID(string(fl.door)); err != nil {
		return err
	}
	return fl.s.policy.view(func(tx *bbolt.Tx) (err error) {
		fl.old = fl.old[:0]
		if fl.file, fl.found, err = tableEntry(tx, string(fl.door)); err != nil || !fl.found {
			fl.file.Door = fl.door
			return err
		}
		fl.oldEntry = appendDoorFile(nil, &fl.file)
		b := tx.Bucket(fileBucket(fl.file.gen))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			var c fileCard
			err := openFileCard(k, v, &c)
			fl.old = append(fl.old, c)
			return err
		})
	})
}

func byBlock(a, b fileCard) int { return bytes.Compare(a.enc[:], b.enc[:]) }

// merge makes what the door has after the file: all removed, then delete, update,
// add, whatever their order in the file is.
func (fl *filer) merge(f *FileStage, sum *swordfish.Summary) error {
	fl.lists(sum)
	byUser := make(map[uint16]fileCard, len(fl.old))
	userOf := make(map[[16]byte]uint16, len(fl.old))
	if !sum.DeleteAll {
		for _, c := range fl.old {
			byUser[c.user], userOf[c.enc] = c, c.user
		}
	}
	drop := func(user uint16) {
		if c, ok := byUser[user]; ok {
			delete(byUser, user)
			delete(userOf, c.enc)
		}
	}
	for _, o := range f.ops {
		if o.op != swordfish.OpDelete {
			continue
		}
		if o.has&swordfish.TagID != 0 {
			drop(o.rec.user)
		}
		if o.has&swordfish.TagCard != 0 {
			drop(userOf[o.rec.enc])
		}
	}
	for _, op := range []swordfish.Op{swordfish.OpUpdate, swordfish.OpAdd} {
		for i := range f.ops {
			o := &f.ops[i]
			if o.op != op {
				continue
			}
			c, err := o.over(byUser, userOf)
			if err != nil {
				return err
			}
			drop(c.user)
			byUser[c.user], userOf[c.enc] = c, c.user
		}
	}
	fl.next = make([]fileCard, 0, len(byUser))
	for _, c := range byUser {
		fl.next = append(fl.next, c)
	}
	slices.SortFunc(fl.next, byBlock)
	fl.file.Cards = len(fl.next)
	return fl.needs(sum)
}

// lists takes the lists that the file has.
func (fl *filer) lists(sum *swordfish.Summary) {
	if sum.Schedules != nil {
		fl.file.Schedules = *sum.Schedules
	}
	if sum.Holidays != nil {
		fl.file.Holidays = nil
		for _, h := range *sum.Holidays {
			fl.file.Holidays = append(fl.file.Holidays, swordfish.Holiday{Start: h.Start.UTC(), End: h.End.UTC(), Action: h.Action})
		}
	}
	if sum.Auto != nil {
		fl.file.Auto = *sum.Auto
	}
}

// needs refuses a record that names a schedule which there is not.
func (fl *filer) needs(sum *swordfish.Summary) error {
	for i, p := range sum.NeedSchedule {
		if p.Record > 0 && i >= len(fl.file.Schedules) {
			return &swordfish.Fault{List: p.Op.String(), Record: p.Record, Field: "crSch", Err: fmt.Errorf("names schedule %d of %d", i+1, len(fl.file.Schedules))}
		}
	}
	return nil
}

// over makes the card that a record of update or add leaves.
func (o *stagedCard) over(byUser map[uint16]fileCard, userOf map[[16]byte]uint16) (fileCard, error) {
	fault := func(field, format string, args ...any) error {
		return &swordfish.Fault{List: o.op.String(), Record: int(o.n), Field: field, Err: fmt.Errorf(format, args...)}
	}
	c := o.rec
	old, had := byUser[c.user]
	switch {
	case o.op == swordfish.OpUpdate && !had:
		return c, fault("usrID", "the door has no user %d", c.user)
	case o.op == swordfish.OpUpdate:
		c = o.onto(old)
	case had && old.enc != c.enc:
		return c, fault("usrID", "user %d has another card", c.user)
	}
	if user, taken := userOf[c.enc]; taken && user != c.user {
		return c, fault("primeCr", "is that of user %d", user)
	}
	if c.from != 0 && c.until != 0 && c.from >= c.until {
		return c, fault("expDtTm", "is not after actDtTm")
	}
	return c, nil
}

// onto changes what an update names.
func (o *stagedCard) onto(c fileCard) fileCard {
	if o.has&swordfish.TagCard != 0 {
		c.enc = o.rec.enc
	}
	if o.has&swordfish.TagADA != 0 {
		c.ada = o.rec.ada
	}
	if o.has&swordfish.TagFunction != 0 {
		c.function = o.rec.function
	}
	if o.has&swordfish.TagSchedules != 0 {
		c.schedules = o.rec.schedules
	}
	if o.has&swordfish.TagFrom != 0 {
		c.from = o.rec.from
	}
	if o.has&swordfish.TagUntil != 0 {
		c.until = o.rec.until
	}
	return c
}

// diff finds what the file changes. A card for one use that is new, or was not, is
// counted anew.
func (fl *filer) diff() {
	put := func(c fileCard, was *fileCard) {
		fl.note(&fl.puts, c)
		if c.function == site.FunctionOneTime && (was == nil || was.function != c.function) {
			fl.resets = append(fl.resets, makeCredKey(c.enc, srcIPHost, 0))
		}
	}
	del := func(c fileCard) {
		fl.res.Removed++
		fl.note(&fl.dels, c)
	}
	i := 0
	for _, c := range fl.next {
		for ; i < len(fl.old) && byBlock(fl.old[i], c) < 0; i++ {
			del(fl.old[i])
		}
		switch {
		case i == len(fl.old) || byBlock(fl.old[i], c) > 0:
			fl.res.Added++
			put(c, nil)
		case fl.old[i] != c:
			fl.res.Changed++
			put(c, &fl.old[i])
			i++
		default:
			i++
		}
	}
	for ; i < len(fl.old); i++ {
		del(fl.old[i])
	}
}

// note counts a change, and keeps it while it may go into one transaction.
func (fl *filer) note(to *[]fileCard, c fileCard) {
	if fl.changes++; fl.changes <= directRows {
		*to = append(*to, c)
	}
}

func (fl *filer) event() site.Event {
	e := fl.s.policyEvent(fl.by, site.SourceIPHost, fmt.Sprintf("door file: %d cards added, %d changed, %d removed",
		fl.res.Added, fl.res.Changed, fl.res.Removed))
	e.Door = fl.door
	return e
}

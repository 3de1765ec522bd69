package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// cardFlags name a card.
type cardFlags struct{ format, facility, card, bits string }

func (f *cardFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.format, "format", "", "the card's format: H10301 and so on, or raw")
	c.Flags().StringVar(&f.facility, "facility", "", "the facility of the card, where the format has one")
	c.Flags().StringVar(&f.card, "card", "", "the card's number")
	c.Flags().StringVar(&f.bits, "bits", "", "the card's bits as LENGTH:HEX, left-justified (format raw)")
}

// visible is in the help of commands that take a card.
const visible = `
The arguments of a command can be seen by the other users of the machine while it
runs: where that matters, use credential import with a file or standard input.`

func (f *cardFlags) put(row *control.Row) error {
	if f.card == "" && f.bits == "" {
		return usagef("name the card: --format with --card and --facility, or --bits")
	}
	row.FormatName, row.Facility, row.Card, row.Bits = control.Text(f.format), control.Text(f.facility), control.Text(f.card), control.Text(f.bits)
	return nil
}

// rightsFlags are all that a credential has besides its card and its PIN.
type rightsFlags struct {
	holder, holderID, function string
	ada                        bool
	uses                       uint32
	levels, rights             []string
	from, until                string
}

func (f *rightsFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.holder, "holder", "", "the holder's name; one who does not exist is added")
	c.Flags().StringVar(&f.holderID, "holder-id", "", "the holder's id, where others have the same name")
	c.Flags().StringVar(&f.function, "function", "", "norm (if absent), toggle, freeze, pass_through, lockdown, one_time, supervised or blocked")
	c.Flags().BoolVar(&f.ada, "ada", false, "the door's ADA times")
	c.Flags().Uint32Var(&f.uses, "uses", 0, "how often it may be used (no limit if absent)")
	c.Flags().StringSliceVar(&f.levels, "level", nil, "a level; may come again")
	c.Flags().StringSliceVar(&f.rights, "right", nil, "a right: DOOR or DOOR@SCHEDULE; may come again")
	c.Flags().StringVar(&f.from, "from", "", "not valid before (RFC 3339, a date, or a duration from now as 8h)")
	c.Flags().StringVar(&f.until, "until", "", "not valid after")
}

func (f *rightsFlags) put(now time.Time, row *control.Row) error {
	if (f.holder == "") == (f.holderID == "") {
		return usagef("name the holder: --holder NAME or --holder-id ID")
	}
	if _, err := site.ParseFunction(f.function); err != nil {
		return usageError{err.Error()}
	}
	rights, err := parseRights(f.rights)
	if err != nil {
		return err
	}
	row.Holder, row.HolderID, row.Function = control.Text(f.holder), control.Text(f.holderID), control.Text(f.function)
	row.Rights = control.Text(control.FormatRights(rights))
	row.Level = control.Text(strings.Join(f.levels, ";"))
	if f.ada {
		row.ADA = "true"
	}
	if f.uses > 0 {
		row.Uses = control.Text(strconv.FormatUint(uint64(f.uses), 10))
	}
	for _, t := range []struct {
		text string
		to   *control.Text
	}{{f.from, &row.From}, {f.until, &row.Until}} {
		v, err := parseTime(t.text, now)
		if err != nil {
			return err
		}
		if !v.IsZero() {
			*t.to = control.Text(v.Format(time.RFC3339))
		}
	}
	return nil
}

// parseRights reads DOOR[@SCHEDULE] of arguments.
func parseRights(args []string) ([]site.Right, error) {
	rights, err := control.ParseRights(strings.Join(args, ";"))
	if err != nil {
		return nil, usageError{err.Error()}
	}
	return rights, nil
}

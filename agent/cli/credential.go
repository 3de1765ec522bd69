package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func credentialCommand(e *env) *cobra.Command {
	return group("credential", "Manage credentials: cards, their PINs and what they open",
		credentialAddCommand(e), credentialEnrolCommand(e), credentialListCommand(e), credentialShowCommand(e),
		credentialStateCommand(e, "revoke", site.CredentialRevoked, "Revoke a credential for good"),
		credentialStateCommand(e, "block", site.CredentialBlocked, "Block a credential until it is unblocked"),
		credentialStateCommand(e, "unblock", site.CredentialActive, "Let a blocked credential pass again"),
		credentialReplaceCommand(e), credentialPINCommand(e), credentialLevelCommand(e), credentialRemoveCommand(e),
		credentialImportCommand(e), credentialExportCommand(e))
}

// credentialPath is the path of a credential, by its id or the beginning of it.
func credentialPath(id, what string) string { return "/v1/credentials/" + url.PathEscape(id) + what }

// credentialHelp is in the help of commands that take a credential.
const credentialHelp = `
A credential is named by its id, or by the beginning of it (4 characters or more)
where no other begins so. What people see of a card is the last two digits of its
number and a short tag.`

var credentialHeader = []string{"ID", "CARD", "HOLDER", "STATE", "FUNCTION", "PIN", "USES", "RIGHTS", "LEVELS", "FROM", "UNTIL", "SOURCE"}

func (e *env) credentialRow(v control.CredentialView) []string {
	uses := "-"
	if v.Uses > 0 {
		uses = fmt.Sprintf("%d of %d", v.Used, v.Uses)
	}
	levels := make([]string, len(v.Levels))
	for i, l := range v.Levels {
		levels[i] = string(l)
	}
	return []string{string(v.ID), v.Card.String(), orDash(v.HolderName), v.State.String(), v.Function.String(), word(v.HasPIN, "yes", "-"), uses,
		orDash(control.FormatRights(v.Rights)), orDash(strings.Join(levels, ";")), e.showTime(v.From), e.showTime(v.Until), string(v.Source)}
}

// named says which credential for a person.
func named(v control.CredentialView) string {
	return fmt.Sprintf("credential %s (%s) of %s", v.ID, v.Card, printable(v.HolderName))
}

func credentialAddCommand(e *env) *cobra.Command {
	var card cardFlags
	var rights rightsFlags
	var pin pinFlags
	c := &cobra.Command{Use: "add", Short: "Add a credential", Args: cobra.NoArgs,
		Long: "Adds a credential. A holder who does not exist is added too.\n" + visible,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var row control.Row
			if err := card.put(&row); err != nil {
				return err
			}
			if err := rights.put(e.now(), &row); err != nil {
				return err
			}
			return e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
				if err := pin.put(ctx, e, &row.PIN, &row.DuressPIN); err != nil {
					return err
				}
				var v control.CredentialView
				if err := c.Do(ctx, http.MethodPost, "/v1/credentials", row, &v); err != nil {
					return err
				}
				return e.say(v, "%s is added", named(v))
			})(cmd, nil)
		}}
	card.add(c)
	rights.add(c)
	pin.add(c)
	return c
}

// waitFlags name a reader that reads the card.
type waitFlags struct {
	reader string
	wait   time.Duration
}

func (f *waitFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.reader, "reader", "", "the reader at which the card is presented")
	c.Flags().DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for the card")
}

func (f *waitFlags) put(e *env, in *control.Enrolment) error {
	if f.wait <= 0 {
		return usagef("--wait %s: want more than nothing", f.wait)
	}
	in.Reader, in.Wait = site.ReaderID(f.reader), control.Duration(f.wait)
	_, err := fmt.Fprintf(e.err, "present the card at reader %s within %s\n", f.reader, f.wait)
	return err
}

func credentialEnrolCommand(e *env) *cobra.Command {
	var wait waitFlags
	var rights rightsFlags
	var pin pinFlags
	var format string
	c := &cobra.Command{Use: "enrol", Short: "Add a credential whose card is read at a reader", Args: cobra.NoArgs,
		Long: `Waits for the next card at a reader and adds it. The card is taken: it opens
nothing. A card that a format of its length does not accept was read wrongly and
is refused, save with --format raw.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := control.Enrolment{Row: control.Row{FormatName: control.Text(format)}}
			if wait.reader == "" {
				return usagef("name the reader: --reader ID")
			}
			if err := rights.put(e.now(), &in.Row); err != nil {
				return err
			}
			return e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
				if err := pin.put(ctx, e, &in.PIN, &in.DuressPIN); err != nil {
					return err
				}
				if err := wait.put(e, &in); err != nil {
					return err
				}
				var v control.CredentialView
				if err := c.Do(ctx, http.MethodPost, "/v1/credentials/enrol", in, &v); err != nil {
					return err
				}
				return e.say(v, "%s is added", named(v))
			})(cmd, nil)
		}}
	wait.add(c)
	rights.add(c)
	pin.add(c)
	c.Flags().StringVar(&format, "format", "", "take only a card of this format, or raw for any bits")
	return c
}

func credentialListCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the credentials", Args: cobra.NoArgs}
	limit := limitFlag(c)
	filters := map[string]*string{}
	for name, help := range map[string]string{
		"holder": "only of this holder (id or exact name)",
		"door":   "only those that have a right at this door, by themselves or by a level",
		"state":  "only active, blocked or revoked ones",
		"source": "only of this source: operator, iphost or hive",
	} {
		filters[name] = c.Flags().String(name, "", help)
	}
	c.RunE = e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
		q := url.Values{}
		for name, v := range filters {
			if *v != "" {
				q.Set(name, *v)
			}
		}
		setLimit(q, *limit)
		return listing(ctx, e, c, "/v1/credentials", q, credentialHeader, e.credentialRow)
	})
	return c
}

func credentialShowCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "show CREDENTIAL", Short: "Show one credential", Args: cobra.ExactArgs(1), Long: "Shows one credential.\n" + credentialHelp,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var v control.CredentialView
			if err := c.Get(ctx, credentialPath(args[0], ""), nil, &v); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(v)
			}
			row := append(e.credentialRow(v), orDash(v.Format), strconv.Itoa(v.Bits), word(v.ADA, "yes", "no"))
			t := e.newTable([]string{"WHAT", "VALUE"})
			for i, h := range append(credentialHeader[:len(credentialHeader):len(credentialHeader)], "FORMAT", "BITS", "ADA") {
				if err := t.add([]string{strings.ToLower(h), row[i]}); err != nil {
					return err
				}
			}
			return t.flush()
		})}
}

func credentialStateCommand(e *env, verb string, state site.CredentialState, short string) *cobra.Command {
	long := short + ".\n" + credentialHelp
	if state != site.CredentialActive {
		long += `

Doors of this agent refuse it from now on. Locks keep their own copy of the rights:
those that still open for it are named, and until when (still_opens with --json).`
	}
	return &cobra.Command{Use: verb + " CREDENTIAL", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var a control.StateAnswer
			if err := c.Do(ctx, http.MethodPost, credentialPath(args[0], "/state"), map[string]any{"state": state}, &a); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(a)
			}
			if err := e.say(nil, "%s is %s", named(a.CredentialView), a.State); err != nil {
				return err
			}
			return e.showStillOpens(a.StillOpens, "it")
		})}
}

func credentialReplaceCommand(e *env) *cobra.Command {
	var card cardFlags
	var wait waitFlags
	var pin pinFlags
	c := &cobra.Command{Use: "replace CREDENTIAL", Short: "Give the holder another card with the same rights and revoke this one", Args: cobra.ExactArgs(1),
		Long: `Adds a new card for the same holder, with the same rights, levels, function and
validity, and revokes the old one, in one change. The locks that still open for the
old one are named, and until when. The new card is named by
--format, --facility, --card or --bits, or read at a --reader. A PIN belongs to
its card: give the new one its own with --pin or --pin-stdin.
` + credentialHelp + "\n" + visible,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := control.Enrolment{Row: control.Row{FormatName: control.Text(card.format)}}
			if wait.reader == "" {
				if err := card.put(&in.Row); err != nil {
					return err
				}
			} else if card.card != "" || card.bits != "" || card.facility != "" {
				return usagef("name a card or a --reader, not both")
			}
			return e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
				if err := pin.put(ctx, e, &in.PIN, &in.DuressPIN); err != nil {
					return err
				}
				if wait.reader != "" {
					if err := wait.put(e, &in); err != nil {
						return err
					}
				}
				return e.replace(ctx, c, args[0], in)
			})(cmd, args)
		}}
	card.add(c)
	wait.add(c)
	pin.add(c)
	return c
}

func (e *env) replace(ctx context.Context, c *control.Client, id string, in control.Enrolment) error {
	var a control.Replaced
	if err := c.Do(ctx, http.MethodPost, credentialPath(id, "/replace"), in, &a); err != nil {
		return err
	}
	if e.json {
		return e.printJSON(a)
	}
	if err := e.say(nil, "%s is added, and %s is revoked", named(a.New), a.Old); err != nil {
		return err
	}
	if a.HadPIN && !a.New.HasPIN {
		if err := e.say(nil, "the old card had a PIN and the new one has none: gatehouse credential pin %s", a.New.ID); err != nil {
			return err
		}
	}
	return e.showStillOpens(a.StillOpens, "it")
}

func credentialPINCommand(e *env) *cobra.Command {
	var stdin, clearPIN bool
	c := &cobra.Command{Use: "pin CREDENTIAL", Short: "Set or remove the PIN of a credential", Args: cobra.ExactArgs(1),
		Long: `Asks for a PIN, and for a duress PIN, on the terminal without showing them, or
reads them from standard input. A PIN has 4 to 12 digits. It is never taken from
the command line, which the other users of the machine can see.
` + credentialHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if stdin && clearPIN {
				return usagef("--clear goes without --pin-stdin")
			}
			return e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
				var row control.Row
				pin := pinFlags{stdin: stdin, ask: !stdin && !clearPIN}
				if err := pin.put(ctx, e, &row.PIN, &row.DuressPIN); err != nil {
					return err
				}
				// A new PIN takes the old duress PIN away: it might be the same.
				in := map[string]any{"clear": true, "pin": row.PIN, "duress_pin": row.DuressPIN}
				var v control.CredentialView
				if err := c.Do(ctx, http.MethodPost, credentialPath(args[0], "/pin"), in, &v); err != nil {
					return err
				}
				return e.say(v, "%s has %s", named(v), word(v.HasPIN, "a new PIN", "no PIN"))
			})(cmd, args)
		}}
	c.Flags().BoolVar(&stdin, "pin-stdin", false, "read the PIN from the first line of standard input, and a duress PIN from the second, if there is one")
	c.Flags().BoolVar(&clearPIN, "clear", false, "remove PIN and duress PIN")
	return c
}

func credentialLevelCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "level CREDENTIAL [LEVEL...]", Short: "Set the levels of a credential; none takes all away", Args: cobra.MinimumNArgs(1),
		Long: "Replaces the levels of a credential.\n" + credentialHelp,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var v control.CredentialView
			if err := c.Do(ctx, http.MethodPut, credentialPath(args[0], "/levels"), map[string]any{"levels": args[1:]}, &v); err != nil {
				return err
			}
			return e.say(v, "%s has levels: %s", named(v), orDash(strings.Join(args[1:], ", ")))
		})}
}

func credentialRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "remove CREDENTIAL", Short: "Remove a revoked credential", Args: cobra.ExactArgs(1),
		Long: "Removes a credential that is revoked. Its card is then unknown, and a record of\nanother source may let it pass.\n" + credentialHelp,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var a control.StateAnswer
			if err := c.Do(ctx, http.MethodDelete, credentialPath(args[0], ""), nil, &a); err != nil {
				return err
			}
			if err := e.say(a, "%s is removed", named(a.CredentialView)); err != nil || e.json {
				return err
			}
			return e.showStillOpens(a.StillOpens, "it")
		})}
}

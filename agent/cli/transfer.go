package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/store"
)

func credentialImportCommand(e *env) *cobra.Command {
	var format string
	var dry bool
	c := &cobra.Command{Use: "import FILE|-", Short: "Add and update credentials from a file: all or nothing", Args: cobra.ExactArgs(1),
		Long: fmt.Sprintf(`Reads CSV with a header, or an array of JSON objects with the same members:

  holder,format,facility,card,bits,pin,duress_pin,function,ada,uses,level,rights,from,until

Columns stand in any order and may be missing. format is a card format with
facility and card, or raw with bits as LENGTH:HEX. rights is DOOR[@SCHEDULE],
separated by ";"; level likewise. Times are RFC 3339. Holders that are missing
are added; a credential that exists is updated, and nothing is removed. A fault
in any record changes nothing; each is named with its record, field and cause.

The largest file has %d records and %d MiB.`, store.MaxImportRows, store.MaxImportBytes>>20),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := fileFormat(format, args[0])
			if err != nil {
				return err
			}
			return e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
				in, size := e.in, int64(0)
				if args[0] != "-" {
					f, err := os.Open(args[0])
					if err != nil {
						return fmt.Errorf("import: %w", err)
					}
					defer f.Close()
					if fi, err := f.Stat(); err == nil {
						size = fi.Size()
					}
					in = f
				}
				if size > store.MaxImportBytes {
					return fmt.Errorf("import: %s: longer than %d MiB", args[0], store.MaxImportBytes>>20)
				}
				return e.importFrom(ctx, c, args[0], in, format, dry)
			})(cmd, args)
		}}
	c.Flags().StringVar(&format, "format", "", "csv or json (by the name of the file if absent, else csv)")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done and change nothing")
	return c
}

// fileFormat is the format of a file by a flag or by its name.
func fileFormat(format, name string) (string, error) {
	switch {
	case format == "csv" || format == "json":
		return format, nil
	case format != "":
		return "", usagef("--format %s: want csv or json", format)
	case strings.EqualFold(filepath.Ext(name), ".json"):
		return "json", nil
	}
	return "csv", nil
}

func (e *env) importFrom(ctx context.Context, c *control.Client, name string, in io.Reader, format string, dry bool) error {
	q := url.Values{"format": {format}}
	if dry {
		q.Set("dry_run", "1")
	}
	shown := e.newProgress()
	var res *control.ImportResult
	err := c.Stream(ctx, http.MethodPost, "/v1/credentials/import", q, io.NopCloser(in), func(line []byte) error {
		var l control.ImportLine
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("agent: answer: %w", err)
		}
		if l.Result != nil {
			res = l.Result
		}
		shown.tell(l.Done, l.Total)
		return nil
	})
	shown.end()
	if err != nil {
		return e.importFault(name, err)
	}
	if res == nil {
		return errors.New("import: the agent went away; look whether it was done (gatehouse events tail)")
	}
	return e.showImport(res)
}

// importFault lists the records at fault, one a line.
func (e *env) importFault(name string, err error) error {
	refusal, ok := errors.AsType[*control.Refusal](err)
	if ok { // the agent's own text may begin like ours
		refusal.Text = strings.TrimPrefix(refusal.Text, "import: ")
	}
	if !ok || len(refusal.Faults) == 0 {
		return fmt.Errorf("import: %s: %w", name, err)
	}
	for _, f := range refusal.Faults {
		field := ""
		if f.Field != "" {
			field = f.Field + ": "
		}
		fmt.Fprintf(e.err, "%s: record %d: %s%s\n", name, f.Record, field, printable(f.Why))
	}
	return fmt.Errorf("import: %s: %d faults; nothing was changed", name, len(refusal.Faults)+refusal.More)
}

func (e *env) showImport(r *control.ImportResult) error {
	if e.json {
		return e.printJSON(r)
	}
	would := word(r.DryRun, "dry run, nothing was changed: ", "")
	if _, err := fmt.Fprintf(e.out, "%s%d records: %d credentials added, %d changed, %d unchanged; %d holders added\n",
		would, r.Rows, r.Added, r.Changed, r.Unchanged, r.Holders); err != nil {
		return err
	}
	if r.StillBlocked == 0 {
		return nil
	}
	_, err := fmt.Fprintf(e.out, "%d records are of credentials that are, and stay, revoked or blocked\n", r.StillBlocked)
	return err
}

// manyRows is from how many rows on an import is long.
const manyRows = 10_000

// importProgress tells on standard error how far a long import is: on a
// terminal in a line that changes, else a line each tenth.
type importProgress struct {
	w        io.Writer
	terminal bool
	shown    bool // the line on the terminal has something
	tenth    int
}

func (e *env) newProgress() *importProgress {
	f, ok := e.err.(*os.File)
	return &importProgress{w: e.err, terminal: ok && isTerminal(f)}
}

func (p *importProgress) tell(done, total int) {
	switch {
	case p.terminal && total == 0:
		p.shown = true
		fmt.Fprintf(p.w, "\rreading: %d records\x1b[K", done)
	case p.terminal:
		p.shown = true
		fmt.Fprintf(p.w, "\rimporting: %d %% of %d records\x1b[K", done*100/total, total)
	case total >= manyRows && done*10/total > p.tenth:
		p.tenth = done * 10 / total
		fmt.Fprintf(p.w, "importing: %d %% of %d records\n", p.tenth*10, total)
	}
}

// end clears the terminal's line.
func (p *importProgress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func credentialExportCommand(e *env) *cobra.Command {
	var format, output, source, state string
	var cards bool
	c := &cobra.Command{Use: "export", Short: "Write the credentials as an import reads them, without PINs", Args: cobra.NoArgs,
		Long: `Writes the credentials in the columns of an import, to standard output or to a
file that only its owner may read. PINs are never among it, and the cards
(facility, card, bits) only with --with-cards: such a file can make copies of the
cards, so keep it as you would keep them.

A file does not say that a credential is revoked or blocked, and imported at
another site it would pass: such ones are written only with --state.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format == "" && e.json {
				format = "json"
			}
			format, err := fileFormat(format, output)
			if err != nil {
				return err
			}
			q := url.Values{"format": {format}}
			if cards {
				q.Set("with_cards", "1")
			}
			for name, v := range map[string]string{"source": source, "state": state} {
				if v != "" {
					q.Set(name, v)
				}
			}
			return e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
				copyTo := func(w io.Writer) error { return c.Copy(ctx, "/v1/credentials/export", q, w) }
				if output == "" || output == "-" {
					return copyTo(e.out)
				}
				return writeFile(output, copyTo)
			})(cmd, nil)
		}}
	c.Flags().StringVar(&format, "format", "", "csv or json (by --json and the name of --output if absent, else csv)")
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write (standard output if absent)")
	c.Flags().StringVar(&source, "source", "", "of this source: operator (if absent), iphost, hive or all")
	c.Flags().StringVar(&state, "state", "", "in this state: active (if absent), blocked, revoked or all")
	c.Flags().BoolVar(&cards, "with-cards", false, "with facility, card and bits in clear")
	return c
}

// writeFile writes a whole file of mode 0600, or none.
func writeFile(path string, fill func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".gatehouse-*")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

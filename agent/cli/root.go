package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
)

// Version is set by the linker.
var Version = "dev"

// Exit codes.
const (
	exitDone    = 0
	exitRefused = 1
	exitUsage   = 2
)

// defaultConfig is read when neither --config nor GATEHOUSE_CONFIG names a file.
const defaultConfig = "/etc/gatehouse/gatehouse.yaml"

// env is what the commands share.
type env struct {
	config string
	json   bool
	in     io.Reader
	out    io.Writer
	err    io.Writer
	began  bool // a command's own code runs: what fails now is not wrong use

	location *time.Location // of the site; see zone
}

// usageError is wrong use of a command: exit code 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, a ...any) error { return usageError{fmt.Sprintf(format, a...)} }

// codeError ends with a code and says nothing more.
type codeError int

func (e codeError) Error() string { return "" }

// Main runs the command line args (without the program's name) and returns the
// exit code. It ends early when ctx does. Commands that read standard input read
// the process's.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	e := &env{in: os.Stdin, out: stdout, err: stderr}
	root := newRoot(e)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	addHelp(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[codeError](err); ok {
		return int(code)
	}
	_, usage := errors.AsType[usageError](err)
	if !usage && !e.began {
		usage, err = true, inCommand(cmd, err)
	}
	fmt.Fprintln(stderr, "gatehouse:", oneLine(err))
	if usage {
		return exitUsage
	}
	return exitRefused
}

// inCommand says which command an argument or a flag is wrong for: cobra's own
// texts do not.
func inCommand(cmd *cobra.Command, err error) error {
	if !cmd.HasParent() {
		return err
	}
	_, use, _ := strings.Cut(cmd.UseLine(), " ")
	return fmt.Errorf("%w (gatehouse %s)", err, strings.TrimSuffix(use, " [flags]"))
}

// oneLine keeps an error on one line, also a joined one, and out of the
// terminal's control.
func oneLine(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, printable(line))
		}
	}
	return strings.Join(parts, "; ")
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "gatehouse",
		Short: "The access-control agent that runs beside the doors",
		Long: `gatehouse decides at the door who may pass, from its own store, drives the
strikes and keeps every event, with or without a network.

Settings: --config FILE, else GATEHOUSE_CONFIG, else ` + defaultConfig + `.
Exit codes: 0 done, 1 refused or failed, 2 wrong use.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			e.began = true
		},
	}
	config := os.Getenv("GATEHOUSE_CONFIG")
	if config == "" {
		config = defaultConfig
	}
	root.PersistentFlags().StringVar(&e.config, "config", config, "the settings file")
	root.PersistentFlags().BoolVar(&e.json, "json", false, "answer in JSON")
	root.AddCommand(
		runCommand(e), agentCommand(e), simHolderCommand(e), checkCommand(e), settingsCommand(e),
		statusCommand(e), doctorCommand(e), doorCommand(e), lockCommand(e),
		holderCommand(e), credentialCommand(e), rightCommand(e), levelCommand(e), scheduleCommand(e), holidayCommand(e), areaCommand(e),
		eventsCommand(e), alarmsCommand(e), notifyCommand(e), certCommand(e), fireCommand(e), whyCommand(e), adminCommand(e), versionCommand(e), manCommand(e),
	)
	return root
}

// addCompletion adds cobra's completion command, which writes to root's output,
// and makes it wrong use without a shell that it knows.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args, c.RunE = cobra.ArbitraryArgs, sayWhich
		}
	}
}

// addHelp adds cobra's help command, and makes a topic that there is not wrong use.
func addHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() != "help" {
			continue
		}
		c.Run, c.RunE = nil, func(_ *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("help %s: no such command", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		}
	}
}

// group makes a command that only holds others: alone it is wrong use.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: sayWhich}
	c.AddCommand(commands...)
	return c
}

// sayWhich is the RunE of a command that only holds others.
func sayWhich(cmd *cobra.Command, args []string) error {
	var names []string
	for _, s := range cmd.Commands() {
		if !s.Hidden {
			names = append(names, s.Name())
		}
	}
	if len(args) > 0 {
		return usagef("%s %s: no such command (one of %s)", cmd.Name(), args[0], strings.Join(names, ", "))
	}
	return usagef("%s: say which: %s", cmd.Name(), strings.Join(names, ", "))
}

// settings loads the settings file; each fault is one line on standard error.
func (e *env) settings() (*config.Config, error) {
	cfg, issues, err := config.Load(e.config, buildOptions())
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		return cfg, nil
	}
	n := 0
	for _, i := range issues {
		if i.Severity > config.Warning {
			n++
			fmt.Fprintln(e.err, i)
		}
	}
	return nil, fmt.Errorf("%s: %s in the settings", e.config, counted(n, "fault"))
}

// client speaks to the running agent whose socket the settings tell. They are
// read with the first call, so that wrong use is said before.
func (e *env) client() *control.Client {
	return control.DialLater(func() (string, error) {
		cfg, err := e.settings()
		if err != nil {
			return "", err
		}
		return filepath.Join(cfg.StateDir, "control.sock"), nil
	})
}

// withClient makes a RunE of a function that speaks to the agent.
func (e *env) withClient(run func(ctx context.Context, c *control.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), e.client(), args) }
}

// printJSON writes v as one line of JSON.
func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes aligned columns; the first row is the header.
func (e *env) table(rows [][]string) error {
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(printables(r), "\t"))
	}
	return w.Flush()
}

// done says in a word that a command was carried out.
func (e *env) done(format string, a ...any) error {
	if e.json {
		return e.printJSON(map[string]string{"done": fmt.Sprintf(format, a...)})
	}
	_, err := fmt.Fprintf(e.out, format+"\n", a...)
	return err
}

// zone is the site's time zone, in which people are shown times and in which they
// may write them; the machine's where there are no settings to read.
func (e *env) zone() *time.Location {
	if e.location == nil {
		e.location = time.Local
		if cfg, _, err := config.Load(e.config, buildOptions()); err == nil && cfg != nil {
			e.location = cfg.Site.Zone
		}
	}
	return e.location
}

// now is the time in the site's zone.
func (e *env) now() time.Time { return time.Now().In(e.zone()) }

// parseTime reads a point in time: RFC 3339, a date or a time in now's zone, or
// one that is so long from now ("8h").
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02T15:04", s, now.Location()); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02", s, now.Location()); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	return time.Time{}, usagef("time %q: want 2026-11-21T18:04:05Z, 2026-11-21T18:04, 2026-11-21 or a duration from now as 8h", s)
}

// showTime writes a time for a person, in the site's zone; a zero time is a dash.
func (e *env) showTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(e.zone()).Format("2006-01-02 15:04:05")
}

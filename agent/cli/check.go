package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/app"
	"gatehouse/agent/config"
	"gatehouse/certs"
	"gatehouse/hal"
	"gatehouse/store"
)

// checkReport is what check found.
type checkReport struct {
	Config string         `json:"config"`
	OK     bool           `json:"ok"`
	Issues []config.Issue `json:"issues"`
}

func checkCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "check", Short: "Validate settings, board, pins, keys and certificates; print each fault with its line", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, issues, err := config.Load(e.config, buildOptions())
			if err != nil {
				return err
			}
			if cfg != nil {
				issues = append(issues, checkBoard(cmd.Context(), cfg, e.config)...)
				issues = append(issues, checkState(cfg, e.config, time.Now())...)
			}
			faults := 0
			for _, i := range issues {
				if i.Severity > config.Warning {
					faults++
				}
			}
			if e.json {
				if issues == nil {
					issues = []config.Issue{}
				}
				err = e.printJSON(checkReport{e.config, faults == 0, issues})
			} else {
				err = e.showIssues(issues, faults)
			}
			if err == nil && faults > 0 {
				err = codeError(exitRefused)
			}
			return err
		}}
}

func (e *env) showIssues(issues []config.Issue, faults int) error {
	for _, i := range issues {
		fmt.Fprintln(e.out, i)
	}
	_, err := fmt.Fprintf(e.out, "%s: %s, %s\n", e.config, counted(faults, "fault"), counted(len(issues)-faults, "warning"))
	return err
}

// counted is a number of things in words.
func counted(n int, thing string) string {
	switch n {
	case 0:
		return "no " + thing
	case 1:
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// checkBoard asks the board whether it has the lines of the settings. It claims
// none, so an agent may run meanwhile.
func checkBoard(ctx context.Context, cfg *config.Config, file string) []config.Issue {
	if cfg.Device.Board.Sim {
		return nil // it has the lines that the settings name
	}
	issue := func(severity config.Severity, text string) config.Issue {
		return config.Issue{File: file, Path: "device.board", Severity: severity, Text: text}
	}
	hw, err := app.OpenHardware(ctx, cfg)
	if err != nil {
		return []config.Issue{issue(config.Error, err.Error())}
	}
	defer hw.Board.Close()
	have, err := hw.Board.Lines()
	if err != nil {
		return []config.Issue{issue(config.Error, err.Error())}
	}
	var out []config.Issue
	for _, l := range cfg.Lines() {
		if !slices.Contains(have, l.Name) {
			out = append(out, issue(config.Error, fmt.Sprintf("%s (%s %s): %v", l.Name, l.Use, l.Of, hal.ErrNoLine)))
		}
	}
	return out
}

// stateFile is a key or a certificate that the agent keeps in its state folder.
// One that is not there is no fault: the agent makes or fetches it.
type stateFile struct {
	name     string
	wanted   bool            // by these settings
	severity config.Severity // of one that cannot be used
	secret   bool
	check    func(data []byte, now time.Time) error
}

// errOver is a certificate that is not valid now: the agent uses it all the same.
var errOver = errors.New("not valid now")

// checkState looks at the keys and certificates of the state folder.
func checkState(cfg *config.Config, file string, now time.Time) []config.Issue {
	var out []config.Issue
	for _, f := range []stateFile{
		{"device.key", true, config.Error, true, checkDeviceKey},
		{filepath.Join("tls", "site.pem"), cfg.Listen.HTTPS != "", config.Error, true, checkSitePEM},
		{"root.der", cfg.Uplink != nil, config.Warning, false, checkRoot},
	} {
		if f.wanted {
			out = append(out, f.issues(cfg.StateDir, file, now)...)
		}
	}
	return out
}

func (f *stateFile) issues(dir, file string, now time.Time) (out []config.Issue) {
	path := filepath.Join(dir, f.name)
	add := func(severity config.Severity, text string) {
		out = append(out, config.Issue{File: file, Path: "state_dir", Severity: severity, Text: path + ": " + text})
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		add(config.Warning, "not checked: only its owner may read it")
		return out
	}
	if err == nil {
		err = f.check(data, now)
	}
	switch {
	case errors.Is(err, errOver):
		add(config.Warning, err.Error())
	case err != nil:
		add(f.severity, err.Error())
	}
	if fi, err := os.Stat(path); f.secret && err == nil && fi.Mode().Perm()&0o077 != 0 {
		add(config.Warning, fmt.Sprintf("has mode %04o; others may read or change it: want 0600", fi.Mode().Perm()))
	}
	return out
}

func checkDeviceKey(data []byte, _ time.Time) error {
	_, err := store.ParseKey(string(data))
	return err
}

func checkSitePEM(data []byte, now time.Time) error {
	cert, err := tls.X509KeyPair(data, data)
	if err != nil {
		return err
	}
	return checkValid(cert.Leaf, now)
}

func checkRoot(data []byte, now time.Time) error {
	list, err := certs.ParseFile(data)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := checkValid(c, now); err != nil {
			return err
		}
	}
	return nil
}

func checkValid(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return fmt.Errorf("the certificate %s is %w: it is from %s to %s", c.Subject, errOver, c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

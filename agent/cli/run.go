package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/app"
	"gatehouse/agent/config"
	"gatehouse/agent/task/supervise"
	"gatehouse/hal/sim"
)

// builtParts are the parts of config.Options that this build has.
var builtParts = []config.Part{
	config.PartPIN, config.PartReaderModes, config.PartPassback, config.PartOccupancy, config.PartInterlocks,
	config.PartFire, config.PartPanic, config.PartSupply, config.PartAutoUnlock, config.PartTwoPerson, config.PartOutputs,
	config.PartNotify, config.PartGateway, config.PartUplink, config.PartLocks, config.PartSwordfish,
}

func buildOptions() config.Options { return config.Options{Parts: builtParts} }

// agentName is the hidden command of the supervised process.
const agentName = "agent"

func runCommand(e *env) *cobra.Command {
	var demoRun bool
	var state string
	c := &cobra.Command{Use: "run", Short: "Run the agent", Args: cobra.NoArgs,
		Long: `Runs the agent in a process of its own and watches it: an agent that dies or
hangs is killed, every output is driven to its safe level, and the agent is
started again.

With --demo a small simulated site is run instead of a settings file: two doors,
three readers, the people who use them, and an IP host that the agent is linked to.
Its state is a folder that is kept.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !demoRun {
				if state != "" {
					return usagef("--state goes with --demo; settings name their state_dir")
				}
				return e.supervise(cmd.Context())
			}
			if state == "" {
				state = "demo"
			}
			d, err := newDemo(e, state)
			if err != nil {
				return err
			}
			return d.run(cmd.Context())
		}}
	c.Flags().BoolVar(&demoRun, "demo", false, "run a simulated site")
	c.Flags().StringVar(&state, "state", "", "the demo's folder (demo if absent)")
	return c
}

// run plays the demo's site, supervises its agent and says where to look.
func (d *demo) run(ctx context.Context) error {
	d.e.config = d.config
	cfg, err := d.e.settings()
	if err != nil {
		return err
	}
	d.locks = len(cfg.Locks) > 0
	d.whole = cfg.Inputs.Fire != nil && cfg.Inputs.Panic != nil && len(cfg.Areas) > 0 && len(cfg.Outputs) > 0
	d.host = newDemoHost(d, cfg)
	unlock, err := app.LockRun(cfg.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	held, err := app.HoldBoard(ctx, cfg) // before sitesim, which wants the board
	if err != nil {
		return err
	}
	defer held.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel() // first
	sim, missing := d.companion("sitesim")
	if missing == nil {
		beside.Go(func() { d.play(ctx, sim) })
		d.waitPlaying(ctx)
	}
	if d.host.program != "" {
		beside.Go(func() { d.host.serve(ctx) })
	}
	attended := make(chan error, 1)
	beside.Go(func() {
		err := d.attend(ctx, sim, missing)
		if err != nil {
			cancel()
		}
		attended <- err
	})
	err = d.e.watch(ctx, cfg)
	cancel()
	return errors.Join(err, <-attended)
}

// supervise is the parent process of the site that the settings tell. A second
// one on the same state is refused before it touches a line.
func (e *env) supervise(ctx context.Context) error {
	cfg, err := e.settings()
	if err != nil {
		return err
	}
	unlock, err := app.LockRun(cfg.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	return e.watch(ctx, cfg)
}

// watch runs the agent as a child until ctx ends (design.md promise 2).
func (e *env) watch(ctx context.Context, cfg *config.Config) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	config, err := filepath.Abs(e.config)
	if err != nil {
		return err
	}
	log := newLogger(e.err)
	held, err := app.HoldBoard(ctx, cfg)
	if err != nil {
		return err
	}
	defer held.Close()
	p, err := supervise.New(supervise.Config{
		Path: exe, Args: []string{agentName, "--config", config},
		Safe: func(ctx context.Context) error { return app.Safe(ctx, cfg) },
		Log:  log,
	})
	if err != nil {
		return err
	}
	code, err := p.Run(ctx)
	if err != nil {
		return err
	}
	if code != 0 {
		return codeError(code)
	}
	return nil
}

// newLogger writes diagnostics as text lines; the audit trail is the events.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// dropLimit is what the doors get to drive their strikes safe when the
// supervisor is gone.
const dropLimit = 800 * time.Millisecond

func agentCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: agentName, Short: "The supervised process of run", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.agent(cmd.Context()) }}
}

// agent is the child process. It must have been started by run.
func (e *env) agent(ctx context.Context) error {
	var a *app.App
	made := make(chan struct{}) // closed when a is set
	child, err := supervise.Inherit(func() bool {
		select {
		case <-made:
			return a.Alive()
		default:
			return true
		}
	})
	if err != nil {
		return fmt.Errorf("%s is started by run: %w", agentName, err)
	}
	cfg, issues, err := config.Load(e.config, buildOptions())
	if err == nil {
		err = config.Err(issues)
	}
	if err != nil {
		fmt.Fprintln(e.err, "gatehouse:", oneLine(err))
		return codeError(supervise.ExitConfig)
	}
	// The heart beats before the first line is touched, and until the agent
	// has stopped: neither start nor stop is a hang.
	hctx, still := context.WithCancel(context.WithoutCancel(ctx))
	defer still()
	heart := make(chan error, 1)
	go func() { heart <- child.Run(hctx) }()
	select {
	case <-child.Ready():
	case err := <-heart:
		return err
	}
	hw, err := app.OpenHardware(ctx, cfg)
	if err != nil {
		return err
	}
	a, err = app.New(cfg, hw, app.Options{Version: Version, Issues: issues, Log: newLogger(e.err)})
	if err != nil {
		return err
	}
	close(made)
	err = live(ctx, a, child)
	still()
	return errors.Join(err, <-heart)
}

// live runs the agent until ctx ends or the supervisor is gone.
func live(ctx context.Context, a *app.App, child *supervise.Child) error {
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	select {
	case err := <-ran:
		return err
	case <-child.Gone():
		a.Drop(dropLimit)
		return errors.New("the supervisor is gone; the doors were let go")
	}
}

func simHolderCommand(*env) *cobra.Command {
	return &cobra.Command{Use: app.HolderCommand + " SOCKET", Short: "Hold the simulated board's lines", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := sim.NewHolder(sim.HolderConfig{Path: args[0]}).Run(cmd.Context())
			if errors.Is(err, sim.ErrHeld) {
				return nil // somebody else was faster
			}
			return err
		}}
}

func settingsCommand(e *env) *cobra.Command {
	show := func(use, short string, text func() []byte) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, err := e.out.Write(text())
			return err
		}}
	}
	return group("settings", "Print the settings' reference and schema",
		show("reference", "The commented reference file", config.Reference),
		show("minimal", "The smallest useful file", config.Minimal),
		show("schema", "The JSON schema", config.Schema))
}

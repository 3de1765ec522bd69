package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errUsage marks a wrong use of a command.
var errUsage = errors.New("wrong use")

// execute runs a command line: 0 done, 1 refused or failed, 2 wrong use.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "iphost:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// env is what all commands share.
type env struct {
	state string
	json  bool
}

func rootCommand() *cobra.Command {
	e := &env{}
	root := &cobra.Command{Use: "iphost", Short: "An ENGAGE IP host for gateways, with a broker for integrators",
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() }, Args: arguments(cobra.NoArgs)}
	root.PersistentFlags().StringVar(&e.state, "state", "iphost", "the state folder")
	root.PersistentFlags().BoolVar(&e.json, "json", false, "print listings as JSON")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(runCommand(e), siteCommand(e), tokenCommand(e), gatewayCommand(e), rootCertCommand(e))
	return root
}

// arguments marks the errors of a check as wrong use.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w: %s: %w", errUsage, cmd.CommandPath(), err)
		}
		return nil
	}
}

// group is a command that only has others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: arguments(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(subs...)
	return c
}

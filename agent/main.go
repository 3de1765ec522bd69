// Gatehouse is the access-control agent that runs beside the doors. It decides
// who may pass from its own store, drives the strikes and keeps every event.
//
// See `gatehouse help` and README.md. This package has the signals and the exit
// code; the commands are in agent/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // a board may have no zone files

	"gatehouse/agent/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gatehouse/agent/config"
	"gatehouse/hal"
	"gatehouse/hal/gpio"
	"gatehouse/hal/serial"
	"gatehouse/hal/sim"
)

// Hardware is what an agent runs on.
type Hardware struct {
	Board hal.Board
	Ports hal.Ports
	Clock hal.Clock
}

// simStart bounds the wait for the holder of the simulated board.
const simStart = 5 * time.Second

// SimSocket is where the simulated board of a state folder is found.
func SimSocket(stateDir string) string { return filepath.Join(stateDir, "sim.sock") }

// OpenHardware opens the board of the settings: the simulated one, whose holder
// is started as HolderCommand of this program when nobody holds it, or the
// machine's own lines.
func OpenHardware(ctx context.Context, cfg *config.Config) (Hardware, error) {
	if !cfg.Device.Board.Sim {
		b, err := gpio.Open(nil)
		if err != nil {
			return Hardware{}, fmt.Errorf("board: %w", err)
		}
		return Hardware{Board: b, Ports: serial.Ports{}, Clock: hal.SystemClock{}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, simStart)
	defer cancel()
	b, err := sim.Ensure(ctx, SimSocket(cfg.StateDir), func() error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		return sim.Start(exe, HolderCommand, SimSocket(cfg.StateDir))
	})
	if err != nil {
		return Hardware{}, fmt.Errorf("board: %w", err)
	}
	if err := declare(b, cfg); err != nil {
		return Hardware{}, errors.Join(fmt.Errorf("board: %w", err), b.Close())
	}
	return Hardware{Board: b, Ports: serial.Ports{}, Clock: b.Clock()}, nil
}

// HoldBoard keeps the simulated board's holder alive until it is closed, also
// while no agent runs; on a real board there is nothing to keep. It makes the
// state folder.
func HoldBoard(ctx context.Context, cfg *config.Config) (io.Closer, error) {
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if !cfg.Device.Board.Sim {
		return io.NopCloser(nil), nil
	}
	hw, err := OpenHardware(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return hw.Board, nil
}

// HolderCommand is the hidden command that holds the simulated board's lines;
// its argument is the socket.
const HolderCommand = "sim-holder"

// declare tells the simulated board its lines and their levels at rest.
func declare(b *sim.Board, cfg *config.Config) error {
	var lines []sim.Line
	for _, l := range cfg.Lines() {
		lines = append(lines, sim.Line{Name: l.Name, Dir: direction(l.Output), Rest: l.Rest})
	}
	return b.Declare(lines...)
}

func direction(output bool) sim.Dir {
	if output {
		return sim.Out
	}
	return sim.In
}

// Safe drives every output of the settings to its safe level: the supervisor
// calls it when no agent lives. Every line is tried, whatever happens to
// another.
func Safe(ctx context.Context, cfg *config.Config) error {
	hw, err := OpenHardware(ctx, cfg)
	if err != nil {
		return fmt.Errorf("safe: %w", err)
	}
	for _, l := range cfg.Lines() {
		if !l.Output {
			continue
		}
		out, e := hw.Board.Output(hal.Output{Line: l.Name, Initial: l.Rest})
		if e == nil {
			e = out.Close()
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("safe: %s of %s: %w", l.Use, l.Of, e))
		}
	}
	return errors.Join(err, hw.Board.Close())
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sitesim:", err)
		os.Exit(1)
	}
}

// order is one request on DIR/sitesim.sock.
type order struct {
	Do       string        `json:"do"` // card, badge, keys, open, exit, input, call, alert, show
	At       string        `json:"at,omitempty"`
	Facility uint64        `json:"facility,omitempty"`
	Card     uint64        `json:"card,omitempty"`
	Bits     int           `json:"bits,omitempty"`
	Hex      string        `json:"hex,omitempty"`
	Keys     string        `json:"keys,omitempty"`
	Alert    string        `json:"alert,omitempty"`
	On       bool          `json:"on,omitempty"`
	For      time.Duration `json:"for,omitempty"`
	Force    bool          `json:"force,omitempty"`
	Stay     bool          `json:"stay,omitempty"`
}

// outcome is its answer.
type outcome struct {
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

func rootCommand() *cobra.Command {
	var dir string
	root := &cobra.Command{Use: "sitesim", Short: "Play the people and the hardware of a simulated site",
		SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().StringVar(&dir, "state", "demo", "the folder of the demo, which holds sitesim.json")

	var o order
	ask := func(fill func(args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			o.Do = cmd.Name()
			if len(args) > 0 {
				o.At = args[0]
			}
			if err := fill(args); err != nil {
				return err
			}
			said, err := send(cmd.Context(), dir, o)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), said)
			}
			return err
		}
	}
	run := &cobra.Command{Use: "run", Short: "Play the site until interrupted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), dir) }}
	card := &cobra.Command{Use: "card READER|LOCK FACILITY CARD", Short: "Present a 26-bit card and walk through", Args: cobra.ExactArgs(3),
		RunE: ask(func(args []string) error { return parseUints(args[1:], &o.Facility, &o.Card) })}
	badge := &cobra.Command{Use: "badge READER BITS HEX", Short: "Present bits (left-justified hex) at a Wiegand reader", Args: cobra.ExactArgs(3),
		RunE: ask(func(args []string) (err error) {
			o.Hex = args[2]
			o.Bits, err = strconv.Atoi(args[1])
			return err
		})}
	keys := &cobra.Command{Use: "keys READER KEYS", Short: "Type digits, * and # at a Wiegand reader and walk through", Args: cobra.ExactArgs(2),
		RunE: ask(func(args []string) error {
			o.Keys = args[1]
			return nil
		})}
	open := &cobra.Command{Use: "open DOOR", Short: "Push a door open and hold it", Args: cobra.ExactArgs(1),
		RunE: ask(func([]string) error { return nil })}
	exit := &cobra.Command{Use: "exit DOOR", Short: "Press the exit button and walk out", Args: cobra.ExactArgs(1),
		RunE: ask(func([]string) error { return nil })}
	input := &cobra.Command{Use: "input NAME on|off", Short: "Switch an input of the site: fire, panic, mains, ...", Args: cobra.ExactArgs(2),
		RunE: ask(func(args []string) (err error) {
			o.On, err = parseSwitch(args[1])
			return err
		})}
	show := &cobra.Command{Use: "show", Short: "Show the doors, the inputs, the outputs and the locks", Args: cobra.NoArgs,
		RunE: ask(func([]string) error { return nil })}
	for _, c := range []*cobra.Command{card, badge, keys, exit} {
		c.Flags().BoolVar(&o.Stay, "stay", false, "do not walk through")
	}
	open.Flags().DurationVar(&o.For, "for", 2*time.Second, "how long the door stands open")
	open.Flags().BoolVar(&o.Force, "force", false, "break a locked door open")
	root.AddCommand(run, card, badge, keys, open, exit, input, show, nightCommand())
	root.AddCommand(lockCommands(&o, ask)...)
	return root
}

// lockCommands are the orders that only locks know.
func lockCommands(o *order, ask func(fill func(args []string) error) func(*cobra.Command, []string) error) []*cobra.Command {
	call := &cobra.Command{Use: "call LOCK", Short: "Make a lock call in now", Args: cobra.ExactArgs(1),
		RunE: ask(func([]string) error { return nil })}
	alert := &cobra.Command{Use: "alert LOCK forced|tamper|low-battery", Short: "Make a lock send an alert", Args: cobra.ExactArgs(2),
		RunE: ask(func(args []string) error {
			o.Alert = args[1]
			return nil
		})}
	return []*cobra.Command{call, alert}
}

func parseUints(args []string, out ...*uint64) error {
	for i, a := range args {
		n, err := strconv.ParseUint(a, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a number", a)
		}
		*out[i] = n
	}
	return nil
}

func parseSwitch(s string) (bool, error) {
	if s != "on" && s != "off" {
		return false, fmt.Errorf("%q is neither on nor off", s)
	}
	return s == "on", nil
}

// serve plays the site until ctx ends.
func serve(ctx context.Context, dir string) error {
	w, err := loadWorld(dir)
	if err != nil {
		return err
	}
	unlock, err := lockPlay(dir)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := newPlayer(w)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	wait := p.start(ctx)
	defer func() {
		end()
		p.Close() // ends what reads a line
		wait()
	}()
	path := filepath.Join(dir, "sitesim.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	fmt.Println("sitesim: ready")
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		work.Go(func() { p.attend(ctx, c) })
	}
}

// lockPlay takes the folder for this process: a second one would take the orders
// and the lines away from the first.
func lockPlay(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "sitesim.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the site in %s is being played already: %w", dir, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// attend answers the orders of one connection.
func (p *player) attend(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	out := json.NewEncoder(c)
	for in := bufio.NewScanner(c); in.Scan(); {
		var o order
		var res outcome
		err := json.Unmarshal(in.Bytes(), &o)
		if err == nil {
			res.Said, err = p.obey(ctx, o)
		}
		if err != nil {
			res.Error = err.Error()
		}
		if out.Encode(res) != nil {
			return
		}
	}
}

func (p *player) obey(ctx context.Context, o order) (string, error) {
	switch o.Do {
	case "card":
		return p.card(ctx, o.At, o.Facility, o.Card, o.Stay)
	case "badge":
		return p.badge(ctx, o.At, o.Bits, o.Hex, o.Stay)
	case "keys":
		return p.keys(ctx, o.At, o.Keys, o.Stay)
	case "open":
		return p.open(ctx, o.At, o.For, o.Force)
	case "exit":
		return p.exit(ctx, o.At, o.Stay)
	case "input":
		return p.input(ctx, o.At, o.On)
	case "call", "alert":
		l, err := p.theLock(o.At)
		if err != nil {
			return "", err
		}
		if o.Do == "alert" {
			return l.alert(ctx, o.Alert)
		}
		return l.call(ctx)
	case "show":
		return p.show()
	}
	return "", fmt.Errorf("order %q is not known", o.Do)
}

// send gives one order to the sitesim that plays in dir.
func send(ctx context.Context, dir string, o order) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(dir, "sitesim.sock"))
	if err != nil {
		return "", fmt.Errorf("no site is being played in %s: %w", dir, err)
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(o); err != nil {
		return "", err
	}
	var res outcome
	if err := json.NewDecoder(c).Decode(&res); err != nil {
		return "", err
	}
	if res.Error != "" {
		return "", errors.New(res.Error)
	}
	return res.Said, nil
}

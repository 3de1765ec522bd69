package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 {
		if os.Args[1] == gatewaysCommand {
			os.Exit(loadMain(ctx, os.Args[2:], os.Stdout, os.Stderr))
		}
		if f := children[os.Args[1]]; f != nil {
			if err := f(ctx, os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "bench "+os.Args[1]+":", err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// children are the processes that a run starts of itself, by first argument.
var children = map[string]func(context.Context, []string) error{childCommand: child, doorsCommand: doorsChild, filesCommand: filesChild, locksCommand: locksChild}

// group is a measurement and the rows that it gives.
type group struct {
	name string
	rows []string
	run  func(*bench) ([]row, error)
}

// groups are in the order in which they run: the import makes the large site
// that the others use, and the last import makes it twice as large.
var groups = []group{
	{"import", []string{"import_1m"}, importRows},
	{"decision", []string{"decision_p50", "decision_p99", "decision_growth"}, decisionRows},
	{"door", []string{"door_path_p99"}, doorRows},
	{"doors64", []string{"doors64_p99", "doors64_burst_p99"}, doors64Rows},
	{"rules", []string{"door_path_rules_p99", "door_path_pin_p99"}, rulesRows},
	{"wiegand", []string{"wiegand_last_edge_p99"}, wiegandRows},
	{"hive", []string{"hive_v1_rps", "hive_v2_rps"}, hiveRows},
	{"events", []string{"events_per_second"}, eventRows},
	{"uplink", []string{"uplink_drain", "during_drain"}, drainRows},
	{"doorfile", []string{"doorfile_memory"}, doorFileRows},
	{"locks500", []string{"locks500_doors_p99", "locks500_memory"}, locksRows("locks500", 0, false)},
	{"locks500_tls", []string{"locks500_tls_doors_p99", "locks500_tls_memory"}, locksRows("locks500_tls", 0, true)},
	{"locks500_large", []string{"locks500_large_doors_p99", "locks500_large_memory"}, locksRows("locks500_large", 2, false)},
	{"agent", []string{"start_ready", "rest_memory"}, agentRows},
	{"during", []string{"during_copy", "during_export", "during_import"}, duringRows},
	{"binary", []string{"arm64_binary"}, binaryRows},
}

// bench is one run.
type bench struct {
	ctx   context.Context
	short bool
	n     int    // credentials of the large site
	dir   string // goes at the end
	log   io.Writer
	sites map[int]*house
}

// pick returns the first in a full run and the second in a short one.
func pick[T any](b *bench, full, short T) T {
	if b.short {
		return short
	}
	return full
}

func (b *bench) printf(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// options are the command line.
type options struct {
	short      bool
	list       bool
	only       string
	n          int
	json       string
	dir        string
	cpuprofile string
}

const shortN = 20_000

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&o.short, "short", false, "small sizes; only absurd figures fail")
	f.BoolVar(&o.list, "list", false, "list the groups and their rows")
	f.StringVar(&o.only, "only", "", "rows or groups to measure, with commas between")
	f.IntVar(&o.n, "n", 0, fmt.Sprintf("credentials of the large site (default 1000000, or %d with -short)", shortN))
	f.StringVar(&o.json, "json", "", "write the result to this file as well")
	f.StringVar(&o.dir, "dir", "", "where the temporary folder is made; what it lies on is measured (default: the system's)")
	f.StringVar(&o.cpuprofile, "cpuprofile", "", "write a CPU profile of the measurements to this file")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("bench: %q is not understood", f.Arg(0))
	}
	if o.n == 0 {
		o.n = 1_000_000
		if o.short {
			o.n = shortN
		}
	}
	if o.n < 1000 || o.n > maxCards {
		return o, fmt.Errorf("bench: -n %d: want 1000 to %d", o.n, maxCards)
	}
	return o, nil
}

// chosen returns the groups to run and the rows to print, nil for all of them.
// What takes too long without a build cache is in a short run only by name.
func chosen(only string, short bool) ([]group, map[string]bool, error) {
	if only == "" {
		if short {
			return slices.DeleteFunc(slices.Clone(groups), func(g group) bool { return g.name == "binary" }), nil, nil
		}
		return groups, nil, nil
	}
	rows := map[string]bool{}
	var out []group
	for name := range strings.SplitSeq(only, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name || slices.Contains(g.rows, name) })
		if i < 0 {
			return nil, nil, fmt.Errorf("bench: there is no row or group %q; -list shows them", name)
		}
		for _, r := range groups[i].rows {
			if name == groups[i].name || name == r {
				rows[r] = true
			}
		}
	}
	for _, g := range groups {
		if slices.ContainsFunc(g.rows, func(r string) bool { return rows[r] }) {
			out = append(out, g)
		}
	}
	return out, rows, nil
}

// run is the program. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if o.list && err == nil {
		for _, g := range groups {
			fmt.Fprintf(stdout, "%s: %s\n", g.name, strings.Join(g.rows, ", "))
		}
		return 0
	}
	todo, rows, cerr := chosen(o.only, o.short)
	if err = errors.Join(err, cerr); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	res, err := measure(ctx, o, todo, rows, stderr)
	if err == nil {
		err = res.write(stdout, o.json)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	if slices.ContainsFunc(res.Rows, func(r row) bool { return !r.OK }) {
		return 1
	}
	return 0
}

// measure runs the groups, one after the other.
func measure(ctx context.Context, o options, todo []group, rows map[string]bool, stderr io.Writer) (res result, err error) {
	dir, err := os.MkdirTemp(o.dir, "gatehouse-bench-")
	if err != nil {
		return res, err
	}
	b := &bench{ctx: ctx, short: o.short, n: o.n, dir: dir, log: stderr, sites: map[int]*house{}}
	defer func() { err = errors.Join(err, b.closeSites(), os.RemoveAll(dir)) }()
	stop, err := profile(o.cpuprofile)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	res = newResult(o.short, o.n)
	for _, g := range todo {
		began := time.Now()
		b.printf("%s …", g.name)
		got, err := g.run(b)
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		if err != nil {
			got = nil
			for _, name := range g.rows {
				got = append(got, row{Name: name, Error: err.Error()})
			}
		}
		for _, r := range got {
			if rows != nil && !rows[r.Name] {
				continue
			}
			r = r.judge(o.short)
			res.Rows = append(res.Rows, r)
			b.printf("  %s", r)
		}
		b.printf("  in %.1f s, load %.1f", time.Since(began).Seconds(), load())
	}
	res.Load[1] = load()
	return res, nil
}

// profile writes a CPU profile until stop, where a file is named.
func profile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

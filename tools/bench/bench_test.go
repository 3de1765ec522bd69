package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/store"
)

func TestQuantile(t *testing.T) {
	hundred := make(samples, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(hundred), func(i, j int) { hundred[i], hundred[j] = hundred[j], hundred[i] })
	for _, tt := range []struct {
		name string
		s    samples
		q    float64
		want time.Duration
	}{
		{"none", nil, 0.5, 0},
		{"below the first", samples{7, 9}, 0, 7},
		{"above the last", samples{7, 9}, 2, 9},
		{"one", samples{7}, 0.99, 7},
		{"median of two is the lower", samples{9, 7}, 0.5, 7},
		{"median of three", samples{9, 7, 8}, 0.5, 8},
		{"p50 of a hundred", hundred, 0.50, 50},
		{"p99 of a hundred", hundred, 0.99, 99},
		{"p100 of a hundred", hundred, 1, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.s)
			if got := tt.s.quantile(tt.q); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
			if !slices.Equal(before, tt.s) {
				t.Error("the samples were moved")
			}
		})
	}
	if got := hundred.longest(); got != 100 {
		t.Errorf("longest %d", got)
	}
	if got := (samples{}).longest(); got != 0 {
		t.Errorf("longest of none %d", got)
	}
}

func TestLess(t *testing.T) {
	if d := cmp.Diff(samples{60, 1, 1}, samples{100, 40, 10}.less(40)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2}} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.in, got, tt.want)
		}
	}
}

// TestRace: every contender has as many turns, and each begins as often.
func TestRace(t *testing.T) {
	var order []int
	contender := func(i int) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			order = append(order, i)
			return time.Duration(i), nil
		}
	}
	got, err := race(3, 2, contender(0), contender(1), contender(2))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{0, 0, 1, 1, 2, 2, 1, 1, 2, 2, 0, 0, 2, 2, 0, 0, 1, 1}, order); d != "" {
		t.Errorf("order (-want +got)\n%s", d)
	}
	for i, s := range got {
		if len(s) != 6 || s.p50() != time.Duration(i) {
			t.Errorf("contender %d has %v", i, s)
		}
	}
	broken := errors.New("broken")
	if _, err := race(1, 1, contender(0), func() (time.Duration, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name        string
		row         row
		ratio       float64
		full, short bool
	}{
		{"met", row{Value: 3, Yardstick: 2, Bar: 2}, 1.5, true, true},
		{"on the bar", row{Value: 4, Yardstick: 2, Bar: 2}, 2, true, true},
		{"missed", row{Value: 5, Yardstick: 2, Bar: 2}, 2.5, false, true},
		{"absurd", row{Value: 21, Yardstick: 2, Bar: 2}, 10.5, false, false},
		{"at least, met", row{Value: 9, Yardstick: 10, Bar: 0.8, AtLeast: true}, 0.9, true, true},
		{"at least, missed", row{Value: 7, Yardstick: 10, Bar: 0.8, AtLeast: true}, 0.7, false, true},
		{"at least, absurd", row{Value: 1, Yardstick: 10, Bar: 0.8, AtLeast: true}, 0.1, false, false},
		{"no yardstick", row{Value: 41, Bar: 40}, 41, false, true},
		{"no bar", row{Value: 1000, Yardstick: 1}, 1000, true, true},
		{"not measured", row{Value: 1, Bar: 2, Error: "no disk"}, 1, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			full, short := tt.row.judge(false), tt.row.judge(true)
			if full.Ratio != tt.ratio || full.OK != tt.full || short.OK != tt.short {
				t.Errorf("ratio %v, ok %v, in short %v; want %v, %v, %v", full.Ratio, full.OK, short.OK, tt.ratio, tt.full, tt.short)
			}
		})
	}
}

func TestChosen(t *testing.T) {
	for _, tt := range []struct {
		name, only string
		groups     []string
		rows       []string
		fails      bool
	}{
		{"unknown", "nothing", nil, nil, true},
		{"a row", "decision_p99", []string{"decision"}, []string{"decision_p99"}, false},
		{"a group and a row, in the order of a run", "events, decision", []string{"decision", "events"},
			[]string{"decision_growth", "decision_p50", "decision_p99", "events_per_second"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, rows, err := chosen(tt.only, true)
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			var names, want []string
			for _, g := range got {
				names = append(names, g.name)
			}
			for r := range rows {
				want = append(want, r)
			}
			slices.Sort(want)
			if d := cmp.Diff(tt.groups, names) + cmp.Diff(tt.rows, want); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
	all, rows, err := chosen("", false)
	if err != nil || rows != nil || len(all) != len(groups) {
		t.Errorf("all: %d groups, rows %v, %v", len(all), rows, err)
	}
}

func TestParseStatus(t *testing.T) {
	anon, all, err := parseStatus("Name:\tgatehouse\nVmRSS:\t   20480 kB\nRssAnon:\t    9216 kB\nRssFile:\t 11264 kB\n")
	if err != nil || anon != 9<<20 || all != 20<<20 {
		t.Errorf("%d, %d, %v", anon, all, err)
	}
	for _, bad := range []string{"", "VmRSS: 1 kB\n", "VmRSS: 1 kB\nRssAnon: much\n"} {
		if _, _, err := parseStatus(bad); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

// TestFixture: the cards of the file are the cards that are presented.
func TestFixture(t *testing.T) {
	h, err := openHouse(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h.n = 300
	defer func() {
		if err := h.stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := h.fill(context.Background(), h.n); err != nil {
		t.Fatal(err)
	}
	if err := newDecider(h.store, doorIDs[1]).warm(h.n); err != nil {
		t.Error(err)
	}
	if _, err := newDecider(h.store, "elsewhere").one(h.n)(); !errors.Is(err, errNotGranted) {
		t.Errorf("a door without a right: %v", err)
	}
	bare, err := openBare(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bare.one()(); err != nil {
		t.Error(err)
	}
	if err := bare.db.Close(); err != nil {
		t.Error(err)
	}
	set, err := readRecords(filepath.Join(h.dir, "policy.copy.db"), filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.load(filepath.Join(t.TempDir(), "load.db")); err != nil || set.count < 3*h.n {
		t.Errorf("%d records, %v", set.count, err)
	}
	if err := set.close(); err != nil {
		t.Error(err)
	}
	if n, err := h.store.Export(context.Background(), io.Discard, store.ExportOptions{}); err != nil || n != h.n {
		t.Errorf("%d exported, %v", n, err)
	}
}

// TestRun: a result is one JSON value, with the exit code beside it.
func TestRun(t *testing.T) {
	var out, progress bytes.Buffer
	if code := run(t.Context(), []string{"-short", "-n", "1000", "-dir", t.TempDir(), "-only", "events"}, &out, &progress); code != 0 {
		t.Errorf("code %d\n%s", code, progress.String())
	}
	var res result
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	if len(res.Rows) != 1 || res.Rows[0].Name != "events_per_second" || res.Rows[0].Value <= 0 || res.Go == "" {
		t.Errorf("result %+v", res)
	}
	for _, args := range [][]string{{"-n", "10"}, {"-only", "nothing"}, {"left over"}, {"-what"}} {
		if code := run(t.Context(), args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: code %d, want 2", args, code)
		}
	}
}

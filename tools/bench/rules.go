package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
	"gatehouse/store"
)

const (
	ruleDoors = 16
	// rulePeople is how many credentials with a PIN the site has: each enters the
	// area once.
	rulePeople = 20_000
	// crowdSize is how many are present where the area is asked alone.
	crowdSize = 100_000
)

// rulesHead is an area with hard anti-passback and a limit, and interlocks of two
// doors each.
func rulesHead() string {
	var b strings.Builder
	fmt.Fprintf(&b, "areas: [{id: lab, name: Laboratory, occupancy: %d, passback: {mode: hard, forget: 8h}}]\ninterlocks:\n", crowdSize)
	for i := 0; i < ruleDoors; i += 2 {
		fmt.Fprintf(&b, "  - {doors: [%s, %s]}\n", gateID(i), gateID(i+1))
	}
	return b.String()
}

// ruleReader leads into the area; every second one asks for a PIN.
func ruleReader(i int) string {
	if i%2 == 1 {
		return ", to: lab, mode: card_pin"
	}
	return ", to: lab"
}

func pinOf(i int) string { return fmt.Sprintf("%04d", i%10_000) }

// fillRules gives a new site its people, each with a PIN.
func fillRules(ctx context.Context, dir string, n int) (err error) {
	h, err := openHouse(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	if _, err := h.fill(ctx, 0); err != nil {
		return err
	}
	l := site.Level{ID: levelID, Name: "Staff", Rights: []site.Right{{Door: doorIDs[0], Schedule: scheduleID}}}
	for i := range ruleDoors {
		l.Rights = append(l.Rights, site.Right{Door: gateID(i), Schedule: scheduleID})
	}
	if _, err := h.store.Apply(ctx, "bench", store.Change{Source: site.SourceOperator, Ops: []store.Op{store.PutLevel{Level: l}}}); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("holder,format,facility,card,pin,level\n")
	for i := range n {
		num := cardNumber(i)
		fmt.Fprintf(&b, "Person %07d,H10301,%d,%d,%s,%s\n", i, num.Facility, num.Card, pinOf(i), levelID)
	}
	path := filepath.Join(dir, "people.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return err
	}
	defer os.Remove(path)
	_, err = h.importFile(ctx, path, n)
	return err
}

// rulesRows is the way of a card, and of a card with a PIN, into an area by doors
// in an interlock, through a whole agent.
func rulesRows(b *bench) (rows []row, err error) {
	n := min(b.n, rulePeople)
	dir, other := filepath.Join(b.dir, "rules"), filepath.Join(b.dir, "rules-alone")
	if err := fillRules(b.ctx, dir, n); err != nil {
		return nil, err
	}
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		return nil, err
	}
	h, err := openHouse(other)
	if err != nil {
		return nil, err
	}
	h.n = n
	defer func() { err = errors.Join(err, h.stop(), os.RemoveAll(other), os.RemoveAll(dir)) }()
	alone := newDecider(h.store, doorIDs[0])
	if err := alone.warm(n); err != nil {
		return nil, err
	}
	board, gates := newWiredBoard(ruleDoors)
	s, err := startSite(b.ctx, gateSettings(dir, ruleDoors, rulesHead(), ruleReader), nil, board, gates)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	r := &ruleRun{ctx: b.ctx, gates: gates, one: alone.one(n)}
	for i := range pick(b, 60, 4) {
		if err := r.round(i == 0); err != nil {
			return nil, err
		}
	}
	detail := map[string]any{"people": n, "doors": ruleDoors}
	if err := crowdDetail(detail); err != nil {
		return nil, err
	}
	return []row{r.row("door_path_rules_p99", r.cards, detail), r.row("door_path_pin_p99", r.pins, map[string]any{"people": n})}, nil
}

// ruleRun presents people, each once.
type ruleRun struct {
	ctx         context.Context
	gates       []*gate
	one         func() (time.Duration, error)
	next        int
	cards, pins passes
	alone       samples
}

// round brings a person to each door, one after the other. A cold one is not
// counted.
func (r *ruleRun) round(cold bool) error {
	var none passes
	for i, g := range r.gates {
		person, to := r.next, &r.cards
		r.next++
		frame := cardBits(person)
		for _, locked := range []*gate{g, r.gates[i^1]} { // an interlock opens one of its doors
			if err := locked.ready(r.ctx); err != nil {
				return err
			}
		}
		if i%2 == 1 {
			to = &r.pins
			var err error
			if frame, err = r.typePIN(g, person); err != nil {
				return err
			}
		}
		if cold {
			to = &none
		}
		if err := present(r.ctx, []*gate{g}, func(*gate) card.Bits { return frame }, to); err != nil {
			return fmt.Errorf("%s, person %d: %w", g.door, person, err)
		}
		time.Sleep(time.Millisecond)
		took, err := r.one()
		if err != nil {
			return err
		}
		if !cold {
			r.alone = append(r.alone, took)
		}
	}
	return nil
}

// typePIN shows the card and types the digits of its PIN. The key that is left is
// returned.
func (r *ruleRun) typePIN(g *gate, person int) (card.Bits, error) {
	g.wire.send(cardBits(person))
	g.wire.end()
	for _, digit := range pinOf(person) {
		b, err := card.Key(digit - '0').Bits(4)
		if err != nil {
			return b, err
		}
		g.wire.send(b)
		g.wire.end()
	}
	time.Sleep(5 * time.Millisecond)
	return card.KeyEnter.Bits(4)
}

func (r *ruleRun) row(name string, p passes, detail map[string]any) row {
	out := row{Name: name, Value: micros(p.took.p99()), Yardstick: micros(r.alone.p99()), Unit: "µs", Detail: detail}
	for k, v := range map[string]any{"samples": len(p.took), "p50_us": micros(p.took.p50()), "longest_us": micros(p.took.longest()),
		"alone_p50_us": micros(r.alone.p50()), "ended_by_timer": p.early} {
		detail[k] = v
	}
	return out
}

// crowdDetail times the area's own part of a decision, asked and reserved, with
// many people present.
func crowdDetail(detail map[string]any) error {
	now := time.Now()
	for _, n := range []int{10, crowdSize} {
		o, err := area.New(area.Config{Areas: []area.Area{{ID: "lab", Occupancy: n + 10, Passback: area.Hard, Exit: area.Soft, Forget: 8 * time.Hour}}})
		if err != nil {
			return err
		}
		move := func(kind string, i int) area.Move {
			return area.Move{Holder: site.HolderID(fmt.Sprint(kind, i)), Reader: "in", Door: "front", To: "lab"}
		}
		for i := range n {
			o.Enter(move("h", i), now)
		}
		var s samples
		for i := range 5000 {
			m := move("n", i)
			began := time.Now()
			why := o.Ask(m, now)
			if why == "" {
				why = o.Reserve(m, now)
			}
			s = append(s, time.Since(began))
			if why != "" {
				return fmt.Errorf("area with %d present: %s", n, why)
			}
			o.Cancel(m)
		}
		detail[fmt.Sprintf("ask_reserve_%d_present_p50_us", n)] = micros(s.p50())
		detail[fmt.Sprintf("ask_reserve_%d_present_p99_us", n)] = micros(s.p99())
	}
	return nil
}

package reader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Tone is one step of a signal: what LED and beeper do, for how long.
type Tone struct {
	LED  bool
	Beep bool
	For  time.Duration
}

// Signal is what a person sees and hears. After the last tone both are off.
type Signal struct {
	Tones  []Tone
	Repeat time.Duration // play again and again for so long; 0: once
}

// signals is the table of patterns (door.md, Feedback). A wait lasts 15 s at
// most (door.md, Decision), so what shows it does too.
var signals = map[site.Pattern]Signal{
	site.PatternGranted: {Tones: []Tone{
		{LED: true, Beep: true, For: 200 * time.Millisecond},
		{LED: true, For: 1800 * time.Millisecond},
	}},
	site.PatternDenied: {Tones: []Tone{
		{Beep: true, For: 100 * time.Millisecond}, {For: 100 * time.Millisecond},
		{Beep: true, For: 100 * time.Millisecond}, {For: 100 * time.Millisecond},
		{Beep: true, For: 100 * time.Millisecond},
	}},
	site.PatternError: {Tones: []Tone{{LED: true, Beep: true, For: time.Second}}},
	site.PatternWaiting: {Repeat: 15 * time.Second, Tones: []Tone{
		{LED: true, For: 250 * time.Millisecond}, {For: 250 * time.Millisecond},
	}},
	site.PatternLockdown: {Tones: []Tone{
		{LED: true, Beep: true, For: 100 * time.Millisecond}, {For: 100 * time.Millisecond},
		{LED: true, Beep: true, For: 100 * time.Millisecond}, {For: 100 * time.Millisecond},
		{LED: true, Beep: true, For: 600 * time.Millisecond},
	}},
}

// SignalOf returns the usual signal of a pattern; the empty one for PatternNone
// and for one that is not known. The tones are shared and must not be changed.
func SignalOf(p site.Pattern) Signal { return signals[p] }

// SignalOf returns the signal of a pattern at this reader: its own, or the usual
// one. The tones are shared and must not be changed.
func (c WiegandConfig) SignalOf(p site.Pattern) Signal {
	if s, ok := c.Feedback[p]; ok {
		return s
	}
	return SignalOf(p)
}

// Outputs is what Feedback needs of a hal.Board.
type Outputs interface {
	Output(hal.Output) (hal.OutputLine, error)
}

// Feedback shows patterns at one reader. It is a task; Play may be called from
// any goroutine, before, while and after it runs.
type Feedback struct {
	cfg   WiegandConfig
	board Outputs
	log   *slog.Logger
	next  chan site.Pattern // capacity 1: the newest that was not begun
	had   func()            // called when the lines were claimed; may be nil
}

// NewFeedback returns the feedback of a reader. Without LED and beeper in cfg it
// does nothing. log may be nil.
func NewFeedback(cfg WiegandConfig, board Outputs, log *slog.Logger) *Feedback {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Feedback{cfg: cfg, board: board, log: log, next: make(chan site.Pattern, 1)}
}

// Play shows p from its beginning. It does not wait; the newest pattern wins
// over one that plays or was not begun. PatternNone ends what plays.
func (f *Feedback) Play(p site.Pattern) {
	for {
		select {
		case f.next <- p:
			return
		default:
		}
		select {
		case <-f.next:
		default:
		}
	}
}

// lamp is one claimed output of the reader.
type lamp struct {
	line   hal.OutputLine
	name   hal.LineName
	on     hal.Level
	broken bool // the last Set failed; told once
}

// Run claims the lines, plays until ctx ends, and leaves both off. It returns
// nil when ctx ends, and an error when a line cannot be claimed; LED and beeper
// are de-energised in every case. A Set that fails is logged once and tried
// again with the next tone.
func (f *Feedback) Run(ctx context.Context) error {
	led, err := f.claim(f.cfg.LED, f.cfg.LEDOn)
	if err != nil {
		return err
	}
	defer f.release(led)
	beep, err := f.claim(f.cfg.Beeper, f.cfg.BeepOn)
	if err != nil {
		return err
	}
	defer f.release(beep)
	if f.had != nil {
		f.had()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-f.next:
			for again := true; again; {
				p, again = f.play(ctx, f.cfg.SignalOf(p), led, beep)
			}
		}
	}
}

// play plays one signal until its end, or until there is a newer one, which it
// returns.
func (f *Feedback) play(ctx context.Context, s Signal, led, beep *lamp) (site.Pattern, bool) {
	defer f.set(led, false)
	defer f.set(beep, false)
	t := time.NewTimer(0)
	defer t.Stop()
	for begin := time.Now(); ; {
		for _, tone := range s.Tones {
			f.set(led, tone.LED)
			f.set(beep, tone.Beep)
			t.Reset(tone.For)
			select {
			case <-t.C:
			case <-ctx.Done():
				return site.PatternNone, false
			case p := <-f.next:
				return p, true
			}
		}
		if len(s.Tones) == 0 || time.Since(begin) >= s.Repeat {
			return site.PatternNone, false
		}
	}
}

func (f *Feedback) claim(name hal.LineName, on hal.Level) (*lamp, error) {
	if name == "" {
		return nil, nil
	}
	line, err := f.board.Output(hal.Output{Line: name, Initial: !on})
	if err != nil {
		return nil, fmt.Errorf("reader feedback: claim %s: %w", name, err)
	}
	return &lamp{line: line, name: name, on: on}, nil
}

func (f *Feedback) set(l *lamp, on bool) {
	if l == nil {
		return
	}
	v := l.on
	if !on {
		v = !v
	}
	err := l.line.Set(v)
	if err != nil && !l.broken {
		f.log.Warn("reader feedback is not shown", "line", string(l.name), "err", err)
	}
	l.broken = err != nil
}

func (f *Feedback) release(l *lamp) {
	if l == nil {
		return
	}
	f.set(l, false)
	if err := l.line.Close(); err != nil && !errors.Is(err, hal.ErrClosed) {
		f.log.Warn("reader feedback line was not given back", "line", string(l.name), "err", err)
	}
}

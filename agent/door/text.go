package door

import (
	"fmt"
	"strings"
	"time"

	"gatehouse/agent/site"
)

// The texts of events. [Replay] reads them.
const (
	textHeldBack  = "held back by an interlock"
	textRepeated  = "pressed again: opened in spite of an interlock"
	textInFire    = "fire: opened in spite of an interlock"
	textTamper    = "door"
	textReleased  = "door released"
	textCut       = "locked by an interlock"
	textOut       = "way out"
	textADA       = "longer times"
	textSecond    = "second person"
	textSchedule  = "schedule"
	textFirstIn   = "schedule, after the first person since "
	textSeparator = "; "
	// Of a mode event by which a lockdown is over (agent/gateway tells hosts so).
	textLockdownEnded = "lockdown ended"
	bySchedule        = "schedule"
	byInterlock       = "interlock"
)

// text is the text of the events of an access: what the decision notes and that
// the reader leads out.
func (a *Access) text() string {
	switch {
	case !a.Out:
		return a.Note
	case a.Note == "":
		return textOut
	}
	return a.Note + textSeparator + textOut
}

// text is the text of a grant's event: that of its access, then what the
// credential does beyond opening.
func (in Grant) text() string {
	var out []string
	if text := in.Access.text(); text != "" {
		out = append(out, text)
	}
	if in.ADA {
		out = append(out, textADA)
	}
	if in.Function != site.FunctionNorm {
		out = append(out, in.Function.String())
	}
	if in.First != nil {
		out = append(out, textSecond)
	}
	return strings.Join(out, textSeparator)
}

// readText takes a text of [Grant.text] apart.
func (in *Grant) readText(text string) (second bool) {
	words := strings.Split(text, textSeparator)
	for ; len(words) > 0; words = words[:len(words)-1] {
		last := words[len(words)-1]
		f, err := site.ParseFunction(last)
		switch {
		case last == textSecond:
			second = true
		case last == textOut:
			in.Out = true
		case last == textADA:
			in.ADA = true
		case err == nil && last != "" && last == f.String():
			in.Function = f
		default:
			in.Note = strings.Join(words, textSeparator)
			return second
		}
	}
	in.Note = ""
	return second
}

// scheduleText is the text of the event of a schedule's change.
func scheduleText(s Schedule) string {
	if !s.FirstIn {
		return textSchedule
	}
	return textFirstIn + s.Since.Format(time.RFC3339Nano)
}

// readSchedule reads the event of a schedule's change.
func readSchedule(e site.Event) (s Schedule, err error) {
	if s.Mode, err = site.ParseMode(e.Mode); err != nil {
		return s, err
	}
	since, first := strings.CutPrefix(e.Text, textFirstIn)
	if !first {
		return s, nil
	}
	s.FirstIn = true
	if s.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
		return s, fmt.Errorf("first person since %q: %w", since, err)
	}
	return s, nil
}

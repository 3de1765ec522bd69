package notify

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"gatehouse/agent/site"
)

// ackItem begins the Item of a command event that acknowledges an alarm; the
// alarm's number follows.
const ackItem = "alarm:"

// Item is the Item of fault events about a receiver.
func Item(id string) string { return itemPrefix + id }

const itemPrefix = "notify:"

// chooser says which events a receiver gets.
type chooser struct {
	id   string
	on   []site.Kind
	acks bool
	log  Log
}

func newChooser(c Config, log Log) chooser {
	ch := chooser{id: c.ID, on: c.On, log: log}
	ch.acks = len(c.On) == 0 || slices.Contains(c.On, site.KindCommand)
	if len(ch.on) == 0 {
		ch.on = AlarmKinds()
	}
	return ch
}

// wants reports whether ev is sent. It reads the log only for an
// acknowledgement; the error is that of the log.
func (c *chooser) wants(ctx context.Context, ev *site.Event) (bool, error) {
	if n, ok := acknowledged(ev); ok {
		return c.wantsAck(ctx, n)
	}
	return c.wantsKind(ev), nil
}

// seen is an event as the receiver may see it: of an access under duress the
// alarm, where it gets those, else an access like any other.
func (c *chooser) seen(ev *site.Event) site.Event {
	open, alarm, ok := ev.Duress()
	if ok && slices.Contains(c.on, site.KindDuress) {
		return alarm
	}
	return open
}

func (c *chooser) wantsKind(ev *site.Event) bool {
	switch {
	case ev.Kind == site.KindFault && ev.Item == Item(c.id):
		return false
	case (ev.Kind == site.KindDuress || ev.As == site.KindDuress) && !slices.Contains(c.on, site.KindDuress):
		return false
	}
	return slices.Contains(c.on, ev.Kind) || ev.As != "" && slices.Contains(c.on, ev.As)
}

// wantsAck looks the alarm up. One that is not kept any more could be any.
func (c *chooser) wantsAck(ctx context.Context, alarm site.EventSeq) (bool, error) {
	if !c.acks {
		return false, nil
	}
	evs, err := c.log.Read(ctx, alarm, 1, 0)
	if err != nil || len(evs) == 0 || evs[0].Seq != alarm {
		return false, err
	}
	if _, duress, ok := evs[0].Duress(); ok {
		return c.wantsKind(&duress), nil
	}
	return c.wantsKind(&evs[0]), nil
}

// acknowledged returns the number of the alarm that ev acknowledges.
func acknowledged(ev *site.Event) (site.EventSeq, bool) {
	id, ok := strings.CutPrefix(ev.Item, ackItem)
	if !ok || ev.Kind != site.KindCommand {
		return 0, false
	}
	n, err := strconv.ParseUint(id, 10, 64)
	return site.EventSeq(n), err == nil
}

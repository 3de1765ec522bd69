package door_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"gatehouse/agent/access"
	cardbits "gatehouse/agent/card"
	"gatehouse/agent/door"
	"gatehouse/agent/site"

	"github.com/google/go-cmp/cmp"
)

// keypad is a decider with a few people in it: pin-… cards want the PIN 4711,
// two-… cards a second person, both-… cards a PIN and then a second person.
// It reuses its record, as the real one may, and notes what it was told waits.
type keypad struct {
	record site.Credential
	seen   []string
}

// bits makes a card of a name.
func bits(name string) cardbits.Bits {
	b, err := cardbits.NewBits(8*len(name), []byte(name))
	if err != nil {
		panic(err)
	}
	return b
}

func (k *keypad) Decide(p door.Presented, w *door.Pending, _ site.Mode) door.Decision {
	note := string(p.Reader) + " " + nameOf(p)
	for x := w; x != nil; x = x.First {
		note += fmt.Sprintf(" <- %s %s", nameOf(x.Presented), x.Decision.Reason)
	}
	k.seen = append(k.seen, note)
	name := nameOf(p)
	pin := p.PIN != ""
	first := w
	completes := false
	if p.Bits.Len() == 0 {
		if w == nil || w.Decision.Reason != site.ReasonPINRequired {
			return door.Decision{Decision: access.Decision{Reason: site.ReasonUnknownCredential}}
		}
		name, first, completes = string(w.Decision.Credential.ID), w.First, true
	}
	k.record = site.Credential{ID: site.CredentialID(name), Holder: site.HolderID(name)}
	out := door.Decision{Decision: access.Decision{Credential: &k.record}, Completes: completes}
	kind, _, _ := cutName(name)
	switch {
	case kind == "bad":
		out.Reason = site.ReasonRevoked
	case (kind == "pin" || kind == "both" || kind == "lone") && !pin:
		out.Outcome, out.Reason = access.Waiting, site.ReasonPINRequired
	case pin && string(p.PIN) != "4711":
		out.Reason = site.ReasonPINWrong
	case kind == "lone":
		out.Outcome, out.Reason, out.Alone = access.Granted, site.ReasonGranted, true
	case first != nil && first.Decision.Credential.ID != k.record.ID && kind != "two":
		out.Outcome, out.Reason, out.Completes = access.Granted, site.ReasonGranted, true
	case kind == "two" || kind == "both":
		out.Outcome, out.Reason = access.Waiting, site.ReasonSecondPersonRequired
	default:
		out.Outcome, out.Reason = access.Granted, site.ReasonGranted
	}
	return out
}

func cutName(name string) (kind, rest string, ok bool) {
	for i, c := range name {
		if c == '-' {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

func nameOf(p door.Presented) string {
	if p.Bits.Len() == 0 {
		return "pin"
	}
	b := p.Bits.Bytes()
	return string(b[:p.Bits.Len()/8])
}

// show is one thing presented, so long after the one before.
type show struct {
	reader site.ReaderID
	card   string
	pin    site.PIN
}

func (b *bench) show(t *testing.T, x show) door.Result {
	t.Helper()
	p := door.Presented{Reader: x.reader, PIN: x.pin}
	if x.card != "" {
		p.Bits = bits(x.card)
	}
	r, err := b.door.Present(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPending(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []show
		want []string // events
		seen []string // by the decider
	}{
		{
			"a wrong PIN ends it", []show{{"in", "pin-a", ""}, {"in", "", "1"}, {"in", "", "4711"}},
			[]string{"access pin_wrong pin-a", "access unknown_credential"},
			[]string{"in pin-a", "in pin <- pin-a pin_required", "in pin"},
		},
		{
			"a PIN at another reader is not its", []show{{"in", "pin-a", ""}, {"out", "", "4711"}},
			[]string{"access unknown_credential", "access pin_required pin-a"},
			[]string{"in pin-a", "out pin"},
		},
		{
			"a PIN opens", []show{{"in", "pin-a", ""}, {"in", "", "4711"}},
			[]string{"access granted pin-a", "unused granted pin-a"},
			[]string{"in pin-a", "in pin <- pin-a pin_required"},
		},
		{
			"two cards wait at two readers", []show{{"in", "pin-a", ""}, {"out", "pin-b", ""}, {"in", "", "4711"}, {"out", "", "4711"}},
			[]string{"access granted pin-a", "access granted pin-b", "unused granted pin-b x2"},
			[]string{"in pin-a", "out pin-b", "in pin <- pin-a pin_required", "out pin <- pin-b pin_required"},
		},
		{
			"another card takes its place", []show{{"in", "pin-a", ""}, {"in", "bad-b", ""}, {"in", "", "4711"}},
			[]string{"access pin_required pin-a", "access revoked bad-b", "access unknown_credential"},
			[]string{"in pin-a", "in bad-b", "in pin"},
		},
		{
			"the same card again waits on", []show{{"in", "pin-a", ""}, {"in", "pin-a", ""}, {"in", "", "4711"}},
			[]string{"access granted pin-a", "unused granted pin-a"},
			[]string{"in pin-a", "in pin-a", "in pin <- pin-a pin_required"},
		},
		{
			"a second person at the other reader", []show{{"in", "two-a", ""}, {"out", "b", ""}},
			[]string{"access granted two-a", "access second person granted b", "unused granted b"},
			[]string{"in two-a", "out b <- two-a second_person_required"},
		},
		{
			"the same one is no second person", []show{{"in", "two-a", ""}, {"in", "two-a", ""}},
			[]string{"access second_person_required two-a"},
			[]string{"in two-a", "in two-a <- two-a second_person_required"},
		},
		{
			"one who is refused does not end the wait", []show{{"in", "two-a", ""}, {"in", "bad-b", ""}, {"in", "c", ""}},
			[]string{"access revoked bad-b", "access granted two-a", "access second person granted c", "unused granted c"},
			[]string{"in two-a", "in bad-b <- two-a second_person_required", "in c <- two-a second_person_required"},
		},
		{
			"one who needs one himself takes his place", []show{{"in", "two-a", ""}, {"in", "two-b", ""}, {"in", "c", ""}},
			[]string{"access second_person_required two-a", "access granted two-b", "access second person granted c", "unused granted c"},
			[]string{"in two-a", "in two-b <- two-a second_person_required", "in c <- two-b second_person_required"},
		},
		{
			"one who passes alone by a PIN does not end the wait", []show{{"in", "two-a", ""}, {"in", "lone-b", ""}, {"in", "", "4711"}},
			[]string{"access granted lone-b", "unused granted lone-b", "access second_person_required two-a"},
			[]string{
				"in two-a", "in lone-b <- two-a second_person_required", "in pin <- lone-b pin_required <- two-a second_person_required",
			},
		},
		{
			"a PIN, a second person, and his PIN", []show{{"in", "both-a", ""}, {"in", "", "4711"}, {"in", "pin-b", ""}, {"in", "", "4711"}},
			[]string{"access granted both-a", "access second person granted pin-b", "unused granted pin-b"},
			[]string{
				"in both-a", "in pin <- both-a pin_required", "in pin-b <- both-a second_person_required",
				"in pin <- pin-b pin_required <- both-a second_person_required",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &keypad{}
				b := setUp(t, front(), func(_ *bench, d *door.Deps) { d.Decider = k })
				for _, x := range tt.in {
					b.show(t, x)
					k.record = site.Credential{ID: "overwritten"}
					after(s)
				}
				after(20 * s)
				b.stop()
				b.wantEvents(t, tt.want...)
				if diff := cmp.Diff(tt.seen, k.seen); diff != "" {
					t.Errorf("decided (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// What waits is wiped at its deadline and by a lockdown, each recorded.
func TestPendingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keypad{}
		b := setUp(t, front(), func(_ *bench, d *door.Deps) { d.Decider = k })
		b.show(t, show{"in", "pin-a", ""})
		after(door.WaitTime - ms)
		b.wantEvents(t)
		after(ms)
		b.show(t, show{"in", "", "4711"}) // too late
		b.show(t, show{"in", "pin-a", ""})
		b.show(t, show{"in", "two-b", ""})
		b.command(t, do(door.OpLockdown))
		b.command(t, do(door.OpRelease))
		b.show(t, show{"in", "", "4711"})
		b.show(t, show{"in", "c", ""})
		b.stop()
		b.wantEvents(t, "access pin_required pin-a", "access unknown_credential",
			"access pin_required pin-a", "command lockdown by cli", "mode lockdown by cli", "access lockdown two-b",
			"command release by cli", "mode lockdown ended secured", "access unknown_credential", "access granted c")
	})
}

// people is a fake door.Passages.
type people struct{ in, out []site.HolderID }

func (p *people) Passed(a door.Access)    { p.in = append(p.in, a.Holder) }
func (p *people) NotPassed(a door.Access) { p.out = append(p.out, a.Holder) }

// A grant that was not used when the run ends was not used.
func TestPassagesAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &people{}
		b := setUp(t, front(), func(_ *bench, d *door.Deps) { d.Passages = p })
		b.present(t)
		b.board.Drive("GPIO23", true)
		after(s)
		b.board.Drive("GPIO23", false)
		after(20 * s)
		b.present(t)
		b.stop()
		if diff := cmp.Diff(people{in: []site.HolderID{"ada"}, out: []site.HolderID{"ada"}}, *p, cmp.AllowUnexported(people{})); diff != "" {
			t.Errorf("passages (-want +got):\n%s", diff)
		}
	})
}

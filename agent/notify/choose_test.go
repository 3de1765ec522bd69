package notify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
)

func TestChoice(t *testing.T) {
	ack := func(n int) site.Event {
		return site.Event{Kind: site.KindCommand, Item: fmt.Sprintf("alarm:%d", n), By: "grace"}
	}
	events := []site.Event{ // by index; the number is one more
		0: {Kind: site.KindDoorForced},
		1: {Kind: site.KindDoorForced, Cleared: true},
		2: {Kind: site.KindDuress},
		3: {Kind: site.KindAccess, Reason: site.ReasonGranted},
		4: {Kind: site.KindFault, Item: "notify:desk"},
		5: {Kind: site.KindFault, Item: "notify:other"},
		6: {Kind: site.KindLockAudit, As: site.KindTamper},
		7: {Kind: site.KindLockAudit, As: site.KindAccess},
		8: {Kind: site.KindLockAudit, As: site.KindDuress},
		ack(1), ack(3), ack(4), ack(99), ack(6),
		14: {Kind: site.KindCommand, Text: "unlock"},
		15: {Kind: site.KindPanic},
		16: {Kind: site.KindDoorHeldWarning},
		17: {Kind: site.KindPolicy, Sealed: []byte("card")},
		18: {Kind: site.KindAccess, Reason: site.ReasonGranted, As: site.KindDuress},
		ack(19),
	}
	for _, tt := range []struct {
		name string
		on   []site.Kind
		want []site.EventSeq
	}{
		{"all alarms", nil, seqs(1, 2, 6, 7, 10, 14, 16)},
		{"forced", []site.Kind{site.KindDoorForced}, seqs(1, 2)},
		{"duress and commands", []site.Kind{site.KindDuress, site.KindCommand}, seqs(3, 9, 11, 15, 19, 20)},
		{"locks", []site.Kind{site.KindLockAudit}, seqs(7, 8)},
		{"forced and commands", []site.Kind{site.KindDoorForced, site.KindCommand}, seqs(1, 2, 10, 15)},
		{"policy", []site.Kind{site.KindPolicy}, seqs(18)},
		{"access and commands", []site.Kind{site.KindAccess, site.KindCommand}, seqs(4, 8, 12, 15, 19)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, d := hooked(t, notify.Config{On: tt.on})
				p.start()
				for _, ev := range events {
					p.log.Append(ev)
				}
				after(time.Second)
				p.want("sent", d.got(), tt.want)
				for _, c := range d.tried() {
					if strings.Contains(string(c.raw), "sealed") {
						t.Errorf("sealed content went out: %s", c.raw)
					}
					if !slices.Contains(tt.on, site.KindDuress) && strings.Contains(string(c.raw), "duress") && !strings.Contains(string(c.raw), "lock_audit") {
						t.Errorf("duress went out: %s", c.raw)
					}
				}
			})
		})
	}
}

func TestSettings(t *testing.T) {
	deps := newPlace(t, notify.Config{}).deps
	long := make([]string, 101)
	for i := range long {
		long[i] = "a@site.example"
	}
	for _, tt := range []struct {
		cfg  notify.Config
		want string
	}{
		{notify.Config{Webhook: "http://x"}, "id is empty"},
		{notify.Config{ID: "a"}, "either a webhook or mail"},
		{notify.Config{ID: "a", Webhook: "http://x", Mail: []string{"a@b.c"}}, "either a webhook or mail"},
		{notify.Config{ID: "a", Webhook: "ftp://x/token"}, "want http://"},
		{notify.Config{ID: "a", Webhook: "http://\x7f/token"}, "not a URL"},
		{notify.Config{ID: "a", Webhook: "https:///token"}, "and a host"},
		{notify.Config{ID: "a", Webhook: "http://x", On: []site.Kind{"door_forcd"}}, `"door_forcd"`},
		{notify.Config{ID: "a", Mail: []string{"a@b.c"}}, "smtp"},
		{notify.Config{ID: "a", Mail: []string{"a@b.c"}, SMTP: "http://b.c"}, "smtp"},
		{notify.Config{ID: "a", Mail: []string{"a@b.c"}, SMTP: "smtp://u:p@b.c"}, "smtp"},
		{notify.Config{ID: "a", Mail: []string{"a@b.c\r\nRCPT TO:<x@y.z>"}, SMTP: "b.c"}, "plain mail address"},
		{notify.Config{ID: "a", Mail: []string{`"a b"@b.c`}, SMTP: "b.c"}, "plain mail address"},
		{notify.Config{ID: "a", Mail: []string{"Ada <a@b.c>"}, SMTP: "b.c"}, "plain mail address"},
		{notify.Config{ID: "a", Mail: []string{"ä@b.c"}, SMTP: "b.c"}, "plain mail address"},
		{notify.Config{ID: "a", Mail: []string{"a@b.c"}, SMTP: "b.c", From: "x\ny@z"}, "from: "},
		{notify.Config{ID: "a", Mail: long, SMTP: "b.c"}, "101 addresses"},
	} {
		_, err := notify.New(tt.cfg, deps)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "token") {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.want)
		}
	}
	if _, err := notify.New(notify.Config{ID: "a", Webhook: "http://x"}, notify.Deps{}); err == nil {
		t.Error("a receiver without a log was made")
	}
	s := notify.Secret("hunter2")
	if text := fmt.Sprintf("%v %s %#v %x %q", s, s, s, s, notify.Config{Password: s}); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
		t.Errorf("a secret was printed: %s", text)
	}
}

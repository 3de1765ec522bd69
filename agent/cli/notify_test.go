package cli_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
)

// receivers are those of the agent that the commands see.
var receivers = []control.NotifyStatus{
	{ID: "desk", Kind: "webhook", To: "https://desk.example", Sent: 7, LastSent: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)},
	{ID: "night", Kind: "mail", To: "mail.site.example:587", Queued: 3, More: true, Skipped: 1, Error: "535 5.7.8 wrong name or password",
		RetryAt: time.Date(2026, 11, 21, 12, 5, 0, 0, time.UTC)},
}

// TestNotify answers for the receiver desk and refuses for night.
func (a *agent) TestNotify(_ context.Context, id string) (string, error) {
	switch id {
	case "desk":
		return "204 No Content", nil
	case "night":
		return "", fmt.Errorf("%w: notify night: mail.site.example:587: sign-in: 535 5.7.8 wrong name or password", control.ErrRefused)
	}
	return "", fmt.Errorf("receiver %q: %w in the settings", id, control.ErrNotFound)
}

func TestNotify(t *testing.T) {
	a := newAgent(t)
	for _, tt := range []struct {
		args string
		code int
		want []string // parts of what is printed
	}{
		{"notify test desk", 0, []string{"receiver desk took the test message: 204 No Content"}},
		{"notify test desk --json", 0, []string{`"answer":"204 No Content"`}},
		{"notify test night", 1, []string{"sign-in: 535 5.7.8 wrong name or password"}},
		{"notify test nobody", 1, []string{`receiver "nobody": not found in the settings`}},
		{"notify test no/body", 1, []string{"bad input: receiver", "'/'"}},
		{"notify test", 2, []string{"accepts 1 arg"}},
		{"notify", 2, []string{"notify"}},
		{"notify list", 0, []string{"desk", "https://desk.example", "2026-11-21 12:00:00", "3+", "535 5.7.8"}},
		{"notify list --json", 0, []string{`"queued":3`, `"skipped":1`, `"last_sent":"2026-11-21T12:00:00Z"`}},
		{"status", 0, []string{"receiver desk (webhook, https://desk.example): 0 waiting, last sent 2026-11-21 12:00:00\n",
			"receiver night (mail, mail.site.example:587): 3+ waiting, last sent -, ERROR 535 5.7.8 wrong name or password\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := a.run(strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			for _, w := range tt.want {
				if !strings.Contains(stdout+stderr, w) {
					t.Errorf("%q is not in:\n%s%s", w, stdout, stderr)
				}
			}
		})
	}
}

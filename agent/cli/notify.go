package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
)

func notifyCommand(e *env) *cobra.Command {
	return group("notify", "Look at the receivers of alarms and try them", notifyListCommand(e), notifyTestCommand(e))
}

func notifyListCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the receivers, what waits for them and what went wrong", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var st control.Status
			if err := c.Get(ctx, "/v1/status", nil, &st); err != nil {
				return err
			}
			if e.json {
				if st.Notify == nil {
					st.Notify = []control.NotifyStatus{}
				}
				return e.printJSON(st.Notify)
			}
			rows := [][]string{{"ID", "KIND", "TO", "WAITING", "SENT", "SKIPPED", "LAST SENT", "NEXT TRY", "LAST ERROR"}}
			for _, n := range st.Notify {
				rows = append(rows, []string{n.ID, n.Kind, n.To, waiting(n), strconv.FormatUint(n.Sent, 10), strconv.FormatUint(n.Skipped, 10),
					e.showTime(n.LastSent), e.showTime(n.RetryAt), orDash(n.Error)})
			}
			return e.table(rows)
		})}
}

// waiting is the length of a receiver's queue.
func waiting(n control.NotifyStatus) string {
	return strconv.Itoa(n.Queued) + word(n.More && n.Queued > 0, "+", "")
}

func notifyTestCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "test ID", Short: "Send a test message now and say what the receiver answered", Args: cobra.ExactArgs(1),
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			var answer control.NotifyAnswer
			if err := c.Do(ctx, http.MethodPost, "/v1/notify/"+url.PathEscape(args[0])+"/test", nil, &answer); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(answer)
			}
			return e.done("receiver %s took the test message: %s", answer.ID, answer.Answer)
		})}
}

// showNotify writes the receivers' part of status.
func (e *env) showNotify(list []control.NotifyStatus) {
	for _, n := range list {
		fmt.Fprintf(e.out, "receiver %s (%s, %s): %s waiting, last sent %s%s\n", n.ID, n.Kind, n.To, waiting(n), e.showTime(n.LastSent),
			word(n.Error == "", "", ", ERROR "+n.Error))
	}
}

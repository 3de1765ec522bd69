package cli

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
)

func certCommand(e *env) *cobra.Command {
	return group("cert", "Look at certificates and fetch the root of the IP host", certListCommand(e), certFetchCommand(e))
}

func certListCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the agent's certificate and the pinned root of the IP host", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			list := []control.CertStatus{}
			if err := c.Get(ctx, "/v1/certs", nil, &list); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(list)
			}
			rows := [][]string{{"NAME", "SUBJECT", "UNTIL", "FETCHED", "SHA-256", "ERROR"}}
			for _, x := range list {
				rows = append(rows, []string{x.Name, orDash(x.Subject), e.showTime(x.Until), e.showTime(x.Fetched), orDash(shortSum(x.SHA256)), orDash(x.Error)})
			}
			return e.table(rows)
		})}
}

func shortSum(hex string) string { return hex[:min(len(hex), 16)] }

func certFetchCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "fetch", Short: "Fetch the root certificate of the IP host again and pin it", Args: cobra.NoArgs,
		Long: `Asks the CA server of the settings (uplink.ca_url) for the root certificate of the
IP host. It is pinned when its hash under the site key is right; otherwise the old
one stays.`,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var x control.CertStatus
			if err := c.Do(ctx, http.MethodPost, "/v1/certs/root/fetch", nil, &x); err != nil {
				return err
			}
			for _, w := range x.Warnings {
				fmt.Fprintln(e.err, "gatehouse: warning:", w)
			}
			return e.say(x, "the root %s is pinned, valid until %s, sha256 %s", x.Subject, e.showTime(x.Until), x.SHA256)
		})}
}

// showUplink writes the uplink's part of status.
func (e *env) showUplink(u *control.UplinkStatus) {
	if u == nil {
		return
	}
	fmt.Fprintf(e.out, "uplink %s: %s since %s; %d events wait, %d sent, %d requests answered\n", u.Server,
		word(u.Connected, "connected", "NOT connected"), e.showTime(u.Since), u.Waiting, u.Sent, u.Requests)
	if len(u.Subscribed) > 0 {
		fmt.Fprintf(e.out, "  subscribed to: %s\n", strings.Join(u.Subscribed, ", "))
	}
	for _, s := range u.Stages {
		line := s.Detail
		if s.State == "failed" {
			line = s.Cause + "; do: " + s.Do
		}
		fmt.Fprintf(e.out, "  %-13s %-8s %s\n", s.Name, s.State, line)
	}
	if !u.Connected && !u.NextTry.IsZero() {
		fmt.Fprintf(e.out, "  attempt %s at %s\n", strconv.Itoa(u.Attempts+1), e.showTime(u.NextTry))
	}
	if u.Renewal != "" {
		fmt.Fprintf(e.out, "  not renewed yet: %s\n", u.Renewal)
	}
}

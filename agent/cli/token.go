package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
)

func adminCommand(e *env) *cobra.Command {
	return group("admin", "Manage who may use this agent over the network", tokenCommand(e))
}

func tokenCommand(e *env) *cobra.Command {
	return group("token", "Manage the bearer tokens of this device", tokenAddCommand(e), tokenListCommand(e), tokenRevokeCommand(e))
}

func tokenAddCommand(e *env) *cobra.Command {
	var name, lifetime string
	var scopes []string
	c := &cobra.Command{Use: "add --name NAME [--scope SCOPE]... [--lifetime 24h]", Short: "Make a token; it is printed this once", Args: cobra.NoArgs,
		Long: `Makes a token and prints it, and nothing else, on standard output. It is kept
nowhere: who loses it makes another.

A request carries it as "Authorization: Bearer TOKEN". Scopes: gateway reads the
gateway's resources (gateway.local), gateway-control changes them; bacnet,
config and auth are those of BACnet. A token for changing does not read by itself.`,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			order := control.TokenOrder{Name: name, Scopes: scopes}
			if name == "" {
				return usagef("say whose token it is: --name NAME")
			}
			if lifetime != "" {
				life, err := config.ParseDuration(lifetime)
				if err != nil || life <= 0 {
					return usagef("lifetime %q: want a time as 12h or 30d", lifetime)
				}
				order.Lifetime = control.Duration(life)
			}
			var made control.TokenMade
			if err := c.Do(ctx, http.MethodPost, "/v1/tokens", order, &made); err != nil {
				return err
			}
			if made.Warning != "" {
				fmt.Fprintln(e.err, "gatehouse: warning:", made.Warning)
			}
			if e.json {
				return e.printJSON(made)
			}
			_, err := fmt.Fprintln(e.out, made.Token)
			return err
		})}
	c.Flags().StringVar(&name, "name", "", "whose token it is; events name it in by")
	c.Flags().StringSliceVar(&scopes, "scope", nil, "what it allows (gateway when absent); may be repeated")
	c.Flags().StringVar(&lifetime, "lifetime", "", "how long it holds, as 24h or 30d (bacnet.token_lifetime, else 24h, when absent)")
	return c
}

func tokenListCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the tokens, also those that ended lately", Args: cobra.NoArgs,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, _ []string) error {
			var list []control.TokenStatus
			if err := c.Get(ctx, "/v1/tokens", nil, &list); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(list)
			}
			t := e.newTable([]string{"ID", "NAME", "STATE", "SCOPES", "MADE", "BY", "UNTIL", "LAST USED"})
			for _, k := range list {
				until := k.Until
				if !k.Revoked.IsZero() {
					until = k.Revoked
				}
				if err := t.add([]string{k.ID, k.Name, k.State, strings.Join(k.Scopes, " "), e.showTime(k.Made), k.By, e.showTime(until), e.showTime(k.Used)}); err != nil {
					return err
				}
			}
			return t.flush()
		})}
}

func tokenRevokeCommand(e *env) *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "revoke ID|--all", Short: "End a token; it passes never again", Args: cobra.MaximumNArgs(1),
		Long: `Ends the token with this id (admin token list). --all ends every token and
replaces the keys: what to do when STATE/oauth.json may have been read.`,
		RunE: e.withClient(func(ctx context.Context, c *control.Client, args []string) error {
			if all == (len(args) == 1) {
				return usagef("name one token by its id, or --all")
			}
			if all {
				var ended []control.TokenStatus
				if err := c.Do(ctx, http.MethodPost, "/v1/tokens/revoke-all", nil, &ended); err != nil {
					return err
				}
				return e.say(ended, "%s revoked, the keys are replaced", counted(len(ended), "token"))
			}
			var t control.TokenStatus
			if err := c.Do(ctx, http.MethodPost, "/v1/tokens/"+url.PathEscape(args[0])+"/revoke", nil, &t); err != nil {
				return err
			}
			return e.say(t, "token %s of %s is revoked", t.ID, printable(t.Name))
		})}
	c.Flags().BoolVar(&all, "all", false, "end every token and replace the keys")
	return c
}

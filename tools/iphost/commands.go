package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/host"
)

func siteCommand(e *env) *cobra.Command {
	var keyFile string
	var q host.SiteRequest
	add := &cobra.Command{Use: "add NAME", Short: "Add a site; its key is made and printed once, or read from a file", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name = args[0]
			if keyFile != "" {
				b, err := os.ReadFile(keyFile)
				if err != nil {
					return fmt.Errorf("site %s: %w", q.Name, err)
				}
				if q.Key = strings.TrimSpace(string(b)); q.Key == "" {
					return fmt.Errorf("site %s: %s is empty", q.Name, keyFile)
				}
			}
			var s host.SiteStatus
			if err := e.manage(cmd.Context(), http.MethodPost, "/sites", q, &s); err != nil {
				return err
			}
			if e.json {
				return printJSON(cmd.OutOrStdout(), s)
			}
			if s.Key != "" {
				fmt.Fprintln(cmd.OutOrStdout(), s.Key)
			}
			return nil
		}}
	add.Flags().StringVar(&keyFile, "key-file", "", "file with the site key, 64 hex digits")
	add.Flags().StringVar(&q.Zone, "zone", "", "the site's time zone, such as Europe/Berlin: its gateways' clocks may show UTC or this")
	listing := &cobra.Command{Use: "list", Short: "List the sites", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []host.SiteStatus
			return e.list(cmd, "/sites", &list, func(w io.Writer) {
				fmt.Fprintln(w, "SITE\tZONE\tADDED")
				for _, s := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, s.Zone, s.Added.Format(time.RFC3339))
				}
			})
		}}
	return group("site", "Sites and their keys", add, listing, e.remover("remove", "Remove a site without gateways", "/sites/"))
}

func tokenCommand(e *env) *cobra.Command {
	var q host.TokenRequest
	add := &cobra.Command{Use: "add NAME", Short: "Make a broker's bearer token, printed once", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name = args[0]
			var t host.TokenStatus
			if err := e.manage(cmd.Context(), http.MethodPost, "/tokens", q, &t); err != nil {
				return err
			}
			if e.json {
				return printJSON(cmd.OutOrStdout(), t)
			}
			fmt.Fprintln(cmd.OutOrStdout(), t.Text)
			return nil
		}}
	add.Flags().StringVar(&q.Site, "site", "", "reach this site's gateways and events only")
	listing := &cobra.Command{Use: "list", Short: "List the tokens' names", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []host.TokenStatus
			return e.list(cmd, "/tokens", &list, func(w io.Writer) {
				fmt.Fprintln(w, "TOKEN\tSITE\tADDED")
				for _, t := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, t.Site, t.Added.Format(time.RFC3339))
				}
			})
		}}
	return group("token", "The broker's bearer tokens", add, listing, e.remover("revoke", "Revoke a token at once on all hosts", "/tokens/"))
}

func gatewayCommand(e *env) *cobra.Command {
	var site string
	add := &cobra.Command{Use: "add SERIAL", Short: "Say which site a gateway belongs to before it calls", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			serial, err := engage.ParseSerial(args[0])
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			return e.manage(cmd.Context(), http.MethodPost, "/gateways", host.GatewayRequest{Serial: serial, Site: site}, nil)
		}}
	add.Flags().StringVar(&site, "site", "", "its site")
	if err := add.MarkFlagRequired("site"); err != nil {
		panic(err) // the flag is defined above
	}
	listing := &cobra.Command{Use: "list", Short: "List the gateways: which site, connected to which host", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []host.GatewayStatus
			return e.list(cmd, "/gateways", &list, func(w io.Writer) {
				fmt.Fprintln(w, "GATEWAY\tSITE\tHOST\tADDRESS\tSINCE")
				for _, g := range list {
					at, since := "-", ""
					if g.Connected {
						at = g.Host
					}
					if g.Since != nil {
						since = g.Since.Format(time.RFC3339)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", g.Serial, g.Site, at, g.Remote, since)
				}
			})
		}}
	return group("gateway", "Gateways", add, listing, e.remover("forget", "Forget a gateway, its password and its site; its events stay", "/gateways/"))
}

func rootCertCommand(e *env) *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Print the root certificate that gateways trust, PEM", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r host.RootStatus
			if err := e.manage(cmd.Context(), http.MethodGet, "/root", nil, &r); err != nil {
				return err
			}
			if e.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			fmt.Fprint(cmd.OutOrStdout(), r.PEM)
			return nil
		}}
	reset := &cobra.Command{Use: "reset", Short: "Forget the root certificate; the next start makes a CA or brings the owner's", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.manage(cmd.Context(), http.MethodDelete, "/root", nil, nil)
		}}
	return group("root", "The root certificate", show, reset)
}

// remover is a command that removes one thing by its name.
func (e *env) remover(use, short, path string) *cobra.Command {
	return &cobra.Command{Use: use + " NAME", Short: short, Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.manage(cmd.Context(), http.MethodDelete, path+url.PathEscape(args[0]), nil, nil)
		}}
}

// list prints a listing as a table or as JSON.
func (e *env) list(cmd *cobra.Command, path string, into any, table func(io.Writer)) error {
	if err := e.manage(cmd.Context(), http.MethodGet, path, nil, into); err != nil {
		return err
	}
	if e.json {
		return printJSON(cmd.OutOrStdout(), into)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(v)
}

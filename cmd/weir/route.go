package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) routeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "route",
		Short:   "Show the routes of the HTTP tier, and which one a request takes",
		Example: "  weir route list\n  weir route explain GET https://www.example.org/app",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "list",
		Short:   "List routes in the order of the file",
		Example: "  weir route list\n  weir route list -o json | jq '.[].name'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client().Routes(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeRoutes(w, all) })
		},
	}, a.routeExplainCommand())
	return cmd
}

func writeRoutes(w io.Writer, all []wire.Route) {
	row(w, "ROUTE", "LISTENERS", "HOSTS", "PATH", "METHODS", "OTHERS", "ACTION", "FILTERS")
	for _, r := range all {
		others := ""
		if r.Others > 0 {
			others = count(uint64(r.Others))
		}
		row(w, r.Name, strings.Join(r.Listeners, ","), strings.Join(r.Hosts, ","), r.Path, strings.Join(r.Methods, ","),
			others, r.Action, strings.Join(r.Filters, ","))
	}
}

func (a *app) routeExplainCommand() *cobra.Command {
	var q wire.RouteQuestion
	var source string
	cmd := &cobra.Command{
		Use:   "explain METHOD URL",
		Short: "Say which route a request takes, and why",
		Long: `Says what the canonical path of a request is, which routes for its host and path
were looked at and why they do not fit, which one it takes, and which backends
that has now. Nothing is sent.`,
		Example: "  weir route explain GET https://www.example.org/app?x=1\n  weir route explain POST http://api.example.org/v1/items -H 'X-Beta: 1' --source 10.0.0.7 -o json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Method, q.URL = args[0], args[1]
			if source != "" {
				var err error
				if q.Source, err = netip.ParseAddr(source); err != nil {
					return usagef("--source %q is not an address", source)
				}
			}
			e, err := a.client().ExplainRoute(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.show(cmd, e, func(w io.Writer) { writeRouteExplanation(w, e) })
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&q.Header, "header", "H", nil, "header field 'NAME: VALUE', may be repeated")
	flags.StringVar(&source, "source", "", "address of the client")
	flags.StringVar(&q.Listener, "listener", "", "name of the listener; the first of the URL's scheme if left out")
	return cmd
}

func writeRouteExplanation(w io.Writer, e wire.RouteExplanation) {
	fmt.Fprintf(w, "listener\t%s\n", e.Listener)
	fmt.Fprintf(w, "path\t%s\n", e.Path)
	for _, t := range e.Tried {
		if t.Why != "" {
			fmt.Fprintf(w, "not\t%s: %s\n", t.Route, t.Why)
		}
	}
	if e.Route == nil {
		fmt.Fprintf(w, "refused\t%d: %s\n", e.Status, e.Why)
		return
	}
	fmt.Fprintf(w, "route\t%s\n", e.Route.Name)
	if len(e.Route.Filters) > 0 {
		fmt.Fprintf(w, "filters\t%s\n", strings.Join(e.Route.Filters, ", "))
	}
	fmt.Fprintf(w, "action\t%s\n", e.Route.Action)
	for _, p := range e.Pools {
		fmt.Fprintf(w, "pool\t%s, %.1f%% of the requests\n", p.Pool, 100*p.Share)
		for _, b := range p.Backends {
			state := "up"
			if !b.Up {
				state = "down"
			}
			fmt.Fprintf(w, "\t%s, %s, effective weight %g\n", b.Backend, state, b.Effective)
		}
	}
}

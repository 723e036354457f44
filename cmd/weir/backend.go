package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

func (a *app) backendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "backend",
		Short:   "Show and steer backends",
		Example: "  weir backend list\n  weir backend drain web/10.0.0.11:80",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.backendListCommand(), a.backendSetCommand(),
		a.backendChange("drain", "Give a backend no new flows; those it has finish",
			func(ctx context.Context, r ref) error { return a.client().Drain(ctx, r.pool, r.endpoint) }),
		a.backendChange("ready", "Remove a weight or drain that was set: the configured weight counts again",
			func(ctx context.Context, r ref) error { return a.client().Ready(ctx, r.pool, r.endpoint) }))
	return cmd
}

func (a *app) backendListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List backends with weights, shares and traffic",
		Example: "  weir backend list\n  weir backend list -o json | jq '.[] | {backend, share}'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client().Backends(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeBackends(w, all) })
		},
	}
}

func writeBackends(w io.Writer, all []wire.Backend) {
	row(w, "POOL", "BACKEND", "STATE", "WEIGHT", "EFFECTIVE", "SHARE", "ACTIVE", "FLOWS", "PACKETS", "BYTES", "NOTE")
	for _, b := range all {
		row(w, b.Pool, b.Backend.String(), b.State, strconv.Itoa(int(b.Weight)), fmt.Sprintf("%.4g", b.Effective),
			fmt.Sprintf("%.1f%%", 100*b.Share), count(b.Active), count(b.Flows), count(b.Packets), size(b.Bytes), note(b))
	}
}

func note(b wire.Backend) string {
	var all []string
	if b.Override != "" {
		all = append(all, "set: "+b.Override)
	}
	if !b.Resolved && b.State != wire.StateRetired {
		all = append(all, "no next hop")
	}
	return strings.Join(all, ", ")
}

func (a *app) backendSetCommand() *cobra.Command {
	var weight string
	cmd := &cobra.Command{
		Use:   "set POOL/ADDRESS:PORT --weight N",
		Short: "Set the weight of a backend",
		Long: `Sets the weight of a backend in place of the configured one, until "weir backend
ready". It outlives the daemon. When the command returns, it is in force.`,
		Example: "  weir backend set web/10.0.0.11:80 --weight 5",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseRef(args[0])
			if err != nil {
				return err
			}
			if weight == "" {
				return usagef("set needs --weight N, with N from 0 to %d", lb.MaxWeight)
			}
			w, err := strconv.ParseUint(weight, 10, 32)
			if err != nil || lb.Weight(w) > lb.MaxWeight {
				return usagef("weight %q is not a whole number from 0 to %d", weight, lb.MaxWeight)
			}
			if err := a.client().SetWeight(cmd.Context(), r.pool, r.endpoint, lb.Weight(w)); err != nil {
				return err
			}
			return a.showChange(cmd, r, "weight "+weight)
		},
	}
	cmd.Flags().StringVar(&weight, "weight", "", "weight from 0 to 1000")
	cmd.ValidArgsFunction = a.completeBackend
	return cmd
}

func (a *app) backendChange(verb, short string, do func(context.Context, ref) error) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " POOL/ADDRESS:PORT",
		Short:             short,
		Example:           "  weir backend " + verb + " web/10.0.0.11:80",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseRef(args[0])
			if err != nil {
				return err
			}
			if err := do(cmd.Context(), r); err != nil {
				return err
			}
			return a.showChange(cmd, r, verb)
		},
	}
}

// changed is what the verbs that change a backend answer.
type changed struct {
	OK      bool           `json:"ok"`
	Pool    string         `json:"pool"`
	Backend netip.AddrPort `json:"backend"`
	Change  string         `json:"change"`
}

func (a *app) showChange(cmd *cobra.Command, r ref, what string) error {
	return a.show(cmd, changed{true, r.pool, r.endpoint, what}, func(w io.Writer) {
		fmt.Fprintf(w, "%s/%s: %s, in force\n", r.pool, r.endpoint, what)
	})
}

// ref names a backend on the command line.
type ref struct {
	pool     string
	endpoint netip.AddrPort
}

func parseRef(s string) (ref, error) {
	pool, address, _ := strings.Cut(s, "/")
	ep, err := netip.ParseAddrPort(address)
	if pool == "" || err != nil {
		return ref{}, usagef("backend %q is not POOL/ADDRESS:PORT, such as web/10.0.0.11:80 or dns/[2001:db8::1]:53", s)
	}
	return ref{pool, ep}, nil
}

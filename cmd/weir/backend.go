package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

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
	cmd.AddCommand(a.backendListCommand(), a.backendOverridesCommand(), a.backendSetCommand(), a.backendDrainCommand(), a.backendReadyCommand())
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

// termFlags are --for and --reason.
func termFlags(cmd *cobra.Command) *wire.Term {
	t := &wire.Term{}
	cmd.Flags().StringVar(&t.For, "for", "", "how long it lasts, such as 10m; without, until weir backend ready")
	cmd.Flags().StringVar(&t.Reason, "reason", "", "why, for those who see it later")
	return t
}

func checkTerm(t *wire.Term) error {
	if t.For == "" {
		return nil
	}
	if d, err := time.ParseDuration(t.For); err != nil || d < time.Second {
		return usagef("--for %q is not a duration of a second or more, such as 10m or 2h", t.For)
	}
	return nil
}

// lasting says of a change how long it lasts.
func lasting(change string, t *wire.Term) string {
	if t.For != "" {
		change += " for " + t.For
	}
	return change
}

func (a *app) backendSetCommand() *cobra.Command {
	var weight string
	var term *wire.Term
	cmd := &cobra.Command{
		Use:   "set POOL/ADDRESS:PORT --weight N",
		Short: "Set the weight of a backend",
		Long: `Sets the weight of a backend in place of the configured one, for a time or until
"weir backend ready". It outlives the daemon. When the command returns, it is in
force. Health, slow start and resources act on it as they do on a configured one.`,
		Example: "  weir backend set web/10.0.0.11:80 --weight 5\n  weir backend set web/10.0.0.11:80 --weight 1 --for 10m --reason \"canary\"",
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
			if err := checkTerm(term); err != nil {
				return err
			}
			if err := a.client().SetWeight(cmd.Context(), r.pool, r.endpoint, lb.Weight(w), *term); err != nil {
				return err
			}
			return a.showChange(cmd, r, lasting("weight "+weight, term))
		},
	}
	cmd.Flags().StringVar(&weight, "weight", "", "weight from 0 to 1000")
	term = termFlags(cmd)
	cmd.ValidArgsFunction = a.completeBackend
	return cmd
}

func (a *app) backendDrainCommand() *cobra.Command {
	var term *wire.Term
	cmd := &cobra.Command{
		Use:   "drain POOL/ADDRESS:PORT",
		Short: "Give a backend no new flows; those it has finish",
		Long: `Gives a backend no new flows, for a time or until "weir backend ready"; those it
has finish. It outlives the daemon. When the command returns, it is in force.`,
		Example:           "  weir backend drain web/10.0.0.11:80\n  weir backend drain web/10.0.0.11:80 --for 30m --reason \"new kernel\"",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseRef(args[0])
			if err == nil {
				err = checkTerm(term)
			}
			if err != nil {
				return err
			}
			if err := a.client().Drain(cmd.Context(), r.pool, r.endpoint, *term); err != nil {
				return err
			}
			return a.showChange(cmd, r, lasting("drain", term))
		},
	}
	term = termFlags(cmd)
	return cmd
}

func (a *app) backendReadyCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "ready POOL/ADDRESS:PORT",
		Short:             "Remove a weight or drain that was set: the configured weight counts again",
		Example:           "  weir backend ready web/10.0.0.11:80",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseRef(args[0])
			if err != nil {
				return err
			}
			if err := a.client().Ready(cmd.Context(), r.pool, r.endpoint); err != nil {
				return err
			}
			return a.showChange(cmd, r, "ready")
		},
	}
}

func (a *app) backendOverridesCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "overrides",
		Short:   "List the weights and drains that were set, with their ends and reasons",
		Example: "  weir backend overrides\n  weir backend overrides -o json | jq '.[] | select(.until == null)'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client().Overrides(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeOverrides(w, all) })
		},
	}
}

func writeOverrides(w io.Writer, all []wire.Override) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no overrides: all weights are the configured ones")
		return
	}
	row(w, "POOL", "BACKEND", "SET", "ENDS", "REASON")
	for _, o := range all {
		what, ends := "weight "+strconv.Itoa(int(o.Weight)), "by weir backend ready"
		if o.Drain {
			what = "drain"
		}
		if !o.Until.IsZero() {
			ends = "in " + time.Until(o.Until).Round(time.Second).String()
		}
		row(w, o.Pool, o.Backend.String(), what, ends, o.Reason)
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

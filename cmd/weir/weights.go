package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) weightsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "weights [POOL]",
		Short: "Show how the weights of backends come about",
		Long: `Shows the factors of each backend's effective weight, which is their product:
configured (or what an operator set) × health × slow start × resources × limits,
where limits is what steps and the dead band still keep from the target. AGE is
that of the agent's report. "weir explain backend" says more of one.`,
		Example: "  weir weights\n  weir weights web\n  weir weights web -o json | jq '.[].backends[] | {backend, share}'",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return a.completePool(cmd, args, prefix)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.client().Weights(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeWeights(w, all) })
		},
	}
}

func writeWeights(w io.Writer, pools []wire.PoolWeights) {
	row(w, "POOL", "BACKEND", "BASE", "HEALTH", "SLOW START", "RESOURCES", "LIMITS", "EFFECTIVE", "SHARE", "AGE", "WHY")
	for _, p := range pools {
		for _, b := range p.Backends {
			cells := []string{p.Pool, b.Backend.String()}
			for _, part := range b.Parts {
				cells = append(cells, fmt.Sprintf("%.4g", part.Value))
			}
			cells = append(cells, fmt.Sprintf("%.4g", b.Effective), fmt.Sprintf("%.1f%%", 100*b.Share), reportAge(b), mainReason(p, b))
			row(w, cells...)
		}
	}
}

// reportAge is how old the agent's report is, "" without one.
func reportAge(b wire.BackendWeight) string {
	for _, p := range b.Parts {
		if p.Name == "resources" && p.Age > 0 {
			return seconds(p.Age)
		}
	}
	return ""
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// mainReason is why the first part that changes something does so.
func mainReason(p wire.PoolWeights, b wire.BackendWeight) string {
	for _, part := range b.Parts {
		if part.Name != "configured" && part.Value != 1 || part.Name == "override" {
			return part.Name + ": " + part.Why
		}
	}
	if p.Mode == "static" {
		return "weights are static"
	}
	return ""
}

func (a *app) explainBackendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backend POOL/ADDRESS:PORT",
		Short: "Say how the weight of a backend comes about",
		Long: `Says each factor of a backend's effective weight, what it was made from, how old
that is, and why the factor is what it is.`,
		Example:           "  weir explain backend web/10.0.0.11:80\n  weir explain backend web/10.0.0.11:80 -o json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseRef(args[0])
			if err != nil {
				return err
			}
			p, err := a.client().BackendWeight(cmd.Context(), r.pool, r.endpoint)
			if err != nil {
				return err
			}
			return a.show(cmd, p, func(w io.Writer) { writeBackendWeight(w, p) })
		},
	}
}

func writeBackendWeight(w io.Writer, p wire.PoolWeights) {
	for _, b := range p.Backends {
		fmt.Fprintf(w, "backend\t%s/%s, %s, resources %s\n", p.Pool, b.Backend, p.Algorithm, p.Mode)
		if p.Panic {
			fmt.Fprintln(w, "pool\tso much of it is down that health is ignored")
		}
		for _, part := range b.Parts {
			fmt.Fprintf(w, "%s\t× %.4g\t%s\n", part.Name, part.Value, part.Why)
			if part.Input != "" {
				fmt.Fprintf(w, "\t\tfrom %s%s\n", part.Input, agedBy(part.Age))
			}
		}
		writeAgent(w, b.Agent)
		fmt.Fprintf(w, "effective\t= %.4g\t%.1f%% of the pool's new flows\n", b.Effective, 100*b.Share)
	}
}

func writeAgent(w io.Writer, a *wire.Agent) {
	if a == nil {
		return
	}
	fmt.Fprintf(w, "agent\t\t%s at %s, %s, %d answers that were none\n", a.Protocol, a.Address, plural(int(a.Reports), "report"), a.Failures)
	if a.Error != "" {
		fmt.Fprintf(w, "\t\tlast answer: %s\n", a.Error)
	}
	if a.State != "" {
		fmt.Fprintf(w, "\t\tsays %s %s\n", a.State, a.Reason)
	}
	if a.Age == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(a.Values)) {
		fmt.Fprintf(w, "\t\t%s %.4g\n", name, a.Values[name])
	}
	for _, name := range slices.Sorted(maps.Keys(a.Missing)) {
		fmt.Fprintf(w, "\t\tno %s: %s\n", name, a.Missing[name])
	}
}

func agedBy(age float64) string {
	if age == 0 {
		return ""
	}
	return ", " + seconds(age) + " ago"
}

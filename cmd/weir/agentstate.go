package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/agent/config"
	"weir/agent/local"
	"weir/agent/report"
	"weir/agent/state"
)

// agentSocket adds the flag of the agent's socket, in the place of the
// daemon's.
func agentSocket(cmd *cobra.Command) *string {
	def := config.DefaultSocket
	if s := os.Getenv("WEIR_AGENT_SOCKET"); s != "" {
		def = s
	}
	return cmd.Flags().String("socket", def, "socket of the agent; also WEIR_AGENT_SOCKET")
}

// agentStateCommands are the verbs by which a backend takes itself out and in.
func (a *app) agentStateCommands() []*cobra.Command {
	return []*cobra.Command{
		a.agentStateCommand(report.Drain, "Take this backend out: it finishes its flows and gets no others", "  weir agent drain --reason 'kernel upgrade'"),
		a.agentStateCommand(report.Ready, "Take this backend in again", "  weir agent ready"),
		a.agentStateCommand(report.Maint, "Take this backend out, and have it not checked", "  weir agent maint --reason 'new disks'"),
	}
}

func (a *app) agentStateCommand(admin report.Admin, short, example string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     string(admin),
		Short:   short,
		Long:    short + ".\nBalancers follow when they ask the agent next. The state is kept over restarts of\nthe agent.",
		Example: example,
		Args:    cobra.NoArgs,
	}
	socket := agentSocket(cmd)
	if admin != report.Ready {
		cmd.Flags().StringVar(&reason, "reason", "", "what balancers show")
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.orderAgent(cmd, *socket, local.Order{Admin: admin, Reason: reason})
	}
	return cmd
}

func (a *app) agentWeightCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "weight PERCENT|auto",
		Short: "Ask balancers for a part of the configured weight",
		Long: `Asks balancers for a part of this backend's configured weight, until auto takes
it back. It is kept over restarts of the agent.`,
		Example:           "  weir agent weight 50%\n  weir agent weight auto",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions([]string{"auto"}, cobra.ShellCompDirectiveNoFileComp),
	}
	socket := agentSocket(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "auto" {
			return a.orderAgent(cmd, *socket, local.Order{AutoWeight: true})
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(args[0], "%"), 10, 31)
		if err != nil {
			return usagef("weight %q is neither a whole percentage, such as 50%%, nor auto", args[0])
		}
		return a.orderAgent(cmd, *socket, local.Order{Weight: new(int(n))})
	}
	return cmd
}

func (a *app) orderAgent(cmd *cobra.Command, socket string, o local.Order) error {
	s, err := local.New(socket).Order(cmd.Context(), o)
	if err != nil {
		return explainAgent(err)
	}
	return a.show(cmd, s, func(w io.Writer) { fmt.Fprintln(w, stateText(s)) })
}

func explainAgent(err error) error {
	if none, ok := errors.AsType[*local.NoAgentError](err); ok {
		return fmt.Errorf("%w: start one with `weir agent run`, or name its socket with --socket", none)
	}
	return err
}

// stateText is a state in one line.
func stateText(s state.State) string {
	text := string(s.Admin)
	if s.Weight != nil {
		text += fmt.Sprintf(", weight %d %%", *s.Weight)
	}
	if !s.Since.IsZero() {
		text += ", for " + age(s.Since)
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}

func (a *app) agentStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "What this host's agent reports",
		Example: "  weir agent status\n  weir agent status -o json",
		Args:    cobra.NoArgs,
	}
	socket := agentSocket(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := local.New(*socket).Status(cmd.Context())
		if err != nil {
			return explainAgent(err)
		}
		return a.show(cmd, s, func(w io.Writer) { writeAgentStatus(w, s) })
	}
	return cmd
}

func writeAgentStatus(w io.Writer, s local.Status) {
	row(w, "backend", s.Backend)
	row(w, "state", stateText(s.State))
	row(w, "agent", fmt.Sprintf("%s, process %d, since %s", s.Version, s.PID, age(s.Started)))
	row(w, "reports", s.Listen, fmt.Sprintf("%s sent, certificate until %s", count(s.Seq), expiry(s.Expires)))
	row(w, "agent-check", s.Check, strings.TrimSpace(s.CheckSays))
	row(w, "refused", count(s.Refused)+" connections")
	row(w, "about", aboutText(s.Cgroup))
	row(w, "sampled", fmt.Sprintf("%d ms ago, smoothed over %s", s.AgeMS, time.Duration(s.TauMS)*time.Millisecond))
	for _, name := range slices.Sorted(maps.Keys(s.Values)) {
		unit, _ := report.UnitOf(name)
		row(w, name, valueText(s.Values[name], unit))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Missing)) {
		row(w, name, "missing: "+s.Missing[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Lacking)) {
		row(w, name, "not on this host: "+s.Lacking[name])
	}
}

func expiry(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}

func aboutText(cgroup string) string {
	if cgroup == "" {
		return "the host"
	}
	return "control group " + cgroup
}

// valueText is a value with its unit.
func valueText(v float64, unit report.Unit) string {
	switch unit {
	case report.Ratio:
		return fmt.Sprintf("%.1f %%", 100*v)
	case report.Seconds:
		return fmt.Sprintf("%.2f ms", 1000*v)
	case report.MiB:
		return size(uint64(v) << 20)
	case report.BytesRate:
		return size(uint64(v)) + "/s"
	case report.PerSecond:
		return fmt.Sprintf("%.1f/s", v)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weir/agent/dsr"
)

func (a *app) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "What runs on a backend host",
		Long: `The agent of a backend tells balancers how loaded the backend is, and takes it
out of service when its operator says so. docs/agent.md has more.`,
		Example: "  weir agent dsr --vip 198.51.100.10 --interface eth0\n  weir agent run -c /etc/weir/agent.yaml\n  weir agent drain --reason 'kernel upgrade'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.agentDSRCommand(), a.agentRunCommand(), a.agentKeysCommand(), a.agentStatusCommand(), a.agentWeightCommand())
	cmd.AddCommand(a.agentStateCommands()...)
	return cmd
}

// dsrFlags are the options of agent dsr as typed.
type dsrFlags struct {
	dsr.Options
	vips []string
	undo bool
}

func (a *app) agentDSRCommand() *cobra.Command {
	var f dsrFlags
	cmd := &cobra.Command{
		Use:   "dsr --vip ADDRESS --interface NAME",
		Short: "Make this host a backend of dsr, ipip and gue services",
		Long: `Makes this host answer for VIPs whose packets arrive as the clients sent them:
puts each VIP on lo, keeps ARP from claiming it (arp_ignore, arp_announce), and
attaches an XDP program to the interface that unpacks ipip and gue. Runs in the
foreground until SIGTERM or SIGINT, and then takes everything back. SIGUSR1
prints what the program counted. After a SIGKILL the next start takes over what
was left, or --undo takes it back.`,
		Example: `  weir agent dsr --vip 198.51.100.10 --interface eth0
  weir agent dsr --vip 198.51.100.10 --vip 2001:db8::10 --interface eth0 --gue-port 6080
  weir agent dsr --vip 198.51.100.10 --interface eth0 --no-tunnel   # plain dsr, no XDP
  weir agent dsr --undo                                             # after a crash`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.undo {
				return a.undoDSR(cmd, f.StateDir)
			}
			o, err := f.options(a.logger())
			if err != nil {
				return err
			}
			return a.runDSR(cmd, o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.vips, "vip", nil, "address of a service, without port; may be repeated")
	flags.StringSliceVarP(&f.Interfaces, "interface", "i", nil, "where packets from the balancer arrive; may be repeated")
	flags.Uint16Var(&f.GUEPort, "gue-port", dsr.DefaultGUEPort, "UDP port of gue, tunnel.gue_port of the balancer")
	flags.BoolVar(&f.NoTunnel, "no-tunnel", false, "for plain dsr: attach no program")
	flags.BoolVar(&f.undo, "undo", false, "take back what a killed agent left, and end")
	flags.StringVar(&f.StateDir, "state-dir", dsr.DefaultStateDir, "where to remember what to take back")
	return cmd
}

// options checks what was typed.
func (f *dsrFlags) options(log *slog.Logger) (dsr.Options, error) {
	switch {
	case len(f.vips) == 0:
		return dsr.Options{}, usagef("name each VIP with --vip ADDRESS")
	case len(f.Interfaces) == 0:
		return dsr.Options{}, usagef("name the interface that packets from the balancer arrive on with --interface NAME")
	case f.GUEPort == 0 && !f.NoTunnel:
		return dsr.Options{}, usagef("--gue-port 0 is not 1 to 65535")
	}
	o := f.Options
	o.Log = log
	for _, text := range f.vips {
		vip, err := netip.ParseAddr(text)
		if err != nil {
			return dsr.Options{}, usagef("VIP %q is not an IP address, such as 198.51.100.10 or 2001:db8::10, without a port", text)
		}
		o.VIPs = append(o.VIPs, vip)
	}
	return o, nil
}

func (a *app) logger() *slog.Logger {
	if a.format.json {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

func (a *app) runDSR(cmd *cobra.Command, o dsr.Options) (err error) {
	// Before anything is changed, so that no signal ends it half-way.
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	show := make(chan os.Signal, 1)
	signal.Notify(show, syscall.SIGUSR1)
	defer signal.Stop(show)
	agent, err := dsr.Start(o)
	if err != nil {
		return err
	}
	defer func() {
		if failed := agent.Close(); failed != nil && err == nil {
			err = fmt.Errorf("%w; what is left is taken back by `weir agent dsr --undo`", failed)
		}
	}()
	if err := a.sayReady(cmd.OutOrStdout(), o, agent); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-show:
			if err := a.showDSRCounters(cmd.OutOrStdout(), agent); err != nil {
				return err
			}
		}
	}
}

// dsrReady is the line that -o json writes once the host is set up.
type dsrReady struct {
	Ready      bool             `json:"ready"`
	PID        int              `json:"pid"`
	VIPs       []netip.Addr     `json:"vips"`
	GUEPort    uint16           `json:"gue_port,omitempty"` // 0: no tunnels
	Interfaces []dsr.Attachment `json:"interfaces"`         // that run the program
}

func (a *app) sayReady(w io.Writer, o dsr.Options, agent *dsr.Agent) error {
	r := dsrReady{Ready: true, PID: os.Getpid(), VIPs: o.VIPs, Interfaces: agent.Attachments()}
	var tunnels string
	if o.NoTunnel {
		r.Interfaces = []dsr.Attachment{}
	} else {
		r.GUEPort = o.GUEPort
		tunnels = fmt.Sprintf("; unpacking ipip, and gue on port %d,", o.GUEPort)
		for _, at := range r.Interfaces {
			tunnels += fmt.Sprintf(" on %s (%s)", at.Interface, at.Mode)
		}
	}
	if a.format.json {
		return line(w, r)
	}
	names := make([]string, len(o.VIPs))
	for i, vip := range o.VIPs {
		names[i] = vip.String()
	}
	_, err := fmt.Fprintf(w, "ready: %s on lo%s\n", strings.Join(names, ", "), tunnels)
	return err
}

// dsrCounters is the line that SIGUSR1 asks for with -o json.
type dsrCounters struct {
	Counters []dsr.Counter `json:"counters"`
}

func (a *app) showDSRCounters(w io.Writer, agent *dsr.Agent) error {
	all, err := agent.Counters()
	if err != nil {
		return err
	}
	if a.format.json {
		return line(w, dsrCounters{append([]dsr.Counter{}, all...)})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(t, "VERDICT", "REASON", "PACKETS")
	for _, c := range all {
		row(t, c.Verdict, c.Reason, count(c.Packets))
	}
	return t.Flush()
}

// line writes one line of JSON.
func line(w io.Writer, v any) error {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// undone is what --undo answers.
type undone struct {
	OK     bool     `json:"ok"`
	Undone []string `json:"undone"`
}

func (a *app) undoDSR(cmd *cobra.Command, stateDir string) error {
	what, err := dsr.Undo(stateDir)
	if err != nil {
		return err
	}
	return a.show(cmd, undone{true, append([]string{}, what...)}, func(w io.Writer) {
		if len(what) == 0 {
			fmt.Fprintln(w, "nothing was left to take back")
		}
		for _, s := range what {
			fmt.Fprintln(w, "took back", s)
		}
	})
}

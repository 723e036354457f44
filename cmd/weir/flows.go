package main

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"weir/loader/api/client"
	"weir/loader/api/wire"
	"weir/loader/lb"
)

func (a *app) flowsCommand() *cobra.Command {
	var q client.FlowQuery
	var src, dst string
	var udp bool
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Look into the flow table",
		Long: `Lists flows, or with --src and --dst looks for one. The table holds fingerprints
of addresses and not the addresses themselves: a flow can be found by its
addresses, but a listed flow does not show them.`,
		Example: "  weir flows --limit 20\n  weir flows --backend 10.0.0.11:80\n  weir flows --src 198.51.100.7:4242 --dst 192.0.2.1:80",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := parseFlowKey(&q, src, dst, udp); err != nil {
				return err
			}
			f, err := a.client().Flows(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.show(cmd, f, func(w io.Writer) { writeFlows(w, f) })
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&q.Limit, "limit", 100, "show at most this many")
	flags.StringVar(&q.Backend, "backend", "", "only flows of this backend, ADDRESS or ADDRESS:PORT")
	flags.StringVar(&src, "src", "", "client's ADDRESS:PORT; goes with --dst")
	flags.StringVar(&dst, "dst", "", "VIP's ADDRESS:PORT; goes with --src")
	flags.BoolVar(&udp, "udp", false, "look for UDP in place of TCP")
	return cmd
}

func parseFlowKey(q *client.FlowQuery, src, dst string, udp bool) error {
	if q.Limit < 1 {
		return usagef("limit %d is below 1", q.Limit)
	}
	if src == "" && dst == "" {
		if udp {
			return usagef("--udp goes with --src and --dst")
		}
		return nil
	}
	var err error
	if q.Src, err = netip.ParseAddrPort(src); err != nil {
		return usagef("--src %q is not ADDRESS:PORT; --src and --dst go together", src)
	}
	if q.Dst, err = netip.ParseAddrPort(dst); err != nil {
		return usagef("--dst %q is not ADDRESS:PORT; --src and --dst go together", dst)
	}
	q.Proto = lb.TCP
	if udp {
		q.Proto = lb.UDP
	}
	return nil
}

func writeFlows(w io.Writer, f wire.Flows) {
	if len(f.Flows) == 0 {
		fmt.Fprintln(w, "no flows")
		return
	}
	row(w, "SERVICE", "VIP", "BACKEND", "STATE", "IDLE", "SET", "SLOT", "TAG")
	for _, x := range f.Flows {
		row(w, x.Service, x.VIP.String(), x.Endpoint.String(), x.State, x.Idle.Round(100*time.Millisecond).String(),
			fmt.Sprint(x.Set), fmt.Sprint(x.Slot), fmt.Sprintf("%08x", x.Tag))
	}
	if f.Truncated {
		fmt.Fprintln(w, "there are more: see --limit and --backend")
	}
}

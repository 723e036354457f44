package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

func (a *app) explainCommand() *cobra.Command {
	var src, dst string
	var tcp, udp, syn, ack bool
	cmd := &cobra.Command{
		Use:   "explain --src ADDRESS:PORT --dst VIP:PORT",
		Short: "Say what becomes of a client's packet, and prove it",
		Long: `Says which service a packet is for, whether its flow is known, which backend it
gets and why, and what it looks like when it leaves. Then the packet runs
through a second instance of the program, which is attached nowhere and works on
private copies of what matters, so that flows and counters stay as they are. If
the two do not agree, that is said, and the exit code is 1. Packets from
backends are taken for clients'.`,
		Example: "  weir explain --src 198.51.100.7:4242 --dst 192.0.2.1:80\n  weir explain --src 198.51.100.7:4242 --dst 192.0.2.1:80 --ack -o json\n  weir explain --src [2001:db8::7]:4242 --dst [2001:db8:ff::1]:53 --udp\n  weir explain backend web/10.0.0.11:80",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if udp && (syn || ack) {
				return usagef("--syn and --ack go with TCP")
			}
			p, err := parseProbe(src, dst, udp)
			if err != nil {
				return err
			}
			p.Ack = ack
			return a.explainProbe(cmd, p)
		},
	}
	cmd.AddCommand(a.explainBackendCommand())
	flags := cmd.Flags()
	flags.StringVar(&src, "src", "", "client's ADDRESS:PORT")
	flags.StringVar(&dst, "dst", "", "VIP's ADDRESS:PORT")
	flags.BoolVar(&tcp, "tcp", false, "a TCP packet, as without --udp")
	flags.BoolVar(&udp, "udp", false, "a UDP packet")
	flags.BoolVar(&syn, "syn", false, "the first packet of a connection, as without --ack")
	flags.BoolVar(&ack, "ack", false, "a later packet of a connection")
	cmd.MarkFlagsMutuallyExclusive("tcp", "udp")
	cmd.MarkFlagsMutuallyExclusive("syn", "ack")
	return cmd
}

func parseProbe(src, dst string, udp bool) (p lb.Probe, err error) {
	if p.Src, err = netip.ParseAddrPort(src); err != nil {
		return p, usagef("--src %q is not ADDRESS:PORT", src)
	}
	if p.Dst, err = netip.ParseAddrPort(dst); err != nil {
		return p, usagef("--dst %q is not ADDRESS:PORT", dst)
	}
	if p.Src.Addr().Is4() != p.Dst.Addr().Is4() {
		return p, usagef("--src %s and --dst %s are of two address families", src, dst)
	}
	if p.Proto = lb.TCP; udp {
		p.Proto = lb.UDP
	}
	return p, nil
}

func (a *app) explainProbe(cmd *cobra.Command, p lb.Probe) error {
	e, err := a.client().Explain(cmd.Context(), p)
	if err != nil {
		return err
	}
	if err := a.show(cmd, e, func(w io.Writer) { writeExplanation(w, e) }); err != nil {
		return err
	}
	if len(e.Differing) > 0 {
		return errors.New("THE PROGRAM DOES NOT DO WHAT WAS EXPLAINED; please report this with the output of weir explain -o json")
	}
	return nil
}

func writeExplanation(w io.Writer, e wire.Explanation) {
	fmt.Fprintf(w, "packet\t%s -> %s/%s %s\n", e.Src, e.Dst, e.Proto, e.TCPFlags)
	writeService(w, e)
	writeDefence(w, e)
	writeFlowHit(w, e)
	writePick(w, e)
	writeChosen(w, e)
	writeOutcome(w, "expected", e.Expected)
	if len(e.Differing) == 0 {
		fmt.Fprintln(w, "program\tagrees: a second instance, on private copies of the maps, does the same")
	}
	for _, d := range e.Differing {
		fmt.Fprintf(w, "DISAGREES\t%s\n", d)
	}
}

func writeService(w io.Writer, e wire.Explanation) {
	switch {
	case e.VIP == nil:
		fmt.Fprintf(w, "service\tnone: no service has %s/%s, nor every port of %s\n", e.Dst, e.Proto, e.Dst.Addr())
	case e.EveryPort:
		fmt.Fprintf(w, "service\t%s, %s, by every port\n", e.Service, e.VIP)
	default:
		fmt.Fprintf(w, "service\t%s, %s, by the exact port\n", e.Service, e.VIP)
	}
}

func writeDefence(w io.Writer, e wire.Explanation) {
	for _, v := range e.ACL {
		whose := "of all services"
		if v.VIP != nil {
			whose = "of the service"
		}
		fmt.Fprintf(w, "acl\t%s: %s by %s\n", whose, aclVerdict(v.Deny), v.Prefix)
	}
	for _, l := range e.Limits {
		left := fmt.Sprintf("%.1f left", max(0, l.Left))
		if l.Refuse {
			left = "used up"
		}
		fmt.Fprintf(w, "limit\t%s, %d a second: %s\n", l.Limit, l.Rate, left)
	}
}

func writeFlowHit(w io.Writer, e wire.Explanation) {
	f := e.Flow
	if f == nil {
		fmt.Fprintln(w, "flow\tnot in the table")
		return
	}
	fmt.Fprintf(w, "flow\tin the table: %s, idle %s, backend %s\n", f.State, f.Idle, f.Endpoint)
	if e.Reopens {
		fmt.Fprintln(w, "\tit has ended, or its backend has gone: the packet starts a new one")
	}
}

func writePick(w io.Writer, e wire.Explanation) {
	p := e.Pick
	if p == nil {
		return
	}
	fmt.Fprintf(w, "table\tpool %s, %s, picks by %s, %d entries\n", e.Pool, e.Algorithm, p.Picker, p.Entries)
	if p.Index < 0 {
		fmt.Fprintln(w, "\tno backend takes new flows")
		return
	}
	if p.Steady != "" {
		fmt.Fprintf(w, "\tbut this flow by hash: %s\n", p.Steady)
	}
	how := fmt.Sprintf("from hash %016x", p.Hash)
	if p.Turn {
		how = "next in turn"
	}
	fmt.Fprintf(w, "new flow\tentry %d (%s): backend %s, which has %d of the entries\n", p.Index, how, p.Backend, p.Share)
	if len(p.Candidates) < 2 {
		return
	}
	for _, c := range p.Candidates {
		fmt.Fprintf(w, "\tcompared: entry %d, %s, %d active, weight %d\n", c.Index, c.Backend, c.Active, c.Weight)
	}
}

func writeChosen(w io.Writer, e wire.Explanation) {
	b := e.Backend
	if b == nil {
		return
	}
	fmt.Fprintf(w, "backend\t%s, %s\n", b.Endpoint, b.Forward)
	if x := e.Weight; x != nil {
		set := ""
		if x.Override != "" {
			set = ", set: " + x.Override
		}
		fmt.Fprintf(w, "weight\tconfigured %d%s, effective %g, %.1f%% of new flows\n", x.Weight, set, x.Effective, 100*x.Share)
	} else {
		fmt.Fprintln(w, "weight\tnone: it is out of the configuration and finishes its flows")
	}
	if !b.Resolved {
		fmt.Fprintf(w, "next hop\tnot known: %s\n", e.HopReason)
		return
	}
	tags := ""
	if len(b.VLANs) > 0 {
		tags = fmt.Sprintf(", VLAN %s", strings.Trim(fmt.Sprint(b.VLANs), "[]"))
	}
	fmt.Fprintf(w, "next hop\tinterface %d (%s)%s, MAC %s from %s, MTU %d\n", b.Interface, e.Interface, tags, b.DstMAC, b.SrcMAC, b.MTU)
}

func writeOutcome(w io.Writer, label string, o lb.Outcome) {
	fmt.Fprintf(w, "%s\t%s %s\n", label, o.Verdict, o.Reason)
	p := o.Packet
	if p == nil {
		return
	}
	if p.OuterDst.IsValid() {
		fmt.Fprintf(w, "\touter %s -> %s\n", outer(p.OuterSrc), outer(p.OuterDst))
	}
	fmt.Fprintf(w, "\t%s -> %s, TTL %d, %d bytes\n", p.Src, p.Dst, p.Hops, p.Length)
}

// outer leaves out the port that ipip has not.
func outer(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

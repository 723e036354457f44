package main

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) aclCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "acl",
		Short:   "Show which sources may use services",
		Example: "  weir acl list\n  weir acl test 203.0.113.7",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.aclListCommand(), a.aclTestCommand())
	return cmd
}

func (a *app) aclListCommand() *cobra.Command {
	var service string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the rules that are in force",
		Long:    "Lists the rules that are in force. Of those that have a source, the one of the longest prefix counts.",
		Example: "  weir acl list\n  weir acl list --service admin\n  weir acl list -o json | jq '.[].rules | length'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client().ACLs(cmd.Context(), service)
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeACLs(w, all) })
		},
	}
	cmd.Flags().StringVar(&service, "service", "", "only the list of this service")
	must(cmd.RegisterFlagCompletionFunc("service", a.completeService))
	return cmd
}

func (a *app) aclTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test ADDRESS",
		Short: "Say what holds for a source, and by which rule",
		Long: `Says of each list whether it lets a source pass, and by which rule; the kernel's
own map is asked. A packet passes if the list of all services and that of its
service both let it.`,
		Example: "  weir acl test 203.0.113.7\n  weir acl test 2001:db8::7 -o json | jq '.verdicts[] | select(.deny)'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := netip.ParseAddr(args[0])
			if err != nil || src.Zone() != "" {
				return usagef("%q is not an address", args[0])
			}
			t, err := a.client().TestACL(cmd.Context(), src)
			if err != nil {
				return err
			}
			return a.show(cmd, t, func(w io.Writer) { writeACLTest(w, t) })
		},
	}
}

func writeACLs(w io.Writer, all []wire.ACL) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no acl: all sources are allowed")
		return
	}
	row(w, "SERVICE", "PREFIX", "VERDICT")
	for _, l := range all {
		for _, r := range l.Rules {
			row(w, aclName(l.Service), r.Prefix.String(), aclVerdict(r.Deny))
		}
	}
}

func writeACLTest(w io.Writer, t wire.ACLTest) {
	if len(t.Verdicts) == 0 {
		fmt.Fprintln(w, "no acl: all sources are allowed")
		return
	}
	row(w, "SERVICE", "VERDICT", "PREFIX")
	for _, v := range t.Verdicts {
		row(w, aclName(v.Service), aclVerdict(v.Deny), v.Prefix.String())
	}
}

func aclName(service string) string {
	if service == "" {
		return "(all)"
	}
	return service
}

func aclVerdict(deny bool) string {
	if deny {
		return "deny"
	}
	return "allow"
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "service",
		Short:   "Show services",
		Example: "  weir service list",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "list",
		Short:   "List services with their traffic",
		Example: "  weir service list\n  weir service list -o json | jq '.[].vip'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client().Services(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeServices(w, all) })
		},
	})
	return cmd
}

func writeServices(w io.Writer, all []wire.Service) {
	row(w, "SERVICE", "VIP", "FORWARD", "POOL", "ALGORITHM", "BACKENDS", "ACTIVE", "FLOWS", "REFUSED", "PACKETS", "BYTES")
	for _, s := range all {
		row(w, s.Name, s.VIP.String(), s.Forward.String(), s.Pool, s.Algorithm, fmt.Sprintf("%d/%d", s.Taking, s.Backends),
			count(s.Active), count(s.Flows), count(s.Refused.Sum()), count(s.Packets), size(s.Bytes))
	}
}

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) certCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cert",
		Short:   "Show the certificates of the HTTP tier",
		Example: "  weir cert list",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "list",
		Short:   "List certificates, the one that ends first at the top",
		Example: "  weir cert list\n  weir cert list -o json | jq '.[] | select(.days_left < 21)'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client().Certificates(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeCertificates(w, all) })
		},
	})
	return cmd
}

func writeCertificates(w io.Writer, all []wire.Certificate) {
	row(w, "HOSTS", "DAYS LEFT", "ENDS", "KEY", "ISSUER", "STAPLED", "SOURCE", "")
	for _, c := range all {
		note, stapled := "", "no"
		if c.Expiring {
			note = "ENDS SOON"
		}
		if c.Error != "" {
			note = "newer files are refused: " + c.Error
		}
		if c.Stapled {
			stapled = "yes"
		}
		row(w, strings.Join(c.Hosts, ","), fmt.Sprint(c.DaysLeft), c.NotAfter.UTC().Format("2006-01-02 15:04"), c.Algorithm, c.Issuer, stapled, c.Source, note)
	}
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon read its configuration again",
		Long: `Makes the daemon read its configuration file again, as SIGHUP does. One with a
fault is refused whole, and the old one stays in force.`,
		Example: "  weir reload",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.client().Reload(cmd.Context()); err != nil {
				return err
			}
			return a.show(cmd, wire.Changed{OK: true}, func(w io.Writer) { fmt.Fprintln(w, "configuration loaded, in force") })
		},
	}
}

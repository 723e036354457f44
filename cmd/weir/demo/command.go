// Package demo holds `weir demo`: a whole load-balanced network in namespaces
// of this machine, with real servers, real clients and the real daemon.
package demo

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Command is the demo verb.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Balance real traffic inside namespaces of this machine",
		Long: `Builds a client, a balancer and backends in network namespaces, runs the
daemon in the balancer with its XDP program in native mode, drives keep-alive
and one-shot HTTP connections through a VIP, and shows how they are spread. With
--l7 the HTTP tier answers at the VIP, over HTTP/1.1, HTTP/2 and HTTP/3.
Everything is removed at the end. Needs root and nothing else.`,
		Example: `  weir demo
  weir demo --weights 5,1 --algorithm wrr --forward dsr --family 6
  weir demo --forward gue
  weir demo --l7
  weir demo --algorithm resource_based    # burns one backend and shows the shares
  weir demo --duration 10s --json | jq .backends
  weir demo --hold`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
	}
	f.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// The root command's -o json asks for the same as --json.
		if output := cmd.Flag("output"); output != nil && output.Value.String() == "json" {
			f.json = true
		}
		opts, err := f.options(cmd.Flags().Changed)
		if err != nil {
			return err
		}
		// A closed terminal or pipe must end in cleaning up, too.
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
		defer stop()
		return run(ctx, opts, newScreen(opts, cmd.OutOrStdout(), cmd.ErrOrStderr()))
	}
	return cmd
}

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir/loader/api/client"
)

func (a *app) unloadCommand() *cobra.Command {
	var pinDir string
	var force bool
	cmd := &cobra.Command{
		Use:   "unload",
		Short: "Remove the XDP program and its maps from the kernel",
		Long: `Detaches the XDP program from all interfaces and removes its maps with flows and
counters. Traffic to the VIPs stops being forwarded. Refused while a daemon
runs, unless --force.`,
		Example: "  weir unload\n  weir unload --pin-dir /sys/fs/bpf/weir-test",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkNoDaemon(cmd, pinDir); err != nil && !force {
				return err
			}
			removed, err := a.kernel.unload(pinDir, force)
			if err != nil {
				return fmt.Errorf("unloading %s: %w", pinDir, err)
			}
			return a.showRemoved(cmd, pinDir, removed)
		},
	}
	cmd.Flags().StringVar(&pinDir, "pin-dir", "/sys/fs/bpf/weir", "directory of the pins")
	cmd.Flags().BoolVar(&force, "force", false, "unload under a daemon that runs")
	return cmd
}

func (a *app) checkNoDaemon(cmd *cobra.Command, pinDir string) error {
	s, err := a.client().Status(cmd.Context())
	var none *client.NoDaemonError
	if errors.As(err, &none) || err == nil && s.DataPlane.PinDir != pinDir {
		return nil
	}
	if err != nil {
		return fmt.Errorf("a daemon may run on %s: %w; stop it first, or use --force", a.socket, err)
	}
	return fmt.Errorf("the daemon with pid %d uses %s: stop it first, or use --force", s.PID, pinDir)
}

// unloaded is what unload answers.
type unloaded struct {
	OK      bool     `json:"ok"`
	PinDir  string   `json:"pin_dir"`
	Removed []string `json:"removed"`
}

func (a *app) showRemoved(cmd *cobra.Command, pinDir string, removed []string) error {
	if removed == nil {
		removed = []string{}
	}
	return a.show(cmd, unloaded{true, pinDir, removed}, func(w io.Writer) {
		if len(removed) == 0 {
			fmt.Fprintf(w, "nothing is loaded at %s\n", pinDir)
		}
		for _, what := range removed {
			fmt.Fprintln(w, "removed", what)
		}
	})
}

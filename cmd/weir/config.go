package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir/loader/config"
	"weir/loader/lb"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Work with configuration files",
		Example: "  weir config check /etc/weir/weir.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configCheckCommand())
	return cmd
}

// checked is what `config check` says about a good file.
type checked struct {
	OK       bool   `json:"ok"`
	File     string `json:"file"`
	Services int    `json:"services"`
	Pools    int    `json:"pools"`
	Backends int    `json:"backends"`
	Routes   int    `json:"routes"`
}

func (a *app) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE",
		Short:   "Say whether a configuration file is good",
		Long:    "Reads a configuration file as the daemon would. Each fault is one line with file, line and field; then the exit code is 1.",
		Example: "  weir config check /etc/weir/weir.yaml && weir reload",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(args[0])
			if err != nil {
				return err
			}
			r := checked{OK: true, File: args[0], Services: len(c.Services), Pools: len(c.Pools), Backends: backendsOf(c), Routes: len(c.HTTP.Routes)}
			return a.show(cmd, r, func(w io.Writer) {
				routes := ""
				if r.Routes > 0 {
					routes = ", " + plural(r.Routes, "route")
				}
				fmt.Fprintf(w, "%s is good: %s, %s, %s%s\n", r.File,
					plural(r.Services, "service"), plural(r.Pools, "pool"), plural(r.Backends, "backend"), routes)
			})
		},
	}
}

func backendsOf(c lb.Config) int {
	n := 0
	for _, p := range c.Pools {
		n += len(p.Backends)
	}
	return n
}

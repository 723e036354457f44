package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"weir/cmd/weir/daemon"
)

func (a *app) runCommand() *cobra.Command {
	var o daemon.Options
	var level slog.LevelVar
	var logFormat string
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the daemon",
		Long: `Loads the XDP program, or adopts the one that runs, and keeps it equal to the
configuration. SIGHUP reads the configuration again, SIGUSR1 opens access logs
anew. SIGTERM and SIGINT end the
daemon; the data plane keeps forwarding until "weir unload".`,
		Example: "  weir run -c /etc/weir/weir.yaml\n  weir run -c weir.yaml --log-format json --log-level debug",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.ConfigFile == "" {
				return usagef("run needs a configuration: weir run -c FILE")
			}
			handler, err := logHandler(logFormat, &level)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("socket") {
				o.Socket = a.socket
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			usr1 := make(chan os.Signal, 1)
			signal.Notify(usr1, syscall.SIGUSR1)
			defer signal.Stop(usr1)
			o.ReopenLogs = usr1
			o.Log, o.Reload, o.Version, o.Open = slog.New(handler), hup, versionString(), a.kernel.open
			return daemon.Run(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.ConfigFile, "config", "c", "", "configuration file")
	flags.StringVar(&o.PIDFile, "pid-file", "", "file to write the process id to")
	flags.StringVar(&logFormat, "log-format", "text", "text or json, on stderr")
	flags.TextVar(&level, "log-level", &level, "debug, info, warn or error")
	must(cmd.MarkFlagFilename("config", "yaml", "yml"))
	return cmd
}

func logHandler(format string, level slog.Leveler) (slog.Handler, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.NewTextHandler(os.Stderr, o), nil
	case "json":
		return slog.NewJSONHandler(os.Stderr, o), nil
	}
	return nil, usagef("log format %q is not text or json", format)
}

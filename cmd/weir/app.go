package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"weir/cmd/weir/daemon"
	"weir/cmd/weir/demo"
	"weir/loader/api/client"
	"weir/loader/doctor"
	"weir/loader/lb"
)

const defaultSocket = "/run/weir/weir.sock"

// kernel is what verbs do to the kernel; tests put a fake here.
type kernel struct {
	open   func(lb.Config, *slog.Logger) (*daemon.Kernel, error)
	unload func(pinDir string, force bool) ([]string, error)
	host   func() doctor.Host
}

// app is one run of the command line.
type app struct {
	kernel  kernel
	format  format
	socket  string
	started bool // flags and arguments were understood
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "weir",
		Short:         "A load balancer for Linux",
		Long:          "weir balances TCP and UDP over backends with an XDP program in the kernel.",
		Example:       "  weir demo\n  weir run -c /etc/weir/weir.yaml\n  weir status",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
		},
	}
	flags := root.PersistentFlags()
	flags.VarP(&a.format, "output", "o", "human or json")
	flags.StringVar(&a.socket, "socket", socketFromEnv(), "admin socket of the daemon; also WEIR_SOCKET")
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"human", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	root.AddCommand(
		a.runCommand(), a.configCommand(), a.statusCommand(), a.serviceCommand(), a.backendCommand(),
		a.tailCommand(), a.captureCommand(), a.flowsCommand(), a.weightsCommand(), a.explainCommand(), a.routeCommand(), a.certCommand(), a.cacheCommand(), a.aclCommand(), a.metricsCommand(), a.reloadCommand(), a.unloadCommand(), a.doctorCommand(), a.simulateCommand(),
		a.agentCommand(), demo.Command(), a.versionCommand(),
	)
	root.InitDefaultCompletionCmd()
	completionExamples(root)
	return root
}

func socketFromEnv() string {
	if s := os.Getenv("WEIR_SOCKET"); s != "" {
		return s
	}
	return defaultSocket
}

func (a *app) client() *client.Client { return client.New(a.socket) }

// must is for mistakes in the code of the command line itself.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

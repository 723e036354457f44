// Command weir is a load balancer for Linux: the daemon, its command line and
// its demo.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"weir/cmd/weir/daemon"
	"weir/loader/dataplane"
	"weir/loader/doctor"
	"weir/loader/doctor/host"
)

// version is set by the linker; see the Makefile.
var version string

func main() {
	os.Exit(execute(kernel{open: daemon.OpenKernel, unload: dataplane.Unload, host: openHost}))
}

func openHost() doctor.Host { return host.New(slog.New(slog.DiscardHandler)) }

// execute runs the command line and returns the exit code.
func execute(k kernel) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	a := &app{kernel: k}
	cmd, err := a.root().ExecuteContextC(ctx)
	return a.report(os.Stderr, cmd.CommandPath(), err, ctx.Err() != nil)
}

// Package daemon assembles the parts of `weir run` and runs them.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"weir/l7/tier"
	"weir/loader/agents"
	"weir/loader/api"
	"weir/loader/config"
	"weir/loader/control"
	"weir/loader/health"
	"weir/loader/health/byvip"
	"weir/loader/health/syn"
	"weir/loader/lb"
)

// Options say what to run.
type Options struct {
	ConfigFile string
	Socket     string // "": that of the configuration
	PIDFile    string // "": none
	Version    string
	Log        *slog.Logger
	// Reload makes the daemon read its configuration again at each value.
	Reload <-chan os.Signal
	// ReopenLogs makes it open access logs anew.
	ReopenLogs <-chan os.Signal
	// Open opens the kernel side; OpenKernel outside of tests.
	Open func(lb.Config, *slog.Logger) (*Kernel, error)
}

// Kernel is the kernel side of a daemon.
type Kernel struct {
	Data  control.DataPlane
	Hops  control.HopResolver
	Run   func(context.Context) error // keeps Hops current until the context ends
	Close func() error                // leaves the data plane running
}

// Run serves until ctx ends. Whatever is refused at the start leaves the data
// plane as it was. In the end the data plane keeps running without a daemon.
func Run(ctx context.Context, o Options) error {
	err := o.run(ctx)
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Errorf("%w: run weir as root", err)
	}
	return err
}

func (o Options) run(ctx context.Context) error {
	cfg, err := o.load()
	if err != nil {
		return err
	}
	overrides, err := control.LoadOverrides(cfg.StateDir)
	if err != nil {
		return err
	}
	listener, err := api.Listen(cfg.Socket)
	if err != nil {
		return err
	}
	defer listener.Close() // Serve closes it too, unless it never starts
	kernel, err := o.Open(cfg, o.Log)
	if err != nil {
		return err
	}
	defer o.closeKernel(kernel)
	if err := o.writePID(); err != nil {
		return err
	}
	defer o.removePID()
	parts := o.assemble(cfg, overrides, kernel, listener)
	o.Log.Info("starting", "version", o.Version, "config", o.ConfigFile, "socket", cfg.Socket)
	err = together(ctx, parts...)
	if err == nil {
		o.Log.Info("stopped; the data plane keeps forwarding, `weir unload` removes it")
	}
	return err
}

// assemble makes what runs while the daemon does. The parts know each other by
// the controller, which needs some of them first.
func (o Options) assemble(cfg lb.Config, overrides control.Overrides, kernel *Kernel, listener net.Listener) []func(context.Context) error {
	var controller *control.Controller
	byVIP := byvip.New(byvip.Options{
		Hop:    func(a netip.Addr) lb.NextHop { return controller.Hop(a) },
		Tunnel: func() lb.Tunnel { return controller.Tunnel() },
	})
	knocker := syn.NewProber()
	checks, asked := health.NewSet(health.Options{ByVIP: byVIP, SYN: knocker}), agents.NewSet()
	pools := poolsOf{func() *control.Controller { return controller }}
	http := tier.New(tier.Options{Pools: pools, Log: o.Log})
	controller = control.New(control.Options{
		Config: cfg, Overrides: overrides, DataPlane: kernel.Data, Hops: kernel.Hops,
		Health: checks, Agents: asked, Tier: http, Load: o.load, Log: o.Log,
	})
	server := api.New(api.Options{
		Control: controller, DataPlane: kernel.Data, HTTP: shownTier{http, pools},
		Version: o.Version, ConfigFile: o.ConfigFile, Log: o.Log,
	})
	return []func(context.Context) error{
		kernel.Run,
		byVIP.Run,
		knocker.Run,
		checks.Run,
		asked.Run,
		controller.Run,
		http.Run,
		func(ctx context.Context) error { return server.Serve(ctx, listener) },
		func(ctx context.Context) error { return o.followSignals(ctx, controller, http) },
	}
}

func (o Options) load() (lb.Config, error) {
	c, err := config.Load(o.ConfigFile)
	if o.Socket != "" {
		c.Socket = o.Socket
	}
	if err == nil {
		collectFor(c.HTTP)
	}
	return c, err
}

func (o Options) closeKernel(k *Kernel) {
	if err := k.Close(); err != nil {
		o.Log.Error("closing the kernel side", "error", err)
	}
}

func (o Options) followSignals(ctx context.Context, c *control.Controller, t *tier.Tier) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.Reload:
			// The controller logs and publishes what comes of it.
			_ = c.ReloadFile(ctx)
		case <-o.ReopenLogs:
			t.ReopenLogs()
		}
	}
}

func (o Options) writePID() error {
	if o.PIDFile == "" {
		return nil
	}
	if err := os.WriteFile(o.PIDFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return fmt.Errorf("writing the pid file: %w", err)
	}
	return nil
}

func (o Options) removePID() {
	if o.PIDFile == "" {
		return
	}
	if err := os.Remove(o.PIDFile); err != nil {
		o.Log.Warn("removing the pid file", "error", err)
	}
}

// together runs all parts until ctx ends or one of them returns, which ends
// the others. It returns what any returned.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, run := range parts {
		running.Go(func() {
			defer cancel()
			errs[i] = run(ctx)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

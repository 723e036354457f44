package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"weir/loader/netlab"
)

// demo is one run. undo is what to do at its end, last first.
type demo struct {
	opts    options
	screen  *screen
	topo    *netlab.Topology
	servers []*server
	serving group
	daemon  *daemon
	load    *load
	xdpMode string
	started time.Time              // the load
	mourned bool                   // it has been said that the daemon has ended
	groups  [][]string             // of backends, where their resources count
	trouble atomic.Pointer[string] // what happens to a backend, for the monitor to say
	undo    []func() error
}

// warmTimeout bounds the time until every backend answers through the VIP.
const warmTimeout = 15 * time.Second

// run does the whole demo and cleans up, however it ends. A ctx that ends
// while load is driven ends the demo as its duration would.
func run(ctx context.Context, opts options, scr *screen) (err error) {
	if err := prepareHost(); err != nil {
		return err
	}
	lock, err := takeLock()
	if err != nil {
		return err
	}
	d := &demo{opts: opts, screen: scr, undo: []func() error{lock.release}}
	// Deferred, so that a panic cleans up, too.
	defer func() { err = errors.Join(err, d.tearDown()) }()
	if err := d.setUp(ctx); err != nil {
		return err
	}
	result, err := d.measure(ctx)
	if err != nil {
		return err
	}
	return errors.Join(d.print(result), d.verdict())
}

func (d *demo) onEnd(f func() error) { d.undo = append(d.undo, f) }

func (d *demo) tearDown() error {
	var errs []error
	for _, f := range slices.Backward(d.undo) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

func (d *demo) setUp(ctx context.Context) error {
	if err := removeLeftovers(); err != nil {
		return fmt.Errorf("removing what an earlier demo left: %w", err)
	}
	d.onEnd(removeRunDir)
	if err := os.Mkdir(runDir, 0o700); err != nil {
		return fmt.Errorf("creating the demo's directory: %w", err)
	}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"building the network", d.buildNetwork},
		{"setting the backends up", d.startAgents},
		{"starting the servers", d.startServers},
		{"preparing the HTTP tier", d.prepareTier},
		{"starting the agents", d.startReporting},
		{"starting the daemon", d.startDaemon},
		{"awaiting reports", d.awaitReports},
		{"making the first requests through the VIP", d.warmUp},
	}
	for _, s := range steps {
		if !d.opts.resources() && (s.what == "starting the agents" || s.what == "awaiting reports") {
			continue
		}
		if err := d.screen.say("weir demo: %s", s.what); err != nil {
			return err
		}
		err := s.do(ctx)
		if ctx.Err() != nil { // err, if any, comes from that
			return fmt.Errorf("interrupted while %s: %w", s.what, context.Canceled)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) buildNetwork(context.Context) (err error) {
	d.topo, err = netlab.New(netlab.Options{
		Prefix:   prefix,
		Backends: len(d.opts.weights),
		Forward:  d.opts.forward,
		Family:   d.opts.family,
	})
	if err != nil {
		return err
	}
	d.onEnd(d.topo.Close)
	return nil
}

func (d *demo) startServers(context.Context) error {
	d.onEnd(d.serving.wait)
	for i, host := range d.topo.Backends {
		s, err := newServer(host, backendPort(d.opts.forward), d.opts.weights[i], slices.Concat(d.topo.ClientAddrs, []netip.Addr{d.topo.SourceAddr}))
		if err != nil {
			return err
		}
		d.onEnd(s.close)
		d.serving.run(s.serve)
		d.servers = append(d.servers, s)
	}
	if d.opts.l7 {
		for _, s := range d.servers {
			s.perRequest = true
		}
	}
	d.load = newLoad(d.topo, d.servers)
	return nil
}

func (d *demo) startDaemon(ctx context.Context) (err error) {
	config := daemonConfig(d.opts, d.topo.VIP, d.topo.SourceAddr, d.servers)
	if err := os.WriteFile(configPath, []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing the daemon's configuration: %w", err)
	}
	d.onEnd(removePins)
	d.onEnd(endDaemons) // one that the user started after ending ours
	if d.daemon, err = startDaemon(d.topo.Balancer); err != nil {
		return err
	}
	d.onEnd(d.daemon.stop)
	status, err := d.daemon.waitReady(ctx)
	d.xdpMode = xdpMode(status)
	return err
}

func (d *demo) warmUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	return d.load.warm(ctx, func() bool {
		return !slices.ContainsFunc(d.servers, func(s *server) bool { return s.weight > 0 && s.accepted.Load() == 0 })
	})
}

// measure drives load for the duration, and with --hold until ctx ends.
func (d *demo) measure(ctx context.Context) (report, error) {
	d.started = time.Now()
	timed, cancel := context.WithTimeout(ctx, d.opts.duration)
	defer cancel()
	if err := d.watched(timed, fullLoad(), d.burnOne); err != nil {
		return report{}, err
	}
	if d.opts.hold && ctx.Err() == nil {
		if err := d.screen.say("\n%s", d.commands()); err != nil {
			return report{}, err
		}
		if err := d.watched(ctx, lightLoad(), nil); err != nil {
			return report{}, err
		}
	}
	end := takeSample(d.load, d.servers)
	r := newReport(d.opts, d.xdpMode, time.Since(d.started), end, d.servers)
	r.Protocols = d.load.byProtocol()
	return r, nil
}

// watched drives load and shows it, while a disturbance, if any, does its own,
// until ctx ends or one of them fails.
func (d *demo) watched(ctx context.Context, p phase, disturb func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := group{failed: cancel}
	g.run(func() error { return d.load.drive(ctx, p) })
	g.run(func() error { return newMonitor(d).run(ctx) })
	if disturb != nil {
		g.run(func() error { return disturb(ctx) })
	}
	return g.wait()
}

func (d *demo) print(r report) error {
	if d.opts.json {
		return r.writeJSON(d.screen.result)
	}
	return d.screen.say("\n%s", r)
}

// verdict is an error if requests failed, or if the daemon has ended by itself.
func (d *demo) verdict() error {
	err := d.load.failure()
	if words, ended := d.daemon.obituary(); ended && !d.daemon.killed() {
		err = errors.Join(err, errors.New(words))
	}
	return err
}

// Package agent is what runs on a backend: it samples the host's load and
// tells it to balancers, with what the backend's operator asks for.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"weir/agent/cgroup"
	"weir/agent/collect"
	"weir/agent/config"
	"weir/agent/local"
	"weir/agent/report"
	"weir/agent/sample"
	"weir/agent/serve"
	"weir/agent/state"
	"weir/loader/unixsocket"
)

// interval between samples.
const interval = time.Second

// Options of an agent.
type Options struct {
	Config  config.Config // checked
	Version string
	Log     *slog.Logger
	Root    string // where the host's / is; empty: /
}

// Agent is one that was started. Its methods may be called concurrently.
type Agent struct {
	options Options
	boot    string
	started time.Time
	seq     atomic.Uint64
	scope   *cgroup.Group
	lacking map[string]string
	sampler *sample.Sampler
	state   *state.Store
	reports *serve.Reports // nil: not served
	checks  *serve.Checks  // nil: not served
	socket  net.Listener
	weight  headroom
}

// Start opens all that an agent needs, or nothing. Close or Run ends it.
func Start(ctx context.Context, o Options) (a *Agent, err error) {
	if o.Root == "" {
		o.Root = "/"
	}
	a = &Agent{options: o, boot: rand.Text(), started: time.Now(), lacking: map[string]string{}}
	if err := a.openCollectors(ctx); err != nil {
		return nil, err
	}
	if a.state, err = state.Open(o.Config.StateDir); err != nil {
		return nil, err
	}
	if err := a.listen(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Agent) openCollectors(ctx context.Context) error {
	host, err := collect.Open(ctx, a.options.Root)
	if err != nil {
		return err
	}
	if a.scope, err = host.Scope(a.options.Config.Cgroup); err != nil {
		return err
	}
	builtin, lacking := collect.Supported(ctx, collect.Builtin(host, a.scope))
	for name, err := range lacking {
		a.lacking[name] = err.Error()
	}
	var sources []sample.Source
	for _, c := range builtin {
		sources = append(sources, sample.Source{Collector: c})
	}
	for _, m := range a.options.Config.Metrics {
		sources = append(sources, sample.Source{Collector: custom(m), Every: m.Interval})
	}
	a.sampler = sample.New(sample.Options{Interval: interval, Tau: a.options.Config.Tau}, sources...)
	return nil
}

func custom(m config.Metric) sample.Collector {
	if m.Prometheus != "" {
		return collect.NewPrometheus(m.Name, m.Prometheus, m.Selector, m.Counter, m.Timeout)
	}
	return collect.NewCommand(m.Name, m.Command, m.Counter, m.Timeout)
}

func (a *Agent) listen() (err error) {
	c := a.options.Config
	if a.socket, err = unixsocket.Listen(c.Socket); err != nil {
		return fmt.Errorf("agent's socket %w", err)
	}
	if c.Listen != "" {
		if a.reports, err = serve.NewReports(c.Listen, c.Backend, serve.Files(c.TLS), a.report); err != nil {
			return err
		}
	}
	if c.AgentCheck.Listen != "" {
		a.checks, err = serve.NewChecks(c.AgentCheck.Listen, a.checkStatus)
	}
	return err
}

// Close gives back what Start opened.
func (a *Agent) Close() error {
	var errs []error
	if a.socket != nil {
		errs = append(errs, ignoreClosed(a.socket.Close()))
	}
	if a.reports != nil {
		errs = append(errs, ignoreClosed(a.reports.Close()))
	}
	if a.checks != nil {
		errs = append(errs, ignoreClosed(a.checks.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Run samples and serves until ctx ends or a part fails, and closes the agent.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func(context.Context) error{
		func(ctx context.Context) error { a.sampler.Run(ctx); return nil },
		func(ctx context.Context) error { return local.Serve(ctx, a.socket, a) },
	}
	if a.reports != nil {
		parts = append(parts, a.reports.Run)
	}
	if a.checks != nil {
		parts = append(parts, a.checks.Run)
	}
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() { ended <- part(ctx) }()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-ended)
		cancel()
	}
	return errors.Join(append(errs, a.Close())...)
}

// Reload reads certificates again; if they are not good the old ones stay.
func (a *Agent) Reload() error {
	if a.reports == nil {
		return nil
	}
	return a.reports.Reload()
}

// report is the next one of this boot.
func (a *Agent) report() report.Report {
	v := a.sampler.Now(time.Now())
	return report.Report{
		Boot: a.boot, Seq: a.seq.Add(1), Age: v.Age, Tau: a.options.Config.Tau,
		Rate: v.By[a.options.Config.Rate], Values: v.By, Missing: v.Missing, Status: a.status(),
	}
}

// status is what the operator and the configuration say. The agent does not
// judge whether the service works, which health checks do.
func (a *Agent) status() report.Status {
	s := a.state.Get()
	c := a.options.Config
	weight := c.Weight
	if s.Weight != nil {
		weight = s.Weight
	}
	return report.Status{Admin: s.Admin, Oper: report.Up, Weight: weight, MaxConn: c.MaxConn, Reason: s.Reason}
}

// checkStatus is the status for HAProxy, which takes a weight and no values. It
// keeps the last weight that it was told, so a backend that is ready always
// says one. Out of service it has none: HAProxy (2.6) would log each time.
func (a *Agent) checkStatus() report.Status {
	s := a.status()
	switch {
	case s.Admin != report.Ready:
		s.Weight = nil
	case s.Weight == nil:
		s.Weight = new(a.weight.percent(a.sampler.Now(time.Now()).By, a.options.Config.AgentCheck.From))
	}
	return s
}

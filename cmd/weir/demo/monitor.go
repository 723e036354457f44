package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"weir/loader/api/wire"
)

// monitor draws a frame at every refresh until ctx ends.
type monitor struct {
	demo   *demo
	recent []sample // the last two, older first: rates and shares "now" look back so far
	// As the daemon last said, per backend.
	weights  []string
	expected []float64
}

func newMonitor(d *demo) *monitor {
	m := &monitor{demo: d, expected: expectedShares(d.opts.algorithm, d.opts.weights)}
	for _, w := range d.opts.weights {
		m.weights = append(m.weights, fmt.Sprint(w))
	}
	return m
}

func (m *monitor) run(ctx context.Context) error {
	tick := time.NewTicker(m.demo.screen.refresh())
	defer tick.Stop()
	m.recent = []sample{takeSample(m.demo.load, m.demo.servers)}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := m.draw(ctx); err != nil {
				return err
			}
		}
	}
}

func (m *monitor) draw(ctx context.Context) error {
	d := m.demo
	if words, ended := d.daemon.obituary(); ended && !d.mourned {
		d.mourned = true
		if err := d.screen.say("%s\nThe program in the kernel keeps forwarding. Start it again with:\n  %s", words, d.runCommand()); err != nil {
			return err
		}
	}
	if what := d.trouble.Swap(nil); what != nil {
		if err := d.screen.say("%5.1fs  %s", time.Since(d.started).Seconds(), *what); err != nil {
			return err
		}
	}
	now := takeSample(d.load, d.servers)
	recent, window := now.since(m.recent[0])
	m.recent = append(m.recent[max(0, len(m.recent)-1):], now)
	m.ask(ctx)
	return d.screen.show(frame{
		title: d.title(), elapsed: now.at.Sub(d.started), total: now, recent: recent, window: window,
		servers: d.servers, weights: m.weights, expected: m.expected,
	})
}

// ask brings weights and expected shares up to date. Without a daemon the last
// ones stay in force.
func (m *monitor) ask(ctx context.Context) {
	backends, err := m.demo.daemon.backends(ctx)
	if err != nil {
		return
	}
	for i, s := range m.demo.servers {
		at := slices.IndexFunc(backends, func(b wire.Backend) bool { return b.Backend == s.endpoint })
		if at >= 0 {
			m.weights[i] = fmt.Sprintf("%g", backends[at].Effective)
			m.expected[i] = backends[at].Share
		}
	}
}

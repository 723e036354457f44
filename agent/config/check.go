package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir/agent/collect"
	"weir/agent/report"
)

// Check says what makes no sense, by key, and parses what is text.
func (c *Config) Check() error {
	if c.Listen == "" && c.AgentCheck.Listen == "" {
		return errors.New("listen and agent_check.listen are both empty: nobody could ask this agent")
	}
	if err := checkAddress(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := checkAddress(c.AgentCheck.Listen); err != nil {
		return fmt.Errorf("agent_check.listen: %w", err)
	}
	if c.Backend != "" {
		if report.CheckIdentity(c.Backend) != nil {
			return fmt.Errorf("backend: %.70q is neither an IP address in its usual form nor a DNS name in lower case", c.Backend)
		}
	}
	if c.Tau < time.Second/10 || c.Tau > maxTau {
		return fmt.Errorf("tau: %s is not 100ms to %s", c.Tau, maxTau)
	}
	if c.Socket == "" || c.StateDir == "" {
		return errors.New("socket and state_dir must not be empty")
	}
	if err := (report.Status{Weight: c.Weight, MaxConn: c.MaxConn}).Check(); err != nil {
		return err
	}
	return errors.Join(c.checkMetrics(), c.checkNames())
}

func checkAddress(address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%.70q is not HOST:PORT or :PORT", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("port of %.70q is not 0 to 65535", address)
	}
	return nil
}

// checkNames looks at the metrics that other keys name.
func (c *Config) checkNames() error {
	for _, name := range c.AgentCheck.From {
		if unit, ok := report.UnitOf(name); !ok || unit != report.Ratio {
			return fmt.Errorf("agent_check.weight_from: %.70q is not a ratio such as cpu or memory", name)
		}
	}
	if c.Rate != "" && !report.ValidMetric(c.Rate) {
		return fmt.Errorf("rate: %.70q is not a metric", c.Rate)
	}
	if name, ok := strings.CutPrefix(c.Rate, report.Custom); ok {
		for _, m := range c.Metrics {
			if m.Name == name {
				return nil
			}
		}
		return fmt.Errorf("rate: no metric has the name %q", name)
	}
	return nil
}

func (c *Config) checkMetrics() error {
	if len(c.Metrics) > maxMetrics {
		return fmt.Errorf("metrics: %d are over %d", len(c.Metrics), maxMetrics)
	}
	seen := map[string]bool{}
	for i := range c.Metrics {
		m := &c.Metrics[i]
		if err := m.check(); err != nil {
			return fmt.Errorf("metrics[%d]: %w", i, err)
		}
		if seen[m.Name] {
			return fmt.Errorf("metrics[%d].name: %q is there twice", i, m.Name)
		}
		seen[m.Name] = true
	}
	return nil
}

func (m *Metric) check() (err error) {
	if m.Interval == 0 {
		m.Interval = minPeriod
	}
	if m.Timeout == 0 {
		m.Timeout = defaultTimeout
	}
	switch {
	case !report.ValidMetric(report.Custom+m.Name) || m.Name == "":
		return fmt.Errorf("name: %.70q is not letters, digits and _ . : -", m.Name)
	case (len(m.Command) == 0) == (m.Prometheus == ""):
		return errors.New("needs a command or a Prometheus page, and not both")
	case m.Interval < minPeriod || m.Interval > maxPeriod:
		return fmt.Errorf("interval: %s is not %s to %s", m.Interval, minPeriod, maxPeriod)
	case m.Timeout < time.Second/10 || m.Timeout > maxPeriod:
		return fmt.Errorf("timeout: %s is not 100ms to %s", m.Timeout, maxPeriod)
	}
	if m.Prometheus != "" {
		return m.checkPage()
	}
	if m.Series != "" {
		return errors.New("series: a command has none")
	}
	if !filepath.IsAbs(m.Command[0]) {
		return fmt.Errorf("command: %.70q is not an absolute path", m.Command[0])
	}
	return nil
}

func (m *Metric) checkPage() (err error) {
	u, err := url.Parse(m.Prometheus)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("prometheus: %.70q is not a URL such as http://127.0.0.1:9113/metrics", m.Prometheus)
	}
	if m.Selector, err = collect.ParseSelector(m.Series); err != nil {
		return fmt.Errorf("series: %w", err)
	}
	return nil
}

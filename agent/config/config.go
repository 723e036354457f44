// Package config reads an agent's configuration: a strict YAML file, whose
// errors name the line, over defaults.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"weir/agent/collect"
	"weir/agent/report"
)

// Config of an agent.
type Config struct {
	Backend    string        `yaml:"backend"` // whom it speaks for; empty: the one name in its certificate
	Listen     string        `yaml:"listen"`  // reports over HTTPS; empty: none
	TLS        TLS           `yaml:"tls"`
	AgentCheck AgentCheck    `yaml:"agent_check"`
	Socket     string        `yaml:"socket"`         // of weir agent status, drain, ready, maint and weight
	StateDir   string        `yaml:"state_dir"`      // where the operator's state is kept
	Cgroup     string        `yaml:"cgroup"`         // that values are about; empty: the host or container
	Tau        time.Duration `yaml:"tau"`            // time constant of the smoothing
	Rate       string        `yaml:"rate"`           // metric that is the backend's traffic
	Weight     *int          `yaml:"weight_percent"` // of the configured weight; empty: not said
	MaxConn    *int          `yaml:"maxconn"`        // empty: not said
	Metrics    []Metric      `yaml:"metrics"`        // of the user's own
}

// TLS names files in PEM.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// AgentCheck is how HAProxy's agent-check is answered.
type AgentCheck struct {
	Listen string   `yaml:"listen"`      // empty: not at all
	From   []string `yaml:"weight_from"` // ratios whose headroom is the weight; none: 100 %
}

// Metric is one of the user's own: of a command or of a Prometheus page.
type Metric struct {
	Name       string           `yaml:"name"`
	Command    []string         `yaml:"command"`
	Prometheus string           `yaml:"prometheus"` // URL
	Series     string           `yaml:"series"`
	Counter    bool             `yaml:"counter"` // the value is what it rises by per second
	Interval   time.Duration    `yaml:"interval"`
	Timeout    time.Duration    `yaml:"timeout"`
	Selector   collect.Selector `yaml:"-"` // Series, parsed
}

// Defaults of what a file or a flag may change.
const (
	DefaultSocket   = "/run/weir/agent.sock"
	DefaultStateDir = "/var/lib/weir"
	defaultDir      = "/etc/weir/agent/"
	defaultTau      = 3 * time.Second
	defaultTimeout  = 2 * time.Second
)

const (
	maxFile    = 1 << 20
	maxMetrics = 64 // with all that the host can have they fit a report
	maxTau     = time.Minute
	minPeriod  = time.Second
	maxPeriod  = time.Minute
)

// Default is the configuration without a file.
func Default() Config {
	return Config{
		Listen:     ":" + strconv.Itoa(report.DefaultPort),
		TLS:        TLS{CA: defaultDir + "ca.crt", Cert: defaultDir + "agent.crt", Key: defaultDir + "agent.key"},
		AgentCheck: AgentCheck{From: []string{"cpu"}},
		Socket:     DefaultSocket, StateDir: DefaultStateDir, Tau: defaultTau,
	}
}

// Load reads a file over the defaults. It does not Check: flags may change
// more. Errors name the file and the line.
func Load(path string) (Config, error) {
	c := Default()
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if len(text) > maxFile {
		return c, fmt.Errorf("%s: longer than %d bytes", path, maxFile)
	}
	if err := c.parse(text); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c *Config) parse(text []byte) error {
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	err := d.Decode(c)
	if errors.Is(err, io.EOF) {
		return nil // an empty file changes nothing
	}
	if err != nil {
		return plain(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

// plain is a YAML error in one line and in this project's words.
func plain(err error) error {
	faults := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if e, ok := errors.AsType[*yaml.TypeError](err); ok {
		faults = e.Errors
	}
	unknown := regexp.MustCompile(`field (\S+) not found in type \S+`)
	for i, f := range faults {
		faults[i] = unknown.ReplaceAllString(f, "unknown key $1")
	}
	return errors.New(strings.Join(faults, "; "))
}

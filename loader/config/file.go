package config

import (
	"fmt"
	"time"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// file is the shape of a configuration file: which keys there are and of which
// type. Pointers are keys whose absence means a default other than zero.
type file struct {
	Interfaces []string  `mapstructure:"interfaces"`
	XDPMode    string    `mapstructure:"xdp_mode"`
	PinDir     string    `mapstructure:"pin_dir"`
	Socket     string    `mapstructure:"socket"`
	StateDir   string    `mapstructure:"state_dir"`
	Seed       uint64    `mapstructure:"seed"`
	Events     events    `mapstructure:"events"`
	Limits     limits    `mapstructure:"limits"`
	Timeouts   timeouts  `mapstructure:"timeouts"`
	Tunnel     tunnel    `mapstructure:"tunnel"`
	SNAT       snat      `mapstructure:"snat"`
	Fragments  string    `mapstructure:"fragments"`
	ACL        *acl      `mapstructure:"acl"`
	Pools      []pool    `mapstructure:"pools"`
	Services   []service `mapstructure:"services"`
	HTTP       *httpTier `mapstructure:"http"`
}

type events struct {
	Sample int64 `mapstructure:"sample"`
}

type limits struct {
	Services     *int64 `mapstructure:"services"`
	Backends     *int64 `mapstructure:"backends"`
	Flows        int64  `mapstructure:"flows"`
	TableEntries *int64 `mapstructure:"table_entries"`
	Sources      int64  `mapstructure:"sources"`
}

type timeouts struct {
	Embryonic   time.Duration `mapstructure:"embryonic"`
	Established time.Duration `mapstructure:"established"`
	Closing     time.Duration `mapstructure:"closing"`
	UDP         time.Duration `mapstructure:"udp"`
}

type snat struct {
	Addresses []string `mapstructure:"addresses"`
}

type tunnel struct {
	GUEPort int64  `mapstructure:"gue_port"`
	Source4 string `mapstructure:"source4"`
	Source6 string `mapstructure:"source6"`
}

type pool struct {
	Name      string    `mapstructure:"name"`
	Algorithm *string   `mapstructure:"algorithm"`
	TableSize *int64    `mapstructure:"table_size"`
	QUIC      *quic     `mapstructure:"quic"`
	Health    *health   `mapstructure:"health"`
	HTTP      *poolHTTP `mapstructure:"http"`

	Weights        *string        `mapstructure:"weights"`
	Resources      *resources     `mapstructure:"resources"`
	SlowStart      *time.Duration `mapstructure:"slow_start"`
	PanicThreshold *amount        `mapstructure:"panic_threshold"`
	Agent          *agent         `mapstructure:"agent"`

	Backends []backend `mapstructure:"backends"`
}

type resources struct {
	Mode      *string        `mapstructure:"mode"`
	Metric    *string        `mapstructure:"metric"`
	Smoothing *time.Duration `mapstructure:"smoothing"`
	Min       *amount        `mapstructure:"min"`
	Max       *amount        `mapstructure:"max"`
	Step      *amount        `mapstructure:"step"`
	DeadBand  *amount        `mapstructure:"dead_band"`
	HoldOff   *time.Duration `mapstructure:"hold_off"`
	MaxMove   *amount        `mapstructure:"max_move"`
}

// agent is a pool's, or what differs from that for a backend.
type agent struct {
	Protocol    *string        `mapstructure:"protocol"`
	Port        *int64         `mapstructure:"port"`
	Name        *string        `mapstructure:"name"`
	CA          *string        `mapstructure:"ca"`
	Certificate *string        `mapstructure:"certificate"`
	Key         *string        `mapstructure:"key"`
	Interval    *time.Duration `mapstructure:"interval"`
	Timeout     *time.Duration `mapstructure:"timeout"`
}

type quic struct {
	ConfigIDs      []int64 `mapstructure:"config_ids"`
	ServerIDLength int64   `mapstructure:"server_id_length"`
}

type backend struct {
	Server   string  `mapstructure:"server"` // the rest in one line, see expand
	Address  string  `mapstructure:"address"`
	Weight   *int64  `mapstructure:"weight"`
	ServerID string  `mapstructure:"server_id"`
	Health   *health `mapstructure:"health"`

	MaxCPU         *amount `mapstructure:"max_cpu"`
	MaxMemory      *amount `mapstructure:"max_memory"`
	MaxIOPS        *amount `mapstructure:"max_iops"`
	MaxLoad        *amount `mapstructure:"max_load"`
	MaxConnections *amount `mapstructure:"max_connections"`
	Limits         []limit `mapstructure:"limits"`
	Agent          *agent  `mapstructure:"agent"`
}

type limit struct {
	Metric string  `mapstructure:"metric"`
	Max    *amount `mapstructure:"max"`
}

// health is a pool's, or what differs from that for a backend.
type health struct {
	Type         *string        `mapstructure:"type"`
	Via          *string        `mapstructure:"via"`
	Port         *int64         `mapstructure:"port"`
	Interval     *time.Duration `mapstructure:"interval"`
	FastInterval *time.Duration `mapstructure:"fast_interval"`
	Timeout      *time.Duration `mapstructure:"timeout"`
	Rise         *int64         `mapstructure:"rise"`
	Fall         *int64         `mapstructure:"fall"`
	Jitter       *int64         `mapstructure:"jitter"`
	Method       *string        `mapstructure:"method"`
	Path         *string        `mapstructure:"path"`
	Host         *string        `mapstructure:"host"`
	Status       *string        `mapstructure:"status"`
	Body         *string        `mapstructure:"body"`
	BodyRegexp   *string        `mapstructure:"body_regexp"`
	Send         *string        `mapstructure:"send"`
	Expect       *string        `mapstructure:"expect"`
	Query        *string        `mapstructure:"query"`
	Record       *string        `mapstructure:"record"`
	RCode        *string        `mapstructure:"rcode"`
	Service      *string        `mapstructure:"service"`
	ServerName   *string        `mapstructure:"server_name"`
	CA           *string        `mapstructure:"ca"`
	Verify       *string        `mapstructure:"verify"`
	WarnBefore   *time.Duration `mapstructure:"warn_before"`
	Command      []string       `mapstructure:"command"`
}

type service struct {
	Name    string `mapstructure:"name"`
	VIP     string `mapstructure:"vip"`
	Forward string `mapstructure:"forward"`
	Pool    string `mapstructure:"pool"`

	MSS *segment `mapstructure:"mss"`

	ACL               *acl       `mapstructure:"acl"`
	NewFlowsPerSource *flowLimit `mapstructure:"new_flows_per_source"`
	MaxNewFlows       *int64     `mapstructure:"max_new_flows"`
}

type acl struct {
	Allow     []string `mapstructure:"allow"`
	AllowFile string   `mapstructure:"allow_file"`
	Deny      []string `mapstructure:"deny"`
	DenyFile  string   `mapstructure:"deny_file"`
	Default   string   `mapstructure:"default"`
}

type flowLimit struct {
	Rate  int64  `mapstructure:"rate"`
	Burst *int64 `mapstructure:"burst"`
}

// decode checks the file's shape and reads it. What has a fault is reported,
// removed from root and read as if it were not there.
func decode(r *report, root *yaml.Node) (file, error) {
	var f file
	if !checkShape(r, root, &f) {
		return f, r.err()
	}
	var keys map[string]any
	if err := root.Decode(&keys); err != nil {
		return f, fmt.Errorf("%s: decode YAML: %w", r.file, err)
	}
	v := viper.New()
	setDefaults(v)
	if err := v.MergeConfigMap(keys); err != nil {
		return f, fmt.Errorf("%s: take over keys: %w", r.file, err)
	}
	if err := v.UnmarshalExact(&f); err != nil {
		return f, fmt.Errorf("%s: read keys: %w", r.file, err)
	}
	keepEmpty(root, &f)
	return f, nil
}

// keepEmpty makes mappings without keys, which viper takes for keys that are
// not there, differ from those.
func keepEmpty(root *yaml.Node, f *file) {
	there := func(p *path) bool {
		value, _ := p.find(root)
		around, _ := p.parent.find(root)
		return value != around
	}
	tier := top.key("http")
	if f.HTTP == nil && there(tier) {
		f.HTTP = &httpTier{}
	}
	if f.HTTP == nil {
		return
	}
	if f.HTTP.ACME == nil && there(tier.key("acme")) {
		f.HTTP.ACME = &acme{}
	}
	if f.HTTP.Tracing == nil && there(tier.key("tracing")) {
		f.HTTP.Tracing = &tracing{}
	}
}

func setDefaults(v *viper.Viper) {
	for key, value := range map[string]any{
		"xdp_mode":             "auto",
		"pin_dir":              "/sys/fs/bpf/weir",
		"socket":               "/run/weir/weir.sock",
		"state_dir":            "/var/lib/weir",
		"events.sample":        1,
		"limits.flows":         1_000_000,
		"limits.sources":       65_536,
		"timeouts.embryonic":   30 * time.Second,
		"timeouts.established": 15 * time.Minute,
		"timeouts.closing":     60 * time.Second,
		"timeouts.udp":         60 * time.Second,
		"fragments":            followFragments,
		"tunnel.gue_port":      6080,
		"tunnel.source4":       "172.16.0.0/16",
		"tunnel.source6":       "100::/64",
	} {
		v.SetDefault(key, value)
	}
}

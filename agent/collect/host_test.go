package collect_test

import (
	"context"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/agent/collect"
	"weir/agent/report"
	"weir/agent/sample"
)

// machine is a made-up host with one cgroup of version 2.
type machine struct {
	t    *testing.T
	root string
	now  time.Time
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, root: t.TempDir(), now: time.Unix(1_800_000_000, 0)}
	for name, text := range map[string]string{
		"proc/stat": "cpu  0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\ncpu1 0 0 0 1000 0 0 0 0 0 0\nintr 1\n",
		"proc/meminfo": "MemTotal: 1048576 kB\nMemFree: 1 kB\nMemAvailable: 262144 kB\nBuffers: 0 kB\nCached: 0 kB\n" +
			"SwapTotal: 1000 kB\nSwapFree: 900 kB\n",
		"proc/diskstats": "8 0 sda 10 0 0 100 10 0 0 100 0 1000 200 0 0 0 0 0 0\n" +
			"8 1 sda1 10 0 0 100 10 0 0 100 0 1000 200 0 0 0 0 0 0\n" +
			"8 16 sdb 10 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		"proc/net/dev": "Inter-|   Receive\n face |bytes\n" +
			"    lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0\n" +
			"  eth0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n" +
			" veth1: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		"proc/net/snmp":                              "Tcp: MaxConn CurrEstab\nTcp: -1 42\n",
		"proc/loadavg":                               "3.00 2.00 1.00 1/100 1\n",
		"proc/pressure/cpu":                          "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"proc/pressure/memory":                       "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"proc/self/mountinfo":                        "25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"sys/block/sda/device/model":                 "x\n",
		"sys/block/sdb/device/model":                 "x\n",
		"sys/block/loop0/size":                       "0\n",
		"sys/class/net/eth0/device/x":                "x\n",
		"sys/class/net/eth0/speed":                   "8\n",
		"sys/class/net/veth1/speed":                  "10000\n",
		"sys/class/net/lo/mtu":                       "1\n",
		"sys/fs/cgroup/cgroup.controllers":           "cpu memory io\n",
		"sys/fs/cgroup/cpu.stat":                     "usage_usec 0\n",
		"sys/fs/cgroup/memory.stat":                  "anon 0\n",
		"sys/fs/cgroup/web/cgroup.controllers":       "cpu memory io\n",
		"sys/fs/cgroup/web/cpu.stat":                 "usage_usec 0\nnr_periods 0\nnr_throttled 0\n",
		"sys/fs/cgroup/web/cpu.max":                  "50000 100000\n",
		"sys/fs/cgroup/web/memory.stat":              "inactive_file 0\n",
		"sys/fs/cgroup/web/memory.current":           "104857600\n",
		"sys/fs/cgroup/web/memory.max":               "209715200\n",
		"sys/fs/cgroup/web/memory.swap.current":      "102400\n",
		"sys/fs/cgroup/web/memory.swap.max":          "409600\n",
		"sys/fs/cgroup/web/io.stat":                  "8:0 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0\n",
		"sys/fs/cgroup/web/cpu.pressure":             "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"sys/fs/cgroup/unlimited/cgroup.controllers": "cpu memory io\n",
		"sys/fs/cgroup/unlimited/cpu.stat":           "usage_usec 0\n",
	} {
		m.write(name, text)
	}
	return m
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) host() collect.Host {
	m.t.Helper()
	h, err := collect.Open(m.t.Context(), m.root)
	if err != nil {
		m.t.Fatal(err)
	}
	return h
}

// collect asks after so many seconds.
func (m *machine) collect(c sample.Collector, after time.Duration) map[string]float64 {
	m.t.Helper()
	m.now = m.now.Add(after)
	values, err := c.Collect(m.t.Context(), m.now)
	if err != nil {
		m.t.Fatal(err)
	}
	for name, v := range values {
		if err := report.CheckValue(name, v); err != nil {
			m.t.Error(err)
		}
	}
	return values
}

func (m *machine) want(got, want map[string]float64) {
	m.t.Helper()
	for name := range want {
		if v, ok := got[name]; !ok || math.Abs(v-want[name]) > 1e-9 {
			m.t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want[name])
		}
	}
	if len(got) != len(want) {
		m.t.Errorf("metrics %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestOpen(t *testing.T) {
	m := newMachine(t)
	if h := m.host(); h.Cores != 2 || h.Memory != 1<<30 {
		t.Errorf("host %+v", h)
	}
	m.write("proc/meminfo", "MemTotal: 0 kB\n")
	if _, err := collect.Open(t.Context(), m.root); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("without memory: %v", err)
	}
	if _, err := collect.Open(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "CPUs") {
		t.Errorf("without /proc: %v", err)
	}
}

func TestScope(t *testing.T) {
	m := newMachine(t)
	if g, err := m.host().Scope(""); err != nil || g != nil {
		t.Errorf("a host without limits has the scope %v, %v", g, err)
	}
	m.write("sys/fs/cgroup/cpu.max", "100000 100000\n") // as in a container
	if g, err := m.host().Scope(""); err != nil || g == nil || g.Path() != "/" {
		t.Errorf("a container with limits has the scope %v, %v", g, err)
	}
	if g, err := m.host().Scope("/web"); err != nil || g.Path() != "/web" {
		t.Errorf("scope /web: %v, %v", g, err)
	}
	if _, err := m.host().Scope("/none"); err == nil {
		t.Error("a scope that is not there was taken")
	}
}

func TestSupported(t *testing.T) {
	m := newMachine(t)
	if err := os.RemoveAll(filepath.Join(m.root, "proc/pressure")); err != nil {
		t.Fatal(err)
	}
	all := collect.Builtin(m.host(), nil)
	work, lacking := collect.Supported(t.Context(), all)
	if len(work) != len(all)-1 || len(lacking) != 1 || lacking["pressure"] == nil {
		t.Errorf("%d work, lacking %v", len(work), lacking)
	}
}

// TestThisHost runs the collectors on the machine that the test is on, twice.
func TestThisHost(t *testing.T) {
	ctx := context.Background()
	h, err := collect.Open(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	scope, err := h.Scope("")
	if err != nil {
		t.Fatal(err)
	}
	work, _ := collect.Supported(ctx, collect.Builtin(h, scope))
	values := map[string]float64{}
	for _, c := range work {
		v, err := c.Collect(ctx, time.Now().Add(time.Second))
		if err != nil {
			t.Errorf("%s: %v", c.Name(), err)
		}
		maps.Copy(values, v)
	}
	for name, v := range values {
		if err := report.CheckValue(name, v); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"memory", "memory_available", "swap", "load", "connections"} {
		if _, ok := values[name]; !ok {
			t.Errorf("no %s among %v", name, slices.Sorted(maps.Keys(values)))
		}
	}
}

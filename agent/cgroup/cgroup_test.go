package cgroup_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/agent/cgroup"
)

// files of a host with version 2 alone.
var two = map[string]string{
	"proc/self/mountinfo": "25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n" +
		"26 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
	"sys/fs/cgroup/cgroup.controllers":                    "cpuset cpu io memory pids\n",
	"sys/fs/cgroup/cpu.stat":                              "usage_usec 9000000\nuser_usec 1\nsystem_usec 1\n",
	"sys/fs/cgroup/cpuset.cpus.effective":                 "0-7\n",
	"sys/fs/cgroup/memory.stat":                           "anon 100\nfile 50\nkernel 25\ninactive_file 20\n",
	"sys/fs/cgroup/web/cgroup.controllers":                "cpu memory\n",
	"sys/fs/cgroup/web/cpu.max":                           "150000 100000\n",
	"sys/fs/cgroup/web/memory.max":                        "4096\n",
	"sys/fs/cgroup/web/memory.high":                       "max\n",
	"sys/fs/cgroup/web/memory.swap.max":                   "1000\n",
	"sys/fs/cgroup/web/one/cgroup.controllers":            "cpu memory\n",
	"sys/fs/cgroup/web/one/cpu.stat":                      "usage_usec 2500000\nnr_periods 10\nnr_throttled 4\n",
	"sys/fs/cgroup/web/one/cpu.max":                       "max 100000\n",
	"sys/fs/cgroup/web/one/cpuset.cpus.effective":         "0,2-3\n",
	"sys/fs/cgroup/web/one/memory.stat":                   "anon 1\ninactive_file 30\n",
	"sys/fs/cgroup/web/one/memory.current":                "1030\n",
	"sys/fs/cgroup/web/one/memory.max":                    "8192\n",
	"sys/fs/cgroup/web/one/memory.high":                   "3000\n",
	"sys/fs/cgroup/web/one/memory.swap.current":           "500\n",
	"sys/fs/cgroup/web/one/memory.swap.max":               "max\n",
	"sys/fs/cgroup/web/one/io.stat":                       "8:0 rbytes=9 wbytes=9 rios=10 wios=5 dbytes=0 dios=0\n254:1 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
	"sys/fs/cgroup/web/one/cpu.pressure":                  "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
	"sys/fs/cgroup/plain/cgroup.controllers":              "\n", // none is enabled for it
	"sys/fs/cgroup/web/broken/cgroup.controllers":         "cpu memory\n",
	"sys/fs/cgroup/web/broken/cpu.stat":                   "usage_usec lots\n",
	"sys/fs/cgroup/web/broken/memory.stat":                "anon 1\n",
	"sys/fs/cgroup/web/broken/memory.current":             "-5\n",
	"sys/fs/cgroup/web/broken/io.stat":                    "8:0 rbytes=9 rios=x\n",
	"sys/fs/cgroup/web/broken/memory.pressure":            "some avg10=0.00\n",
	"sys/fs/cgroup/web/broken/cpuset.cpus.effective":      "3-1\n",
	"sys/fs/cgroup/web/broken-cpus/cgroup.controllers":    "cpu\n",
	"sys/fs/cgroup/web/broken-cpus/cpu.stat":              "usage_usec 1\n",
	"sys/fs/cgroup/web/broken-cpus/cpuset.cpus.effective": "3-1\n",
	"sys/fs/cgroup/web/broken-max/cgroup.controllers":     "cpu\n",
	"sys/fs/cgroup/web/broken-max/cpu.stat":               "usage_usec 1\n",
	"sys/fs/cgroup/web/broken-max/cpu.max":                "50%\n",
}

// files of a host with version 1, and version 2 as systemd's hybrid layout has it.
var one = map[string]string{
	"proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"36 31 0:33 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" +
		"37 31 0:34 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
	"sys/fs/cgroup/unified/web/cgroup.controllers":       "hugetlb\n",
	"sys/fs/cgroup/cpu,cpuacct/cpuacct.usage":            "9000000000\n",
	"sys/fs/cgroup/cpu,cpuacct/web/cpuacct.usage":        "2500000000\n",
	"sys/fs/cgroup/cpu,cpuacct/web/cpu.cfs_quota_us":     "50000\n",
	"sys/fs/cgroup/cpu,cpuacct/web/cpu.cfs_period_us":    "100000\n",
	"sys/fs/cgroup/cpu,cpuacct/web/cpu.stat":             "nr_periods 10\nnr_throttled 4\nthrottled_time 12\n",
	"sys/fs/cgroup/cpuset/web/cpuset.cpus":               "\n",
	"sys/fs/cgroup/memory/web/memory.usage_in_bytes":     "1030\n",
	"sys/fs/cgroup/memory/web/memory.stat":               "cache 1\ntotal_inactive_file 30\ntotal_swap 7\nhierarchical_memory_limit 4096\nhierarchical_memsw_limit 5000\n",
	"sys/fs/cgroup/memory/free/memory.usage_in_bytes":    "10\n",
	"sys/fs/cgroup/memory/free/memory.stat":              "hierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 9223372036854771712\n",
	"sys/fs/cgroup/blkio/web/blkio.throttle.io_serviced": "8:0 Read 10\n8:0 Write 5\n8:0 Sync 15\n8:0 Total 15\nTotal 15\n",
}

func host(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t *testing.T, files map[string]string, path string) *cgroup.Group {
	t.Helper()
	g, err := cgroup.Open(host(t, files), path)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		files   map[string]string
		path    string
		want    string
		version int
	}{
		{two, "/web/one", "/web/one", 2},
		{two, "web/one/", "/web/one", 2},
		{two, "/sys/fs/cgroup/web/one", "/web/one", 2},
		{two, "/", "/", 2},
		{two, "/sys/fs/cgroup", "/", 2},
		{two, "/plain", "/plain", 2},
		{one, "/web", "/web", 1},
		{one, "/sys/fs/cgroup/cpu,cpuacct/web", "/web", 1},
		{one, "/sys/fs/cgroup/unified/web", "/web", 1},
	} {
		g := open(t, c.files, c.path)
		if g.Path() != c.want || g.Version() != c.version {
			t.Errorf("%s: %s of version %d, want %s of %d", c.path, g.Path(), g.Version(), c.want, c.version)
		}
	}
	for _, path := range []string{"/webs", "/web/two", "/../../etc"} {
		if g, err := cgroup.Open(host(t, two), path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, %v", path, g, err)
		}
	}
	none := map[string]string{"proc/self/mountinfo": "26 1 8:1 / / rw - ext4 /dev/sda1 rw\n"}
	if _, err := cgroup.Open(host(t, none), "/"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a hierarchy: %v", err)
	}
}

func TestCPU(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		path  string
		want  cgroup.CPU
	}{
		{two, "/web/one", cgroup.CPU{Used: 2500 * time.Millisecond, Cores: 1.5, Periods: 10, Throttled: 4}},
		{two, "/", cgroup.CPU{Used: 9 * time.Second, Cores: 8}},
		{one, "/web", cgroup.CPU{Used: 2500 * time.Millisecond, Cores: 0.5, Periods: 10, Throttled: 4}},
		{one, "/", cgroup.CPU{Used: 9 * time.Second}},
	} {
		if got, err := open(t, c.files, c.path).CPU(); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.path, got, err, c.want)
		}
	}
	narrow := maps.Clone(two)
	narrow["sys/fs/cgroup/web/one/cpuset.cpus.effective"] = "2\n"
	if got, err := open(t, narrow, "/web/one").CPU(); err != nil || got.Cores != 1 {
		t.Errorf("with a cpuset below the quota: %+v, %v", got, err)
	}
}

func TestMemory(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		path  string
		want  cgroup.Memory
	}{
		{two, "/web/one", cgroup.Memory{Used: 1000, Limit: 3000, SwapUsed: 500, SwapLimit: 1000}},
		{two, "/", cgroup.Memory{Used: 155}},
		{one, "/web", cgroup.Memory{Used: 1000, Limit: 4096, SwapUsed: 7, SwapLimit: 904}},
		{one, "/free", cgroup.Memory{Used: 10}},
	} {
		if got, err := open(t, c.files, c.path).Memory(); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.path, got, err, c.want)
		}
	}
}

func TestIOAndPressure(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		path  string
		want  uint64
	}{{two, "/web/one", 16}, {one, "/web", 15}} {
		if got, err := open(t, c.files, c.path).IO(); err != nil || got != c.want {
			t.Errorf("%s: %d requests, %v; want %d", c.path, got, err, c.want)
		}
	}
	want := cgroup.Pressure{Some: 1500 * time.Millisecond, Full: 500 * time.Millisecond}
	if got, err := open(t, two, "/web/one").Pressure("cpu"); err != nil || got != want {
		t.Errorf("pressure %+v, %v", got, err)
	}
}

func TestMissingIsUnsupported(t *testing.T) {
	_, noPressure := open(t, one, "/web").Pressure("cpu")
	_, noFile := open(t, two, "/web/one").Pressure("io")
	_, noIO := open(t, two, "/web").IO()
	_, noController := open(t, one, "/free").CPU()
	for i, err := range []error{noPressure, noFile, noIO, noController} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	broken := open(t, two, "/web/broken")
	_, cpu := broken.CPU()
	_, memory := broken.Memory()
	_, io := broken.IO()
	_, pressure := broken.Pressure("memory")
	_, set := open(t, two, "/web/broken-cpus").CPU()
	_, quota := open(t, two, "/web/broken-max").CPU()
	for file, err := range map[string]error{
		"broken/cpu.stat": cpu, "memory.current": memory, "io.stat": io, "memory.pressure": pressure,
		"cpuset.cpus.effective": set, "cpu.max": quota,
	} {
		if err == nil || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestLimited(t *testing.T) {
	for _, c := range []struct {
		files  map[string]string
		path   string
		cores  int
		memory uint64
		want   bool
	}{
		{two, "/", 8, 1 << 30, false},
		{two, "/web/one", 8, 1000, true},
		{two, "/web/one", 1, 1 << 30, true},
		{one, "/web", 1, 1, true},
		{one, "/free", 1, 1 << 30, false},
	} {
		if got := open(t, c.files, c.path).Limited(c.cores, c.memory); got != c.want {
			t.Errorf("%s with %d CPUs and %d bytes is limited: %v", c.path, c.cores, c.memory, got)
		}
	}
}

// FuzzFiles has the kernel's files say anything.
func FuzzFiles(f *testing.F) {
	for _, text := range two {
		f.Add(text)
	}
	f.Add("max -1")
	f.Add("some total=9223372036854775807\n")
	f.Fuzz(func(t *testing.T, text string) {
		files := map[string]string{"proc/self/mountinfo": two["proc/self/mountinfo"]}
		for _, name := range []string{
			"cgroup.controllers", "cpu.stat", "cpu.max", "cpuset.cpus.effective", "memory.stat", "memory.current", "memory.max",
			"memory.high", "memory.swap.current", "memory.swap.max", "io.stat", "cpu.pressure",
		} {
			files["sys/fs/cgroup/web/"+name] = text
		}
		g := open(t, files, "/web")
		if c, err := g.CPU(); err == nil && (c.Used < 0 || c.Cores < 0) {
			t.Errorf("CPU %+v", c)
		}
		if m, err := g.Memory(); err == nil && m.Used > 1<<63 && m.Limit > m.Used {
			t.Errorf("memory %+v", m)
		}
		if p, err := g.Pressure("cpu"); err == nil && (p.Some < 0 || p.Full < 0) {
			t.Errorf("pressure %+v", p)
		}
		g.IO()
	})
}

// TestThisHost reads the kernel's own files, of whichever version it has.
func TestThisHost(t *testing.T) {
	g, err := cgroup.Open("/", "/")
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if c, err := g.CPU(); err != nil || c.Used == 0 {
		t.Errorf("CPU of version %d: %+v, %v", g.Version(), c, err)
	}
	if m, err := g.Memory(); err != nil || m.Used == 0 {
		t.Errorf("memory of version %d: %+v, %v", g.Version(), m, err)
	}
}

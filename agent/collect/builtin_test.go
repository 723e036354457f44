package collect_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"weir/agent/collect"
)

func TestCPU(t *testing.T) {
	m := newMachine(t)
	c := collect.NewCPU(m.host(), nil)
	m.want(m.collect(c, 0), nil)
	// In one second core 0 is busy for 75 ticks, of them 5 stolen; core 1 for 25, waiting for disks for 50.
	m.write("proc/stat", "cpu  0 0 0 0\ncpu0 130 10 120 825 0 3 7 5 0 0\ncpu1 25 0 0 1025 50 0 0 0 25 0\n")
	m.want(m.collect(c, time.Second), map[string]float64{
		"cpu": 0.5, "cpu_core": 0.75, "cpu_core.0": 0.75, "cpu_core.1": 0.25, "cpu_steal": 0.025,
	})
	m.write("proc/stat", "cpu  0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n") // began again, one core gone
	m.want(m.collect(c, time.Second), nil)
	m.write("proc/stat", "nothing\n")
	if v, err := c.Collect(t.Context(), m.now); err == nil {
		t.Errorf("without times: %v", v)
	}
}

func TestCPUOfManyCores(t *testing.T) {
	m := newMachine(t)
	stat := func(busy int) string {
		text := "cpu 0 0 0 0\n"
		for i := range 256 {
			text += fmt.Sprintf("cpu%d %d 0 0 %d 0 0 0 0 0 0\n", i, busy, 1000-busy)
		}
		return text
	}
	m.write("proc/stat", stat(0))
	c := collect.NewCPU(m.host(), nil)
	m.collect(c, 0)
	m.write("proc/stat", strings.ReplaceAll(stat(100), " 900 ", " 1000 "))
	if v := m.collect(c, time.Second); len(v) != 3+64 || v["cpu"] != 1 {
		t.Errorf("%d values, cpu %v", len(v), v["cpu"])
	}
}

func TestCPUOfGroup(t *testing.T) {
	m := newMachine(t)
	scope, err := m.host().Scope("/web")
	if err != nil {
		t.Fatal(err)
	}
	c := collect.NewCPU(m.host(), scope)
	m.want(m.collect(c, 0), nil)
	// Half a core for two seconds is its quota; 0.4 of these 1.0 are used.
	m.write("sys/fs/cgroup/web/cpu.stat", "usage_usec 400000\nnr_periods 20\nnr_throttled 5\n")
	m.want(m.collect(c, 2*time.Second), map[string]float64{"cpu": 0.4, "cpu_throttled": 0.25})
	m.write("sys/fs/cgroup/web/cpu.stat", "usage_usec 4000000\nnr_periods 40\nnr_throttled 25\n")
	m.want(m.collect(c, 2*time.Second), map[string]float64{"cpu": 1, "cpu_throttled": 1}) // not over 1
	m.write("sys/fs/cgroup/web/cpu.max", "max 100000\n")
	m.write("sys/fs/cgroup/web/cpu.stat", "usage_usec 5000000\nnr_periods 40\nnr_throttled 25\n")
	m.want(m.collect(c, 2*time.Second), map[string]float64{"cpu": 0.25, "cpu_throttled": 0}) // of both cores
}

func TestMemory(t *testing.T) {
	m := newMachine(t)
	c := collect.NewMemory(m.host(), nil)
	m.want(m.collect(c, 0), map[string]float64{"memory": 0.75, "memory_available": 256, "swap": 0.1})
	scope, err := m.host().Scope("/web")
	if err != nil {
		t.Fatal(err)
	}
	g := collect.NewMemory(m.host(), scope)
	m.want(m.collect(g, 0), map[string]float64{"memory": 0.5, "memory_available": 100, "swap": 0.25})
	// The host has less to give than the group's limit would allow.
	m.write("proc/meminfo", "MemTotal: 1048576 kB\nMemFree: 1 kB\nMemAvailable: 20480 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
	m.want(m.collect(g, 0), map[string]float64{"memory": 0.9, "memory_available": 20, "swap": 0})
}

func TestDisk(t *testing.T) {
	m := newMachine(t)
	c := collect.NewDisk(m.host(), nil)
	m.want(m.collect(c, 0), nil)
	// sda: 40 requests that waited 400 ms together, busy for 500 ms of 2 s; sdb idle. sda1 is part of sda.
	m.write("proc/diskstats", "8 0 sda 30 0 0 300 30 0 0 300 0 1500 200 0 0 0 0 0 0\n"+
		"8 1 sda1 30 0 0 300 30 0 0 300 0 1500 200 0 0 0 0 0 0\n"+
		"8 16 sdb 10 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
	m.want(m.collect(c, 2*time.Second), map[string]float64{
		"iops": 20, "disk_util": 0.25, "disk_latency": 0.01,
		"iops.sda": 20, "disk_util.sda": 0.25, "disk_latency.sda": 0.01,
		"iops.sdb": 0, "disk_util.sdb": 0, "disk_latency.sdb": 0,
	})
}

func TestDiskOfGroup(t *testing.T) {
	m := newMachine(t)
	scope, err := m.host().Scope("/web")
	if err != nil {
		t.Fatal(err)
	}
	c := collect.NewDisk(m.host(), scope)
	m.want(m.collect(c, 0), nil)
	m.write("sys/fs/cgroup/web/io.stat", "8:0 rbytes=0 wbytes=0 rios=30 wios=20 dbytes=0 dios=0\n")
	got := m.collect(c, 2*time.Second)
	if got["iops"] != 25 || got["iops.sda"] != 0 {
		t.Errorf("iops of the group %v, of sda %v", got["iops"], got["iops.sda"])
	}
}

// TestDiskOfUncountedGroup has a group whose requests the kernel does not count.
func TestDiskOfUncountedGroup(t *testing.T) {
	m := newMachine(t)
	scope, err := m.host().Scope("/unlimited")
	if err != nil {
		t.Fatal(err)
	}
	c := collect.NewDisk(m.host(), scope)
	m.collect(c, 0)
	got := m.collect(c, time.Second)
	if _, there := got["iops"]; there || got["iops.sda"] != 0 || len(got) != 2+3*2 {
		t.Errorf("values %v", got)
	}
}

func TestManyDisks(t *testing.T) {
	m := newMachine(t)
	stats := func(n int) (text string) {
		for i := range 100 {
			text += fmt.Sprintf("9 %d cciss!%d %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", i, i, n)
		}
		return text
	}
	for i := range 100 {
		m.write(fmt.Sprintf("sys/block/cciss!%d/device/model", i), "x")
	}
	m.write("proc/diskstats", stats(1))
	c := collect.NewDisk(m.host(), nil)
	m.collect(c, 0)
	m.write("proc/diskstats", stats(2))
	if v := m.collect(c, time.Second); len(v) != 3+3*32 || v["iops"] != 100 {
		t.Errorf("%d values, iops %v", len(v), v["iops"])
	}
}

func TestNetwork(t *testing.T) {
	m := newMachine(t)
	c := collect.NewNetwork(m.host())
	m.want(m.collect(c, 0), nil)
	// eth0 carries 8 Mbit/s; veth1 is no hardware and lo none either.
	m.write("proc/net/dev", "Inter-|   Receive\n face |bytes\n"+
		"    lo: 9900 99 0 0 0 0 0 0 9900 99 0 0 0 0 0 0\n"+
		"  eth0: 500000 100 2 0 0 0 0 0 1500000 200 0 4 0 0 0 0\n"+
		" veth1: 7000 7 0 0 0 0 0 0 7000 7 0 0 0 0 0 0\n")
	m.want(m.collect(c, 2*time.Second), map[string]float64{
		"net_rx_bytes": 250000, "net_tx_bytes": 750000, "net_rx_packets": 50, "net_tx_packets": 100,
		"net_errors": 3, "net_util": 0.75,
	})
}

func TestNetworkWithoutHardware(t *testing.T) {
	m := newMachine(t)
	h := m.host()
	h.Root = t.TempDir()
	c := &machine{t: t, root: h.Root, now: m.now}
	c.write("sys/class/net/eth0/speed", "-1\n")
	c.write("sys/class/net/lo/speed", "-1\n")
	c.write("proc/net/dev", "Inter-|\n face |\n  eth0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
	n := collect.NewNetwork(h)
	c.collect(n, 0)
	c.write("proc/net/dev", "Inter-|\n face |\n  eth0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n")
	c.want(c.collect(n, time.Second), map[string]float64{
		"net_rx_bytes": 10, "net_tx_bytes": 20, "net_rx_packets": 1, "net_tx_packets": 2, "net_errors": 0,
	})
}

func TestLoadAndSockets(t *testing.T) {
	m := newMachine(t)
	m.want(m.collect(collect.NewLoad(m.host()), 0), map[string]float64{"load": 1.5})
	m.want(m.collect(collect.NewSockets(m.host()), 0), map[string]float64{"connections": 42})
	m.write("proc/net/snmp", "Tcp: MaxConn\nTcp: -1\n")
	if v, err := collect.NewSockets(m.host()).Collect(t.Context(), m.now); err == nil {
		t.Errorf("without CurrEstab: %v", v)
	}
}

func TestPressure(t *testing.T) {
	m := newMachine(t)
	c := collect.NewPressure(m.host(), nil)
	m.want(m.collect(c, 0), nil)
	m.write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	m.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=9000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=200000\n")
	m.want(m.collect(c, 2*time.Second), map[string]float64{"psi_cpu": 0.25, "psi_memory": 1, "psi_memory_full": 0.1})
}

func TestPressureOfGroup(t *testing.T) {
	m := newMachine(t)
	scope, err := m.host().Scope("/web")
	if err != nil {
		t.Fatal(err)
	}
	c := collect.NewPressure(m.host(), scope)
	m.collect(c, 0)
	m.write("sys/fs/cgroup/web/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n")
	if v := m.collect(c, 2*time.Second); len(v) != 1 || math.Abs(v["psi_cpu"]-0.5) > 1e-9 {
		t.Errorf("pressure of the group %v", v)
	}
}

package report

import (
	"slices"
	"strings"
)

// Unit of a metric's values.
type Unit string

// Units. A ratio is between 0 and 1.
const (
	Ratio     Unit = "ratio"
	PerSecond Unit = "1/s"
	BytesRate Unit = "B/s"
	Seconds   Unit = "s"
	Count     Unit = "count"
	MiB       Unit = "MiB"
)

// Metric is one that agents of this version know. A name with a dot after it,
// as in iops.sda, is the same of one device, core or interface.
type Metric struct {
	Name string
	Unit Unit
	Text string
}

// Custom begins the names of metrics that users define.
const Custom = "custom."

// metrics is sorted by name, and never changed.
var metrics = [...]Metric{
	{"connections", Count, "established TCP connections"},
	{"cpu", Ratio, "CPU time used of what may be used: 1 is all CPUs, or the quota of the cgroup"},
	{"cpu_core", Ratio, "CPU time used of one core; without a core the busiest"},
	{"cpu_steal", Ratio, "CPU time that the hypervisor gave to others"},
	{"cpu_throttled", Ratio, "part of the periods in which the cgroup's quota ran out"},
	{"disk_latency", Seconds, "mean time of a request to the slowest device, waiting included"},
	{"disk_util", Ratio, "time in which the busiest device had a request"},
	{"iops", PerSecond, "requests that devices completed"},
	{"load", Count, "processes that run or wait, one minute's mean, per core"},
	{"memory", Ratio, "memory that is not available, of all or of the cgroup's limit"},
	{"memory_available", MiB, "memory that can be had without swapping"},
	{"net_errors", PerSecond, "packets lost or damaged, both directions"},
	{"net_rx_bytes", BytesRate, "received"},
	{"net_rx_packets", PerSecond, "received"},
	{"net_tx_bytes", BytesRate, "sent"},
	{"net_tx_packets", PerSecond, "sent"},
	{"net_util", Ratio, "the fuller direction of the fullest interface, of its speed"},
	{"psi_cpu", Ratio, "time in which something waited for CPU"},
	{"psi_io", Ratio, "time in which something waited for disks"},
	{"psi_io_full", Ratio, "time in which everything waited for disks"},
	{"psi_memory", Ratio, "time in which something waited for memory"},
	{"psi_memory_full", Ratio, "time in which everything waited for memory"},
	{"swap", Ratio, "swap space used, of all or of the cgroup's limit"},
}

// Metrics are those known, sorted by name.
func Metrics() []Metric { return slices.Clone(metrics[:]) }

// UnitOf is the unit of a metric, also of one of a device. Those that users
// define and those not known here have none.
func UnitOf(name string) (Unit, bool) {
	base, _, _ := strings.Cut(name, ".")
	i, known := slices.BinarySearchFunc(metrics[:], base, func(m Metric, name string) int { return strings.Compare(m.Name, name) })
	if !known {
		return "", false
	}
	return metrics[i].Unit, true
}

// most is the largest value that a metric can have.
func most(name string) float64 {
	if unit, ok := UnitOf(name); ok && unit == Ratio {
		return 1
	}
	return MaxValue
}

package collect

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/disk"

	"weir/agent/cgroup"
)

// Disk reads what block devices do.
type Disk struct {
	host    Host
	scope   *cgroup.Group
	devices devices
	stats   counters[diskStat]
	group   counters[string]
}

type diskStat struct {
	device string
	kind   diskKind
}

type diskKind int

const (
	requests diskKind = iota // completed
	waited                   // ms, by all requests together
	busy                     // ms
)

// NewDisk makes the collector of iops, disk_util and disk_latency, in all and
// of each device. In a scope iops are the control group's; the others tell how
// the devices are, whoever uses them.
func NewDisk(h Host, scope *cgroup.Group) *Disk {
	return &Disk{host: h, scope: scope, devices: devices{dir: filepath.Join(h.Root, "sys/block")}}
}

// Name is "disk".
func (*Disk) Name() string { return "disk" }

// Collect reads /proc/diskstats, and the control group.
func (d *Disk) Collect(ctx context.Context, now time.Time) (map[string]float64, error) {
	names, err := d.devices.real(now, virtualDisk)
	if err != nil {
		return nil, err
	}
	stats := map[diskStat]float64{}
	if len(names) > 0 { // without a name it would be all of them
		all, err := disk.IOCountersWithContext(d.host.context(ctx), slices.Clone(names)...)
		if err != nil {
			return nil, err
		}
		for name, s := range all {
			stats[diskStat{name, requests}] = float64(s.ReadCount + s.WriteCount)
			stats[diskStat{name, waited}] = float64(s.ReadTime + s.WriteTime)
			stats[diskStat{name, busy}] = float64(s.IoTime)
		}
	}
	rose, seconds := d.stats.rise(now, stats)
	values := diskValues(rose, seconds)
	if d.scope == nil {
		return values, nil
	}
	return values, d.collectGroup(now, values)
}

func virtualDisk(name string) bool {
	for _, kind := range []string{"loop", "ram", "zram", "dm-", "md"} {
		if strings.HasPrefix(name, kind) {
			return true
		}
	}
	return false
}

func diskValues(rose map[diskStat]float64, seconds float64) map[string]float64 {
	values := map[string]float64{}
	disks := 0
	for k, done := range rose {
		if k.kind != requests {
			continue
		}
		var latency float64
		if done > 0 {
			latency = rose[diskStat{k.device, waited}] / 1000 / done
		}
		util := ratio(rose[diskStat{k.device, busy}]/1000, seconds)
		values["iops"] += done / seconds
		values["disk_util"] = max(values["disk_util"], util)
		values["disk_latency"] = max(values["disk_latency"], latency)
		if disks++; disks <= maxDisks {
			values[of("iops", k.device)] = done / seconds
			values[of("disk_util", k.device)] = util
			values[of("disk_latency", k.device)] = latency
		}
	}
	return values
}

// collectGroup puts the group's requests in the place of the host's. Where
// they are not counted, nothing is in that place.
func (d *Disk) collectGroup(now time.Time, values map[string]float64) error {
	delete(values, "iops")
	n, err := d.scope.IO()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	rose, seconds := d.group.rise(now, map[string]float64{"requests": float64(n)})
	if done, ok := rose["requests"]; ok {
		values["iops"] = done / seconds
	}
	return nil
}

package collect

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/net"
)

// Network reads what interfaces carry.
type Network struct {
	host    Host
	devices devices
	stats   counters[netStat]
}

type netStat struct {
	device string
	metric string
}

// NewNetwork makes the collector of net_rx_*, net_tx_*, net_errors and
// net_util, over all interfaces with hardware behind them.
func NewNetwork(h Host) *Network {
	return &Network{host: h, devices: devices{dir: filepath.Join(h.Root, "sys/class/net")}}
}

// Name is "net".
func (*Network) Name() string { return "net" }

// Collect reads /proc/net/dev of the agent's network namespace.
func (n *Network) Collect(ctx context.Context, now time.Time) (map[string]float64, error) {
	names, err := n.devices.real(now, func(name string) bool { return name == "lo" || name == "bonding_masters" })
	if err != nil {
		return nil, err
	}
	all, err := net.IOCountersWithContext(n.host.context(ctx), true)
	if err != nil {
		return nil, err
	}
	stats := map[netStat]float64{}
	for _, s := range all {
		if !slices.Contains(names, s.Name) {
			continue
		}
		stats[netStat{s.Name, "net_rx_bytes"}] = float64(s.BytesRecv)
		stats[netStat{s.Name, "net_tx_bytes"}] = float64(s.BytesSent)
		stats[netStat{s.Name, "net_rx_packets"}] = float64(s.PacketsRecv)
		stats[netStat{s.Name, "net_tx_packets"}] = float64(s.PacketsSent)
		stats[netStat{s.Name, "net_errors"}] = float64(s.Errin + s.Errout + s.Dropin + s.Dropout)
	}
	rose, seconds := n.stats.rise(now, stats)
	values := map[string]float64{}
	for k, by := range rose {
		values[k.metric] += by / seconds
		if !strings.HasSuffix(k.metric, "_bytes") {
			continue
		}
		if speed := n.speed(k.device); speed > 0 {
			values["net_util"] = max(values["net_util"], ratio(by/seconds, speed))
		}
	}
	return values, nil
}

// speed of an interface in bytes per second, 0 if nobody knows.
func (n *Network) speed(device string) float64 {
	text, err := os.ReadFile(filepath.Join(n.devices.dir, device, "speed"))
	if err != nil {
		return 0
	}
	megabits, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil {
		return 0
	}
	return max(0, megabits) * 1e6 / 8
}

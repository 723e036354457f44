// Package collect reads the load of a host or of one control group: one
// collector per kind. Collectors keep what they read last and are not safe for
// concurrent use.
package collect

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/common"
	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"

	"weir/agent/cgroup"
	"weir/agent/sample"
)

// Host is the machine that collectors read.
type Host struct {
	Root   string // where its / is
	Cores  int
	Memory uint64 // bytes
}

// Open looks at the machine whose / is at root.
func Open(ctx context.Context, root string) (Host, error) {
	h := Host{Root: root}
	times, err := cpu.TimesWithContext(h.context(ctx), true)
	if err == nil && len(times) == 0 {
		err = errNoTimes
	}
	if err != nil {
		return h, fmt.Errorf("counting CPUs: %w", err)
	}
	memory, err := mem.VirtualMemoryWithContext(h.context(ctx))
	if err == nil && memory.Total == 0 {
		err = errors.New("/proc/meminfo says 0")
	}
	if err != nil {
		return h, fmt.Errorf("measuring memory: %w", err)
	}
	h.Cores, h.Memory = len(times), memory.Total
	return h, nil
}

// context tells gopsutil where the host's files are.
func (h Host) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{
		common.HostProcEnvKey: filepath.Join(h.Root, "proc"),
		common.HostSysEnvKey:  filepath.Join(h.Root, "sys"),
		common.HostDevEnvKey:  filepath.Join(h.Root, "dev"),
		common.HostRunEnvKey:  filepath.Join(h.Root, "run"),
	})
}

// Scope is the control group that a host's collectors are about: the one at
// path, or without a path the whole host, which inside a container with limits
// is the container's group. Without a scope it is nil.
func (h Host) Scope(path string) (*cgroup.Group, error) {
	if path != "" {
		return cgroup.Open(h.Root, path)
	}
	g, err := cgroup.Open(h.Root, "/")
	if err != nil || !g.Limited(h.Cores, h.Memory) {
		return nil, nil // a host without control groups has no limits
	}
	return g, nil
}

// Builtin are the collectors of a host, of which those that can be are about
// a control group, if there is one.
func Builtin(h Host, scope *cgroup.Group) []sample.Collector {
	return []sample.Collector{
		NewCPU(h, scope), NewMemory(h, scope), NewDisk(h, scope), NewNetwork(h), NewLoad(h), NewSockets(h), NewPressure(h, scope),
	}
}

// Supported are the collectors that work on this host, and why the others do
// not. It asks each once. One that fails for another reason may yet work.
func Supported(ctx context.Context, all []sample.Collector) (work []sample.Collector, lacking map[string]error) {
	lacking = map[string]error{}
	for _, c := range all {
		if _, err := c.Collect(ctx, time.Now()); errors.Is(err, errors.ErrUnsupported) {
			lacking[c.Name()] = err
			continue
		}
		work = append(work, c)
	}
	return work, lacking
}

// Limits of what one report can carry.
const (
	maxCores = 64
	maxDisks = 32
)

// of names a metric of one device.
func of(metric, device string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.:-", r) {
			return r
		}
		return '-'
	}, device)
	return metric + "." + clean[:min(len(clean), 40)]
}

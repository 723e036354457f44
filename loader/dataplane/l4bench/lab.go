package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/bpf/bench"
	"weir/loader/lb"
	"weir/loader/netlab"
)

const (
	liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18
	frameMax   = 96     // FRAME_MAX
)

// What a killed run leaves is told by these and its process id.
const (
	nsPrefix  = "weir-bench"
	pinPrefix = "/sys/fs/bpf/weir-bench-"
)

// lab is a veth pair whose far end discards, and the programs of the
// benchmark, on a thread of one CPU in a namespace of its own.
type lab struct {
	ctx     context.Context
	objects bench.BenchObjects
	ifindex int
}

// inLab builds the lab, calls f in it, and takes it down.
func inLab(ctx context.Context, f func(*lab) error) (err error) {
	if err := removeLeftovers(); err != nil {
		return err
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return fmt.Errorf("switch run-time statistics on (needs root): %w", err)
	}
	defer stats.Close()
	ns, err := netlab.CreateNS(fmt.Sprintf("%s-%d", nsPrefix, os.Getpid()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Delete()) }()
	return ns.Do(func() error {
		if err := pinToLastCPU(); err != nil {
			return err
		}
		l := &lab{ctx: ctx}
		if err := bench.LoadBenchObjects(&l.objects, nil); err != nil {
			return fmt.Errorf("load the benchmark's programs: %w", err)
		}
		defer l.objects.Close()
		discard, err := l.wire()
		if err != nil {
			return err
		}
		defer discard.Close()
		return f(l)
	})
}

// pinToLastCPU keeps this thread on one CPU, and off the first one, which
// takes most interrupts.
func pinToLastCPU() error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("read this thread's CPUs: %w", err)
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin this thread: %w", err)
	}
	return nil
}

// wire makes the veth pair. XDP on the far end gives it NAPI, without which
// nothing can be sent into it.
func (l *lab) wire() (link.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "near"
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "far"}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("make a veth pair: %w", err)
	}
	for _, name := range []string{"near", "far"} {
		end, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(end)
		}
		if err != nil {
			return nil, fmt.Errorf("bring %s up: %w", name, err)
		}
	}
	far, err := net.InterfaceByName("far")
	if err != nil {
		return nil, fmt.Errorf("find far: %w", err)
	}
	near, err := net.InterfaceByName("near")
	if err != nil {
		return nil, fmt.Errorf("find near: %w", err)
	}
	l.ifindex = near.Index
	discard, err := link.AttachXDP(link.XDPOptions{Program: l.objects.Discard, Interface: far.Index, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, fmt.Errorf("attach to far: %w", err)
	}
	return discard, nil
}

// xdpMD is struct xdp_md.
type xdpMD struct {
	Data, DataEnd, DataMeta           uint32
	IngressIfindex, RxQueue, EgressIf uint32
}

// fill enters the flows in the yardstick's table.
func (l *lab) fill(vip lb.VIP, flows int) error {
	if _, err := l.run(l.objects.Fill, newPlan(vip, orderEach, flows, tcpACK), uint32(flows)); err != nil {
		return fmt.Errorf("enter %d flows: %w", flows, err)
	}
	return nil
}

// run sends n packets of a plan to a program and returns its time for each, in
// ns, that of writing the packet included.
func (l *lab) run(program *ebpf.Program, plan bench.BenchPlan, n uint32) (float64, error) {
	if l.ctx.Err() != nil {
		return 0, errors.New("interrupted")
	}
	if err := l.objects.Plans.Put(uint32(0), plan); err != nil {
		return 0, fmt.Errorf("write the plan: %w", err)
	}
	if err := l.objects.UnderTest.Put(uint32(0), program); err != nil {
		return 0, fmt.Errorf("choose the program: %w", err)
	}
	before, err := l.objects.Generate.Stats()
	if err != nil {
		return 0, fmt.Errorf("read run-time statistics: %w", err)
	}
	_, err = l.objects.Generate.Run(&ebpf.RunOptions{
		Data:    make([]byte, frameMax),
		Context: xdpMD{DataEnd: frameMax, IngressIfindex: uint32(l.ifindex)},
		Repeat:  n,
		Flags:   liveFrames,
	})
	if err != nil {
		return 0, fmt.Errorf("run live frames: %w", err)
	}
	after, err := l.objects.Generate.Stats()
	if err != nil {
		return 0, fmt.Errorf("read run-time statistics: %w", err)
	}
	return float64(after.Runtime-before.Runtime) / float64(after.RunCount-before.RunCount), nil
}

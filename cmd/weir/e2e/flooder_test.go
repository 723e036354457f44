package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/bpf/bench"
	"weir/loader/lb"
)

// flooder sends packets of random sources into the balancer's NIC, as fast as
// one CPU can make them: a program in the kernel writes each anew into a frame
// that leaves at the other end of that NIC's link.
type flooder struct {
	lab     *lab
	objects struct {
		Generate  *ebpf.Program `ebpf:"generate"`
		Answer    *ebpf.Program `ebpf:"answer"`
		Sink      *ebpf.Program `ebpf:"sink"`
		Plans     *ebpf.Map     `ebpf:"plans"`
		UnderTest *ebpf.Map     `ebpf:"under_test"`
	}
	stopping atomic.Bool
	done     chan error
	started  time.Time
}

const (
	floodFrame = 96 // bytes: FRAME_MAX
	floodClass = 0x20
	floodOrder = 3       // ORDER_FLOOD
	floodRun   = 1 << 19 // packets between looks at the clock: each run waits for a grace period of RCU
	liveFrames = 1 << 1  // BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18
	balancer   = "lb"    // the switch's port
)

// newFlooder also sees to it that no packet of a flood gets past the balancer:
// what backends do with it is not of interest.
func newFlooder(t *testing.T, l *lab) *flooder {
	t.Helper()
	f := &flooder{lab: l}
	spec, err := bench.LoadBench()
	if err == nil {
		err = spec.LoadAndAssign(&f.objects, nil)
	}
	if err != nil {
		t.Fatal("loading the flood:", err)
	}
	o := &f.objects
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{o.Generate, o.Answer, o.Sink, o.Plans, o.UnderTest} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	err = l.Switch.Do(func() error {
		port, err := netlink.LinkByName(balancer)
		if err != nil {
			return err
		}
		return netlink.LinkSetXdpFdWithFlags(port, o.Sink.FD(), unix.XDP_FLAGS_DRV_MODE)
	})
	if err == nil {
		err = o.UnderTest.Put(uint32(0), o.Answer)
	}
	if err != nil {
		t.Fatal("preparing the flood:", err)
	}
	return f
}

// start floods a protocol of the VIP on a CPU of its own until stop.
func (f *flooder) start(t *testing.T, proto lb.Proto, cpu int) {
	t.Helper()
	to, err := mac(f.lab.Balancer)
	if err == nil {
		err = f.objects.Plans.Put(uint32(0), f.plan(to, proto))
	}
	if err != nil {
		t.Fatal("planning the flood:", err)
	}
	f.stopping.Store(false)
	f.done, f.started = make(chan error, 1), time.Now()
	go func() {
		f.done <- f.lab.Switch.Do(func() error { return onCPU(cpu, f.send) })
	}()
	t.Cleanup(func() { f.stopping.Store(true) })
}

// stop returns how many packets were sent, and for how long.
func (f *flooder) stop(t *testing.T) (uint64, time.Duration) {
	t.Helper()
	f.stopping.Store(true)
	if err := <-f.done; err != nil {
		t.Fatal("flooding:", err)
	}
	took := time.Since(f.started)
	var plan bench.BenchPlan
	if err := f.objects.Plans.Lookup(uint32(0), &plan); err != nil {
		t.Fatal("counting the flood:", err)
	}
	return plan.Next, took
}

func (f *flooder) send() error {
	port, err := net.InterfaceByName(balancer)
	if err != nil {
		return err
	}
	for !f.stopping.Load() {
		_, err := f.objects.Generate.Run(&ebpf.RunOptions{
			Data: make([]byte, floodFrame),
			Context: struct{ Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32 }{
				DataEnd: floodFrame, Ingress: uint32(port.Index),
			},
			Repeat: floodRun,
			Flags:  liveFrames,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// plan is the packet; the program fills in the source.
func (f *flooder) plan(to []byte, proto lb.Proto) bench.BenchPlan {
	plan := bench.BenchPlan{Order: floodOrder, Version: 4}
	frame := unsafe.Slice((*byte)(unsafe.Pointer(&plan.Frame)), unsafe.Sizeof(plan.Frame))
	copy(frame, to)
	copy(frame[6:], []byte{2, 0, 0, 0, 0, 0xf})
	vip, l4 := f.lab.config.vip, floodL4(f.lab.config.vip.Port, proto)
	ip := frame[14:]
	if vip.Addr.Is4() {
		binary.BigEndian.PutUint16(frame[12:], unix.ETH_P_IP)
		ip[0], ip[1], ip[8], ip[9] = 0x45, floodClass, 64, byte(proto)
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)))
		copy(ip[16:], vip.Addr.AsSlice())
		copy(ip[20:], l4)
		return plan
	}
	plan.Version = 6
	binary.BigEndian.PutUint16(frame[12:], unix.ETH_P_IPV6)
	binary.BigEndian.PutUint32(ip, 6<<28|floodClass<<20)
	binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
	ip[6], ip[7] = byte(proto), 64
	copy(ip[8:], []byte{0x20, 1, 0xd, 0xb8, 0, 1})
	copy(ip[24:], vip.Addr.AsSlice())
	copy(ip[40:], l4)
	return plan
}

// floodL4 is a SYN or a datagram. Nobody looks at the checksum.
func floodL4(port uint16, proto lb.Proto) []byte {
	l4 := make([]byte, 20)
	binary.BigEndian.PutUint16(l4[2:], port)
	if proto == lb.TCP {
		l4[12], l4[13] = 5<<4, 0x02 // data offset, SYN
		return l4
	}
	binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	l4[6] = 1 // 0 would be none, which IPv6 does not allow
	return l4
}

// onCPU runs f with this thread, which must be locked, on one CPU.
func onCPU(cpu int, f func() error) error {
	var before, one unix.CPUSet
	one.Set(cpu)
	err := unix.SchedGetaffinity(0, &before)
	if err == nil {
		err = unix.SchedSetaffinity(0, &one)
	}
	if err != nil {
		return fmt.Errorf("moving to CPU %d: %w", cpu, err)
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}

// pollOn has threads poll the balancer's NICs, on one CPU and before all else
// there. With the flood on the same CPU no queue is ever full: it drops whole what
// is sent on another CPU, long before the balancer sees it.
func (l *lab) pollOn(t *testing.T, cpu int) {
	t.Helper()
	err := l.Balancer.Do(func() error {
		c := exec.Command("sh", "-c", `mount -t sysfs sysfs /sys && for f in /sys/class/net/*/threaded; do case $f in */lo/*) ;; *) echo 1 >$f || exit ;; esac; done`)
		c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal("having threads poll:", err)
	}
	var one unix.CPUSet
	one.Set(cpu)
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	polling := 0
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(comm), "napi/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil {
			err = unix.SchedSetaffinity(pid, &one)
		}
		if err == nil {
			err = unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		}
		if err != nil {
			t.Fatalf("moving %s: %v", comm, err)
		}
		polling++
	}
	if polling == 0 {
		t.Fatal("no thread polls")
	}
}

// reserveCPU takes a CPU from all threads of this process and of the daemon
// until the test ends, and returns it. If there is only one it is shared.
func reserveCPU(t *testing.T, d *daemon) int {
	t.Helper()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	reserved := 0
	for cpu := range 8 * int(unsafe.Sizeof(all)) {
		if all.IsSet(cpu) {
			reserved = cpu
		}
	}
	if all.Count() == 1 {
		return reserved
	}
	rest := all
	rest.Clear(reserved)
	for _, pid := range []int{os.Getpid(), d.cmd.Process.Pid} {
		moveThreads(t, pid, rest)
	}
	t.Cleanup(func() { moveThreads(t, os.Getpid(), all) })
	return reserved
}

func moveThreads(t *testing.T, pid int, to unix.CPUSet) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err == nil {
			err = unix.SchedSetaffinity(tid, &to)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatalf("moving thread %s: %v", task.Name(), err)
		}
	}
}

package dataplane

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/loader/lb"
)

// stressTime is how long the stress test runs; WEIR_STRESS=60s for longer.
func stressTime(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("WEIR_STRESS")
	if s == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("WEIR_STRESS: %v", err)
	}
	return d
}

// stressClock is a flow clock of 4.2 ms a unit, so that flows expire all the
// time.
const stressClock = 22

// The flow table under everything at once: the program on every CPU with few
// enough flows that they meet, sweeps, and changes of the tables that retire
// backends and reuse their ids. At the end the counts of active flows must be
// exactly what the table holds.
func TestStress(t *testing.T) {
	c := testConfig(t)
	c.Limits = lb.Limits{Services: 8, Backends: 24, Flows: 43, TableEntries: 1 << 12}
	c.Timeouts = lb.Timeouts{Embryonic: 15 * time.Millisecond, Established: 60 * time.Millisecond, Closing: 15 * time.Millisecond, UDP: 30 * time.Millisecond}
	// The data plane warns if it finds a count that must be mended.
	log := slog.New(slog.NewTextHandler(failing{t}, nil))
	d := openTest(t, Options{Config: c, Log: log, ClockShift: stressClock})
	s := &stress{d: d}
	if err := d.Apply(stressState(0)); err != nil {
		t.Fatal(err)
	}
	s.generator = stressGenerator(t, d.Program())

	ctx, stop := context.WithTimeout(t.Context(), stressTime(t))
	defer stop()
	var all sync.WaitGroup
	start := func(f func(context.Context) error) {
		all.Go(func() {
			if err := f(ctx); err != nil {
				t.Error(err)
				stop()
			}
		})
	}
	for cpu := range runtime.NumCPU() {
		start(func(ctx context.Context) error { return s.packets(ctx, cpu) })
	}
	start(s.sweeps)
	start(s.changes)
	all.Wait()

	t.Logf("%d packets, %d sweeps, %d changes, %d flows expired", s.ran.Load(), s.swept, s.changed, s.expired)
	s.checkTable(t)
	s.closeAll(t)
}

// failing makes each line that is logged a failure.
type failing struct{ t *testing.T }

func (f failing) Write(line []byte) (int, error) {
	f.t.Errorf("logged: %s", line)
	return len(line), nil
}

type stress struct {
	d         *DataPlane
	generator *ebpf.Program
	ran       atomic.Uint64
	swept     int
	expired   uint64
	changed   int
}

// stressVIPs: two services that share their reals, so that flows have reply
// directions, and two plain ones.
var stressVIPs = []struct {
	vip      string
	forward  lb.Forward
	backends []string
}{
	{"192.0.2.1:80/tcp", lb.DSR, []string{"10.0.0.1:0", "10.0.0.2:0", "10.0.0.3:0", "10.0.0.4:0"}},
	{"192.0.2.2:53/udp", lb.DSR, []string{"10.0.0.1:0", "10.0.0.2:0", "10.0.0.3:0"}},
	{"192.0.2.3:80/tcp", lb.NAT, []string{"10.0.1.1:8080", "10.0.1.2:8080"}},
	{"192.0.2.4:80/tcp", lb.NAT, []string{"10.0.1.1:8080", "10.0.1.2:8080"}},
}

// stressState is a state of its own for each n: of each service one backend
// may be missing, and the last service comes and goes.
func stressState(n int) lb.State {
	var out lb.State
	for i, v := range stressVIPs {
		if i == 3 && n%5 == 4 {
			continue
		}
		vip, err := lb.ParseVIP(v.vip)
		if err != nil {
			panic(err)
		}
		s := lb.ServiceState{Service: lb.Service{Name: v.vip, VIP: vip, Forward: v.forward}, Table: len(out.Tables)}
		table := lb.Table{Algorithm: lb.RoundRobin}
		for j, b := range v.backends {
			if (n+i)%(len(v.backends)+1) == j {
				continue
			}
			table.Slots = append(table.Slots, uint32(len(s.Backends)))
			s.Backends = append(s.Backends, lb.BackendState{Endpoint: netip.MustParseAddrPort(b), Hop: testHop})
		}
		out.Services, out.Tables = append(out.Services, s), append(out.Tables, table)
	}
	return out
}

// packets runs the program on one CPU.
func (s *stress) packets(ctx context.Context, cpu int) error {
	runtime.LockOSThread() // never unlocked: the thread ends with its affinity
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	for ctx.Err() == nil {
		verdict, err := s.generator.Run(&ebpf.RunOptions{Data: make([]byte, stressFrameSize), Repeat: stressRepeat})
		if err != nil {
			return fmt.Errorf("run on CPU %d: %w", cpu, err)
		}
		if verdict == 0 {
			return fmt.Errorf("XDP_ABORTED on CPU %d", cpu)
		}
		s.ran.Add(stressRepeat)
	}
	return nil
}

const (
	stressRepeat    = 200_000 // packets of one system call, about 30 ms
	stressFlows     = 160     // client ports of one service
	stressFrameSize = 56      // Ethernet, IPv4, TCP, and padding to whole words
	stressNear      = 12      // flows that get packets at a time
	stressShift     = 24      // 2^24 ns, 17 ms, until those are others
)

// stressFrames are all packets there may be, those of a flow beside each other.
func stressFrames() (frames [][]byte, perFlow int) {
	for flow := range stressFlows {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, 7}), uint16(40000+flow))
		for _, v := range stressVIPs {
			vip, err := lb.ParseVIP(v.vip)
			if err != nil {
				panic(err)
			}
			for _, flags := range []byte{0x02, 0x02, 0x10, 0x10, 0x18, 0x11, 0x04} {
				frames = append(frames, stressFrame(vip.Proto, client, netip.AddrPortFrom(vip.Addr, vip.Port), flags))
			}
			for _, b := range v.backends {
				for _, flags := range []byte{0x12, 0x10, 0x10, 0x04} {
					frames = append(frames, stressFrame(vip.Proto, netip.MustParseAddrPort(b), client, flags))
				}
			}
		}
	}
	return frames, len(frames) / stressFlows
}

func stressFrame(proto lb.Proto, src, dst netip.AddrPort, flags byte) []byte {
	b := append(syn(src, dst), 0, 0)
	b[14+20+13] = flags
	if proto == lb.UDP {
		b[14+9] = uint8(proto)
		binary.BigEndian.PutUint16(b[14+20+4:], 20) // the UDP length
	}
	return b
}

// stressGenerator is a program that makes each packet one of the frames by
// chance and then calls the one under test. All CPUs choose among the frames
// of the same few flows, and of others after a while, so that those expire.
func stressGenerator(t *testing.T, under *ebpf.Program) *ebpf.Program {
	t.Helper()
	frames, perFlow := stressFrames()
	templates := newTestMap(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: stressFrameSize, MaxEntries: uint32(len(frames))})
	for i, f := range frames {
		if err := templates.Put(uint32(i), f); err != nil {
			t.Fatal(err)
		}
	}
	progs := newTestMap(t, &ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err := progs.Put(uint32(0), under); err != nil {
		t.Fatal(err)
	}
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.Word), // data
		asm.LoadMem(asm.R8, asm.R6, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Add.Imm(asm.R2, stressFrameSize),
		asm.JGT.Reg(asm.R2, asm.R8, "out"),
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.RSh.Imm(asm.R9, stressShift),
		asm.Mul.Imm(asm.R9, int32(stressNear*perFlow)),
		asm.FnGetPrandomU32.Call(),
		asm.Mod.Imm(asm.R0, int32(stressNear*perFlow)),
		asm.Add.Reg(asm.R0, asm.R9),
		asm.Mod.Imm(asm.R0, int32(len(frames))),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, templates.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
	}
	for i := int16(0); i < stressFrameSize; i += 8 {
		code = append(code, asm.LoadMem(asm.R1, asm.R0, i, asm.DWord), asm.StoreMem(asm.R7, i, asm.R1, asm.DWord))
	}
	code = append(code,
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, progs.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), // XDP_ABORTED
		asm.Return(),
	)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "generator", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "GPL", Instructions: code})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func newTestMap(t *testing.T, spec *ebpf.MapSpec) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func (s *stress) sweeps(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		use, err := s.d.Sweep()
		if err != nil {
			return err
		}
		s.swept++
		s.expired += use.Expired
	}
}

func (s *stress) changes(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.changed++
		if err := s.d.Apply(stressState(s.changed)); err != nil {
			return err
		}
	}
}

// checkTable checks all that must be true while no packet is under way.
func (s *stress) checkTable(t *testing.T) {
	t.Helper()
	counted := map[uint32]uint64{}
	for set := range s.d.mem.flows {
		tags := map[uint32]int{}
		for slot, word := range s.d.mem.flows[set].Word {
			if word == 0 {
				continue
			}
			tag, state, id := uint32(word>>flowTagShift), flowState(word), flowID(word)
			if other, twice := tags[tag]; twice {
				t.Errorf("set %d: slots %d and %d hold the same flow: %x %x", set, other, slot, s.d.mem.flows[set].Word[other], word)
			}
			tags[tag] = slot
			if stateNames[state] == "" || tag == 0 {
				t.Errorf("set %d, slot %d: word %x has state %d, tag %x", set, slot, word, state, tag)
			}
			if s.d.registry.backends[id] == nil {
				t.Errorf("set %d, slot %d: word %x is of backend id %d, which is free", set, slot, word, id)
			}
			if state >= uint32(bpf.WeirFlowStateFLOW_EMBRYONIC) && state <= uint32(bpf.WeirFlowStateFLOW_STREAM) {
				counted[id]++
			}
		}
	}
	for id, active := range s.d.mem.active {
		if active != counted[uint32(id)] {
			t.Errorf("backend id %d: %d active, its flows are %d", id, int64(active), counted[uint32(id)])
		}
	}
}

// closeAll resets all TCP flows and waits until the rest has expired.
func (s *stress) closeAll(t *testing.T) {
	t.Helper()
	frames, _ := stressFrames()
	for _, f := range frames {
		if f[14+20+13] != 0x04 {
			continue
		}
		if _, err := s.d.Program().Run(&ebpf.RunOptions{Data: f}); err != nil {
			t.Fatal(err)
		}
	}
	s.checkTable(t)
	tick := time.NewTicker(time.Duration(1) << stressClock)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		use, err := s.d.Sweep()
		if err != nil {
			t.Fatal(err)
		}
		if len(use.ByState) == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("flows that nobody uses do not expire: %v", use.ByState)
		}
	}
	if slices.Max(s.d.mem.active) != 0 {
		t.Errorf("no flow is left, active is %v of backends %v", s.d.mem.active, slices.Sorted(maps.Keys(s.d.registry.backends)))
	}
}

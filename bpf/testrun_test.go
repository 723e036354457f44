package bpf_test

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// testRun is the part of union bpf_attr that BPF_PROG_TEST_RUN has
// (linux/bpf.h).
type testRun struct {
	progFD, retval          uint32
	dataSizeIn, dataSizeOut uint32
	dataIn, dataOut         uint64
	repeat, duration        uint32
	ctxSizeIn, ctxSizeOut   uint32
	ctxIn, ctxOut           uint64
	flags, cpu, batch, pad  uint32
}

// runner runs a program packet by packet, and allocates nothing for one. It is
// not for concurrent use; the calling thread must be in the lab's namespace.
type runner struct {
	program *ebpf.Program
	attr    *testRun
	ctx     *context
	in, out []byte
}

func newRunner(p *ebpf.Program) *runner {
	r := &runner{program: p, attr: new(testRun), ctx: new(context), in: make([]byte, 4096), out: make([]byte, 4096)}
	*r.attr = testRun{
		progFD: uint32(p.FD()), repeat: 1,
		dataIn: address(r.in), dataOut: address(r.out),
		ctxIn: uint64(uintptr(unsafe.Pointer(r.ctx))), ctxSizeIn: uint32(unsafe.Sizeof(*r.ctx)),
	}
	return r
}

// address of memory of the heap, which stays where it is.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// run gives the verdict and the frame afterwards, which is valid until the next
// run.
func (r *runner) run(ifindex int, in []byte) (verdict, []byte, error) {
	const command = 10 // BPF_PROG_TEST_RUN
	a := r.attr
	a.dataSizeIn, a.dataSizeOut = uint32(copy(r.in, in)), uint32(len(r.out))
	*r.ctx = context{DataEnd: a.dataSizeIn, Ingress: uint32(ifindex)}
	_, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(a)), unsafe.Sizeof(*a))
	runtime.KeepAlive(r)
	if errno != 0 {
		return 0, nil, fmt.Errorf("test run of %d bytes: %w", len(in), errno)
	}
	return verdict(a.retval), r.out[:a.dataSizeOut], nil
}

// mappedWords is an array map as its 64-bit words.
func mappedWords(m *ebpf.Map) ([]uint64, func() error, error) {
	size := int(m.ValueSize()*m.MaxEntries()+4095) &^ 4095
	b, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %v into memory: %w", m, err)
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), size/8), func() error { return unix.Munmap(b) }, nil
}

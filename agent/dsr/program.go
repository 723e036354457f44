package dsr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/bpf/decap"
)

// Counter is how many packets got a verdict for a reason.
type Counter struct {
	Verdict string `json:"verdict"` // decap, drop or pass
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
}

// program is the loaded decapsulation program. Its links go with the process,
// so nothing is left attached if that is killed.
type program struct {
	decap.DecapObjects
	links   []link.Link
	reasons []Counter // by number, without packets
}

func loadProgram(o Options) (*program, error) {
	spec, err := decap.LoadDecap()
	if err != nil {
		return nil, fmt.Errorf("reading the embedded program: %w", err)
	}
	spec.Maps[decap.DecapMapVips].MaxEntries = uint32(len(o.VIPs))
	port := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, o.GUEPort))
	if err := spec.Variables[decap.DecapVarGuePort].Set(port); err != nil {
		return nil, fmt.Errorf("setting the GUE port: %w", err)
	}
	p := new(program)
	if p.reasons, err = reasonsOf(spec.Types); err != nil {
		return nil, err
	}
	if err := spec.LoadAndAssign(&p.DecapObjects, nil); err != nil {
		return nil, fmt.Errorf("loading the program: %w", explain(err))
	}
	for _, vip := range o.VIPs {
		if err := p.Vips.Put(vip.As16(), uint8(1)); err != nil {
			return nil, errors.Join(fmt.Errorf("telling the program of VIP %s: %w", vip, err), p.Close())
		}
	}
	return p, nil
}

func explain(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("the kernel's verifier refused it (5.18 or newer is supported): %w", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the kernel forbids it (kernel lockdown, or missing CAP_BPF and CAP_NET_ADMIN): %w", err)
	}
	return err
}

// reasonsOf makes the counters' names from the program's type information:
// DROP_ECN is the verdict drop for the reason ecn.
func reasonsOf(types *btf.Spec) ([]Counter, error) {
	var enum *btf.Enum
	if err := types.TypeByName("reason", &enum); err != nil {
		return nil, fmt.Errorf("reading the program's reasons: %w", err)
	}
	all := make([]Counter, decap.DecapReasonREASONS)
	for _, v := range enum.Values {
		if verdict, reason, ok := strings.Cut(strings.ToLower(v.Name), "_"); ok && v.Value < uint64(len(all)) {
			all[v.Value] = Counter{Verdict: verdict, Reason: reason}
		}
	}
	return all, nil
}

// counters reads all of them.
func (p *program) counters() ([]Counter, error) {
	all := slices.Clone(p.reasons)
	for i := range all {
		var perCPU []uint64
		if err := p.Reasons.Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("reading the counters: %w", err)
		}
		for _, n := range perCPU {
			all[i].Packets += n
		}
	}
	return all, nil
}

// checkFree refuses an interface that runs a program already.
func checkFree(l netlink.Link) error {
	if x := l.Attrs().Xdp; x != nil && x.Attached {
		return foreign(l.Attrs().Name)
	}
	return nil
}

func foreign(name string) error {
	return fmt.Errorf("interface %s already runs another XDP program: stop its owner, detach it with `ip link set dev %s xdp off`, or use --no-tunnel for plain dsr", name, name)
}

// attach runs the program on an interface, in the driver if that can, and
// returns the mode and, if it is generic, why.
func (p *program) attach(l netlink.Link) (mode string, why, err error) {
	try := func(flags link.XDPAttachFlags) error {
		made, err := link.AttachXDP(link.XDPOptions{Program: p.Decap, Interface: l.Attrs().Index, Flags: flags})
		if err == nil {
			p.links = append(p.links, made)
		}
		return err
	}
	name := l.Attrs().Name
	native := try(link.XDPDriverMode)
	switch {
	case native == nil:
		return "native", nil, nil
	case errors.Is(native, unix.EBUSY), errors.Is(native, unix.EEXIST):
		return "", nil, foreign(name)
	}
	if err := try(link.XDPGenericMode); err != nil {
		return "", nil, fmt.Errorf("attaching to %s: native: %w; generic: %w", name, native, err)
	}
	return "generic", native, nil
}

// setTunnelAddresses makes the program unpack what is addressed to these.
func (p *program) setTunnelAddresses(want map[netip.Addr]bool) error {
	var key [16]byte
	var value uint8
	var gone [][16]byte
	for it := p.TunnelAddresses.Iterate(); it.Next(&key, &value); {
		if !want[netip.AddrFrom16(key).Unmap()] {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		if err := p.TunnelAddresses.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("telling the program that %s has gone: %w", netip.AddrFrom16(key).Unmap(), err)
		}
	}
	for a := range want {
		if err := p.TunnelAddresses.Put(a.As16(), uint8(1)); err != nil {
			return fmt.Errorf("telling the program of address %s: %w", a, err)
		}
	}
	return nil
}

// unload detaches and frees the program.
func (p *program) unload() error {
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, p.Close())...)
}

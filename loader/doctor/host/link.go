package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/doctor"
	"weir/loader/nic"
)

const attachedGeneric = 2 // XDP_ATTACHED_SKB, linux/if_link.h

// Link describes an interface.
func (h *Host) Link(name string) (doctor.Link, error) {
	l, err := netlink.LinkByName(name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return doctor.Link{}, fmt.Errorf("interface %q: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return doctor.Link{}, fmt.Errorf("interface %q: %w", name, err)
	}
	a := l.Attrs()
	out := doctor.Link{
		Name: name, Index: a.Index, MTU: a.MTU,
		Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		Queues: doctor.Queues{RX: a.NumRxQueues, TX: a.NumTxQueues},
	}
	if len(a.HardwareAddr) == len(out.MAC) && a.RawFlags&unix.IFF_LOOPBACK == 0 {
		out.MAC = doctor.MAC(a.HardwareAddr)
	}
	if out.Prefixes, err = prefixesOf(l); err != nil {
		return out, err
	}
	if out.VLANs, out.OuterVLANs, err = vlansOn(a.Index); err != nil {
		return out, err
	}
	// Kernels without netlink for ethtool cannot say; nothing else needs it.
	if on, err := nic.Active(name); err == nil {
		out.StripsOuter = on[nic.RxOuter]
	}
	if err := askDriver(&out); err != nil {
		return out, err
	}
	out.Peer = peerOf(a, out.Driver)
	out.XDP, err = xdpOf(a)
	return out, err
}

// vlansOn names the VLAN interfaces on top of one, and those of them whose tags
// are of 802.1ad.
func vlansOn(index int) (all, outer []string, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		v, ok := l.(*netlink.Vlan)
		if !ok || v.ParentIndex != index {
			continue
		}
		all = append(all, v.Name)
		if v.VlanProtocol == netlink.VLAN_PROTOCOL_8021AD {
			outer = append(outer, v.Name)
		}
	}
	return all, outer, nil
}

func xdpOf(a *netlink.LinkAttrs) (doctor.XDP, error) {
	x := xdpFeatures(a.Index)
	if a.Xdp == nil || !a.Xdp.Attached {
		return x, nil
	}
	x.Program, x.Generic = a.Xdp.ProgId, a.Xdp.AttachMode == attachedGeneric
	x.Name = programName(ebpf.ProgramID(a.Xdp.ProgId))
	var err error
	x.Link, err = linkHolding(a.Index, x.Program)
	return x, err
}

// programName is empty for a program that has gone, or has no name.
func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return ""
	}
	return info.Name
}

// linkHolding is the id of the BPF link that attaches a program to an
// interface, 0 if it was attached by netlink. Links of interfaces of other
// network namespaces may have the same index, so programs are compared, too.
func linkHolding(index int, program uint32) (uint32, error) {
	var all link.Iterator
	defer all.Close()
	for all.Next() {
		info, err := all.Link.Info()
		if err != nil {
			return 0, fmt.Errorf("read BPF link %d: %w", all.ID, err)
		}
		if x := info.XDP(); x != nil && int(x.Ifindex) == index && uint32(info.Program) == program {
			return uint32(all.ID), nil
		}
	}
	if err := all.Err(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("list BPF links: %w", err)
	}
	return 0, nil
}

package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNoKernelSupport is for kernels that were built, or run, without a part.
var ErrNoKernelSupport = errors.New("this kernel has no such part")

// Unpack makes the host's kernel take either version of IP, from anybody, out
// of tunnels to the host's address: IP in IP and, with a UDP port, GUE on that.
// It needs the modules sit or ip6_tunnel and, for GUE, fou or fou6; without
// them the error is ErrNoKernelSupport.
func (h Host) Unpack(guePort uint16) error {
	err := h.NS.Do(func() error {
		if err := h.addTunnel("weir-tunnel"); err != nil {
			return fmt.Errorf("adding a tunnel device: %w", err)
		}
		if guePort == 0 {
			return nil
		}
		if err := receiveGUE(h.family(), guePort); err != nil {
			return fmt.Errorf("receiving GUE: %w", err)
		}
		return nil
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("%w: %w", ErrNoKernelSupport, err)
	}
	return err
}

func (h Host) family() int {
	if h.Addr.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func (h Host) addTunnel(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	var device netlink.Link = &netlink.Sittun{LinkAttrs: attrs, Local: h.Addr.AsSlice()}
	if h.Addr.Is6() {
		device = &netlink.Ip6tnl{LinkAttrs: attrs, Local: h.Addr.AsSlice()}
	}
	if err := netlink.LinkAdd(device); err != nil {
		return err
	}
	return netlink.LinkSetUp(device)
}

// receiveGUE is netlink.FouAdd without an inner protocol, which kernels refuse
// for GUE.
func receiveGUE(family int, port uint16) error {
	id, err := netlink.FouFamilyId()
	if err != nil {
		return err
	}
	raw := []byte{netlink.FOU_CMD_ADD, 1, 0, 0} // struct genlmsghdr
	for _, attr := range []*nl.RtAttr{
		nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, port)),
		nl.NewRtAttr(netlink.FOU_ATTR_TYPE, []byte{netlink.FOU_ENCAP_GUE}),
		nl.NewRtAttr(netlink.FOU_ATTR_AF, []byte{byte(family)}),
	} {
		raw = append(raw, attr.Serialize()...)
	}
	req := nl.NewNetlinkRequest(id, unix.NLM_F_ACK)
	req.AddRawData(raw)
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

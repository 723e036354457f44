package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weir/agent/dsr"
	"weir/loader/lb"
	"weir/loader/netlab"
)

// The kernel's own tunnel devices unpack what weir sends, as docs/dsr.md says;
// the agent cares for VIPs and ARP alone.
func TestKernelUnpacks(t *testing.T) {
	for _, forward := range []lb.Forward{lb.IPIP, lb.GUE} {
		for _, vip := range []int{4, 6} {
			for _, backends := range []int{4, 6} {
				t.Run(fmt.Sprintf("%d-in-%d-%s", vip, backends, forward), func(t *testing.T) {
					l := newLab(t, forward, vip, backends)
					for _, b := range l.Backends {
						if err := b.NS.Do(func() error { return kernelTunnel(b, forward) }); err != nil {
							skipWithoutTunnels(t, err)
						}
					}
					l.carries(t, "", "--no-tunnel")
				})
			}
		}
	}
}

func skipWithoutTunnels(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		t.Skip("this kernel has no tunnel devices (modules sit, ip6_tunnel, fou and fou6): ", err)
	}
	t.Fatal(err)
}

// kernelTunnel makes a device that takes either version of IP, from anybody,
// out of tunnels to the backend's address.
func kernelTunnel(b netlab.Host, forward lb.Forward) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "weir-tunnel"
	var device netlink.Link = &netlink.Sittun{LinkAttrs: attrs, Local: b.Addr.AsSlice()}
	family := unix.AF_INET
	if b.Addr.Is6() {
		device, family = &netlink.Ip6tnl{LinkAttrs: attrs, Local: b.Addr.AsSlice()}, unix.AF_INET6
	}
	if err := netlink.LinkAdd(device); err != nil {
		return fmt.Errorf("adding a tunnel device: %w", err)
	}
	if err := netlink.LinkSetUp(device); err != nil {
		return fmt.Errorf("bringing the tunnel device up: %w", err)
	}
	if forward != lb.GUE {
		return nil
	}
	if err := receiveGUE(family); err != nil {
		return fmt.Errorf("receiving GUE: %w", err)
	}
	return nil
}

// receiveGUE is netlink.FouAdd without an inner protocol, which kernels refuse
// for GUE.
func receiveGUE(family int) error {
	id, err := netlink.FouFamilyId()
	if err != nil {
		return err
	}
	raw := []byte{netlink.FOU_CMD_ADD, 1, 0, 0} // struct genlmsghdr
	for _, attr := range []*nl.RtAttr{
		nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, dsr.DefaultGUEPort)),
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

package e2e

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/netlab"
)

// Offsets into a frame of synFrame.
const (
	ipAt  = 14
	tcpAt = ipAt + 20
)

// synFrame is an Ethernet frame with a TCP SYN over IPv4, valid but for what
// change does to it before the checksums are made.
func synFrame(dstMAC, srcMAC []byte, src, dst netip.AddrPort, change func(frame []byte)) []byte {
	f := make([]byte, tcpAt+20)
	copy(f, dstMAC)
	copy(f[6:], srcMAC)
	f[12] = 0x08 // ETH_P_IP
	ip, tcp := f[ipAt:tcpAt], f[tcpAt:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(f)-ipAt))
	ip[8], ip[9] = 64, unix.IPPROTO_TCP
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	tcp[12], tcp[13] = 5<<4, 0x02 // data offset, SYN
	change(f)
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
	pseudo := append([]byte{0, unix.IPPROTO_TCP, 0, byte(len(tcp))}, ip[12:20]...)
	binary.BigEndian.PutUint16(tcp[16:], ^onesSum(append(pseudo, tcp...)))
	return f
}

// sendFrame sends from the client's NIC, past its network stack.
func (l *lab) sendFrame(t *testing.T, src netip.AddrPort, change func(frame []byte)) {
	t.Helper()
	to, err := mac(l.Balancer)
	if err != nil {
		t.Fatal(err)
	}
	err = l.Client.Do(func() error {
		nic, err := netlink.LinkByName(netlab.NIC)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		frame := synFrame(to, nic.Attrs().HardwareAddr, src, l.config.endpoint(), change)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: nic.Attrs().Index})
	})
	if err != nil {
		t.Fatal("sending a frame:", err)
	}
}

func mac(ns *netlab.NS) (addr []byte, err error) {
	err = ns.Do(func() error {
		nic, err := netlink.LinkByName(netlab.NIC)
		if err == nil {
			addr = nic.Attrs().HardwareAddr
		}
		return err
	})
	return addr, err
}

package suites

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/lb"
	"weir/loader/netlab"
	"weir/vm-tests/qemu"
)

// attach puts the program on an interface of the thread's namespace, and then
// every feature into it.
func attach(t *testing.T, name string) {
	d := open(t, config(name))
	accepted(t, d.Apply(everyMode(lb.NextHop{})))
	at := d.Info().Attachments
	if len(at) != 1 || at[0].Interface != name || at[0].Mode != "native" {
		t.Errorf("attached as %+v, want %s in native mode", at, name)
	}
}

func newNS(t *testing.T, name string) *netlab.NS {
	t.Helper()
	ns, err := netlab.CreateNS(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// TestAttachVeth: native mode on a veth.
func TestAttachVeth(t *testing.T) {
	near, far := newNS(t, "near"), newNS(t, "far")
	err := netlab.Veth(netlab.End{NS: near, Name: "veth0", MAC: qemu.MAC(100)}, netlab.End{NS: far, Name: "veth1", MAC: qemu.MAC(101)})
	if err != nil {
		t.Fatal(err)
	}
	err = near.Do(func() error {
		attach(t, "veth0")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// nic is the machine's i-th NIC.
func nic(t *testing.T, i int) net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	found := slices.IndexFunc(all, func(n net.Interface) bool { return bytes.Equal(n.HardwareAddr, qemu.MAC(i)) })
	if found < 0 {
		t.Skipf("this machine has no NIC %s", qemu.MAC(i))
	}
	return all[found]
}

// TestAttachVirtio: native mode on virtio NICs of one and of several queues.
func TestAttachVirtio(t *testing.T) {
	for _, c := range []struct {
		name    string
		nic     int
		several bool
	}{{"one queue", 0, false}, {"several queues", 2, true}} {
		t.Run(c.name, func(t *testing.T) {
			n := nic(t, c.nic)
			queues, err := filepath.Glob(fmt.Sprintf("/sys/class/net/%s/queues/rx-*", n.Name))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s has %d queues", n.Name, len(queues))
			if c.several != (len(queues) > 1) {
				t.Error("that is not what this test is for")
			}
			attach(t, n.Name)
		})
	}
}

// TestAttachVirtioForwards: a frame that comes in on a virtio NIC goes back out
// of it to the backend's MAC address, and is else what it was.
func TestAttachVirtioForwards(t *testing.T) {
	balancer, client := nic(t, 0), nic(t, 1)
	setUp(t, balancer.Name)
	setUp(t, client.Name)
	d := open(t, config(balancer.Name))
	accepted(t, d.Apply(everyMode(lb.NextHop{
		IfIndex: balancer.Index, MTU: 1500,
		SrcMAC: [6]byte(balancer.HardwareAddr), DstMAC: [6]byte(client.HardwareAddr),
	})))
	sent := syn(balancer.HardwareAddr, client.HardwareAddr)
	wire := openWire(t, client.Index)
	for range 25 { // a link that has just come up may lose the first
		wire.send(t, sent)
		got := wire.receive(t, client.HardwareAddr)
		if got == nil {
			continue
		}
		if !bytes.Equal(got[6:12], balancer.HardwareAddr) || !bytes.Equal(got[14:len(sent)], sent[14:]) {
			t.Errorf("came back as\n%x, was\n%x", got, sent)
		}
		return
	}
	t.Error("the frame did not come back")
}

func setUp(t *testing.T, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatalf("bring %s up: %v", name, err)
	}
}

// syn is a frame with a TCP SYN to the first service of everyMode, which is
// forwarded with its IP packet unchanged.
func syn(dst, src net.HardwareAddr) []byte {
	frame := slices.Concat(dst, src, []byte{0x08, 0x00},
		[]byte{0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0}, []byte{198, 51, 100, 7}, vip.AsSlice(),
		[]byte{0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 0x02, 0xff, 0xff, 0, 0, 0, 0})
	return append(frame, make([]byte, 60-len(frame))...)
}

// wire is a packet socket on one interface.
type wire struct{ fd, ifindex int }

const protoAll = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network order

func openWire(t *testing.T, ifindex int) wire {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protoAll)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	wait := unix.NsecToTimeval(int64(200 * time.Millisecond))
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protoAll, Ifindex: ifindex}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
	)
	if err != nil {
		t.Fatal(err)
	}
	return wire{fd, ifindex}
}

func (w wire) send(t *testing.T, frame []byte) {
	t.Helper()
	if err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.ifindex}); err != nil {
		t.Fatal(err)
	}
}

// receive is the next frame to a MAC address, or nil when none comes.
func (w wire) receive(t *testing.T, dst net.HardwareAddr) []byte {
	t.Helper()
	frame := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(w.fd, frame, 0)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		at, ok := from.(*unix.SockaddrLinklayer)
		if ok && at.Pkttype != unix.PACKET_OUTGOING && n >= 60 && bytes.Equal(frame[:6], dst) {
			return frame[:n]
		}
	}
}

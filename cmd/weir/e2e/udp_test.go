package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

func TestUDP(t *testing.T) {
	for _, p := range []plan{
		{proto: lb.UDP, forward: lb.NAT, family: 4},
		{proto: lb.UDP, forward: lb.NAT, family: 6, algorithm: "wrr"},
		{proto: lb.UDP, forward: lb.DSR, family: 4, algorithm: "rr"},
		{proto: lb.UDP, forward: lb.DSR, family: 6},
	} {
		t.Run(p.String(), func(t *testing.T) { testUDP(t, p) })
	}
}

const (
	udpPorts    = 250
	udpPerPort  = 4
	udpDatagram = 64 // bytes
)

func testUDP(t *testing.T, p plan) {
	l := start(t, p)
	var client *net.UDPConn
	var who string
	for i := range udpPorts {
		client, who = l.exchange(t, l.ClientAddrs[i%len(l.ClientAddrs)])
	}
	l.checkUDPCounts(t)
	local := client.LocalAddr().(*net.UDPAddr).AddrPort()
	found := weirJSON[wire.Flows](t, "flows", "--src", local.String(), "--dst", l.config.endpoint().String(), "--udp")
	if len(found.Flows) != 1 || found.Flows[0].Endpoint.String() != who || found.Flows[0].State != "stream" || found.Flows[0].Service != service {
		t.Errorf("flows finds %+v for %s, want one stream of %s to %s", found.Flows, local, service, who)
	}
	if o := weir(t, "flows", "--src", local.String(), "--dst", l.config.endpoint().String()); !strings.Contains(o, "no flows") {
		t.Errorf("the same ports over TCP: %s", o)
	}
}

// exchange sends datagrams from a new port. Each must be answered from the VIP
// and all by the same backend, which it returns.
func (l *lab) exchange(t *testing.T, from netip.Addr) (*net.UDPConn, string) {
	t.Helper()
	conn, err := listenUDP(l.Client, netip.AddrPortFrom(from, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) // so no port is used twice
	who := ""
	for i := range udpPerPort {
		answer, err := askUDP(conn, l.config.endpoint(), fmt.Sprintf("%-*d", udpDatagram, i))
		if err != nil {
			t.Fatalf("datagram %d from %s: %v", i, conn.LocalAddr(), err)
		}
		if who != "" && answer != who {
			t.Fatalf("datagram %d from %s was answered by %s, those before by %s", i, conn.LocalAddr(), answer, who)
		}
		who = answer
	}
	return conn, who
}

// askUDP returns what the answer has after the datagram sent.
func askUDP(conn *net.UDPConn, to netip.AddrPort, datagram string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.WriteToUDPAddrPort([]byte(datagram), to); err != nil {
		return "", err
	}
	buf := make([]byte, 2048)
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		return "", err
	}
	if got := netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); got != to {
		return "", fmt.Errorf("answered from %s, not from %s", got, to)
	}
	who, echoed := strings.CutPrefix(string(buf[:n]), datagram)
	if !echoed {
		return "", fmt.Errorf("answer %q does not begin with what was sent", buf[:n])
	}
	return who, nil
}

func (l *lab) checkUDPCounts(t *testing.T) {
	t.Helper()
	var flows uint64
	for _, b := range backends(t) {
		flows += b.Flows
		for _, s := range l.servers {
			if s.endpoint == b.Backend && (b.Packets != s.accepted.Load() || b.Flows*udpPerPort != b.Packets || b.Active != b.Flows) {
				t.Errorf("backend %s got %d datagrams; listed are %d packets, %d flows, %d active", s.name(), s.accepted.Load(), b.Packets, b.Flows, b.Active)
			}
		}
	}
	if flows != udpPorts || l.accepted() != udpPorts*udpPerPort {
		t.Errorf("%d flows and %d datagrams, want %d and %d", flows, l.accepted(), udpPorts, udpPorts*udpPerPort)
	}
	t.Logf("%v datagrams per backend, %d flows", l.perServer(), flows)
}

package bpf_test

import (
	"net/netip"

	"weir/loader/lb"
)

// family is the addresses of the cases in one IP version.
type family struct {
	name     string
	client   netip.AddrPort // behind in0
	other    netip.AddrPort // another port of it
	far      netip.AddrPort // behind out0
	lost     netip.AddrPort // behind a gateway without neighbour entry
	narrow   netip.AddrPort // behind a link with a small MTU
	blocked  netip.AddrPort // a blackhole
	nowhere  netip.AddrPort // no route
	own      netip.AddrPort // the balancer's own address
	web      lb.VIP         // TCP
	dns      lb.VIP         // UDP
	web2     lb.VIP         // another address
	all      lb.VIP         // every port, TCP
	allUDP   lb.VIP
	stranger netip.AddrPort // no VIP
	a, b, c  netip.Addr     // backends
	away     netip.Addr     // a backend behind out0
	unknown  netip.Addr     // a backend whose MAC address is not known
	minMTU   int
}

var ip4 = family{
	name:     "IPv4",
	client:   netip.MustParseAddrPort("198.51.100.7:40001"),
	other:    netip.MustParseAddrPort("198.51.100.7:40002"),
	far:      netip.MustParseAddrPort("203.0.113.9:40003"),
	lost:     netip.MustParseAddrPort("198.51.101.9:40004"),
	narrow:   netip.MustParseAddrPort("198.51.102.9:40005"),
	blocked:  netip.MustParseAddrPort("198.51.103.9:40006"),
	nowhere:  netip.MustParseAddrPort("172.31.0.1:40007"),
	own:      netip.MustParseAddrPort("10.9.0.2:40008"),
	web:      vip("192.0.2.1:80/tcp"),
	dns:      vip("192.0.2.1:53/udp"),
	web2:     vip("192.0.2.2:8000/tcp"),
	all:      vip("192.0.2.3:*/tcp"),
	allUDP:   vip("192.0.2.3:*/udp"),
	stranger: netip.MustParseAddrPort("192.0.2.77:80"),
	a:        netip.MustParseAddr("10.0.0.1"),
	b:        netip.MustParseAddr("10.0.0.2"),
	c:        netip.MustParseAddr("10.0.0.3"),
	away:     netip.MustParseAddr("10.0.0.200"),
	unknown:  netip.MustParseAddr("10.0.0.255"),
	minMTU:   576,
}

var ip6 = family{
	name:     "IPv6",
	client:   netip.MustParseAddrPort("[2001:db8:100::7]:40001"),
	other:    netip.MustParseAddrPort("[2001:db8:100::7]:40002"),
	far:      netip.MustParseAddrPort("[2001:db8:113::9]:40003"),
	lost:     netip.MustParseAddrPort("[2001:db8:101::9]:40004"),
	narrow:   netip.MustParseAddrPort("[2001:db8:102::9]:40005"),
	blocked:  netip.MustParseAddrPort("[2001:db8:103::9]:40006"),
	nowhere:  netip.MustParseAddrPort("[2001:db8:fff::1]:40007"),
	own:      netip.MustParseAddrPort("[2001:db8:9::2]:40008"),
	web:      vip("[2001:db8:1::1]:80/tcp"),
	dns:      vip("[2001:db8:1::1]:53/udp"),
	web2:     vip("[2001:db8:1::2]:8000/tcp"),
	all:      vip("[2001:db8:1::3]:*/tcp"),
	allUDP:   vip("[2001:db8:1::3]:*/udp"),
	stranger: netip.MustParseAddrPort("[2001:db8:1::77]:80"),
	a:        netip.MustParseAddr("fd00::1"),
	b:        netip.MustParseAddr("fd00::2"),
	c:        netip.MustParseAddr("fd00::3"),
	away:     netip.MustParseAddr("fd00::c8"),
	unknown:  netip.MustParseAddr("fd00::ff"),
	minMTU:   1280,
}

func vip(s string) lb.VIP {
	v, err := lb.ParseVIP(s)
	if err != nil {
		panic(err)
	}
	return v
}

// at is the address and port that clients send to.
func at(v lb.VIP) netip.AddrPort { return netip.AddrPortFrom(v.Addr, v.Port) }

// icmp is the family's ICMP.
func (f family) icmp() uint8 {
	if f.client.Addr().Is4() {
		return icmp
	}
	return icmp6
}

func port(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }

// target is a backend of a service and how it gets its packets.
type target struct {
	vip     lb.VIP
	at      netip.AddrPort
	forward lb.Forward
}

// dsr and nat are the usual backends' entries: DSR keeps ports, NAT here
// changes them to 8080.
func dsr(v lb.VIP, a netip.Addr) target { return target{v, port(a, 0), lb.DSR} }
func nat(v lb.VIP, a netip.Addr) target { return target{v, port(a, 8080), lb.NAT} }

// through is what a request looks like on its way to the backend.
func (t target) through(f frame) frame {
	from := balancerMAC
	if t.at.Addr().As16()[15] >= 200 {
		from = outMAC
	}
	f = f.mac(macOf(t.at.Addr()), from)
	if t.forward == lb.DSR {
		return f
	}
	return f.dest(t.real(f.to.Port())).ttl(f.hops - 1)
}

// real is the backend's side of a flow whose client sends to a port.
func (t target) real(dport uint16) netip.AddrPort {
	if t.at.Port() != 0 {
		dport = t.at.Port()
	}
	return port(t.at.Addr(), dport)
}

// reply is a packet from the backend to the client that f came from.
func (t target) reply(f frame) frame {
	return packet(f.proto, t.real(f.to.Port()), f.from).mac(balancerMAC, macOf(t.at.Addr()))
}

// back is what a reply looks like on its way to the client behind in0.
func (t target) back(f frame) frame {
	from := port(t.vip.Addr, f.from.Port())
	if t.at.Port() != 0 {
		from = at(t.vip)
	}
	return f.source(from).ttl(f.hops-1).mac(gatewayMAC, balancerMAC)
}

// backFar is back for the client behind out0.
func (t target) backFar(f frame) frame { return t.back(f).mac(farMAC, outMAC) }

// backLocal is back when the kernel shall find the way.
func (t target) backLocal(f frame) frame { return t.back(f).mac(f.dst, f.src) }

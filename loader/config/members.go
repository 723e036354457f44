package config

import (
	"net/netip"

	"weir/loader/lb"
)

// members is what the services of a pool need to know of its backends, so that
// checking many services of a large pool stays cheap. The fields are indices
// of backends, or -1.
type members struct {
	path      *path
	backends  []lb.Backend
	ipv4      int // the first of this family
	ipv6      int
	local     int // the first on this host
	port      int // the first that has a port
	otherPort int // the first that has another port than that
}

func newMembers(p *path, backends []lb.Backend) *members {
	m := &members{path: p, backends: backends, ipv4: -1, ipv6: -1, local: -1, port: -1, otherPort: -1}
	for i, b := range backends {
		switch {
		case m.ipv4 < 0 && b.Addr.Is4():
			m.ipv4 = i
		case m.ipv6 < 0 && b.Addr.Is6():
			m.ipv6 = i
		}
		if m.local < 0 && b.Addr.IsLoopback() {
			m.local = i
		}
		switch {
		case b.Port == 0:
		case m.port < 0:
			m.port = i
		case m.otherPort < 0 && b.Port != backends[m.port].Port:
			m.otherPort = i
		}
	}
	return m
}

// otherFamily is the first backend that is not of addr's family.
func (m *members) otherFamily(addr netip.Addr) int {
	if addr.Is4() {
		return m.ipv6
	}
	return m.ipv4
}

// portBeside is the first backend with a port other than this.
func (m *members) portBeside(port uint16) int {
	if m.port >= 0 && m.backends[m.port].Port == port {
		return m.otherPort
	}
	return m.port
}

// checkMembers reports what hinders a service from using its pool.
func checkMembers(r *report, p *path, s lb.Service, m *members) {
	if m.local >= 0 {
		r.field(p, "%q has %s (%s), which only routes of http can use", s.Pool, m.backends[m.local].Addr, m.path.item(m.local))
	}
	if i := m.otherFamily(s.VIP.Addr); i >= 0 && !s.Forward.Tunnel() {
		r.field(p, "%q has %s (%s), which is not of the address family of VIP %s; %s needs one family",
			s.Pool, m.backends[i].Addr, m.path.item(i), s.VIP, s.Forward)
	}
	if !s.Forward.KeepsPacket() && s.VIP.Port != 0 {
		return
	}
	if i := m.portBeside(s.VIP.Port); i >= 0 {
		r.field(p, "%q has %s (%s), but packets of VIP %s reach it by %s with the client's port; leave the port out",
			s.Pool, m.backends[i].Endpoint(), m.path.item(i), s.VIP, s.Forward)
	}
}

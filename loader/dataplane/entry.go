package dataplane

import (
	"encoding/binary"
	"math"
	"net/netip"

	"weir/bpf"
	"weir/loader/lb"
)

// writeBackend fills a free entry. Its forwarding mode, which says that it is
// in use, comes last.
func (d *DataPlane) writeBackend(b *backend) {
	vip := b.service.vip
	d.clearCounters(b.id)
	raw := &d.mem.backends[b.id]
	*raw = bpf.WeirBackend{
		Port:    wirePort(b.key.endpoint.Port()),
		VipPort: wirePort(vip.Port),
		Service: b.service.index,
		Proto:   uint8(vip.Proto),
		Family:  4,
	}
	if b.key.endpoint.Addr().Is6() {
		raw.Family = 6
	}
	raw.Addr.Word = words(b.key.endpoint.Addr())
	raw.Vip.Word = words(vip.Addr)
	switch {
	case b.key.forward.Translates():
		raw.IpDelta, raw.L4Delta = natDeltas(vip, b.key.endpoint)
	case b.key.forward.Tunnel() && raw.Family == 4:
		raw.IpDelta = outerSum(b.key.endpoint.Addr())
	}
	d.writeHop(b, b.hop)
	raw.Forward = uint8(b.key.forward)
}

// natDeltas are the checksums' gains when the VIP is replaced by the backend:
// that of the IPv4 header and that of TCP or UDP, whose pseudo header has the
// addresses too.
func natDeltas(vip lb.VIP, to netip.AddrPort) (ip, l4 uint16) {
	from, dest := vip.Addr.AsSlice(), to.Addr().AsSlice()
	ip = checksumDelta(from, dest)
	if to.Port() != 0 {
		from = binary.BigEndian.AppendUint16(from, vip.Port)
		dest = binary.BigEndian.AppendUint16(dest, to.Port())
	}
	return ip, checksumDelta(from, dest)
}

// outerSum is the ones' complement sum of what is the same in every outer IPv4
// header to a backend; see outer_ip4 in bpf/encap.h.
func outerSum(to netip.Addr) uint16 {
	const ttl = 64 // OUTER_TTL
	header := append([]byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, ttl, 0}, to.AsSlice()...)
	return onesSum(header)
}

// writeHop changes where frames leave. A packet may see the new address with
// the old interface for an instant; it is lost as if it had been on the wire
// when the hop changed.
func (d *DataPlane) writeHop(b *backend, h lb.NextHop) {
	b.hop = h
	raw := &d.mem.backends[b.id]
	raw.DstMac, raw.SrcMac, raw.Mtu = h.DstMAC, h.SrcMAC, uint16(min(h.MTU, math.MaxUint16))
	if h.Resolved() {
		raw.Ifindex = uint32(h.IfIndex)
	} else {
		raw.Ifindex = 0
	}
}

func (d *DataPlane) clearCounters(id uint32) {
	d.mem.active[id] = 0
	for row := int(id); row < len(d.mem.stats); row += len(d.mem.backends) {
		d.mem.stats[row] = bpf.WeirBackendStats{}
	}
}

// freeBackend gives an id back that no flow refers to.
func (d *DataPlane) freeBackend(b *backend) {
	d.mem.backends[b.id].Forward = 0
	d.quicSynced = d.quicSynced && d.mem.backends[b.id].Flags&quicFlag == 0
	delete(d.registry.backends, b.id)
	delete(d.registry.retired, b.id)
	delete(d.registry.leaving, b.id)
	delete(d.drifts, b.id)
	if b.service.ids[b.key] == b.id { // else it came back under another
		delete(b.service.ids, b.key)
	}
	d.registry.freeID.give(b.id)
}

// freeService gives an index back that no backend refers to.
func (d *DataPlane) freeService(s *service) {
	r := d.registry
	if r.services[s.vip] == s {
		delete(r.services, s.vip)
	}
	if r.indexes[s.index] != s {
		return
	}
	d.acls.forget(s.index)
	d.mem.services[s.index] = bpf.WeirService{}
	delete(r.indexes, s.index)
	r.freeSvc.give(uint32(s.index))
	r.arena.release(s.table)
	r.arena.release(s.members)
}

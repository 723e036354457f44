package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/bpf"
	"weir/loader/lb"
)

// captureWant is what of a filter the kernel looks at.
func (d *DataPlane) captureWant(f lb.CaptureFilter) (*bpf.WeirCaptureFilter, error) {
	w := &bpf.WeirCaptureFilter{Snaplen: lb.MaxSnapLen}
	if f.SnapLen > 0 {
		w.Snaplen = min(f.SnapLen, lb.MaxSnapLen)
	}
	var err error
	if w.Reasons, err = reasonMask(f); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.VIP != nil {
		s := d.registry.services[*f.VIP]
		if s == nil {
			return nil, &lb.FilterError{What: fmt.Sprintf("no service has VIP %s", f.VIP)}
		}
		w.Service = uint32(s.index)
	}
	if f.Backend.IsValid() {
		ids := d.idsOf(f)
		switch len(ids) {
		case 0:
			return nil, &lb.FilterError{What: fmt.Sprintf("no such service sends to backend %s", f.Backend)}
		case 1:
			w.Backend = ids[0]
		}
	}
	return w, nil
}

// idsOf are the ids of the filter's backend, which each of its services calls
// otherwise.
func (d *DataPlane) idsOf(f lb.CaptureFilter) (ids []uint32) {
	for id, b := range d.registry.backends {
		if b.key.endpoint == f.Backend && (f.VIP == nil || b.service.vip == *f.VIP) {
			ids = append(ids, id)
		}
	}
	return ids
}

func reasonMask(f lb.CaptureFilter) (mask uint64, err error) {
	if len(f.Reasons) == 0 {
		for reason := range reasonNames {
			if f.All || !foreign(bpf.WeirReason(reason)) {
				mask |= 1 << reason
			}
		}
		return mask | 1<<captureNoReason, nil
	}
	for _, name := range f.Reasons {
		found := false
		for reason, known := range reasonNames {
			if known == name {
				mask |= 1 << reason
				found = true
			}
		}
		if !found {
			names := slices.Clone(reasonNames[:])
			slices.Sort(names)
			return 0, &lb.FilterError{What: fmt.Sprintf("there is no reason %q; there are: %s", name, strings.Join(slices.Compact(names), ", "))}
		}
	}
	return mask, nil
}

// foreign packets are for no service.
func foreign(r bpf.WeirReason) bool {
	switch r {
	case bpf.WeirReasonPASS_NOT_IP, bpf.WeirReasonPASS_VLAN, bpf.WeirReasonPASS_NOT_VIP, bpf.WeirReasonPASS_MALFORMED:
		return true
	}
	return false
}

// attribute names service and backend, and tells whether they are those that
// are wanted. A packet that got no backend is of the service it is addressed to
// or, if it has no port to tell by, of each of its address.
func (c *capture) attribute(p *lb.Captured, id uint32) bool {
	f := c.filter
	if o := c.d.owner(id); o.endpoint.IsValid() {
		p.VIP, p.Backend = &o.vip, o.endpoint
		return (f.VIP == nil || o.vip == *f.VIP) && (!f.Backend.IsValid() || o.endpoint == f.Backend)
	}
	if f.Backend.IsValid() {
		return false
	}
	to := targetOf(p.In.Data)
	p.VIP = c.d.serviceAt(to)
	if f.VIP == nil {
		return true
	}
	return p.VIP != nil && *p.VIP == *f.VIP || p.VIP == nil && to.Addr == f.VIP.Addr && to.Port == 0
}

// serviceAt is the VIP of the service for a destination, nil if there is none.
func (d *DataPlane) serviceAt(to lb.VIP) *lb.VIP {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, port := range []uint16{to.Port, 0} {
		to.Port = port
		if s := d.registry.services[to]; s != nil {
			return &s.vip
		}
	}
	return nil
}

// targetOf is what a frame is addressed to, as far as it can be told: tags are
// skipped, what is behind IPv6 extension headers is not looked for.
func targetOf(b []byte) (to lb.VIP) {
	const tag = 4
	if len(b) < ethHeader {
		return to
	}
	kind, l3 := uint16(b[12])<<8|uint16(b[13]), b[ethHeader:]
	for (kind == 0x8100 || kind == 0x88a8) && len(l3) >= tag {
		kind, l3 = uint16(l3[2])<<8|uint16(l3[3]), l3[tag:]
	}
	header := 0
	switch {
	case kind == etherType(netip.IPv4Unspecified()) && len(l3) >= ip4Header:
		to.Addr, to.Proto = netip.AddrFrom4([4]byte(l3[16:])), lb.Proto(l3[9])
		if l3[6]&0x1f == 0 && l3[7] == 0 { // no later fragment
			header = int(l3[0]&15) * 4
		}
	case kind == etherType(netip.IPv6Unspecified()) && len(l3) >= 40:
		to.Addr, to.Proto, header = netip.AddrFrom16([16]byte(l3[24:])), lb.Proto(l3[6]), 40
	}
	if l4 := l3[min(header, len(l3)):]; header > 0 && len(l4) >= 4 && (to.Proto == lb.TCP || to.Proto == lb.UDP) {
		to.Port = uint16(l4[2])<<8 | uint16(l4[3])
	}
	return to
}

package dataplane

import (
	"slices"

	"weir/loader/lb"
)

// features are the parts of the program that are there only if somebody uses
// them. Once loaded they stay until the next start.
type features struct{ nat, acl, limits, vlan, mss bool }

// with has those of both.
func (f features) with(o features) features {
	return features{f.nat || o.nat, f.acl || o.acl, f.limits || o.limits, f.vlan || o.vlan, f.mss || o.mss}
}

// wanted are those that a state needs.
func wanted(s lb.State) features {
	any := func(uses func(lb.Service) bool) bool {
		return slices.ContainsFunc(s.Services, func(s lb.ServiceState) bool { return uses(s.Service) })
	}
	return features{
		nat:    any(func(s lb.Service) bool { return s.Forward.Translates() }),
		acl:    s.ACL != nil || any(func(s lb.Service) bool { return s.ACL != nil }),
		limits: any(func(s lb.Service) bool { return s.MaxNewFlows > 0 || s.NewFlowsPerSource.Rate > 0 }),
		vlan:   len(s.VLANs) > 0,
		mss:    any(func(s lb.Service) bool { return s.MSS > 0 }),
	}
}

// used are those that the maps need, as an earlier loader left them.
func (d *DataPlane) used() (features, error) {
	vlans, err := d.pinnedVLANs()
	f := features{nat: d.registry.hasNAT(), acl: d.acls.any(), vlan: len(vlans) > 0}
	for index := range d.registry.indexes {
		s := &d.mem.services[index]
		f.limits = f.limits || s.FlowRate > 0 || s.SourceRate > 0
		f.mss = f.mss || s.Mss > 0
	}
	return f, err
}

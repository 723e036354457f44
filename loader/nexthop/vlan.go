package nexthop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink"

	"weir/loader/lb"
)

// vlan is what makes a link one that tags; the zero vlan is none.
type vlan struct {
	tag    lb.Tag
	parent int // index of the link below; 0 if that is in another network namespace
}

func vlanOf(l netlink.Link) vlan {
	v, ok := l.(*netlink.Vlan)
	if !ok {
		return vlan{}
	}
	out := vlan{tag: lb.Tag{Kind: uint16(v.VlanProtocol), ID: uint16(v.VlanId)}, parent: v.ParentIndex}
	if v.NetNsID >= 0 {
		out.parent = 0
	}
	return out
}

func (v vlan) tags() bool { return v.tag.Kind != 0 }

// VLANs are the interfaces that tag, by index, as far as the last Resolve and
// events since know. Those on more tags than lb.MaxTags are left out, and those
// on a link that is not in this network namespace.
func (r *Resolver) VLANs() []lb.VLAN {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []lb.VLAN
	for _, index := range slices.SortedFunc(maps.Keys(r.links), cmp.Compare) {
		if !r.links[index].vlan.tags() {
			continue
		}
		if v, reason := r.tagsOf(index); reason == "" {
			out = append(out, v)
		}
	}
	return out
}

// tagsOf follows a link that tags down to one that does not, or says why that
// is not possible.
func (r *Resolver) tagsOf(index int) (v lb.VLAN, reason string) {
	v.IfIndex, v.Below = index, index
	var tags []lb.Tag // innermost first
	for at := r.links[index]; at.vlan.tags(); at = r.links[v.Below] {
		if tags = append(tags, at.vlan.tag); len(tags) > lb.MaxTags {
			return v, fmt.Sprintf("interface %s has more than %d VLAN tags", r.links[index].name, lb.MaxTags)
		}
		v.Below = at.vlan.parent
		if _, here := r.links[v.Below]; !here {
			return v, fmt.Sprintf("VLAN interface %s lies on one of another network namespace", r.links[index].name)
		}
	}
	slices.Reverse(tags)
	copy(v.Tags[:], tags)
	return v, ""
}

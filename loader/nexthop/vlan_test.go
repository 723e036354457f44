package nexthop

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/lb"
)

// vlanLink is an interface that tags, as netlink tells it.
func vlanLink(index, parent int, kind, id uint16) netlink.Link {
	attrs := netlink.NewLinkAttrs()
	attrs.Index, attrs.ParentIndex = index, parent
	return &netlink.Vlan{LinkAttrs: attrs, VlanId: int(id), VlanProtocol: netlink.VlanProtocol(kind)}
}

func plainLink(index int) netlink.Link {
	attrs := netlink.NewLinkAttrs()
	attrs.Index = index
	return &netlink.Dummy{LinkAttrs: attrs}
}

func tags(t ...lb.Tag) (out [lb.MaxTags]lb.Tag) {
	copy(out[:], t)
	return out
}

func TestVLANs(t *testing.T) {
	t.Parallel()
	const qinq, plain = 0x88a8, 0x8100
	elsewhere := vlanLink(8, 2, plain, 8)
	elsewhere.Attrs().NetNsID = 1
	r := &Resolver{links: map[int]link{}}
	for _, l := range []netlink.Link{
		plainLink(2), plainLink(3),
		vlanLink(4, 2, plain, 100),
		vlanLink(5, 2, qinq, 200),
		vlanLink(6, 5, plain, 0),   // VLAN 0: priority only
		vlanLink(7, 6, plain, 300), // a third tag
		elsewhere,
		vlanLink(9, 77, plain, 9), // on what is gone
	} {
		r.links[l.Attrs().Index] = linkOf(l)
	}
	want := []lb.VLAN{
		{IfIndex: 4, Below: 2, Tags: tags(lb.Tag{Kind: plain, ID: 100})},
		{IfIndex: 5, Below: 2, Tags: tags(lb.Tag{Kind: qinq, ID: 200})},
		{IfIndex: 6, Below: 2, Tags: tags(lb.Tag{Kind: qinq, ID: 200}, lb.Tag{Kind: plain, ID: 0})},
	}
	if got := r.VLANs(); !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for index, part := range map[int]string{3: "", 6: "", 7: "more than 2 VLAN tags", 8: "another network namespace", 9: "another network namespace"} {
		if _, reason := r.tagsOf(index); !strings.Contains(reason, part) || (part == "") != (reason == "") {
			t.Errorf("interface %d: reason %q, want one with %q", index, reason, part)
		}
	}
}

// An interface that tags is announced when it comes, changes and goes, though no
// route leads by it.
func TestVLANsAreAnnounced(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	l.withoutIPv6()
	up := l.link("up0").Attrs().Index
	add := func() error {
		return l.nl.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "up0.5", ParentIndex: up}, VlanId: 5})
	}
	if err := add(); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("module 8021q is needed: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	must(t, l.nl.LinkDel(l.link("up0.5")))
	r := l.resolver()
	_, err := r.Resolve(nil)
	must(t, err)
	announced(t, r, "an interface that tags comes", func() { must(t, add()) })
	want := []lb.VLAN{{IfIndex: l.link("up0.5").Attrs().Index, Below: up, Tags: tags(lb.Tag{Kind: unix.ETH_P_8021Q, ID: 5})}}
	if got := r.VLANs(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	announced(t, r, "it goes", func() { must(t, l.nl.LinkDel(l.link("up0.5"))) })
	if got := r.VLANs(); len(got) > 0 {
		t.Errorf("got %+v, want none", got)
	}
}

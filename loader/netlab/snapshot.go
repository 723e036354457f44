package netlab

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Snapshot describes the namespace's interfaces, their XDP programs and
// addresses, its routes and all of its settings, a line each: two that are
// equal show that nothing was left changed in between. What comes by itself
// after a while is left out: link-local addresses, and the carrier.
func (n *NS) Snapshot() (string, error) {
	var b strings.Builder
	err := n.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, link := range links {
			if err := describe(&b, link); err != nil {
				return err
			}
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Dst == nil || !r.Dst.IP.IsLinkLocalUnicast() {
				fmt.Fprintln(&b, "route", r)
			}
		}
		return describeSysctls(&b)
	})
	if err != nil {
		return "", fmt.Errorf("describing %s: %w", n.Name, err)
	}
	return b.String(), nil
}

func describe(b *strings.Builder, link netlink.Link) error {
	attrs := link.Attrs()
	fmt.Fprintln(b, "interface", attrs.Name, attrs.Flags&^net.FlagRunning, attrs.MTU, attrs.Xdp != nil && attrs.Xdp.Attached)
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	slices.SortFunc(addrs, func(x, y netlink.Addr) int { return strings.Compare(x.String(), y.String()) })
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() {
			continue
		}
		fmt.Fprintln(b, "address", attrs.Name, a.IPNet, a.Scope, a.Flags, a.ValidLft, a.PreferedLft)
	}
	return nil
}

func describeSysctls(b *strings.Builder) error {
	const root = "/proc/sys/net"
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if text, err := os.ReadFile(path); err == nil { // some can only be written
			fmt.Fprintln(b, strings.TrimPrefix(path, root+"/"), strings.TrimSpace(string(text)))
		}
		return nil
	})
}

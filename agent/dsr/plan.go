package dsr

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
)

// plan is what has to be changed on the host, with what an earlier process left
// (and what is of further use) as if this one had changed it.
func (h *host) plan(o Options, links []netlink.Link, left state) (state, error) {
	if h.lo.Attrs().Flags&net.FlagUp == 0 {
		return state{}, fmt.Errorf("interface %s is down, so no VIP on it works: ip link set %s up", loopback, loopback)
	}
	vips, err := h.missing(o.VIPs, left.VIPs)
	if err != nil {
		return state{}, err
	}
	p := state{VIPs: vips}
	if anyIPv4(o.VIPs) {
		p.Sysctls, err = h.planSysctls(o.Interfaces, links, beforeUs(left.Sysctls))
	}
	return p, err
}

// missing are the VIPs that the host has not by itself.
func (h *host) missing(vips, left []netip.Addr) ([]netip.Addr, error) {
	has, err := h.addresses()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, vip := range vips {
		own := false
		for _, at := range has {
			switch {
			case at.addr != vip:
			case at.iface != h.lo.Attrs().Index:
				return nil, h.elsewhere(at)
			default:
				own = true
			}
		}
		if !own || slices.Contains(left, vip) {
			all = append(all, vip)
		}
	}
	return all, nil
}

func (h *host) elsewhere(at place) error {
	name := strconv.Itoa(at.iface)
	if link, err := h.nl.LinkByIndex(at.iface); err == nil {
		name = link.Attrs().Name
	}
	return fmt.Errorf("VIP %s is an address of %s, where it answers ARP or neighbour discovery: remove it there (ip addr show %s), it goes on %s", at.addr, name, name, loopback)
}

func (h *host) planSysctls(interfaces []string, links []netlink.Link, before func(string) (string, error)) ([]sysctl, error) {
	wishes := arpWishes(interfaces)
	for i, link := range links {
		filtered, err := strict(interfaces[i], before)
		if err != nil {
			return nil, err
		}
		elsewhere, err := h.answersElsewhere(link.Attrs().Index)
		if err != nil {
			return nil, err
		}
		if filtered && elsewhere {
			wishes = append(wishes, wish{rpPath(interfaces[i]), strconv.Itoa(rpLoose), nil})
		}
	}
	return changes(wishes, before)
}

// apply makes the changes: ARP falls silent before there is a VIP to claim.
func (h *host) apply(p state) error {
	for _, s := range p.Sysctls {
		if err := writeSysctl(s.Path, s.Set); err != nil {
			return err
		}
	}
	for _, vip := range p.VIPs {
		if err := h.addVIP(vip); err != nil {
			return err
		}
	}
	return nil
}

// undo takes back what is in p and not in keep, in the order opposite to
// apply's. It goes on after errors.
func (h *host) undo(p, keep state) error {
	var errs []error
	for _, vip := range slices.Backward(p.VIPs) {
		if !slices.Contains(keep.VIPs, vip) {
			errs = append(errs, h.removeVIP(vip))
		}
	}
	for _, s := range slices.Backward(p.Sysctls) {
		kept := slices.ContainsFunc(keep.Sysctls, func(k sysctl) bool { return k.Path == s.Path })
		if !kept {
			errs = append(errs, s.undo())
		}
	}
	return errors.Join(errs...)
}

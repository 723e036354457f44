package doctor

import "weir/loader/lb"

// checkDriver looks at how the program is attached, or could be.
func checkDriver(c lb.Config, running bool, l Link) []Finding {
	if l.XDP.Program == 0 {
		return append(notAttached(c, running, l), checkTransmit(l)...)
	}
	if !l.XDP.Generic {
		return append([]Finding{fine(l.Name, "native XDP in driver %s", l.Driver)}, checkTransmit(l)...)
	}
	if c.XDPMode == lb.XDPGeneric {
		return []Finding{fine(l.Name, "generic XDP, as configured")}
	}
	if l.XDP.Known && !l.XDP.Native {
		return []Finding{warning(l.Name, "ip -d link show dev "+l.Name+" # native needs another NIC; `xdp_mode: generic` accepts it as it is",
			"generic XDP, several times slower: driver %s has no native XDP as it is set up", l.Driver)}
	}
	return []Finding{warning(l.Name, "dmesg | grep -iE 'xdp|"+l.Name+"' # says what the driver refused; mend it, then: systemctl stop weir; weir unload; systemctl start weir",
		"generic XDP, several times slower, though driver %s has native XDP", l.Driver)}
}

func notAttached(c lb.Config, running bool, l Link) []Finding {
	switch {
	case running:
		return []Finding{fault(l.Name, "systemctl restart weir", "no XDP program runs on it: packets for VIPs are not balanced")}
	case !l.XDP.Known || l.XDP.Native:
		return []Finding{fine(l.Name, "driver %s can have native XDP", l.Driver)}
	case c.XDPMode == lb.XDPNative:
		return []Finding{fault(l.Name, "weir run will refuse it: set `xdp_mode: auto` in the configuration", "driver %s has no native XDP, and xdp_mode is native", l.Driver)}
	case c.XDPMode == lb.XDPGeneric:
		return nil
	}
	return []Finding{warning(l.Name, "ip -d link show dev "+l.Name+" # native needs another NIC", "driver %s has no native XDP: generic will be used, several times slower", l.Driver)}
}

// checkTransmit looks for the reason why packets sent back or redirected by
// the interface would vanish: veth takes them only if its other end polls
// (veth_xdp_xmit in drivers/net/veth.c).
func checkTransmit(l Link) []Finding {
	if !l.XDP.Known || l.XDP.Transmit || l.Driver != "veth" {
		return nil
	}
	remedy := "ethtool -K PEER gro on # PEER: its other end"
	if l.Peer.Name != "" {
		remedy = l.Peer.Enter + "ethtool -K " + l.Peer.Name + " gro on"
	}
	return []Finding{fault(l.Name, remedy, "what XDP sends out is lost: the other end of this veth neither has GRO nor an XDP program")}
}

package doctor

import (
	"strings"

	"weir/loader/lb"
)

// checkOffloads looks for receive offloads that change packets before the
// program sees them.
func checkOffloads(c lb.Config, l Link) []Finding {
	var all []Finding
	if l.LRO {
		all = append(all, fault(l.Name, "ethtool -K "+l.Name+" lro off",
			"large receive offload is on: native XDP is refused, and joined packets cannot be forwarded"))
	}
	if l.GRO && (c.XDPMode == lb.XDPGeneric || l.XDP.Generic) {
		// Generic XDP runs behind GRO (__netif_receive_skb_core), which
		// leaves partial checksums in what it joined (tcp_gro_complete).
		all = append(all, fault(l.Name, "ethtool -K "+l.Name+" gro off",
			"generic receive offload is on under generic XDP: joined TCP segments are forwarded too large and with wrong checksums"))
	}
	if l.StripsVLAN && len(l.VLANs) > 0 {
		all = append(all, fault(l.Name, "ethtool -K "+l.Name+" rxvlan off",
			"VLAN tags are taken out of frames before XDP sees them, and %s lies on it: packets for VIPs there are answered without a tag", strings.Join(l.VLANs, ", ")))
	}
	if all == nil {
		all = append(all, fine(l.Name, "no offload in the way"))
	}
	return all
}

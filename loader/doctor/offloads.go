package doctor

import "strings"

// checkOffloads looks for offloads by which the program sees other packets than
// were sent. GRO is not among them: it joins packets behind native XDP and not
// at all under generic (netif_elide_gro).
func checkOffloads(l Link) []Finding {
	var all []Finding
	if l.LRO {
		all = append(all, fault(l.Name, "ethtool -K "+l.Name+" lro off",
			"large receive offload is on: native XDP is refused, and joined packets cannot be forwarded"))
	}
	if l.Peer.PartialChecksums && !l.XDP.Generic {
		// XDP frames have no mark for a checksum that is yet to be completed.
		all = append(all, fault(l.Name, l.Peer.Enter+"ethtool -K "+l.Peer.Name+" tx off",
			"the other end of this veth, %s, has transmit checksum offload: packets of senders on this machine arrive without checksums and are forwarded so", l.Peer.Name))
	}
	if l.StripsVLAN && len(l.VLANs) > 0 {
		all = append(all, fault(l.Name, "ethtool -K "+l.Name+" rxvlan off",
			"VLAN tags are taken out of frames before XDP sees them, and %s lies on it: packets for VIPs there are answered without a tag", strings.Join(l.VLANs, ", ")))
	}
	if l.StripsOuter && len(l.OuterVLANs) > 0 {
		all = append(all, fault(l.Name, "ethtool -K "+l.Name+" rx-vlan-stag-hw-parse off",
			"outer VLAN tags (802.1ad) are taken out of frames before XDP sees them, and %s lies on it: packets for VIPs there are answered without them", strings.Join(l.OuterVLANs, ", ")))
	}
	if all == nil {
		all = append(all, fine(l.Name, "no offload in the way"))
	}
	return all
}

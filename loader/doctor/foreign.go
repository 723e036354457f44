package doctor

import "fmt"

// checkForeign looks for an XDP program that is not one of ours.
func checkForeign(ours map[uint32]bool, l Link) []Finding {
	switch {
	case l.XDP.Program == 0:
		return []Finding{fine(l.Name, "no foreign XDP program")}
	case ours[l.XDP.Program]:
		return []Finding{fine(l.Name, "weir's XDP program, id %d", l.XDP.Program)}
	}
	off := "xdpdrv"
	if l.XDP.Generic {
		off = "xdpgeneric"
	}
	remedy := fmt.Sprintf("ip link set dev %s %s off # or stop its owner", l.Name, off)
	if l.XDP.Link != 0 { // netlink cannot detach those
		remedy = fmt.Sprintf("bpftool link detach id %d # or stop its owner", l.XDP.Link)
	}
	return []Finding{fault(l.Name, remedy, "another XDP program runs on it: %s, id %d", l.XDP.Name, l.XDP.Program)}
}

package doctor

func checkNIC(l Link) []Finding {
	switch {
	case !l.Up:
		return []Finding{fault(l.Name, "ip link set dev "+l.Name+" up", "the interface is down")}
	case !l.Carrier:
		return []Finding{fault(l.Name, "ethtool "+l.Name+" # check the cable, the switch port or the other end", "the interface is up but has no carrier")}
	}
	return []Finding{fine(l.Name, "up, with carrier")}
}

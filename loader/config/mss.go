package config

import (
	"strconv"

	"weir/loader/lb"
)

// segment is a size of TCP segments: a number of bytes or autoSegment.
type segment string

const autoSegment = "auto"

// readMSS reads the largest segment size that SYNs of a service may state.
func readMSS(r *report, p *path, raw *segment, s lb.Service) uint16 {
	if raw == nil {
		return 0
	}
	switch {
	case s.Forward == lb.L7:
		r.field(p, "must be left out: with l7 this host ends connections itself")
	case s.VIP.Addr.IsValid() && s.VIP.Proto != lb.TCP:
		r.field(p, "must be left out: only TCP has segments")
	}
	if *raw == autoSegment {
		return lb.MSSAuto
	}
	n, err := strconv.ParseInt(string(*raw), 10, 64)
	if err != nil {
		r.field(p, "%s is not a whole number or %s", quote(string(*raw)), autoSegment)
		return 0
	}
	return uint16(inRange(r, p, n, lb.MinMSS, lb.MaxMSS))
}

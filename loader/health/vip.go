package health

import (
	"context"
	"errors"
	"net/netip"

	"weir/loader/health/byvip"
	"weir/loader/lb"
)

// Reacher sends a SYN to a VIP as traffic to one backend travels.
type Reacher interface {
	Reach(ctx context.Context, vip netip.AddrPort, backend netip.Addr, forward lb.Forward) error
}

// vip finds out whether a backend accepts connections to a VIP.
type vip struct {
	target  Target
	reacher Reacher
}

func (c vip) Check(ctx context.Context) (Report, error) {
	if c.reacher == nil {
		return Report{}, failedf(ReasonLocal, "connect to the VIP", "%w", byvip.ErrLocal)
	}
	err := c.reacher.Reach(ctx, c.target.VIP, c.target.Endpoint.Addr(), c.target.Forward)
	if err == nil {
		return Report{}, nil
	}
	doing := "connect to " + c.target.VIP.String() + " by " + c.target.Forward.String()
	for known, reason := range map[error]Reason{byvip.ErrRefused: ReasonRefused, byvip.ErrLocal: ReasonLocal} {
		if errors.Is(err, known) {
			return Report{}, failedf(reason, doing, "%w", err)
		}
	}
	return Report{}, failed(doing, err, ReasonLocal)
}

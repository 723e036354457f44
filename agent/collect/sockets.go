package collect

import (
	"context"
	"errors"
	"time"

	"github.com/shirou/gopsutil/v3/net"
)

// Sockets counts TCP connections, without looking at each.
type Sockets struct{ host Host }

// NewSockets makes the collector of connections.
func NewSockets(h Host) *Sockets { return &Sockets{h} }

// Name is "sockets".
func (*Sockets) Name() string { return "sockets" }

// Collect reads /proc/net/snmp of the agent's network namespace, where
// CurrEstab counts connections of both IP versions that are established or
// that only the peer has closed (RFC 4022, tcpCurrEstab).
func (s *Sockets) Collect(ctx context.Context, _ time.Time) (map[string]float64, error) {
	all, err := net.ProtoCountersWithContext(s.host.context(ctx), []string{"tcp"})
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if n, ok := p.Stats["CurrEstab"]; ok && n >= 0 {
			return map[string]float64{"connections": float64(n)}, nil
		}
	}
	return nil, errors.New("/proc/net/snmp has no CurrEstab of TCP")
}

package carry

import (
	"errors"
	"testing"
	"time"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// trouble is that of a bad mobile network, in each direction.
var trouble = netlab.Trouble{Loss: 2, Delay: 20 * time.Millisecond, Reorder: 25}

// Packets are lost, late and out of order between clients and balancer, and
// between backends and clients: all requests and datagrams get through whole.
func TestLoss(t *testing.T) {
	for _, p := range []plan{
		{forward: lb.NAT, vip: 4, backends: 4},
		{forward: lb.SNAT, vip: 6, backends: 6},
		{forward: lb.DSR, vip: 4, backends: 4},
		{forward: lb.IPIP, vip: 6, backends: 6},
		{forward: lb.GUE, vip: 4, backends: 4},
		{forward: lb.GUE, vip: 6, backends: 4},
		{forward: lb.L7, vip: 6, backends: 6},
	} {
		t.Run(p.String(), func(t *testing.T) { testLoss(t, p) })
	}
}

func testLoss(t *testing.T, p plan) {
	l := start(t, p)
	l.impairClients(t)
	l.clients.requests(t, 100, 1000)
	l.clients.requests(t, 16, 256<<10)
	l.clients.datagrams(t, 100, 4, 20)
	drops := l.nodes[0].drops(t)
	if delete(drops, "too_big"); len(drops) > 0 {
		t.Errorf("dropped: %v", drops)
	}
}

// impairClients troubles what clients send and what they get.
func (l *lab) impairClients(t *testing.T) {
	t.Helper()
	err := errors.Join(l.Client.Impair(netlab.NIC, trouble), l.Switch.Impair("client", trouble))
	if errors.Is(err, netlab.ErrNoKernelSupport) {
		t.Skip("module sch_netem is needed: ", err)
	}
	must(t, err)
}

package dataplane

import (
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// What ACLs and limits do to a packet is explained and proven, for new flows and
// known ones.
func TestExplainDefence(t *testing.T) {
	for name, vip := range map[string]string{"tcp4": "192.0.2.1:80/tcp", "tcp6": "[2001:db8::1]:80/tcp", "udp4": "192.0.2.1:80/udp"} {
		if testing.Short() && name == "tcp4" {
			continue // the others are one of each protocol and family
		}
		t.Run(name, func(t *testing.T) { explainDefence(t, vip) })
	}
}

func explainDefence(t *testing.T, vip string) {
	d := openTest(t, Options{Config: explainConfig(t), LimitShift: stoppedShift})
	s := explainState(t, vip, lb.DSR, lb.Maglev, 3)
	service := &s.Services[0].Service
	src, around := netip.MustParseAddrPort("10.1.2.3:40000"), netip.MustParsePrefix("10.0.0.0/8")
	if service.VIP.Addr.Is6() {
		src, around = netip.MustParseAddrPort("[2001:db8:7::3]:40000"), netip.MustParsePrefix("2001:db8:7::/48")
	}
	probe := lb.Probe{FlowKey: lb.FlowKey{Src: src, Dst: netip.AddrPortFrom(service.VIP.Addr, 80), Proto: service.VIP.Proto}}
	expect := func(verdict, reason string) lb.Explanation {
		t.Helper()
		if err := d.Apply(s); err != nil {
			t.Fatal(err)
		}
		e := explainPacket(t, d, probe)
		if e.Expected.Verdict != verdict || e.Expected.Reason != reason {
			t.Errorf("%+v, want %s %s", e.Expected, verdict, reason)
		}
		return e
	}
	deny, allow := mustACL(t, nil, []netip.Prefix{around}, false), mustACL(t, []netip.Prefix{around}, nil, true)
	s.ACL = deny
	if e := expect("drop", "acl"); len(e.ACL) != 1 || e.ACL[0].Prefix != around || !e.ACL[0].Deny || e.ACL[0].VIP != nil {
		t.Errorf("acl %+v", e.ACL)
	}
	s.ACL, service.ACL = allow, deny
	if e := expect("drop", "acl"); len(e.ACL) != 2 || e.ACL[0].Deny || *e.ACL[1].VIP != service.VIP {
		t.Errorf("acl %+v", e.ACL)
	}
	service.ACL, service.NewFlowsPerSource, service.MaxNewFlows = allow, lb.FlowLimit{Rate: 1, Burst: 2}, 20
	if e := expect("sent", ""); len(e.Limits) != 2 || e.Limits[0].Left != 2 || e.Limits[1].Left < 2.9 {
		t.Errorf("limits %+v", e.Limits)
	}
	again := func() {
		if err := d.Apply(s); err != nil {
			t.Fatal(err)
		}
		run(t, d, probeFrame(probe))
		probe.Src = netip.AddrPortFrom(src.Addr(), probe.Src.Port()+1)
	}
	again()
	if e := expect("sent", ""); e.Limits[0].Left != 1 {
		t.Errorf("limits after one flow %+v", e.Limits)
	}
	again()
	if e := expect("drop", "new_flows_per_source"); !e.Limits[0].Refuse || e.Limits[1].Refuse {
		t.Errorf("limits after two flows %+v", e.Limits)
	}
	service.NewFlowsPerSource, service.MaxNewFlows = lb.FlowLimit{}, 1
	again()
	expect("drop", "max_new_flows")
	probe.Src = src // a flow that is known
	if e := expect("sent", ""); e.Limits != nil {
		t.Errorf("limits of a known flow %+v", e.Limits)
	}
	s.ACL = deny
	expect("drop", "acl")
	s.Services, s.Tables = nil, nil // its flow is still known
	expect("drop", "acl")
	probe.Dst = netip.AddrPortFrom(probe.Dst.Addr(), 81)
	if e := expect("pass", "not_vip"); e.ACL != nil {
		t.Errorf("of no service: acl %+v", e.ACL)
	}
}

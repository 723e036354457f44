package dataplane

import (
	"net/netip"
	"testing"

	"weir/loader/lb"
)

func TestTargetOf(t *testing.T) {
	eth4, eth6 := append(make([]byte, 12), 8, 0), append(make([]byte, 12), 0x86, 0xdd)
	v4 := ipPacket(tupleOf(lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP}), 64, false)
	to6 := netip.MustParseAddrPort("[2001:db8::1]:53")
	v6 := ipPacket(tupleOf(lb.FlowKey{Src: netip.MustParseAddrPort("[2001:db8::2]:9"), Dst: to6, Proto: lb.UDP}), 64, false)
	options := append([]byte{0x46}, v4[1:20]...)
	options = append(append(options, 1, 1, 1, 1), v4[20:]...)
	later := append([]byte(nil), v4...)
	later[7] = 9
	ping := append([]byte(nil), v4...)
	ping[9] = 1
	vip4, host4 := lb.VIP{Addr: web.Addr(), Port: 80, Proto: lb.TCP}, lb.VIP{Addr: web.Addr(), Proto: lb.TCP}
	join := func(parts ...[]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	for name, c := range map[string]struct {
		frame []byte
		want  lb.VIP
	}{
		"TCP over IPv4":     {join(eth4, v4), vip4},
		"UDP over IPv6":     {join(eth6, v6), lb.VIP{Addr: to6.Addr(), Port: 53, Proto: lb.UDP}},
		"IPv4 options":      {join(eth4, options), vip4},
		"one tag":           {join(eth4[:12], []byte{0x81, 0, 0, 7, 8, 0}, v4), vip4},
		"two tags":          {join(eth4[:12], []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 8, 0}, v4), vip4},
		"a later fragment":  {join(eth4, later), host4},
		"a ping":            {join(eth4, ping), lb.VIP{Addr: web.Addr(), Proto: 1}},
		"cut in the ports":  {join(eth4, v4[:23]), host4},
		"cut in the header": {join(eth4, v4[:19]), lb.VIP{}},
		"cut in a tag":      {join(eth4[:12], []byte{0x81, 0, 0}), lb.VIP{}},
		"ARP":               {append(make([]byte, 12), 8, 6, 0, 1), lb.VIP{}},
		"nothing":           {nil, lb.VIP{}},
	} {
		if got := targetOf(c.frame); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Whatever the frame, what is said of it is in it.
func FuzzTargetOf(f *testing.F) {
	f.Add(syn(client, web))
	f.Fuzz(func(t *testing.T, frame []byte) {
		to := targetOf(frame)
		if !to.Addr.IsValid() && to != (lb.VIP{}) || to.Port != 0 && to.Proto != lb.TCP && to.Proto != lb.UDP {
			t.Errorf("%x: %+v", frame, to)
		}
	})
}

package bpf_test

import "weir/loader/lb"

// echoCases: ICMP to a VIP that is about no flow. Echo is answered on the spot,
// what else is asked is the host's.
func echoCases(f family) []packetCase {
	web := one(dsr(f.web, f.a))
	e := packet(f.icmp(), f.client, at(f.web))
	request := e.payload[0]
	data := make([]byte, 1400)
	for i := range data {
		data[i] = byte(i * 7)
	}
	out := []packetCase{
		{"echo", web, list(e.echoed(), e.echoed())},
		{"echo to a VIP of NAT", one(nat(f.web, f.a)), list(e.echoed())},
		{"echo to a VIP of l7", []service{{vip: f.web, forward: lb.L7}}, list(e.echoed())},
		{"echo to a VIP without backends", []service{{vip: f.web, forward: lb.DSR}}, list(e.echoed())},
		{"echo to a VIP of every port", one(dsr(f.all, f.a)), list(e.dest(at(f.all)).echoed())},
		{"echo to a VIP of UDP", one(dsr(f.dns, f.a)), list(e.echoed())},
		{"echo to a stranger", web, list(e.dest(f.stranger).passed("not_vip"))},
		{"echo to a VIP that is gone", web, list(e.passed("not_vip").after(apply()))},
		{"echo from a backend of NAT", one(nat(f.web, f.a)), list(e.source(port(f.a, 0)).echoed())},
		{"echo by another interface", web, list(e.mac(outMAC, farMAC).echoed().on("out0"))},
		{"echo without data", web, list(e.message(request, 0, 7, nil).echoed())},
		{"echo of zeros", web, list(e.message(request, 0, 0, nil).echoed(), e.message(request, 0, 0, make([]byte, 64)).echoed())},
		{"echo of one byte", web, list(e.message(request, 0, 7, []byte{1}).echoed())},
		{"long echo", web, list(e.message(request, 0, 0xffff_ffff, data).echoed())},
		{"padded echo", web, list(e.padded(1, 2, 3, 4, 5).echoed())},
		{"echo with a traffic class", web, list(e.class(0xb9).echoed())},
		{"echo of TTL 255", web, list(e.ttl(255).echoed())},
		{"echo of TTL 1", web, list(e.ttl(1).echoed())},
		{"echo with a code", web, list(e.message(request, 9, 7, data).echoed())},
		{"wrong checksum of an echo stays as wrong", web, list(e.wrong(0x1234).echoed())},
		{"echo cut off", web, list(e.with(e.payload[:7]).dropped("malformed"))},
	}
	for n := range 0x10000 / 0x400 { // sums that carry
		out[0].steps = append(out[0].steps, e.message(request, 0, uint32(n*0x400+0x3f8)<<16, nil).echoed())
	}
	kinds := []uint8{0, 1, 2, 4, 5, 6, 7, 9, 10, 13, 15, 17, 30, 42, 128, 255}
	if f.client.Addr().Is6() {
		kinds = []uint8{0, 5, 8, 100, 127, 129, 130, 133, 134, 135, 136, 137, 143, 200, 255}
	}
	var others []step
	for _, kind := range kinds {
		others = append(others, e.message(kind, 0, 7, data[:40]).passed("not_vip").is(none))
	}
	return append(out, packetCase{"other questions", web, others})
}

package decap_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every tunnel with every pair of ECN fields (RFC 6040, 4.2): the inner packet
// comes out with the field of figure 4 and is otherwise the same.
func TestDecapsulates(t *testing.T) {
	l := newLab(t)
	for _, k := range kinds() {
		for was := range byte(4) {
			for seen := range byte(4) {
				t.Run(fmt.Sprintf("%s-%d-%d", k, was, seen), func(t *testing.T) {
					packet := inner(k.inner)
					in := k.wrap(k.header().ecn(seen), packet.ecn(was).over(segment))
					if after[was][seen] == 0xff {
						l.expect(t, in, drop, in, "DROP_ECN")
						return
					}
					l.expect(t, in, pass, frame(packet.ecn(after[was][seen]).over(segment)), k.reason())
				})
			}
		}
	}
}

// bare is an IPv4 header and nothing behind it.
func bare(h ip) []byte { return h.over(nil) }

func TestHeaders(t *testing.T) {
	l := newLab(t)
	ipip, gue := kind{4, 4, false}, kind{4, 4, true}
	client := inner(4).over(segment)
	withOptions := inner(4)
	withOptions.options = make([]byte, 40)
	routerAlert := ipip.header()
	routerAlert.options = []byte{0x94, 4, 0, 0}
	mostOptions := gue.header()
	mostOptions.options = make([]byte, 40)
	for name, c := range map[string]struct{ in, out []byte }{
		"outer options":        {ipip.wrap(routerAlert, client), frame(client)},
		"most outer options":   {gue.wrap(mostOptions, client), frame(client)},
		"inner options":        {ipip.wrap(ipip.header(), withOptions.over(segment)), frame(withOptions.over(segment))},
		"nothing behind":       {ipip.wrap(ipip.header(), bare(inner(4))), frame(bare(inner(4)))},
		"padding of the frame": {padded(ipip.wrap(ipip.header(), client), 6), padded(frame(client), 6)},
		"padding inside":       {gue.wrap(gue.header(), padded(client, 3)), padded(frame(client), 3)},
		"inner fragment": {
			ipip.wrap(ipip.header(), func() []byte { h := inner(4); h.fragment = 0x2010; return h.over(segment) }()),
			frame(func() []byte { h := inner(4); h.fragment = 0x2010; return h.over(segment) }()),
		},
		"inner TTL of 1": {
			ipip.wrap(ipip.header(), func() []byte { h := inner(4); h.ttl = 1; return h.over(segment) }()),
			frame(func() []byte { h := inner(4); h.ttl = 1; return h.over(segment) }()),
		},
		"UDP with a checksum": {
			func() []byte { f := gue.wrap(gue.header(), client); f[14+20+6] = 0xab; return f }(), frame(client),
		},
	} {
		t.Run(name, func(t *testing.T) {
			reason := "DECAP_IPIP"
			if c.in[14+9] == protoUDP {
				reason = "DECAP_GUE"
			}
			l.expect(t, c.in, pass, c.out, reason)
		})
	}
}

// change is a header with something about it changed.
func change(h ip, f func(*ip)) ip { f(&h); return h }

// What is not for this program passes byte for byte.
func TestPassesUntouched(t *testing.T) {
	l := newLab(t)
	for _, k := range kinds() {
		t.Run(k.String(), func(t *testing.T) { passes(t, l, k) })
	}
}

func passes(t *testing.T, l *lab, k kind) {
	out, in := k.header(), inner(k.inner)
	client := in.over(segment)
	wrapped := k.wrap(out, client)
	other := map[int]ip{4: inner(6), 6: inner(4)}[k.inner]
	foreign := map[int]ip{4: {dst: foreign4}, 6: {dst: foreign6}}
	for name, c := range map[string]struct {
		in     []byte
		reason string
	}{
		"to another host":          {k.wrap(change(out, func(h *ip) { h.dst = foreign[k.outer].dst }), client), "PASS_NOT_LOCAL"},
		"to a VIP outside":         {k.wrap(change(out, func(h *ip) { h.dst = inner(k.outer).dst }), client), "PASS_NOT_LOCAL"},
		"foreign inside":           {k.wrap(out, change(in, func(h *ip) { h.dst = foreign[k.inner].dst }).over(segment)), "PASS_FOREIGN"},
		"foreign inside, CE":       {k.wrap(out.ecn(ce), change(in, func(h *ip) { h.dst = foreign[k.inner].dst }).over(segment)), "PASS_FOREIGN"},
		"tagged":                   {ethernet(0x8100, append([]byte{0, 7}, wrapped[12:]...)), "PASS_VLAN"},
		"tagged by a provider":     {ethernet(0x88a8, append([]byte{0, 7}, wrapped[12:]...)), "PASS_VLAN"},
		"ARP":                      {ethernet(0x0806, wrapped[14:]), "PASS_NOT_IP"},
		"not in a tunnel":          {frame(client), "PASS_NOT_TUNNEL"},
		"outer version":            {ethernet(uint16(be16(wrapped[12:])), k.wrap(change(out, func(h *ip) { h.version = 5 }), client)[14:]), "PASS_MALFORMED"},
		"outer length too long":    {k.wrap(change(out, func(h *ip) { h.lie = 1 }), client), "PASS_MALFORMED"},
		"inner length too long":    {k.wrap(out, change(in, func(h *ip) { h.lie = 1 }).over(segment)), "PASS_INNER_MALFORMED"},
		"inner in frame's padding": {padded(k.wrap(out, change(in, func(h *ip) { h.lie = 4 }).over(segment)), 4), "PASS_INNER_MALFORMED"},
		"inner version":            {k.wrap(out, change(in, func(h *ip) { h.version = 5 }).over(segment)), "PASS_INNER_MALFORMED"},
		"inner nothing":            {k.wrap(out, nil), "PASS_INNER_MALFORMED"},
		"inner one byte":           {k.wrap(out, client[:1]), "PASS_INNER_MALFORMED"},
	} {
		t.Run(name, func(t *testing.T) { l.expect(t, c.in, pass, c.in, c.reason) })
	}
	if k.gue {
		passesUDP(t, l, k, client)
	} else {
		in := k.wrap(out, other.over(segment))
		t.Run("the other version inside", func(t *testing.T) { l.expect(t, in, pass, in, "PASS_INNER_MALFORMED") })
	}
}

func passesUDP(t *testing.T, l *lab, k kind, client []byte) {
	header := k.header()
	for name, c := range map[string]struct {
		in     []byte
		reason string
	}{
		"another port":             {frame(header.over(udp(port+1, 0, client))), "PASS_NOT_TUNNEL"},
		"UDP length of 7":          {frame(header.over(udp(port, -len(client)-1, client))), "PASS_MALFORMED"},
		"UDP length of 0":          {frame(header.over(udp(port, -len(client)-udpSize, client))), "PASS_MALFORMED"},
		"UDP length too long":      {frame(header.over(udp(port, 1, client))), "PASS_MALFORMED"},
		"UDP shorter than inside":  {frame(header.over(udp(port, -1, client))), "PASS_INNER_MALFORMED"},
		"half a UDP header":        {frame(header.over(udp(port, 0, client)[:7])), "PASS_MALFORMED"},
		"GUE variant 0":            {frame(header.over(udp(port, 0, append([]byte{0, protoIPIP, 0, 0}, client...)))), "PASS_INNER_MALFORMED"},
		"GUE variant 0, a message": {frame(header.over(udp(port, 0, []byte{0x20, 1, 0, 0}))), "PASS_INNER_MALFORMED"},
	} {
		t.Run(name, func(t *testing.T) { l.expect(t, c.in, pass, c.in, c.reason) })
	}
}

func TestIPv4HeadersRefused(t *testing.T) {
	l := newLab(t)
	k := kind{4, 4, false}
	out, in := k.header(), inner(4)
	client := in.over(segment)
	for name, c := range map[string]struct {
		in     []byte
		reason string
	}{
		"first fragment":       {k.wrap(change(out, func(h *ip) { h.fragment = 0x2000 }), client), "PASS_FRAGMENT"},
		"last fragment":        {k.wrap(change(out, func(h *ip) { h.fragment = 10 }), client), "PASS_FRAGMENT"},
		"header of 16 bytes":   {k.wrap(change(out, func(h *ip) { h.ihl = 4 }), client), "PASS_MALFORMED"},
		"total below header":   {k.wrap(change(out, func(h *ip) { h.lie = -len(client) - 1 }), client), "PASS_MALFORMED"},
		"header beyond total":  {frame(change(out, func(h *ip) { h.ihl = 15 }).over(client[:20])), "PASS_MALFORMED"},
		"checksum":             {k.wrap(change(out, func(h *ip) { h.badSum = true }), client), "PASS_MALFORMED"},
		"inner header of 16":   {k.wrap(out, change(in, func(h *ip) { h.ihl = 4 }).over(segment)), "PASS_INNER_MALFORMED"},
		"inner total too low":  {k.wrap(out, change(in, func(h *ip) { h.lie = -len(segment) - 1 }).over(segment)), "PASS_INNER_MALFORMED"},
		"inner header too far": {k.wrap(out, change(in, func(h *ip) { h.ihl = 6 }).over(nil)), "PASS_INNER_MALFORMED"},
	} {
		t.Run(name, func(t *testing.T) { l.expect(t, c.in, pass, c.in, c.reason) })
	}
	v6 := frame(change(outer(6, 44), func(*ip) {}).over(client))
	t.Run("IPv6 fragment", func(t *testing.T) { l.expect(t, v6, pass, v6, "PASS_FRAGMENT") })
}

// A frame cut anywhere passes as it is: its outer header promises more.
func TestCutAnywhere(t *testing.T) {
	const shortest = 14 // of BPF_PROG_TEST_RUN
	l := newLab(t)
	for _, k := range kinds() {
		whole := k.wrap(k.header().ecn(ce), inner(k.inner).ecn(ect0).over(segment))
		for n := shortest; n < len(whole); n++ {
			v, out, reason := l.run(t, whole[:n])
			if v != pass || !bytes.Equal(out, whole[:n]) || reason != "PASS_MALFORMED" {
				t.Errorf("%s cut to %d bytes: verdict %d by %s", k, n, v, reason)
			}
		}
	}
}

// The program and the model agree on every frame that differs from a good one
// by one bit, and on ones with random bytes in their headers.
func TestAgreesWithModel(t *testing.T) {
	l := newLab(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range kinds() {
		whole := k.wrap(k.header().ecn(ect1), inner(k.inner).ecn(ect0).over(segment))
		headers := len(whole) - len(segment)
		for bit := range headers * 8 {
			f := slices.Clone(whole)
			f[bit/8] ^= 1 << (bit % 8)
			l.agree(t, f)
		}
		for range 3000 {
			l.agree(t, scramble(rng, whole, headers))
		}
	}
}

// scramble overwrites some header bytes, repairs the outer checksum mostly, and
// cuts or pads now and then.
func scramble(rng *rand.Rand, whole []byte, headers int) []byte {
	f := slices.Clone(whole)
	for range 1 + rng.IntN(3) {
		f[12+rng.IntN(headers-12)] = byte(rng.Uint32())
	}
	if header := int(f[14]&15) * 4; f[14]>>4 == 4 && rng.IntN(4) > 0 && header >= 20 && 14+header <= len(f) {
		f[24], f[25] = 0, 0
		sum := checksum(f[14 : 14+header])
		f[24], f[25] = byte(sum>>8), byte(sum)
	}
	switch rng.IntN(4) {
	case 0:
		f = f[:14+rng.IntN(len(f)-14)]
	case 1:
		f = padded(f, rng.IntN(20))
	}
	return f
}

func (l *lab) agree(t *testing.T, in []byte) {
	t.Helper()
	v, out, reason := l.run(t, in)
	wantV, want, wantReason := model(in)
	if v != wantV || reason != wantReason || !bytes.Equal(out, want) {
		t.Fatalf("in\n%sverdict %d by %s\n%smodel: %d by %s\n%s", hex.Dump(in), v, reason, hex.Dump(out), wantV, wantReason, hex.Dump(want))
	}
}

package bpf_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// randomly changes all that NAT must not care for.
func (f frame) randomly(r *rand.Rand) frame {
	f.hops = uint8(2 + r.IntN(254))
	f.tos = uint8(r.Uint32())
	f.flags = ack
	f.payload = make([]byte, r.IntN(300))
	for i := range f.payload {
		f.payload[i] = uint8(r.Uint32())
	}
	if r.IntN(4) == 0 {
		f.options, f.tcpOptions = make([]byte, 4*r.IntN(11)), make([]byte, 4*r.IntN(11))
	}
	if r.IntN(4) == 0 && !f.from.Addr().Is4() {
		f = f.ext(hopByHop, r.IntN(3)).ext(routing, r.IntN(3))
	}
	if r.IntN(8) == 0 {
		f.spoilt = uint16(r.Uint32())
	}
	return f
}

// someone is a client of the family behind in0.
func someone(f family, r *rand.Rand) netip.AddrPort {
	b := f.client.Addr().AsSlice()
	b[len(b)-1] = uint8(1 + r.IntN(250))
	if len(b) == 16 {
		binary.BigEndian.PutUint64(b[7:], r.Uint64())
	}
	a, _ := netip.AddrFromSlice(b)
	return port(a, uint16(r.Uint32()))
}

// NAT's incremental checksums are those that computing from scratch gives, for
// requests and replies of any content.
func TestNATChecksumsOfRandomPackets(t *testing.T) {
	l := newLab(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, f := range []family{ip4, ip6} {
		keep := target{f.allUDP, port(f.b, 0), lb.NAT}
		for _, to := range []target{nat(f.web, f.a), nat(f.dns, f.a), keep} {
			t.Run(to.vip.String(), func(t *testing.T) {
				l.load(t, one(to)...)
				if err := l.ns.Do(func() error { return l.natRandomly(t, f, to, r) }); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func (l *lab) natRandomly(t *testing.T, f family, to target, r *rand.Rand) error {
	for i := range 2000 {
		if i%200 == 0 {
			l.forget(t)
		}
		in := packet(uint8(to.vip.Proto), someone(f, r), at(to.vip)).randomly(r)
		if to.vip.Port == 0 {
			in = in.dest(port(to.vip.Addr, uint16(r.Uint32())))
		}
		answer := to.reply(in).randomly(r)
		for _, p := range []struct{ in, want frame }{{in, to.through(in)}, {answer, to.back(answer)}} {
			v, out, err := l.run("in0", p.in.bytes())
			if err != nil {
				return err
			}
			if want := p.want.bytes(); v != tx || !bytes.Equal(out, want) {
				t.Errorf("verdict %v, want TX\n%s", v, difference(p.in.bytes(), want, out))
				return nil
			}
		}
	}
	return nil
}

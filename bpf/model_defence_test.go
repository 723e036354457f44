package bpf_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"weir/bpf"
	"weir/bpf/model"
	"weir/loader/lb"
)

// defend gives a state lists of sources and limits: of all services, and others
// of every second and third service.
func defend(t testing.TB, s *lb.State) {
	t.Helper()
	s.ACL = mustACL(t, "198.51.100.3/32 2001:db8:100::3/128", "198.51.100.2/31 2001:db8:100::2/127 198.51.102.0/24 2001:db8:101::/48", false)
	some := mustACL(t, "198.51.100.0/24 203.0.113.0/25 2001:db8:100::/47 2001:db8:113::/48", "203.0.113.2/32", true)
	for i := range s.Services {
		service := &s.Services[i].Service
		if i%3 == 1 {
			service.ACL = some
		}
		if i%2 == 0 {
			service.NewFlowsPerSource = lb.FlowLimit{Rate: uint32(1 + i%3), Burst: uint32(1 + i%2)}
		}
		if i%3 < 2 {
			service.MaxNewFlows = uint32(1 + i%4)
		}
	}
}

func mustACL(t testing.TB, allow, deny string, rest bool) *lb.ACL {
	t.Helper()
	a, err := lb.NewACL(prefixes(allow), prefixes(deny), rest)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// rulesOf gives rules as the model has them: IPv4 mapped.
func rulesOf(a *lb.ACL) (out []model.Rule) {
	if a == nil {
		return nil
	}
	for _, r := range a.Rules {
		rule := model.Rule{Prefix: r.Prefix.Addr().As16(), Bits: r.Prefix.Bits(), Deny: r.Deny}
		if r.Prefix.Addr().Is4() {
			rule.Bits += 96
		}
		out = append(out, rule)
	}
	return out
}

// serviceIndex is what the data plane called a service.
func (w *world) serviceIndex(t testing.TB, v lb.VIP) (index uint32) {
	t.Helper()
	key := bpf.WeirVipKey{Port: bigEndian(v.Port), Proto: uint8(v.Proto)}
	addr := v.Addr.As16()
	key.Addr.Word = *(*[4]uint32)(unsafe.Pointer(&addr))
	if err := w.pinned(t, "vips").Lookup(key, &index); err != nil {
		t.Fatal(err)
	}
	return index
}

// debtUnit is by how much debts are less when flows are older by one unit.
const debtUnit = 976562 / 2000

// passTime makes debts less, in both.
func (w *world) passTime(age uint16) {
	w.model.PassTime(uint32(age) * debtUnit)
	w.writeDebts()
}

func (w *world) writeDebts() {
	for set := range w.model.Sources {
		for i, b := range w.model.Sources[set] {
			w.sources[set*8+i] = b.Word()
		}
	}
	for _, s := range w.services {
		w.full[s.Index] = s.Full
	}
}

// debts says how buckets differ of the sets that were touched since a number of
// them were.
func (w *world) debts(since int) string {
	for _, set := range w.model.SourcesTouched[since:] {
		for i, b := range w.model.Sources[set] {
			if got := w.sources[set*8+i]; got != b.Word() {
				return fmt.Sprintf("sources: set %d, slot %d: the model has %+v, the program %#x", set, i, b, got)
			}
		}
	}
	for _, s := range w.services {
		if got := w.full[s.Index]; got != s.Full {
			return fmt.Sprintf("ceilings: service %d: the model has %d, the program %d", s.Index, s.Full, got)
		}
	}
	return ""
}

const dropWords = 4 // of struct service_drops

// refusals says how the services' own counters differ.
func (w *world) refusals() (diff []string) {
	for _, s := range w.services {
		var got model.Drops
		for row := int(s.Index); row < len(w.drops)/dropWords; row += w.serviceRows {
			d := w.drops[row*dropWords:]
			got.ACL, got.PerSource, got.MaxNewFlows = got.ACL+d[0], got.PerSource+d[1], got.MaxNewFlows+d[2]
		}
		if got != s.Drops {
			diff = append(diff, fmt.Sprintf("service %d: the model counts drops %+v, the program %+v", s.Index, s.Drops, got))
		}
	}
	return diff
}

func prefixes(text string) (out []netip.Prefix) {
	for word := range strings.FieldsSeq(text) {
		out = append(out, netip.MustParsePrefix(word))
	}
	return out
}

package bpf_test

import (
	"encoding/binary"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"weir/bpf"
	"weir/bpf/model"
	"weir/loader/dataplane"
	"weir/loader/lb"
	algorithm "weir/loader/table"
)

// world is a lab and the model of it: the same services and flows, and memory
// of both to be compared.
type world struct {
	kind        worldKind
	lab         *lab
	model       *model.Model
	run         *runner
	vips        []lb.VIP
	services    []*model.Service
	all         []*model.Backend
	reals       []*model.Backend // those that may reply
	rows        int              // of stats, for each CPU
	serviceRows int              // of drops, likewise
	flows       []uint64
	pairs       []uint64
	frags       []uint64
	active      []uint64
	cursors     []uint64
	sources     []uint64
	drops       []uint64
	full        []uint64 // ceilings
	stats       []uint64
	reasons     *ebpf.Map
	names       []model.Reason // by number
	counted     []uint64       // by number, when last looked at
	expect      map[model.Reason]uint64
	last        *model.Result
}

// The flow clock of worlds stands still: one unit is 2.3 years. Flows become
// older by age only.
const (
	worldShift = 56
	worldUnit  = time.Duration(1) << worldShift
)

// worldKind is a configuration of a world.
type worldKind struct {
	name     string
	flows    uint32 // limit
	services func() []service
	fill     int // of so many sets of sources all but one are in use
	defended bool
	vlans    bool
	whole    bool // fragments are dropped
}

var worldKinds = []worldKind{
	{name: "tight", flows: 14, services: allServices, fill: 3},
	{name: "roomy", flows: 2000, services: allServices, fill: 1},
	{name: "plain", flows: 6, services: plainServices, fill: 1, whole: true},
	{name: "defended", flows: 30, services: allServices, fill: 1, defended: true},
	{name: "tagged", flows: 200, services: allServices, fill: 1, vlans: true},
}

func newWorld(t testing.TB, k worldKind) *world {
	t.Helper()
	c := defaults()
	c.Limits.Services, c.Limits.Backends, c.Limits.Flows = 128, 512, k.flows
	c.Limits.Sources = 8
	c.Timeouts = lb.Timeouts{Embryonic: 2 * worldUnit, Established: 90 * worldUnit, Closing: 5 * worldUnit, UDP: 20 * worldUnit}
	c.DropFragments = k.whole
	key := model.KeyOf(7)
	l := newLabOf(t, dataplane.Options{Config: c, ClockShift: worldShift, LimitShift: 58, FlowKey: &key})
	state := l.state(k.services())
	if k.defended {
		defend(t, &state)
	}
	for i := range state.Services {
		for j := range state.Services[i].Backends {
			b := &state.Services[i].Backends[j]
			b.Hop.MTU = worldMTU(b.Endpoint.Addr())
			if last := b.Endpoint.Addr().As16()[15]; k.vlans && b.Hop.Resolved() && last%3 > 0 {
				b.Hop.IfIndex = vlanIndex + int(last%3) - 1
			}
		}
	}
	if k.vlans {
		state.VLANs = l.vlans()
	}
	for i := range state.Services {
		if s := &state.Services[i].Service; !k.whole && s.Forward != lb.L7 && s.VIP.Proto == lb.TCP {
			s.MSS = []uint16{0, lb.MSSAuto, 700}[i%3]
		}
	}
	if err := l.Apply(state); err != nil {
		t.Fatal(err)
	}
	w := &world{kind: k, lab: l, run: newRunner(l.Program()), rows: int(c.Limits.Backends) + 1, serviceRows: int(c.Limits.Services) + 1, expect: map[model.Reason]uint64{}}
	w.open(t)
	w.build(t, c, key, state)
	for set := range w.model.Pairs.Sets {
		if k.fill > 1 && set%k.fill != 0 {
			w.model.Pairs.Sets[set] = foreign()
			w.writeSet(w.pairs, &w.model.Pairs, set)
		}
	}
	return w
}

// foreign is a set full of flows of nobody that the world knows.
func foreign() (s model.Set) {
	for i := range s {
		s[i] = model.Flow{Tag: uint32(i + 1), ID: 500, State: model.Established}
	}
	return s
}

// worldMTU makes some ways narrow, so that short packets are too big for them.
func worldMTU(a netip.Addr) int {
	switch a.As16()[15] % 4 {
	case 1:
		return 100
	case 2:
		return 576
	}
	return 1500
}

func (w *world) open(t testing.TB) {
	t.Helper()
	for _, m := range []struct {
		name string
		mem  *[]uint64
	}{{"flows", &w.flows}, {"snat_flows", &w.pairs}, {"active", &w.active}, {"cursors", &w.cursors}, {"stats", &w.stats},
		{"sources", &w.sources}, {"drops", &w.drops}, {"fragments", &w.frags}, {"ceilings", &w.full}} {
		pinned := w.pinned(t, m.name)
		words, unmap, err := mappedWords(pinned)
		if err != nil {
			t.Fatal(err)
		}
		*m.mem = words[:pinned.ValueSize()*pinned.MaxEntries()/8]
		t.Cleanup(func() {
			if err := unmap(); err != nil {
				t.Error(err)
			}
		})
	}
	w.reasons = w.pinned(t, "reasons")
	c, err := w.lab.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Reasons {
		w.names = append(w.names, model.Reason(r.Verdict+" "+r.Reason))
	}
	w.counted = make([]uint64, len(w.names))
	if _, err := w.countReasons(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) pinned(t testing.TB, name string) *ebpf.Map {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(w.lab.config.PinDir, "maps", name), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func (w *world) build(t testing.TB, c lb.Config, key [12]uint32, state lb.State) {
	t.Helper()
	m := model.Config{
		FlowKey: key, PickKey: model.KeyOf(c.Seed), FlowSets: len(w.flows) / 8,
		ACL: rulesOf(state.ACL), SourceSets: len(w.sources) / 8,
		GUEPort: c.Tunnel.GUEPort, Route: w.route, DropFragments: c.DropFragments,
		Number:        func(r model.Reason) int { return slices.Index(w.names, r) },
		Name:          func(n int) model.Reason { return w.names[n] },
		TunnelSource4: c.Tunnel.Source4.Addr().As4(),
		TunnelSource6: [8]byte(c.Tunnel.Source6.Addr().AsSlice()),
		Idle: [model.States]uint16{
			model.Embryonic: 2, model.Established: 90, model.Stream: 20, model.Closing: 5, model.Closed: 1, model.Reverse: 90,
		},
	}
	for _, a := range c.SNAT.Source4 {
		m.Sources4 = append(m.Sources4, a.As16())
	}
	for _, a := range c.SNAT.Source6 {
		m.Sources6 = append(m.Sources6, a.As16())
	}
	for _, v := range state.VLANs {
		if m.VLANs == nil {
			m.VLANs = map[int]model.VLAN{}
		}
		m.VLANs[v.IfIndex] = modelVLAN(v)
	}
	ids := w.ids(t)
	for _, s := range state.Services {
		service := w.service(s, state.Tables[s.Table], ids)
		service.Index = w.serviceIndex(t, s.Service.VIP)
		m.Services, w.services = append(m.Services, service), append(w.services, service)
		w.vips = append(w.vips, s.Service.VIP)
	}
	var err error
	if w.model, err = model.New(m); err != nil {
		t.Fatal(err)
	}
}

func modelVLAN(v lb.VLAN) model.VLAN {
	out := model.VLAN{Interface: v.Below}
	for _, t := range v.Tags {
		if t != (lb.Tag{}) {
			out.Tags = append(out.Tags, model.Tag{Kind: t.Kind, Control: t.ID})
		}
	}
	return out
}

type backendID struct {
	vip     lb.VIP
	at      netip.AddrPort
	forward lb.Forward
}

// ids reads what the data plane called the backends.
func (w *world) ids(t testing.TB) map[backendID]uint32 {
	t.Helper()
	ids, m := map[backendID]uint32{}, w.pinned(t, "backends")
	for id := range m.MaxEntries() {
		var b bpf.WeirBackend
		if err := m.Lookup(id, &b); err != nil {
			t.Fatal(err)
		}
		vip := lb.VIP{Addr: wordsAddr(b.Vip), Port: bigEndian(b.VipPort), Proto: lb.Proto(b.Proto)}
		ids[backendID{vip, port(wordsAddr(b.Addr), bigEndian(b.Port)), lb.Forward(b.Forward)}] = id
	}
	return ids
}

func wordsAddr(a bpf.WeirAddress) netip.Addr {
	var b [16]byte
	for i, w := range a.Word {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	return netip.AddrFrom16(b).Unmap()
}

func bigEndian(v uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v))
}

func (w *world) service(s lb.ServiceState, table lb.Table, ids map[backendID]uint32) *model.Service {
	out := &model.Service{
		VIP: s.Service.VIP.Addr.As16(), Port: s.Service.VIP.Port, Proto: uint8(s.Service.VIP.Proto),
		Forward: map[lb.Forward]model.Forward{
			lb.NAT: model.NAT, lb.DSR: model.DSR, lb.L7: model.L7, lb.IPIP: model.IPIP, lb.GUE: model.GUE, lb.SNAT: model.SNAT,
		}[s.Service.Forward],
		Picker: pickerOf(table),
		MSS:    int(s.Service.MSS), ACL: rulesOf(s.Service.ACL),
		SourceRate: s.Service.NewFlowsPerSource.Rate, SourceBurst: s.Service.NewFlowsPerSource.Burst,
		FlowRate: s.Service.MaxNewFlows,
	}
	for _, b := range s.Backends {
		real := &model.Backend{
			ID:   ids[backendID{s.Service.VIP, b.Endpoint, s.Service.Forward}],
			Addr: b.Endpoint.Addr().As16(), Port: b.Endpoint.Port(),
			DstMAC: b.Hop.DstMAC, SrcMAC: b.Hop.SrcMAC, MTU: b.Hop.MTU, Interface: b.Hop.IfIndex,
		}
		out.Backends, w.all = append(out.Backends, real), append(w.all, real)
		if s.Service.Forward.Translates() {
			w.reals = append(w.reals, real)
		}
	}
	if s.Service.Forward == lb.L7 {
		return out
	}
	for _, e := range table.Slots {
		out.Table = append(out.Table, model.Entry{Slot: int(e & math.MaxUint16), Weight: e >> 16})
	}
	return out
}

func pickerOf(t lb.Table) model.Picker {
	switch {
	case t.Algorithm == lb.Maglev:
		return model.ByHash
	case t.Algorithm == lb.LeastConn && len(t.Slots) <= algorithm.LeastExact:
		return model.LeastOfAll
	case t.Algorithm == lb.LeastConn:
		return model.LeastOfTwo
	}
	return model.ByCursor
}

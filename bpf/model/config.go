package model

import "fmt"

// Addr is an address; IPv4 is mapped (RFC 4291, 2.5.5.2).
type Addr [16]byte

// Config is what a balancer is told.
type Config struct {
	FlowKey, PickKey [12]uint32
	FlowSets         int
	// Idle is how long, in units of the flow clock, a flow of a state may be
	// silent.
	Idle [States]uint16

	Services []*Service
	ACL      []Rule // of all services

	SourceSets int // in which sources are counted

	TunnelSource4 [4]byte // the flow's hash fills the last 2
	TunnelSource6 [8]byte
	GUEPort       uint16

	Sources4, Sources6 []Addr // of snat

	DropFragments bool // do not follow them

	// Number and Name translate between reasons and their numbers.
	Number func(Reason) int
	Name   func(int) Reason

	// VLANs are the interfaces that tag. Without any, frames with tags are
	// passed.
	VLANs map[int]VLAN

	// Route is the kernel's answer to where a packet goes that came in on an
	// interface.
	Route func(Query) Hop
}

// Query is a packet to be routed.
type Query struct {
	Ingress  int
	Version  uint8
	Src, Dst Addr
	Length   int // as the IP header says
}

// Hop is where a packet leaves. Refusal is why it cannot, "" if it can.
type Hop struct {
	Refusal        Reason
	Interface      int
	DstMAC, SrcMAC [6]byte
}

// Service is a VIP and its backends.
type Service struct {
	VIP      Addr
	Port     uint16 // 0: every port
	Proto    uint8
	Forward  Forward
	Picker   Picker
	Table    []Entry
	Backends []*Backend

	MSS int // most that a SYN may state; 0: anything, 1: what fits

	Index       uint32 // by which its sources' hashes are its own
	ACL         []Rule
	SourceRate  uint32 // new flows a second of one source, 0: any number
	SourceBurst uint32
	FlowRate    uint32 // of all sources
	Full        uint64 // when the bucket of FlowRate will be
	Drops       Drops

	cursor uint32
}

// Entry is one place of a service's table.
type Entry struct {
	Slot   int // of Service.Backends
	Weight uint32
}

// Forward is a way to get packets to a backend.
type Forward uint8

// The ways.
const (
	NAT Forward = iota + 1
	DSR
	L7
	IPIP
	GUE
	SNAT
)

// Picker is a way to choose from a table.
type Picker uint8

// The ways.
const (
	ByHash Picker = iota + 1
	ByCursor
	LeastOfAll
	LeastOfTwo
)

// Backend is a server of one service.
type Backend struct {
	ID             uint32
	Addr           Addr
	Port           uint16 // 0: the client's
	Interface      int    // 0: nobody knows where it is
	DstMAC, SrcMAC [6]byte
	MTU            int
	Counters       Counters

	service *Service
	shared  bool
}

// Counters are a backend's.
type Counters struct {
	Packets, Bytes, ReplyPackets, ReplyBytes, Flows, Unstored uint64
	Active                                                    uint64
}

type endpoint struct {
	addr  Addr
	port  uint16
	proto uint8
}

type mark struct {
	addr  Addr
	proto uint8
}

// New makes a balancer without flows.
func New(c Config) (*Model, error) {
	m := &Model{
		config: c, services: map[endpoint]*Service{}, marks: map[mark]bool{}, reals: map[endpoint]uint32{},
		Flows: Table{Sets: make([]Set, c.FlowSets), counted: true}, Sources: make([]SourceSet, c.SourceSets),
		Fragments: new(Fragments),
	}
	m.sources = append(append(m.sources, c.Sources4...), c.Sources6...)
	m.Pairs.Sets = make([]Set, len(m.sources)*setsOfSource)
	m.clients = make([]client, len(m.sources)*portsOfSource)
	for _, s := range c.Services {
		m.services[endpoint{s.VIP, s.Port, s.Proto}] = s
		m.marks[mark{s.VIP, s.Proto}], m.marks[mark{s.VIP, 0}] = true, true
		for _, b := range s.Backends {
			if err := m.add(s, b); err != nil {
				return nil, err
			}
		}
	}
	m.registerReals()
	return m, nil
}

func (m *Model) add(s *Service, b *Backend) error {
	for int(b.ID) >= len(m.backends) {
		m.backends = append(m.backends, nil)
	}
	if b.ID == 0 || m.backends[b.ID] != nil {
		return fmt.Errorf("backend id %d is taken", b.ID)
	}
	b.service, m.backends[b.ID] = s, b
	return nil
}

// registerReals: a reply to nat is told by the address and port it comes from.
// That is not enough where several services send to it, or one of every port
// does: such backends are shared, and their flows are stored in both
// directions.
func (m *Model) registerReals() {
	users := map[endpoint]int{}
	for _, b := range m.backends {
		if b != nil && b.service.Forward == NAT {
			users[b.real()]++
		}
	}
	for id, b := range m.backends {
		if b == nil || b.service.Forward != NAT {
			continue
		}
		host := b.real()
		host.port = 0
		b.shared = users[b.real()] > 1 || users[host] > 0
		if m.reals[b.real()] == 0 {
			m.reals[b.real()] = uint32(id)
		}
	}
}

func (b *Backend) real() endpoint { return endpoint{b.Addr, b.Port, b.service.Proto} }

func (b *Backend) isIPv4() bool { return b.Addr.is4() }

func (a Addr) is4() bool { return mapped(a[12:]) == a }

// mapped gives 4 bytes as 16.
func mapped(a []byte) (out Addr) {
	out[10], out[11] = 0xff, 0xff
	copy(out[12:], a)
	return out
}

func (m *Model) backend(id uint32) *Backend {
	if int(id) >= len(m.backends) {
		return nil
	}
	return m.backends[id]
}

// Reset forgets counters and the flows of sets that were touched. Who had
// sources of ours before is not forgotten: nothing reads it.
func (m *Model) Reset() {
	m.Flows.reset()
	m.Fragments.reset()
	m.Pairs.reset()
	for _, i := range m.SourcesTouched {
		m.Sources[i] = SourceSet{}
	}
	m.SourcesTouched = m.SourcesTouched[:0]
	for _, s := range m.config.Services {
		s.cursor, s.Full, s.Drops = 0, 0, Drops{}
	}
	for _, b := range m.backends {
		if b != nil {
			b.Counters = Counters{}
		}
	}
}

// Package model says in plain Go what weir's packet path does with a frame: the
// verdict, every byte that leaves, the counters and the flow table afterwards.
// It is written to be read, from the RFCs and the words of docs/ARCHITECTURE.md,
// and takes none of the short cuts of the XDP program: checksums are those of
// the bytes that changed, look-ups are maps, and a stage is a method. Tests run
// the same packets through both; where they differ, one of them is wrong.
//
// The order of stages is Model.Process; each has a file.
package model

// Model is one balancer: its configuration and its flows. It is not safe for
// concurrent use.
type Model struct {
	Flows Table
	Pairs Table // sources of snat

	Sources        []SourceSet // whose new flows are limited
	SourcesTouched []int       // sets looked at since Reset, some more than once
	Fragments      *Fragments

	config   Config
	services map[endpoint]*Service
	marks    map[mark]bool       // addresses that have services
	reals    map[endpoint]uint32 // who replies from there, by backend id
	backends []*Backend          // by id
	sources  []Addr              // of ours, IPv4 first
	clients  []client            // by pair

	now      uint16
	limitNow uint64
	ingress  int
	answer   bool
	result   Result
	buffer   []byte

	came, leaves []Tag // that the frame had, and shall have
}

// Input is a frame and what its fate depends on beside the model's state.
type Input struct {
	Frame   []byte // not kept, not changed
	Ingress int    // index of the interface it came in on
	Now     uint16 // the flow clock, 11 bits
	Limits  uint64 // the clock of limits
	Answer  bool   // the budget of ICMP errors allows one more
}

// Result is what became of a frame. It is valid until the next Process.
type Result struct {
	Verdict Verdict
	Frame   []byte
	Reasons []Reason // counters that went up by one, in order
	Limited bool     // Input.Answer made a difference
	Reply   bool     // it was from a backend to a client of ours
}

// Verdict is enum xdp_action of linux/bpf.h.
type Verdict uint32

// What can be done with a frame.
const (
	Drop     Verdict = 1
	Pass     Verdict = 2
	TX       Verdict = 3 // out where it came in
	Redirect Verdict = 4 // out on another interface
)

// Process runs one frame.
func (m *Model) Process(in Input) *Result {
	m.now, m.limitNow, m.ingress, m.answer = in.Now&timeMask, in.Limits, in.Ingress, in.Answer
	m.buffer = append(m.buffer[:0], in.Frame...)
	m.came, m.leaves = nil, nil
	if len(m.config.VLANs) > 0 {
		m.came, m.buffer = untag(m.buffer)
		m.leaves = m.came
	}
	m.result = Result{Frame: m.buffer, Reasons: m.result.Reasons[:0]}
	m.result.Verdict = m.judge()
	m.retag(m.result.Verdict)
	return &m.result
}

func (m *Model) judge() Verdict {
	p, what := parse(m.result.Frame)
	if what == fragment && !m.config.DropFragments {
		return m.fragment(&p)
	}
	if what != whole {
		return m.unbalanced(&p, what)
	}
	if p.isICMP() {
		return m.control(&p)
	}
	if b := m.replier(&p); b != nil {
		m.result.Reply = true
		return m.translateBack(&p, b)
	}
	return m.request(&p)
}

// unbalanced: what is not a whole packet is ours to drop only if it is for a
// VIP.
func (m *Model) unbalanced(p *packet, what kind) Verdict {
	switch what {
	case notIP:
		return m.refuse(PassNotIP)
	case tagged:
		return m.refuse(PassVLAN)
	case tooShort:
		return m.refuse(PassMalformed)
	case otherProtocol:
		return m.refuse(PassNotVIP)
	}
	ours := m.hasServices(p.dst, p.proto)
	switch {
	case what == malformed && ours:
		return m.refuse(DropMalformed)
	case what == malformed:
		return m.refuse(PassMalformed)
	case !ours:
		return m.refuse(PassNotVIP)
	case what == fragment:
		return m.refuse(DropFragment)
	}
	return m.refuse(DropExtensions)
}

// request is a packet from a client, or for somebody else.
func (m *Model) request(p *packet) Verdict {
	if m.denied(p.tuple()) {
		return m.refuse(DropACL)
	}
	b, refusal := m.choose(p)
	if b == nil {
		return m.refuse(refusal)
	}
	return m.forward(p, b, uint32(p.tuple().hash(&m.config.FlowKey)))
}

// choose is the backend of a packet by its flow, a known one or a new one, or
// why there is none.
func (m *Model) choose(p *packet) (*Backend, Reason) {
	if b := m.hit(p); b != nil {
		return b, ""
	}
	return m.open(p)
}

// refuse counts a reason and gives the verdict that its name begins with.
func (m *Model) refuse(r Reason) Verdict {
	m.count(r)
	return r.verdict()
}

func (r Reason) verdict() Verdict {
	if r[:len("pass")] == "pass" {
		return Pass
	}
	return Drop
}

func (m *Model) count(r Reason) { m.result.Reasons = append(m.result.Reasons, r) }

// hasServices: for packets without ports. Those of no known protocol are for
// the address.
func (m *Model) hasServices(a Addr, proto uint8) bool {
	if !balanced(proto) {
		proto = 0
	}
	return m.marks[mark{a, proto}]
}

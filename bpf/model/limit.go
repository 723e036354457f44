package model

// Limits of new flows are token buckets. A bucket is kept as the time when it
// will be full again (ITU-T I.371, GCRA); until then its owner is in debt, and a
// flow costs the time in which one token comes.
const (
	second      = 976562 // of the limits' clock
	mostDebt    = 600 * second
	ceilingUnit = 1 << 14 // parts of that clock's unit in which services count
)

// Source is the bucket of one source of a service's flows.
type Source struct {
	Tag  uint32 // of the hash of service and source
	Full uint32 // when it will be full, by the low half of the clock
}

// Word is a bucket as the map has it.
func (b Source) Word() uint64 { return uint64(b.Tag)<<32 | uint64(b.Full) }

// SourceSet is the buckets among which a source's is.
type SourceSet [slots]Source

// Drops are what a service refused.
type Drops struct{ ACL, PerSource, MaxNewFlows uint64 }

// limited: what the service's limits say about a flow that is to be opened, ""
// if nothing. A source that is refused leaves nothing less for others.
func (m *Model) limited(s *Service, t tuple) Reason {
	switch {
	case s.SourceRate > 0 && !m.payAsSource(s, t):
		s.Drops.PerSource++
		return DropNewFlowsPerSource
	case s.FlowRate > 0 && !m.payCeiling(s):
		s.Drops.MaxNewFlows++
		return DropMaxNewFlows
	}
	return ""
}

// owed is the time until a bucket is full. What no bucket can owe is of a clock
// that has come round.
func (m *Model) owed(b Source) uint32 {
	debt := b.Full - uint32(m.limitNow)
	if b == (Source{}) || debt > mostDebt {
		return 0
	}
	return debt
}

// payAsSource: a source without bucket gets that of the one which owes least,
// unless even that owes more than one flow; then it goes uncounted.
func (m *Model) payAsSource(s *Service, t tuple) bool {
	set, tag := m.sourcePlace(s, t)
	cost := second / s.SourceRate
	bucket, least := &set[0], ^uint32(0)
	for i := range set {
		if set[i].Tag == tag {
			return m.pay(&set[i], cost, s.SourceBurst)
		}
		if debt := m.owed(set[i]); debt < least {
			bucket, least = &set[i], debt
		}
	}
	if least <= cost {
		*bucket = Source{tag, uint32(m.limitNow) + cost}
	}
	return true
}

func (m *Model) pay(b *Source, cost, burst uint32) bool {
	debt := m.owed(*b)
	if debt > cost*burst {
		debt = 0 // since then the limit was another
	}
	if debt > cost*(burst-1) {
		return false
	}
	b.Full = uint32(m.limitNow) + debt + cost
	return true
}

// sourcePlace: a source is an IPv4 address or an IPv6 /64.
func (m *Model) sourcePlace(s *Service, t tuple) (*SourceSet, uint32) {
	key := &m.config.FlowKey
	a, b := word(t.src[12:]), uint32(0)
	if t.version == 6 {
		a, b = word(t.src[0:]), word(t.src[4:])
	}
	hash := mix(uint64(s.Index+key[0])*uint64(uint32(t.version)+key[1]) + uint64(a+key[2])*uint64(b+key[3]))
	index := scale(high(hash), len(m.Sources))
	m.SourcesTouched = append(m.SourcesTouched, index)
	return &m.Sources[index], max(1, uint32(hash))
}

// payCeiling: what comes in a tenth of a second may come at once.
func (m *Model) payCeiling(s *Service) bool {
	now := m.limitNow * ceilingUnit
	debt := s.Full - now
	if debt > 2*second*ceilingUnit {
		debt = 0
	}
	if debt > second*ceilingUnit/10 {
		return false
	}
	s.Full = now + debt + second*ceilingUnit/uint64(s.FlowRate)
	return true
}

// PassTime makes all debts less by units of the limits' clock.
func (m *Model) PassTime(units uint32) {
	for i := range m.Sources {
		for j := range m.Sources[i] {
			if b := &m.Sources[i][j]; b.Tag != 0 {
				b.Full -= units
			}
		}
	}
	for _, s := range m.config.Services {
		s.Full -= uint64(units) * ceilingUnit
	}
}

package model

// Rule is what an ACL says of the addresses in a prefix that are in no longer
// one. Bits count from the start of the 16 bytes, so those of IPv4 are 96 more
// than people write.
type Rule struct {
	Prefix Addr
	Bits   int
	Deny   bool
}

// denies: the longest prefix decides. Without rules nobody is denied.
func denies(rules []Rule, a Addr) bool {
	best := Rule{Bits: -1}
	for _, r := range rules {
		if r.Bits > best.Bits && r.has(a) {
			best = r
		}
	}
	return best.Deny
}

func (r Rule) has(a Addr) bool {
	for i := range r.Bits {
		if (a[i/8]^r.Prefix[i/8])>>(7-i%8)&1 != 0 {
			return false
		}
	}
	return true
}

// denied: may the source of a flow not use the service, or none? That holds for
// flows that are known too, also those of a service that has gone. What is for
// nobody is not looked at.
func (m *Model) denied(t tuple) bool {
	all := denies(m.config.ACL, t.src)
	s := m.service(t)
	switch {
	case s == nil:
		return all && m.isFlow(t)
	case all || denies(s.ACL, t.src):
		s.Drops.ACL++
		return true
	}
	return false
}

func (m *Model) isFlow(t tuple) bool {
	f := m.Flows.place(t.hash(&m.config.FlowKey)).find()
	if f == nil {
		return false
	}
	b := m.backend(f.ID)
	return b != nil && b.service.VIP == t.dst
}

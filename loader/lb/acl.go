package lb

import (
	"fmt"
	"net/netip"
	"slices"
)

// ACL says which sources may use a service, or all of them. It is never
// changed once it is made. No ACL (nil) allows all.
type ACL struct {
	// Rules are sorted by prefix, each prefix once. 0.0.0.0/0 and ::/0 are
	// among them; ::/0 is about IPv6 only.
	Rules []ACLRule
}

// ACLRule is what holds for the addresses in a prefix that are in no longer one.
type ACLRule struct {
	Prefix netip.Prefix
	Deny   bool
}

// MaxPrefixes is how many prefixes all ACLs together may name.
const MaxPrefixes = 1 << 18

// NewACL makes an ACL of prefixes; those that are in no prefix are denied if
// rest says so. A prefix may be named more than once, but not in both lists.
func NewACL(allow, deny []netip.Prefix, rest bool) (*ACL, error) {
	rules := make([]ACLRule, 0, len(allow)+len(deny)+2)
	for _, p := range allow {
		rules = append(rules, ACLRule{Prefix: p})
	}
	for _, p := range deny {
		rules = append(rules, ACLRule{Prefix: p, Deny: true})
	}
	slices.SortStableFunc(rules, func(a, b ACLRule) int { return a.Prefix.Compare(b.Prefix) })
	rules = slices.Compact(rules)
	for i := 1; i < len(rules); i++ {
		if rules[i].Prefix == rules[i-1].Prefix {
			return nil, fmt.Errorf("%s is both allowed and denied", rules[i].Prefix)
		}
	}
	for _, p := range everything {
		at, found := slices.BinarySearchFunc(rules, p, func(r ACLRule, p netip.Prefix) int { return r.Prefix.Compare(p) })
		if !found {
			rules = slices.Insert(rules, at, ACLRule{p, rest})
		}
	}
	return &ACL{rules}, nil
}

// everything is what each ACL has a rule for.
var everything = [2]netip.Prefix{
	netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0),
}

// Match is the rule that counts for an address.
func (a *ACL) Match(addr netip.Addr) (best ACLRule) {
	for _, r := range a.Rules {
		if r.Prefix.Contains(addr) && (!best.Prefix.IsValid() || r.Prefix.Bits() > best.Prefix.Bits()) {
			best = r
		}
	}
	return best
}

// Equal reports whether both say the same. Either may be nil.
func (a *ACL) Equal(b *ACL) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || slices.Equal(a.Rules, b.Rules)
}

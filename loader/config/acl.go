package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"weir/loader/lb"
)

// mostLineFaults is how many faults of one file of prefixes are told.
const mostLineFaults = 10

// aclReader counts the prefixes of all lists.
type aclReader struct {
	r        *report
	prefixes int
}

// read gives nil if there is no ACL.
func (a *aclReader) read(p *path, raw *acl) *lb.ACL {
	if raw == nil {
		return nil
	}
	allow := a.list(p.key("allow"), raw.Allow, p.key("allow_file"), raw.AllowFile)
	deny := a.list(p.key("deny"), raw.Deny, p.key("deny_file"), raw.DenyFile)
	rest, ok := a.rest(p, raw)
	if !ok || a.r.known(p) {
		return nil
	}
	out, err := lb.NewACL(allow, deny, rest)
	if err != nil {
		a.r.field(p, "%s", err)
	}
	return out
}

// rest tells whether sources in no list are denied.
func (a *aclReader) rest(p *path, raw *acl) (denied, ok bool) {
	allows := raw.Allow != nil || raw.AllowFile != ""
	denies := raw.Deny != nil || raw.DenyFile != ""
	at := p.key("default")
	switch {
	case raw.Default == "allow", raw.Default == "deny":
		return raw.Default == "deny", true
	case raw.Default != "":
		a.r.field(at, "%s is not allow or deny", quote(raw.Default))
	case allows && denies:
		a.r.missing(at, "allow or deny: what holds for sources in neither list")
	default:
		return allows, true
	}
	return false, false
}

// list is what the file has and what the file that it names has.
func (a *aclReader) list(p *path, listed []string, fileAt *path, file string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(listed))
	for i, text := range listed {
		if a.r.known(p.item(i)) {
			continue
		}
		prefix, err := parsePrefix(text)
		if err != nil {
			a.r.field(p.item(i), "%s", err)
			continue
		}
		out = append(out, prefix)
	}
	if file != "" {
		out = append(out, a.file(fileAt, file)...)
	}
	a.prefixes += len(out)
	return out
}

// parsePrefix reads a prefix, or an address that stands for itself alone.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	addr, addrErr := netip.ParseAddr(text)
	if addrErr == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return prefix, fmt.Errorf("%s is not a prefix such as 198.51.100.0/24 or 2001:db8::/32, nor an address", quote(text))
	case prefix.Addr().Is4In6():
		return prefix, fmt.Errorf("%s is IPv4-mapped; write it as IPv4", quote(text))
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("%s has bits behind its length; the prefix is %s", quote(text), prefix.Masked())
	}
	return prefix, nil
}

// file reads one prefix a line; what follows a # does not count.
func (a *aclReader) file(p *path, name string) (out []netip.Prefix) {
	if !filepath.IsAbs(name) {
		a.r.field(p, "%s is not an absolute path", quote(name))
		return nil
	}
	data, err := readRegular(name, MaxBytes)
	if err != nil {
		a.r.field(p, "%s", err)
		return nil
	}
	faults, number := 0, 0
	for line := range strings.Lines(string(data)) {
		number++
		text, _, _ := strings.Cut(line, "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, err := parsePrefix(text)
		if err == nil {
			out = append(out, prefix)
		} else if faults++; faults <= mostLineFaults {
			a.r.field(p, "%s:%d: %s", name, number, err)
		}
	}
	if faults > mostLineFaults {
		a.r.field(p, "%s: %d more lines are no prefixes", name, faults-mostLineFaults)
	}
	return out
}

// checkACLs reports more prefixes than there can be.
func (a *aclReader) check() {
	if a.prefixes > lb.MaxPrefixes {
		a.r.field(top, "%d prefixes in all acls are more than there can be (%d)", a.prefixes, lb.MaxPrefixes)
	}
}

package config

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"weir/loader/lb"
)

const (
	minTimeout   = 5 * time.Second
	maxSocket    = 107 // bytes of sun_path without the final 0, unix(7)
	maxInterface = 15  // bytes of IFNAMSIZ without the final 0
)

// settings is everything but the pools and services.
func settings(r *report, f file) lb.Config {
	mode, err := lb.ParseXDPMode(f.XDPMode)
	if err != nil {
		r.field(top.key("xdp_mode"), "%s is not auto, native or generic", quote(f.XDPMode))
	}
	checkInterfaces(r, f.Interfaces)
	for key, dir := range map[string]string{"pin_dir": f.PinDir, "socket": f.Socket, "state_dir": f.StateDir} {
		if !filepath.IsAbs(dir) {
			r.field(top.key(key), "%s is not an absolute path", quote(dir))
		}
	}
	if len(f.Socket) > maxSocket {
		r.field(top.key("socket"), "%s has %d bytes; a socket's path has at most %d", quote(f.Socket), len(f.Socket), maxSocket)
	}
	return lb.Config{
		Interfaces: f.Interfaces, XDPMode: mode,
		PinDir: f.PinDir, Socket: f.Socket, StateDir: f.StateDir, Seed: f.Seed,
		EventSample: inRange(r, top.key("events").key("sample"), f.Events.Sample, 1, math.MaxUint32),
		Timeouts:    readTimeouts(r, f.Timeouts),
		Tunnel:      readTunnel(r, f.Tunnel),
		SNAT:        readSNAT(r, f.SNAT),

		DropFragments: readFragments(r, f.Fragments),
	}
}

// Values of the key fragments.
const (
	followFragments = "follow"
	dropFragments   = "drop"
)

func readFragments(r *report, text string) (drop bool) {
	if text != followFragments && text != dropFragments {
		r.field(top.key("fragments"), "%s is not %s or %s", quote(text), followFragments, dropFragments)
	}
	return text == dropFragments
}

func readTunnel(r *report, t tunnel) lb.Tunnel {
	p := top.key("tunnel")
	return lb.Tunnel{
		GUEPort: uint16(inRange(r, p.key("gue_port"), t.GUEPort, 1, math.MaxUint16)),
		Source4: sourcePrefix(r, p.key("source4"), t.Source4, "172.16.0.0/16"),
		Source6: sourcePrefix(r, p.key("source6"), t.Source6, "100::/64"),
	}
}

func readSNAT(r *report, s snat) lb.SNATSources {
	var out lb.SNATSources
	p := top.key("snat").key("addresses")
	seen := map[netip.Addr]*path{}
	for i, text := range s.Addresses {
		addr, err := netip.ParseAddr(text)
		if err == nil {
			err = lb.CheckAddr(addr)
		}
		switch {
		case r.known(p.item(i)):
		case err != nil:
			r.field(p.item(i), "%s is not a unicast address such as 10.0.0.5", quote(text))
		case seen[addr] != nil:
			r.field(p.item(i), "%s is already at %s", addr, seen[addr])
		case addr.Is4():
			out.Source4 = append(out.Source4, addr)
		default:
			out.Source6 = append(out.Source6, addr)
		}
		seen[addr] = p.item(i)
	}
	if len(s.Addresses) > lb.MaxSNATSources {
		r.field(p, "%d addresses are more than there can be (%d)", len(s.Addresses), lb.MaxSNATSources)
	}
	return out
}

// sourcePrefix reads a prefix of the family and length of the example.
func sourcePrefix(r *report, p *path, text, example string) netip.Prefix {
	like := netip.MustParsePrefix(example)
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Bits() != like.Bits() || prefix.Addr().Is4() != like.Addr().Is4() || prefix != prefix.Masked() {
		r.field(p, "%s is not a /%d such as %s", quote(text), like.Bits(), like)
	}
	return prefix
}

func inRange(r *report, p *path, n, least, most int64) uint32 {
	if n < least || n > most {
		r.field(p, "%d is not in %d..%d", n, least, most)
		return 0
	}
	return uint32(n)
}

func readTimeouts(r *report, t timeouts) lb.Timeouts {
	p := top.key("timeouts")
	for key, d := range map[string]time.Duration{
		"embryonic": t.Embryonic, "established": t.Established, "closing": t.Closing, "udp": t.UDP,
	} {
		if d < minTimeout || d > lb.MaxTimeout {
			r.field(p.key(key), "%s is not in %s..%s", d, minTimeout, lb.MaxTimeout)
		}
	}
	return lb.Timeouts(t)
}

func checkInterfaces(r *report, names []string) {
	p := top.key("interfaces")
	if len(names) == 0 {
		r.missing(p, "a list of at least one network interface")
	}
	seen := map[string]*path{}
	for i, name := range names {
		item := p.item(i)
		if r.known(item) {
			continue
		}
		if err := checkInterface(name); err != nil {
			r.field(item, "%s", err)
		} else if other := seen[name]; other != nil {
			r.field(item, "%s is already at %s", name, other)
		} else {
			seen[name] = item
		}
	}
}

// checkInterface follows the kernel's dev_valid_name.
func checkInterface(name string) error {
	if name == "" || len(name) > maxInterface || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r") {
		return fmt.Errorf("%s is not a network interface: 1 to %d bytes without /, : and blanks", quote(name), maxInterface)
	}
	return nil
}

// checkName says why a pool or service cannot have a name.
func checkName(name string) error {
	valid := len(name) >= 1 && len(name) <= 63
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		valid = valid && (letter || digit || c == '.' || c == '_' || c == '-')
	}
	if !valid {
		return fmt.Errorf("%s is not 1 to 63 of the characters A-Z a-z 0-9 . _ -", quote(name))
	}
	return nil
}

// uniqueNames finds names that two items of a list share. The fault is the
// later item's.
type uniqueNames map[string]*path

func (u uniqueNames) check(r *report, item *path, name string) {
	p := item.key("name")
	if name == "" {
		r.missing(p, "1 to 63 of the characters A-Z a-z 0-9 . _ -")
		return
	}
	if err := checkName(name); err != nil {
		r.field(p, "%s", err)
		return
	}
	if other := u[name]; other != nil {
		r.field(p, "%q is already the name of %s", name, other)
		return
	}
	u[name] = item
}

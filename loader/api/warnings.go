package api

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/loader/control"
	"weir/loader/lb"
)

// warnings lists what an operator should look at: sysctls, next hops and
// services that nobody serves. procSys is /proc/sys.
func (v view) warnings(procSys string) []string {
	all := []string{}
	if v.ApplyError != nil {
		all = append(all, fmt.Sprintf("the data plane refused the last change and is tried again: %v", v.ApplyError))
	}
	all = append(all, v.forwardingOff(procSys)...)
	all = append(all, few(v.panics())...)
	all = append(all, few(v.silentAgents())...)
	all = append(all, few(v.unresolved())...)
	return append(all, few(v.unserved())...)
}

// slowInterfaces are those that run in generic mode, though nobody asked for it.
func slowInterfaces(c lb.Config, d lb.DataPlaneInfo) []string {
	all := []string{}
	for _, a := range d.Attachments {
		if a.Mode == "generic" && c.XDPMode != lb.XDPGeneric {
			all = append(all, fmt.Sprintf("XDP runs in generic mode on %s, several times slower: its driver refused native mode (see the log, and weir doctor)", a.Interface))
		}
	}
	return all
}

// fewWarnings is how many warnings of one kind are listed: where a gateway does
// not answer there is one for each backend.
const fewWarnings = 20

func few(all []string) []string {
	if len(all) <= fewWarnings {
		return all
	}
	return append(all[:fewWarnings-1], fmt.Sprintf("and %d more like the last", len(all)-fewWarnings+1))
}

func (v view) applyError() string {
	if v.ApplyError == nil {
		return ""
	}
	return v.ApplyError.Error()
}

// forwardingOff names the interfaces where replies of nat services cannot be
// routed: bpf_fib_lookup answers "forwarding disabled" there.
func (v view) forwardingOff(procSys string) []string {
	var all []string
	for _, family := range v.natFamilies() {
		for _, iface := range v.Config.Interfaces {
			key := filepath.Join("net", family, "conf", iface, "forwarding")
			b, err := os.ReadFile(filepath.Join(procSys, key))
			if err == nil && strings.TrimSpace(string(b)) == "0" {
				all = append(all, fmt.Sprintf("forwarding is off on %s, so replies of nat services are dropped: sysctl -w %s=1", iface, key))
			}
		}
	}
	return all
}

func (v view) natFamilies() []string {
	var v4, v6 bool
	for _, s := range v.Config.Services {
		if s.Forward.Translates() {
			v4 = v4 || s.VIP.Addr.Is4()
			v6 = v6 || s.VIP.Addr.Is6()
		}
	}
	var all []string
	if v4 {
		all = append(all, "ipv4")
	}
	if v6 {
		all = append(all, "ipv6")
	}
	return all
}

func (v view) panics() []string {
	var all []string
	for _, p := range v.Config.Pools {
		if v.Panics(p.Name) {
			all = append(all, fmt.Sprintf("pool %s: too much of it is down; health is ignored, new flows go to all", p.Name))
		}
	}
	return all
}

// silentAgents are those of which nothing was heard in the last three answers'
// time, after which their word counts no more.
func (v view) silentAgents() []string {
	var all []string
	for _, p := range v.Config.Pools {
		if v.agent == nil || !p.Follows() {
			continue
		}
		for _, b := range p.Backends {
			a, asked := v.agent(control.Ref{Pool: p.Name, Endpoint: b.Endpoint()})
			if asked && a.Err != nil && time.Since(a.At) > 3*p.AgentOf(b).Interval {
				all = append(all, fmt.Sprintf("agent of backend %s/%s (%s) is silent: %v", p.Name, b.Endpoint(), a.Address, a.Err))
			}
		}
	}
	return all
}

func (v view) unresolved() []string {
	var all []string
	for _, p := range v.Config.Pools {
		for _, b := range p.Backends {
			if v.Hop(b.Addr).Resolved() {
				continue
			}
			if why := v.hopReason(b.Addr); why != "" { // "": it has come since
				all = append(all, fmt.Sprintf("backend %s/%s has no next hop: %s", p.Name, b.Endpoint(), why))
			}
		}
	}
	return all
}

func (v view) unserved() []string {
	var all []string
	for _, s := range v.services() {
		if s.Forward != lb.L7 && s.Taking == 0 {
			all = append(all, fmt.Sprintf("service %s (%s) has no backend that takes new flows", s.Name, s.VIP))
		}
	}
	return all
}

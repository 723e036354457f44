// Package doctor examines a node that runs weir, or shall run it, and names
// what is wrong and the command that mends it. What it reads of the host comes
// through the interface Host, of the daemon as the bodies of its admin API.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

// Severity is how bad a finding is.
type Severity uint8

// Severities: an error costs traffic or will; a warning can.
const (
	OK Severity = iota
	Warning
	Error
)

var severityNames = [...]string{OK: "ok", Warning: "warning", Error: "error"}

func (s Severity) String() string { return severityNames[s] }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a severity's name.
func (s *Severity) UnmarshalText(b []byte) error {
	i := slices.Index(severityNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("severity %q is not ok, warning or error", b)
	}
	*s = Severity(i)
	return nil
}

// Finding is what one check says about one thing.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"`
	Where    string   `json:"where"`            // interface, VIP, backend, directory, …
	What     string   `json:"what"`             // for people
	Remedy   string   `json:"remedy,omitempty"` // a command to type
}

// Subject is the node as its configuration and its daemon describe it.
type Subject struct {
	ConfigFile string     // "": unknown
	Config     *lb.Config // nil: there is none, or ConfigErr
	ConfigErr  error      // why the file cannot be used
	Socket     string
	Daemon     *Daemon // nil: none answers
}

// Daemon is what a daemon says about itself.
type Daemon struct {
	Status   wire.Status
	Services []wire.Service
	Backends []wire.Backend
}

// Examine runs all checks. Errors come first, then warnings, then what is
// fine; among equals the order is that of the checks.
func Examine(ctx context.Context, s Subject, h Host) []Finding {
	e := &exam{Subject: s, host: h}
	all := e.run(e.always())
	switch {
	case s.Daemon != nil && !h.SameNetwork(s.Daemon.Status.PID):
		all = append(all, e.run([]check{{"daemon", func() []Finding { return elsewhere(s) }}})...)
	case s.Config != nil:
		e.look(ctx)
		all = append(all, e.run(e.configured(ctx))...)
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return all
}

// check is one family of findings.
type check struct {
	name string
	run  func() []Finding
}

func (e *exam) run(checks []check) []Finding {
	var all []Finding
	for _, c := range checks {
		for _, f := range c.run() {
			f.Check = c.name
			all = append(all, f)
		}
	}
	return all
}

func (e *exam) always() []check {
	return []check{
		{"kernel", func() []Finding { return checkKernel(e.host.Kernel()) }},
		{"config", func() []Finding { return checkConfig(e.Subject) }},
	}
}

func (e *exam) configured(ctx context.Context) []check {
	c := *e.Config
	return []check{
		{"daemon", func() []Finding { return checkDaemon(e.Subject, e.pins) }},
		{"pins", func() []Finding { return checkPins(c, e.Daemon != nil, e.pins, e.host) }},
		{"nic", func() []Finding { return append(e.absent, each(e.links, checkNIC)...) }},
		{"driver", func() []Finding {
			return each(e.links, func(l Link) []Finding { return checkDriver(c, e.Daemon != nil, l) })
		}},
		{"xdp", func() []Finding { return each(e.links, func(l Link) []Finding { return checkForeign(e.ours(), l) }) }},
		{"queues", func() []Finding { return checkQueues(e.links, e.host) }},
		{"offloads", func() []Finding { return each(e.links, checkOffloads) }},
		{"mtu", func() []Finding { return checkMTU(c, e.links, e.hops) }},
		{"sysctls", func() []Finding { return checkSysctls(c, e.links, e.host) }},
		{"addresses", func() []Finding { return checkAddresses(c, e.links, e.host) }},
		{"owners", func() []Finding { return checkOwners(ctx, c, e.links, e.hops, e.host) }},
		{"neighbours", func() []Finding { return checkNeighbours(c, e.hops) }},
		{"services", func() []Finding { return checkServices(e.Subject, e.hops) }},
		{"limits", func() []Finding { return checkLimits(e.Subject, e.pins) }},
		{"look", func() []Finding { return e.blind }},
	}
}

// each runs a check of one interface on all of them.
func each(links []Link, check func(Link) []Finding) []Finding {
	var all []Finding
	for _, l := range links {
		all = append(all, check(l)...)
	}
	return all
}

func fine(where, format string, args ...any) Finding {
	return Finding{Severity: OK, Where: where, What: fmt.Sprintf(format, args...)}
}

func warning(where, remedy, format string, args ...any) Finding {
	return Finding{Severity: Warning, Where: where, What: fmt.Sprintf(format, args...), Remedy: remedy}
}

func fault(where, remedy, format string, args ...any) Finding {
	return Finding{Severity: Error, Where: where, What: fmt.Sprintf(format, args...), Remedy: remedy}
}

// blind says that something could not be examined.
func blind(where string, err error) Finding {
	return warning(where, "", "could not be examined: %v", err)
}

// maxAlike is the most findings of one kind that a check gives: a report of
// 100,000 lines helps nobody.
const maxAlike = 10

// atMost cuts findings to maxAlike and says how many more there are.
func atMost(all []Finding) []Finding {
	if len(all) <= maxAlike {
		return all
	}
	more := all[maxAlike]
	more.Where, more.What = "", fmt.Sprintf("and %d more like these", len(all)-maxAlike)
	return append(all[:maxAlike:maxAlike], more)
}

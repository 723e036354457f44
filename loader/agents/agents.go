// Package agents asks the agents of backends, again and again, how their
// backends are, and passes on what it hears. It believes nothing that is not
// whole, in time and from whom it must be; what that means for weights is the
// business of others.
package agents

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"weir/agent/report"
	"weir/loader/lb"
	"weir/loader/weight"
)

// Key names a backend of a pool.
type Key struct {
	Pool     string
	Endpoint netip.AddrPort
}

func (k Key) String() string { return k.Pool + "/" + k.Endpoint.String() }

// Target is a backend and how its agent is asked.
type Target struct {
	Key
	Agent lb.Agent
}

// Targets is all that a configuration wants asked, in its order.
func Targets(c lb.Config) []Target {
	var all []Target
	for _, p := range c.Pools {
		for _, b := range p.Backends {
			if a := p.AgentOf(b); a.Enabled() {
				all = append(all, Target{Key{p.Name, b.Endpoint()}, a})
			}
		}
	}
	return all
}

// Heard is a report of one backend.
type Heard struct {
	Key
	At     time.Time // when it arrived
	Report weight.Report
}

// Status is what is known of a backend's agent at one moment.
type Status struct {
	Address  netip.AddrPort
	Protocol lb.AgentProtocol
	Asked    time.Time // when the last answer was awaited first; zero: none yet
	Took     time.Duration
	Err      error         // of the last answer, nil if it was a report
	At       time.Time     // when the last report arrived; zero: none did
	Values   report.Report // the last report; of haproxy agents only Status is set
	Answers  uint64        // reports that arrived
	Failures uint64
}

// source is an agent. Backends of several pools may have the same one: it is
// asked once for all of them.
type source struct {
	address netip.AddrPort
	agent   lb.Agent
}

func (t Target) source() source {
	return source{netip.AddrPortFrom(t.Endpoint.Addr(), t.Agent.Port), t.Agent}
}

// identity is who an agent must prove to be.
func (s source) identity() string {
	if s.agent.Name != "" {
		return s.agent.Name
	}
	return s.address.Addr().String()
}

// asker asks one agent. It is used by one goroutine at a time.
type asker interface {
	// ask gives what the agent says. It returns soon after ctx has ended.
	ask(ctx context.Context) (report.Report, error)
	// close ends what is open.
	close()
}

// open makes the asker of an agent, which connects at a pace.
func open(s source, p *pace) (asker, error) {
	switch s.agent.Protocol {
	case lb.AgentWeir:
		return newHTTPS(s, p)
	case lb.AgentHAProxy:
		return newLine(s.address), nil
	}
	return nil, fmt.Errorf("agent protocol %q is not %s", s.agent.Protocol, lb.AgentProtocolNames)
}

// toLaw is a report as the law of weights takes it. late is how long the report
// was on its way at most.
func toLaw(r report.Report, late time.Duration) weight.Report {
	out := weight.Report{Boot: r.Boot, Seq: r.Seq, Age: r.Age + late, Tau: r.Tau, Rate: r.Rate, Values: r.Values}
	if w := r.Status.Weight; w != nil {
		out.Percent = float64(*w)
	}
	if n := r.Status.MaxConn; n != nil {
		out.MaxConn = float64(*n)
	}
	switch s := r.Status; {
	case s.Admin == report.Drain || s.Admin == report.Maint:
		out.Out = string(s.Admin)
	case !s.Takes():
		out.Out = string(s.Oper)
	case s.Weight != nil && *s.Weight == 0:
		out.Out = "0%"
	}
	return out
}

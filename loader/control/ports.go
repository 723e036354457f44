// Package control keeps the data plane equal to what shall be: configuration,
// overrides and health, joined into one State that it applies again
// whenever any of them changes.
package control

import (
	"context"
	"net/netip"

	"weir/loader/agents"
	"weir/loader/health"
	"weir/loader/lb"
)

// DataPlane is the kernel side as control needs it. One goroutine calls
// Configure, Apply and Sweep; the others may be called from any goroutine at
// any time.
type DataPlane interface {
	// Configure takes over what a configuration says beside its services and
	// pools: interfaces, timeouts, seed. On error nothing has changed.
	Configure(lb.Config) error
	// Apply makes the kernel hold exactly this state, in an order that is
	// safe at every step. On error the old or the new state of each service
	// is in force, never a mix, and calling it again is safe. Backends that
	// are no longer in the state finish their flows first.
	Apply(lb.State) error
	// Sweep expires idle flows and frees what nothing refers to any more.
	Sweep() (lb.FlowUse, error)
	Counters() (lb.Counters, error)
	// BackendCounters reads those of the backends of these VIPs only.
	BackendCounters([]lb.VIP) []lb.BackendCounters
	// Flows calls yield for each used slot of the flow table until it
	// returns false.
	Flows(yield func(lb.Flow) bool) error
	// FindFlow looks one 5-tuple up.
	FindFlow(lb.FlowKey) (lb.Flow, bool, error)
	// Explain says what becomes of a packet and why, without any effect on
	// flows and counters.
	Explain(lb.Probe) (lb.Explanation, error)
	// ACL says what holds for a source: of the list of all services, and of
	// each service that has its own.
	ACL(src netip.Addr) ([]lb.ACLVerdict, error)
	// Events sends until ctx ends. While nobody listens the kernel
	// side sends nothing. sample 0 means that no flow events are wanted.
	Events(ctx context.Context, sample uint32, out chan<- lb.Event) error
	// Capture sends the packets that the filter selects, until ctx ends; then
	// the channel is closed. Only one can run: another gets lb.ErrBusy.
	Capture(context.Context, lb.CaptureFilter) (<-chan lb.Captured, error)
	Info() lb.DataPlaneInfo
}

// HopResolver tells where frames for an address leave, and when that changes.
type HopResolver interface {
	// Resolve returns what is known now, asks the kernel to find out the
	// rest, and never blocks on the network. The addresses of the last call
	// are those whose changes are announced.
	Resolve([]netip.Addr) (map[netip.Addr]lb.NextHop, error)
	// Changes gets a value, coalesced, whenever a later Resolve may answer
	// differently.
	Changes() <-chan struct{}
	// Reason says why an address of the last Resolve has no next hop, "" if
	// it has one.
	Reason(netip.Addr) string
	// VLANs are the interfaces that tag, as the last Resolve knew them.
	VLANs() []lb.VLAN
	// Probe asks the kernel to find the neighbour of a client that replies
	// could not be sent to.
	Probe(netip.Addr)
}

// HealthChecker tells which backends are well. Its methods may be called from
// any goroutine.
type HealthChecker interface {
	// Watch replaces what is checked. On an error all stays as it was.
	Watch([]health.Target) error
	// Changes gets a value, coalesced, whenever States may answer differently.
	Changes() <-chan struct{}
	States() map[health.Key]health.State
	Status(health.Key) (health.Status, bool)
	// Suspect asks for a probe soon, as traffic met trouble.
	Suspect(health.Key)
}

// AgentListener asks the agents of backends. Its methods may be called from
// any goroutine.
type AgentListener interface {
	// Watch replaces who is asked. On an error all stays as it was.
	Watch([]agents.Target) error
	// Heard delivers reports.
	Heard() <-chan agents.Heard
	Status(agents.Key) (agents.Status, bool)
	Counts() agents.Counts
}

// Tier is the HTTP tier as control needs it. One goroutine calls Prepare and
// what it returns.
type Tier interface {
	// Prepare makes all ready that a configuration says: sockets are bound,
	// files read. An error says what cannot be had. One of commit, which puts it
	// in force at once, and discard is called, after the data plane has taken
	// the configuration or refused it.
	Prepare(lb.Config) (commit, discard func(), err error)
}

// noTier has nothing to prepare.
type noTier struct{}

func (noTier) Prepare(lb.Config) (commit, discard func(), err error) {
	return func() {}, func() {}, nil
}

package wire

import (
	"net/netip"
	"time"

	"weir/loader/lb"
)

// Override is one element of GET /v1/overrides.
type Override struct {
	Pool    string         `json:"pool"`
	Backend netip.AddrPort `json:"backend"`
	Drain   bool           `json:"drain"`
	Weight  lb.Weight      `json:"weight"`         // 0 of one that drains
	Until   time.Time      `json:"until,omitzero"` // zero: until it is taken back
	Reason  string         `json:"reason,omitempty"`
}

// Overrides is the answer to GET /v1/overrides.
type Overrides struct {
	Overrides []Override `json:"overrides"`
}

// PoolWeights is how the weights of a pool came about: one element of the
// answer to GET /v1/weights?pool=NAME, and the answer to GET
// /v1/weights/{pool}/{endpoint}, which has one backend.
type PoolWeights struct {
	Pool      string          `json:"pool"`
	Algorithm string          `json:"algorithm"`
	Mode      string          `json:"mode"`  // of resources; static: reports change nothing
	Panic     bool            `json:"panic"` // so much is down that health is ignored
	Backends  []BackendWeight `json:"backends"`
}

// BackendWeight is an effective weight: the product of its parts.
type BackendWeight struct {
	Backend   netip.AddrPort `json:"backend"`
	Effective float64        `json:"effective_weight"` // in units of configured weights
	Share     float64        `json:"share"`            // of the pool's new flows, 0 to 1
	Target    float64        `json:"target"`           // slow start × resources, where it is going
	Parts     []WeightPart   `json:"parts"`
	Agent     *Agent         `json:"agent,omitempty"` // none: nobody is asked
}

// Agent is what is known of a backend's agent.
type Agent struct {
	Address  netip.AddrPort     `json:"address"`
	Protocol string             `json:"protocol"`
	Age      *float64           `json:"age_seconds,omitempty"` // of the last report; none: there was none
	Error    string             `json:"error,omitempty"`       // of the last answer, if it was no report
	State    string             `json:"state,omitempty"`       // drain, maint or down, if it says so
	Reason   string             `json:"reason,omitempty"`      // of the state, as the agent says
	Values   map[string]float64 `json:"values,omitempty"`
	Missing  map[string]string  `json:"missing,omitempty"` // what the agent could not find out, and why
	Reports  uint64             `json:"reports"`
	Failures uint64             `json:"failures"`
}

// WeightPart is one factor of an effective weight.
type WeightPart struct {
	Name  string  `json:"name"` // configured or override, health, slow start, resources, limits
	Value float64 `json:"value"`
	Input string  `json:"input,omitempty"`       // what it was made from
	Age   float64 `json:"age_seconds,omitempty"` // of the input
	Why   string  `json:"why"`
}

// Weights is the answer to GET /v1/weights.
type Weights struct {
	Pools []PoolWeights `json:"pools"`
}

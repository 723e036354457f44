// Package local is the agent's unix socket, on which the backend's operator
// steers it: server, client and what they say to each other.
package local

import (
	"time"

	"weir/agent/report"
	"weir/agent/state"
)

const (
	statusPath = "/v1/status"
	statePath  = "/v1/state"
	maxBody    = 16 << 10
	timeout    = 5 * time.Second
)

// Status is how an agent is.
type Status struct {
	Backend   string             `json:"backend"`
	Version   string             `json:"version"`
	PID       int                `json:"pid"`
	Started   time.Time          `json:"started"`
	State     state.State        `json:"state"`
	Boot      string             `json:"boot"`
	Seq       uint64             `json:"seq"` // of the last report
	AgeMS     int64              `json:"age_ms"`
	TauMS     int64              `json:"tau_ms"`
	Rate      float64            `json:"rate,omitzero"`
	Values    map[string]float64 `json:"values"`
	Missing   map[string]string  `json:"missing,omitempty"`   // collectors without values now, and why
	Lacking   map[string]string  `json:"lacking,omitempty"`   // those that this host cannot have
	Cgroup    string             `json:"cgroup,omitempty"`    // that the values are about; else the host
	Listen    string             `json:"listen,omitempty"`    // reports over HTTPS
	Check     string             `json:"check,omitempty"`     // agent-checks over TCP
	CheckSays string             `json:"check_says"`          // what an agent-check is told
	Expires   time.Time          `json:"expires,omitzero"`    // the agent's certificate
	Refused   uint64             `json:"refused_connections"` // by both servers
}

// Order is what an operator asks for. What it leaves out stays as it is.
type Order struct {
	Admin      report.Admin `json:"admin,omitempty"`
	Weight     *int         `json:"weight_percent,omitempty"`
	AutoWeight bool         `json:"auto_weight,omitempty"` // takes a weight back
	Reason     string       `json:"reason,omitempty"`      // of the admin state
}

type fault struct {
	Error string `json:"error"`
}

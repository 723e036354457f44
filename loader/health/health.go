// Package health finds out which backends can serve: it probes each of them
// again and again, and tells when one went down or came back.
package health

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"weir/loader/lb"
)

// Checker probes one backend. A protocol is one Checker in one file.
type Checker interface {
	// Check probes once, and gives nil as the error if the backend can serve.
	// It returns soon after ctx has ended and leaves nothing behind: no
	// connection, goroutine or process. It may be called concurrently.
	Check(ctx context.Context) (Report, error)
}

// Report is what a probe found out beside whether it succeeded.
type Report struct {
	CertificateEnds time.Time // zero: no certificate was seen
}

// Key names one check: a backend of a pool and, where the probe is addressed
// to a VIP, that.
type Key struct {
	Pool     string
	Endpoint netip.AddrPort
	VIP      netip.AddrPort // zero: the probe goes to the backend's own address
}

func (k Key) String() string {
	if !k.VIP.IsValid() {
		return k.Pool + "/" + k.Endpoint.String()
	}
	return k.Pool + "/" + k.Endpoint.String() + " for " + k.VIP.String()
}

// Target is what is checked, and how.
type Target struct {
	Key
	Address netip.AddrPort // where the probe is addressed to
	Health  lb.Health
	Forward lb.Forward // how it is forwarded, if it is addressed to a VIP
}

func (t Target) equal(o Target) bool {
	return t.Key == o.Key && t.Address == o.Address && t.Forward == o.Forward && t.Health.Equal(o.Health)
}

// State is what is known of a target.
type State uint8

// States. A target is Unknown until its first probe has ended.
const (
	Unknown State = iota
	Up
	Down
)

var stateNames = [...]string{Unknown: "unknown", Up: "up", Down: "down"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "state-" + strconv.Itoa(int(s))
}

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *State) UnmarshalText(b []byte) error {
	for i, name := range stateNames {
		if name == string(b) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("health state %q is not unknown, up or down", b)
}

// Status is what is known of one target at one moment.
type Status struct {
	Target    Target
	State     State
	Since     time.Time // when State was reached; zero while Unknown
	Streak    int       // results in a row that contradict State
	HeldUntil time.Time // a target that flaps comes back then at the earliest; zero: not held
	Last      time.Time // when the last probe began; zero: none has ended
	Took      time.Duration
	Err       error // of the last probe, nil if it succeeded
	Report    Report
	Checks    uint64
	Failures  uint64
}

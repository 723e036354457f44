package lb

import (
	"fmt"
	"time"
)

// AgentProtocol is what a backend's agent speaks.
type AgentProtocol string

// Agent protocols. The zero value is no agent.
const (
	AgentNone    AgentProtocol = ""
	AgentWeir    AgentProtocol = "weir"    // reports over HTTPS, both sides with certificates
	AgentHAProxy AgentProtocol = "haproxy" // a line of text, as HAProxy's agent-check reads it
)

// AgentProtocolNames lists the protocols for people.
const AgentProtocolNames = "weir or haproxy"

// ParseAgentProtocol reads one of AgentProtocolNames.
func ParseAgentProtocol(s string) (AgentProtocol, error) {
	switch p := AgentProtocol(s); p {
	case AgentWeir, AgentHAProxy:
		return p, nil
	}
	return "", fmt.Errorf("agent protocol %q is not %s", s, AgentProtocolNames)
}

// Agent says how the agent of a backend is asked. It is comparable.
type Agent struct {
	Protocol    AgentProtocol
	Port        uint16
	Name        string // that its certificate is for; empty: the backend's address
	CA          string // PEM; only agents with a certificate of these are believed
	Certificate string // PEM, that we show
	Key         string // PEM, of the certificate
	Interval    time.Duration
	Timeout     time.Duration
}

// Enabled reports whether there is an agent at all.
func (a Agent) Enabled() bool { return a.Protocol != AgentNone }

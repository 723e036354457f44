package config

import (
	"crypto/tls"
	"math"
	"reflect"
	"strings"
	"time"

	"weir/loader/lb"
)

const (
	defaultAgentInterval = time.Second
	defaultAgentPort     = 9707 // report.DefaultPort, that agents of ours listen on
)

// readAgents reads how a pool's agents are asked and, into its backends, what
// is different for them. If the pool's has a fault, nothing is said of those
// that build on it.
func readAgents(r *report, p *path, raw pool, into []lb.Backend) lb.Agent {
	var out lb.Agent
	before := len(r.faults)
	if raw.Agent != nil {
		out = readAgent(r, p.key("agent"), *raw.Agent)
	}
	if len(r.faults) > before {
		return out
	}
	for i, b := range raw.Backends {
		if b.Agent != nil && i < len(into) {
			own := readAgent(r, p.key("backends").item(i).key("agent"), b.Agent.over(raw.Agent))
			into[i].Agent = &own
		}
	}
	return out
}

// over gives what a says and, where it says nothing, what base does. An agent
// of another protocol takes only its times and port from base.
func (a *agent) over(base *agent) agent {
	out := *a
	if base == nil {
		return out
	}
	from := *base
	if a.Protocol != nil && (base.Protocol == nil || *a.Protocol != *base.Protocol) {
		from = agent{Port: base.Port, Interval: base.Interval, Timeout: base.Timeout}
	}
	to, v := reflect.ValueOf(&out).Elem(), reflect.ValueOf(from)
	for i := range to.NumField() {
		if to.Field(i).IsNil() {
			to.Field(i).Set(v.Field(i))
		}
	}
	return out
}

func readAgent(r *report, p *path, raw agent) lb.Agent {
	out := lb.Agent{Protocol: lb.AgentWeir}
	if raw.Protocol != nil {
		var err error
		if out.Protocol, err = lb.ParseAgentProtocol(*raw.Protocol); err != nil {
			r.field(p.key("protocol"), "%s is not %s", quote(*raw.Protocol), lb.AgentProtocolNames)
			return out
		}
	}
	f := fields{r, p}
	switch {
	case raw.Port != nil || out.Protocol == lb.AgentWeir:
		out.Port = uint16(f.number("port", raw.Port, defaultAgentPort, 1, math.MaxUint16))
	default:
		r.missing(p.key("port"), "where the agent listens")
	}
	out.Interval = f.duration("interval", raw.Interval, defaultAgentInterval, minInterval, maxInterval)
	if !r.known(p.key("interval")) {
		out.Timeout = f.duration("timeout", raw.Timeout, out.Interval/2, minProbe, out.Interval)
	}
	keys := map[string]*string{"name": raw.Name, "ca": raw.CA, "certificate": raw.Certificate, "key": raw.Key}
	if out.Protocol == lb.AgentWeir {
		readIdentity(r, p, raw, &out)
		return out
	}
	for key, value := range keys {
		if value != nil {
			r.field(p.key(key), "is not for agents of protocol %s, which is plain text", out.Protocol)
		}
	}
	return out
}

// readIdentity reads who the agent must be and who we are.
func readIdentity(r *report, p *path, raw agent, out *lb.Agent) {
	if raw.Name != nil {
		if out.Name = *raw.Name; !isDNSName(out.Name) || out.Name == "" || strings.ContainsFunc(out.Name, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			r.field(p.key("name"), "%s is no DNS name or address", quote(out.Name))
		}
	}
	for _, f := range []struct {
		key  string
		name *string
		into *string
		read func(string) (string, error)
		what string
	}{
		{"ca", raw.CA, &out.CA, readCA, "a file of PEM certificates; only agents with a certificate of these are believed"},
		{"certificate", raw.Certificate, &out.Certificate, readPEM, "a PEM file: who we are to agents"},
		{"key", raw.Key, &out.Key, readPEM, "a PEM file: the key of the certificate"},
	} {
		if f.name == nil {
			r.missing(p.key(f.key), f.what)
			continue
		}
		var err error
		if *f.into, err = f.read(*f.name); err != nil {
			r.field(p.key(f.key), "%s %s", quote(*f.name), err)
		}
	}
	if out.Certificate == "" || out.Key == "" {
		return
	}
	if _, err := tls.X509KeyPair([]byte(out.Certificate), []byte(out.Key)); err != nil {
		r.field(p.key("certificate"), "%s and the key do not fit: %s", quote(*raw.Certificate), err)
	}
}

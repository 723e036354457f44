package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

// agentKeys makes a directory with the files that agents need: ca.crt,
// lb.crt and lb.key, and other.key, which fits none.
func agentKeys(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) {
		block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), block, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"lb", "other"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".key", "PRIVATE KEY", der)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".crt", "CERTIFICATE", cert)
		write("ca.crt", "CERTIFICATE", cert)
	}
	return dir
}

func withKeys(dir, text string) []byte {
	files := "ca: " + dir + "/ca.crt, certificate: " + dir + "/lb.crt, key: " + dir + "/lb.key"
	return []byte(head + strings.NewReplacer("KEYS", files, "DIR", dir).Replace(text))
}

func TestAgents(t *testing.T) {
	dir := agentKeys(t)
	c, err := Parse("f", withKeys(dir, `pools:
- name: p
  agent: {port: 9707, interval: 2s, KEYS}
  backends:
  - address: 10.0.0.1
  - {address: 10.0.0.2, agent: {name: www2.example.org, timeout: 100ms}}
  - {address: 10.0.0.3, agent: {protocol: haproxy}}
- {name: none, backends: [{address: 10.0.0.1}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pools[0]
	first, second, third := p.AgentOf(p.Backends[0]), p.AgentOf(p.Backends[1]), p.AgentOf(p.Backends[2])
	if first.Protocol != lb.AgentWeir || first.Port != 9707 || first.Interval != 2*time.Second || first.Timeout != time.Second ||
		!strings.Contains(first.CA, "CERTIFICATE") || !strings.Contains(first.Key, "PRIVATE KEY") || first.Name != "" {
		t.Errorf("first %+v", first)
	}
	if second.Name != "www2.example.org" || second.Timeout != 100*time.Millisecond || second.Port != 9707 || second.CA != first.CA {
		t.Errorf("second %+v", second)
	}
	if third != (lb.Agent{Protocol: lb.AgentHAProxy, Port: 9707, Interval: 2 * time.Second, Timeout: time.Second}) {
		t.Errorf("third %+v", third)
	}
	if c.Pools[1].Agent.Enabled() || p.Law.Interval != 2*time.Second {
		t.Errorf("none %+v, interval %s", c.Pools[1].Agent, p.Law.Interval)
	}
}

func TestAgentFaults(t *testing.T) {
	dir := agentKeys(t)
	for _, c := range []struct{ name, agent, want string }{
		{"no port", "{protocol: haproxy}", "agent.port: is missing; it is where the agent listens"},
		{"port", "{port: 70000, KEYS}", "agent.port: 70000 is not in 1..65535"},
		{"protocol", "{port: 1, protocol: snmp}", `agent.protocol: "snmp" is not weir or haproxy`},
		{"no files", "{port: 1}", "agent.ca: is missing; it is a file of PEM certificates"},
		{"no such file", "{port: 1, ca: DIR/none.pem, certificate: DIR/lb.crt, key: DIR/lb.key}", "no such file"},
		{"relative", "{port: 1, ca: ca.crt, certificate: DIR/lb.crt, key: DIR/lb.key}", `"ca.crt" is not an absolute path`},
		{"not PEM", "{port: 1, ca: DIR/lb.key, certificate: DIR/lb.crt, key: DIR/lb.key}", "has no PEM certificate"},
		{"other key", "{port: 1, ca: DIR/ca.crt, certificate: DIR/lb.crt, key: DIR/other.key}", "and the key do not fit"},
		{"haproxy with files", "{port: 1, protocol: haproxy, ca: DIR/ca.crt}", "agent.ca: is not for agents of protocol haproxy, which is plain text"},
		{"interval", "{port: 1, protocol: haproxy, interval: 1ms}", "agent.interval: 1ms is not in 100ms..1h0m0s"},
		{"timeout", "{port: 1, protocol: haproxy, timeout: 2s}", "agent.timeout: 2s is not in 10ms..1s"},
		{"name", "{port: 1, name: 'a b', KEYS}", `agent.name: "a b" is no DNS name or address`},
		{"unknown key", "{port: 1, tls: 1}", "agent.tls: unknown key"},
	} {
		_, err := Parse("f", withKeys(dir, "pools: [{name: p, backends: [{address: 10.0.0.1}], agent: "+c.agent+"}]\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

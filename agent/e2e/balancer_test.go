package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/agent/local"
	"weir/agent/report"
	"weir/loader/agents"
	"weir/loader/lb"
)

// TestBalancerHears has weir's own balancer side ask a real agent, with the
// files that weir agent keys makes.
func TestBalancerHears(t *testing.T) {
	a := startAgent(t)
	https := lb.Agent{
		Protocol: lb.AgentWeir, Port: portOf(t, a.status.Listen), Interval: 200 * time.Millisecond, Timeout: 5 * time.Second,
		CA: read(t, a.keys+"/ca.crt"), Certificate: read(t, a.keys+"/lb.crt"), Key: read(t, a.keys+"/lb.key"),
	}
	line := lb.Agent{Protocol: lb.AgentHAProxy, Port: portOf(t, a.status.Check), Interval: https.Interval, Timeout: https.Timeout}
	for name, way := range map[string]lb.Agent{"https": https, "agent-check": line} {
		t.Run(name, func(t *testing.T) { hears(t, a.client, way, name == "https") })
	}
}

// running is an agent with its keys.
type running struct {
	keys   string // directory
	client *local.Client
	status local.Status
}

// startAgent starts one that serves reports and agent-checks on loopback, until
// the test ends.
func startAgent(t testing.TB, more ...string) running {
	t.Helper()
	dir := t.TempDir()
	keys, socket := filepath.Join(dir, "keys"), filepath.Join(dir, "agent.sock")
	if out, err := exec.Command(weir, "agent", "keys", "--dir", keys, "--balancer", "lb", "--backend", "127.0.0.1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	background(t, exec.Command(weir, append([]string{"agent", "run", "--listen", "127.0.0.1:0", "--agent-check", "127.0.0.1:0",
		"--ca", keys + "/ca.crt", "--cert", keys + "/agent-127.0.0.1.crt", "--key", keys + "/agent-127.0.0.1.key",
		"--socket", socket, "--state-dir", dir + "/state"}, more...)...))
	checkAddress(t, socket) // it runs
	a := running{keys: keys, client: local.New(socket)}
	var err error
	if a.status, err = a.client.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// balancer is a client that keeps its connection, as weir's does.
func (a running) balancer(t testing.TB) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.keys+"/lb.crt", a.keys+"/lb.key")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(read(t, a.keys+"/ca.crt")))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// ask gets one report.
func (a running) ask(c *http.Client) (report.Report, error) {
	response, err := c.Get("https://" + a.status.Listen + report.Path)
	if err != nil {
		return report.Report{}, err
	}
	defer response.Body.Close()
	return report.Read(response.Body)
}

// resident is the agent's memory in MiB.
func (a running) resident(t testing.TB) float64 {
	t.Helper()
	_, after, _ := strings.Cut(read(t, fmt.Sprintf("/proc/%d/status", a.status.PID)), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func portOf(t *testing.T, address string) uint16 {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

// hears has one asker hear of orders that the agent's operator gives.
func hears(t *testing.T, agent *local.Client, a lb.Agent, values bool) {
	backend := lb.Backend{Addr: netip.MustParseAddr("127.0.0.1"), Port: 80}
	set := agents.NewSet()
	if err := set.Watch(agents.Targets(lb.Config{Pools: []lb.Pool{{Name: "web", Agent: a, Backends: []lb.Backend{backend}}}})); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- set.Run(ctx) }()
	defer func() { stop(); <-ended }()
	await := func(what string, so func(agents.Heard) bool) {
		t.Helper()
		late := time.After(30 * time.Second)
		for {
			select {
			case h := <-set.Heard():
				if so(h) {
					return
				}
			case <-late:
				s, _ := set.Status(agents.Key{Pool: "web", Endpoint: backend.Endpoint()})
				t.Fatalf("not heard in 30 s: %s; %+v", what, s)
			}
		}
	}
	order := func(o local.Order) {
		t.Helper()
		if _, err := agent.Order(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var last uint64
	await("values", func(h agents.Heard) bool {
		if h.Report.Out != "" || values && h.Report.Seq <= last {
			t.Fatalf("heard %+v after sequence %d", h.Report, last)
		}
		last = h.Report.Seq
		_, cpu := h.Report.Values["cpu"]
		return cpu == values
	})
	order(local.Order{Admin: "drain"})
	await("drain", func(h agents.Heard) bool { return h.Report.Out == "drain" })
	order(local.Order{Admin: "ready", Weight: new(40)})
	await("ready with a weight", func(h agents.Heard) bool { return h.Report.Out == "" && h.Report.Percent == 40 })
	order(local.Order{AutoWeight: true})
}

package e2e

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"weir/agent/local"
	"weir/loader/agents"
	"weir/loader/lb"
)

// TestBalancerHears has weir's own balancer side ask a real agent, with the
// files that weir agent keys makes.
func TestBalancerHears(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	if out, err := exec.Command(weir, "agent", "keys", "--dir", keys, "--balancer", "lb", "--backend", "127.0.0.1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	socket := filepath.Join(dir, "agent.sock")
	background(t, exec.Command(weir, "agent", "run", "--listen", "127.0.0.1:0", "--agent-check", "127.0.0.1:0",
		"--ca", keys+"/ca.crt", "--cert", keys+"/agent-127.0.0.1.crt", "--key", keys+"/agent-127.0.0.1.key",
		"--socket", socket, "--state-dir", dir+"/state"))
	checkAddress(t, socket) // it runs
	agent := local.New(socket)
	status, err := agent.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	https := lb.Agent{
		Protocol: lb.AgentWeir, Port: portOf(t, status.Listen), Interval: 200 * time.Millisecond, Timeout: 5 * time.Second,
		CA: read(t, keys+"/ca.crt"), Certificate: read(t, keys+"/lb.crt"), Key: read(t, keys+"/lb.key"),
	}
	line := lb.Agent{Protocol: lb.AgentHAProxy, Port: portOf(t, status.Check), Interval: https.Interval, Timeout: https.Timeout}
	for name, a := range map[string]lb.Agent{"https": https, "agent-check": line} {
		t.Run(name, func(t *testing.T) { hears(t, agent, a, name == "https") })
	}
}

func read(t *testing.T, path string) string {
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

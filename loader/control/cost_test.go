package control_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/agent/report"
	"weir/loader/agents"
	"weir/loader/control"
	"weir/loader/control/controltest"
	"weir/loader/health"
	"weir/loader/health/syn"
	"weir/loader/lb"
)

const (
	costAgents  = 1000
	costPools   = 20 // with agents
	costChecks  = 10_000
	costDuring  = 10 * time.Second
	costEnv     = "WEIR_COST_SERVER"
	costKeysEnv = "WEIR_COST_KEYS"
)

// TestCost says what asking 1,000 agents and checking 10,000 backends once a
// second cost this process, control loop and laws included. What they ask is a
// process of its own; on loopback the kernel does most of its half of each
// handshake on our account.
func TestCost(t *testing.T) {
	if os.Getenv(costEnv) == "1" {
		serveCost(t)
	}
	if os.Getenv("WEIR_LONG") != "1" {
		t.Skip("takes 30 s: WEIR_LONG=1")
	}
	keys := t.TempDir()
	if err := writeKeys(keys); err != nil {
		t.Fatal(err)
	}
	tcp, https := startCostServer(t, keys)

	knocker := syn.NewProber()
	checks, asked := health.NewSet(health.Options{Seed: 1, SYN: knocker}), agents.NewSet()
	data := controltest.NewDataPlane()
	c := control.New(control.Options{Config: costConfig(t, keys, tcp, https), DataPlane: data, Hops: controltest.NewHops(),
		Health: checks, Agents: asked, HopWait: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 4)
	for _, run := range []func(context.Context) error{knocker.Run, checks.Run, asked.Run, c.Run} {
		go func() { ended <- run(ctx) }()
	}
	time.Sleep(8 * time.Second) // the first of each, and connections
	probes, reports := checks.Counts(), asked.Counts()
	before := cpuTime()
	time.Sleep(costDuring)
	used := cpuTime() - before
	probes2, reports2 := checks.Counts(), asked.Counts()
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	cancel()
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	probed, heard := probes2.Checks-probes.Checks, reports2.Reports-reports.Reports
	t.Logf("%d checks and %d reports in %s: %.1f %% of a core; %d MiB resident at most, %d MiB of heap; %d late, failures %v, refused %v",
		probed, heard, costDuring, 100*used.Seconds()/costDuring.Seconds(), usage.Maxrss>>10, m.HeapAlloc>>20,
		probes2.Late, reports2.Failures, c.Stats().ReportsRefused)
	if probed < costChecks*9 || heard < costAgents*9 || len(c.Stats().ReportsRefused) > 0 {
		t.Error("fewer than there should be")
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// costAddr is the loopback address of a backend.
func costAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 3, byte(i >> 8), byte(i)}) }

// costConfig has pools whose weights follow reports, and others that are
// checked.
func costConfig(t *testing.T, keys string, tcp, https uint16) lb.Config {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(keys, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	agent := lb.Agent{Protocol: lb.AgentWeir, Port: https, CA: read("ca.crt"), Certificate: read("lb.crt"), Key: read("lb.key"),
		Interval: time.Second, Timeout: 500 * time.Millisecond}
	check := lb.Health{Type: lb.HealthTCP, Port: tcp, Interval: time.Second, FastInterval: 250 * time.Millisecond,
		Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3, Jitter: 10}
	cfg := lb.Config{StateDir: t.TempDir(), EventSample: 1}
	perPool := costAgents / costPools
	for p := range costChecks / perPool {
		pool := lb.Pool{Name: fmt.Sprint("pool", p), Algorithm: lb.Maglev, TableSize: 8191, Health: check, Law: lb.DefaultLaw()}
		if p < costPools {
			pool.Agent, pool.Law.Mode = agent, lb.ModeCapacity
		}
		for i := range perPool {
			pool.Backends = append(pool.Backends, lb.Backend{Addr: costAddr(p*perPool + i), Port: 80, Weight: 1, Limits: []lb.Limit{lb.RatioLimit("cpu", 0.9)}})
		}
		cfg.Pools = append(cfg.Pools, pool)
		vip := lb.VIP{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(p)}), Port: 80, Proto: lb.TCP}
		cfg.Services = append(cfg.Services, lb.Service{Name: pool.Name, VIP: vip, Forward: lb.NAT, Pool: pool.Name})
	}
	return cfg
}

func startCostServer(t *testing.T, keys string) (tcp, https uint16) {
	t.Helper()
	server := exec.Command(os.Args[0], "-test.run", "^TestCost$")
	server.Env = append(os.Environ(), costEnv+"=1", costKeysEnv+"="+keys)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	if err := json.NewDecoder(out).Decode(&[]any{&tcp, &https}); err != nil {
		t.Fatal(err)
	}
	return tcp, https
}

// serveCost is the process of the backends and their agents.
func serveCost(t *testing.T) {
	issue, err := issuer(os.Getenv(costKeysEnv))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp4", "0.0.0.0:0", &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: issue, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	var seq atomic.Uint64
	values := map[string]float64{}
	for _, m := range report.Metrics() {
		values[m.Name] = 0.5
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).AddrPort().Addr()
		body, err := report.Encode(report.Report{Backend: local.Unmap().String(), Boot: "b", Seq: seq.Add(1), Tau: time.Second, Rate: 100, Values: values})
		if err == nil {
			_, _ = w.Write(body)
		}
	})}
	go func() { _ = srv.Serve(listener) }()
	if err := json.NewEncoder(os.Stdout).Encode([]int{plain.Addr().(*net.TCPAddr).Port, listener.Addr().(*net.TCPAddr).Port}); err != nil {
		t.Fatal(err)
	}
	for {
		if c, err := plain.Accept(); err == nil {
			c.Close()
		}
	}
}

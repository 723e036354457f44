package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/agent/local"
	"weir/agent/report"
)

// BenchmarkAgent has an agent with all its collectors, a command and a
// Prometheus page live for seconds, in each of which it tells two balancers
// and one HAProxy, and prints what part of a core it uses and its memory:
//
//	go test -run '^$' -bench Agent -benchtime 60x ./agent/e2e
func BenchmarkAgent(b *testing.B) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 1000 {
			fmt.Fprintf(w, "requests_total{path=\"/%d\"} 5\n", i)
		}
	}))
	defer page.Close()
	a := newBudgeted(b, page.URL)
	balancers := []*http.Client{a.balancer(), a.balancer()}
	for range 3 { // until it is warm
		a.second(balancers)
	}
	used, began := a.cpu(), time.Now()
	for b.Loop() {
		a.second(balancers)
	}
	core := (a.cpu() - used).Seconds() / time.Since(began).Seconds()
	b.ReportMetric(100*core, "%core")
	b.ReportMetric(a.resident(), "MiB")
}

// budgeted is an agent whose cost is counted.
type budgeted struct {
	b      *testing.B
	dir    string
	pid    int
	status local.Status
}

func newBudgeted(b *testing.B, page string) *budgeted {
	a := &budgeted{b: b, dir: b.TempDir()}
	keys := filepath.Join(a.dir, "keys")
	if out, err := exec.Command(weir, "agent", "keys", "--dir", keys, "--balancer", "lb", "--backend", "127.0.0.1").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	config := filepath.Join(a.dir, "agent.yaml")
	text := fmt.Sprintf(`metrics:
  - {name: requests, prometheus: %q, series: 'requests_total{path="/7"}', counter: true}
  - {name: queue, command: [/bin/echo, "7"], interval: 10s}
`, page)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(a.dir, "agent.sock")
	cmd := exec.Command(weir, "agent", "run", "-c", config, "--listen", "127.0.0.1:0", "--agent-check", "127.0.0.1:0",
		"--ca", keys+"/ca.crt", "--cert", keys+"/agent-127.0.0.1.crt", "--key", keys+"/agent-127.0.0.1.key",
		"--socket", socket, "--state-dir", a.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	a.pid = cmd.Process.Pid
	var err error
	for range 200 {
		if a.status, err = local.New(socket).Status(b.Context()); err == nil {
			return a
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.Fatal(err)
	return nil
}

// balancer keeps its connection, as weir's does.
func (a *budgeted) balancer() *http.Client {
	a.b.Helper()
	keys := filepath.Join(a.dir, "keys")
	pair, err := tls.LoadX509KeyPair(keys+"/lb.crt", keys+"/lb.key")
	if err != nil {
		a.b.Fatal(err)
	}
	ca, err := os.ReadFile(keys + "/ca.crt")
	if err != nil {
		a.b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	a.b.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// second is one of the agent's life.
func (a *budgeted) second(balancers []*http.Client) {
	a.b.Helper()
	next := time.Now().Add(time.Second)
	for _, c := range balancers {
		response, err := c.Get("https://" + a.status.Listen + report.Path)
		if err != nil {
			a.b.Fatal(err)
		}
		_, err = report.Read(response.Body)
		response.Body.Close()
		if err != nil {
			a.b.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", a.status.Check)
	if err != nil {
		a.b.Fatal(err)
	}
	defer conn.Close()
	line := make([]byte, 100)
	n, err := conn.Read(line)
	if err != nil {
		a.b.Fatal(err)
	}
	if _, err := report.ParseCheck(string(line[:n])); err != nil {
		a.b.Fatal(err)
	}
	time.Sleep(time.Until(next))
}

// cpu is what the agent's threads have used, to the nanosecond
// (Documentation/scheduler/sched-stats.rst).
func (a *budgeted) cpu() (sum time.Duration) {
	a.b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", a.pid))
	if err != nil || len(threads) == 0 {
		a.b.Fatalf("threads %v, %v", threads, err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			a.b.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			a.b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// resident is the agent's memory in MiB.
func (a *budgeted) resident() float64 {
	a.b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.pid))
	if err != nil {
		a.b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	if err != nil {
		a.b.Fatal(err)
	}
	return kib / 1024
}

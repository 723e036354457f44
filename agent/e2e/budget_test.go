package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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
	config := writeFile(b, filepath.Join(b.TempDir(), "agent.yaml"), fmt.Sprintf(`metrics:
  - {name: requests, prometheus: %q, series: 'requests_total{path="/7"}', counter: true}
  - {name: queue, command: [/bin/echo, "7"], interval: 10s}
`, page.URL))
	a := startAgent(b, "-c", config)
	balancers := []*http.Client{a.balancer(b), a.balancer(b)}
	for range 3 { // until it is warm
		a.second(b, balancers)
	}
	used, began := a.cpu(b), time.Now()
	for b.Loop() {
		a.second(b, balancers)
	}
	core := (a.cpu(b) - used).Seconds() / time.Since(began).Seconds()
	b.ReportMetric(100*core, "%core")
	b.ReportMetric(a.resident(b), "MiB")
}

// second is one of the agent's life.
func (a running) second(b *testing.B, balancers []*http.Client) {
	b.Helper()
	next := time.Now().Add(time.Second)
	for _, c := range balancers {
		if _, err := a.ask(c); err != nil {
			b.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", a.status.Check)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	line := make([]byte, 100)
	n, err := conn.Read(line)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := report.ParseCheck(string(line[:n])); err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Until(next))
}

// cpu is what the agent's threads have used, to the nanosecond
// (Documentation/scheduler/sched-stats.rst).
func (a running) cpu(b *testing.B) (sum time.Duration) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", a.status.PID))
	if err != nil || len(threads) == 0 {
		b.Fatalf("threads %v, %v", threads, err)
	}
	for _, path := range threads {
		ns, err := strconv.ParseInt(strings.Fields(read(b, path))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

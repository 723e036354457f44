package collect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/agent/collect"
)

func TestCommand(t *testing.T) {
	m := newMachine(t)
	c := collect.NewCommand("queue", []string{"/bin/echo", "17.5"}, false, 10*time.Second)
	if c.Name() != "custom.queue" {
		t.Errorf("name %s", c.Name())
	}
	m.want(m.collect(c, 0), map[string]float64{"custom.queue": 17.5})
}

func TestCommandCounter(t *testing.T) {
	m := newMachine(t)
	m.write("count", "100\n")
	c := collect.NewCommand("done", []string{"/bin/cat", m.root + "/count"}, true, 10*time.Second)
	m.want(m.collect(c, 0), nil)
	m.write("count", "150\n")
	m.want(m.collect(c, 5*time.Second), map[string]float64{"custom.done": 10})
}

func TestCommandRefused(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct{ script, want string }{
		{"echo lots", `printed "lots"`},
		{"true", `printed ""`},
		{"echo 1 2", `printed "1 2"`},
		{"echo 5; exit 3", "exit status 3"},
		{"head -c 100000 /dev/zero", "more than one number"},
		{"echo 1; sleep 100", "no end after 500ms"},
		{"(sleep 100) & echo 1; sleep 100", "no end after 500ms"},
	} {
		began := time.Now()
		command := collect.NewCommand("x", []string{"/bin/sh", "-c", c.script}, false, 500*time.Millisecond)
		if v, err := command.Collect(t.Context(), m.now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want an error with %s", c.script, v, err, c.want)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s took %s", c.script, took)
		}
	}
	none := collect.NewCommand("x", []string{"/none/such"}, false, time.Second)
	if _, err := none.Collect(t.Context(), m.now); err == nil {
		t.Error("a program that is not there has a value")
	}
}

// TestCommandLeavesNobody has a program that starts another and hangs.
func TestCommandLeavesNobody(t *testing.T) {
	m := newMachine(t)
	script := "sleep 1000 & echo $! > " + m.root + "/pid; wait"
	c := collect.NewCommand("x", []string{"/bin/sh", "-c", script}, false, time.Second)
	if _, err := c.Collect(t.Context(), m.now); err == nil {
		t.Fatal("no error")
	}
	text, err := os.ReadFile(m.root + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") { // gone, or not buried yet
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d still runs", pid)
}

const page = `# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{code="200",method="get"} 100
requests_total{code="200",method="put"} 20
requests_total{code="500",method="get"} 3
requests_total_errors 9
# TYPE queue gauge
queue 7
# TYPE took histogram
took_bucket{le="1"} 5
took_bucket{le="+Inf"} 6
took_sum 4.5
took_count 6
odd NaN
`

func selector(t *testing.T, text string) collect.Selector {
	t.Helper()
	s, err := collect.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPrometheus(t *testing.T) {
	m := newMachine(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) }))
	defer server.Close()
	for series, want := range map[string]float64{
		"queue": 7, "requests_total": 123, `requests_total{code="200"}`: 120, `requests_total{code="200",method="put"}`: 20,
		"took_sum": 4.5, `took_bucket{le="+Inf"}`: 6,
	} {
		p := collect.NewPrometheus("x", server.URL, selector(t, series), false, 10*time.Second)
		m.want(m.collect(p, 0), map[string]float64{"custom.x": want})
	}
	for _, series := range []string{"requests", `requests_total{code="404"}`, `queue{a="b"}`} {
		p := collect.NewPrometheus("x", server.URL, selector(t, series), false, 10*time.Second)
		if v, err := p.Collect(t.Context(), m.now); err == nil || !strings.Contains(err.Error(), "no such series") {
			t.Errorf("%s: %v, %v", series, v, err)
		}
	}
}

func TestPrometheusCounter(t *testing.T) {
	m := newMachine(t)
	total := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		total += 30
		fmt.Fprintf(w, "requests_total %d\n", total)
	}))
	defer server.Close()
	p := collect.NewPrometheus("rate", server.URL, selector(t, "requests_total"), true, 10*time.Second)
	m.want(m.collect(p, 0), nil)
	m.want(m.collect(p, 3*time.Second), map[string]float64{"custom.rate": 10})
}

func TestPrometheusRefused(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct {
		answer http.HandlerFunc
		want   string
	}{
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "418"},
		{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "302"},
		{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x lots\n") }, "expected float"},
		{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 1<<20)) }, "too long"},
		{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x{a=\"b\"} 1\n", 200_000)) }, "more than"},
		{func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline"},
	} {
		server := httptest.NewServer(c.answer)
		p := collect.NewPrometheus("x", server.URL, selector(t, "x"), false, 500*time.Millisecond)
		if v, err := p.Collect(t.Context(), m.now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %v; want an error with %q", v, err, c.want)
		}
		server.Close()
	}
}

func TestParseSelectorRefuses(t *testing.T) {
	for _, text := range []string{"", "a b", "a{", `a{b="c"`, "a{b}", "1a", "a\nb", "# a", "a{b=~\"c\"}", "a 5"} {
		if s, err := collect.ParseSelector(text); err == nil {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, seed := range []string{"queue", `requests_total{code="200"}`, `{"a.b"}`, "a{b=\"\\n\"}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := collect.ParseSelector(text); err == nil && fmt.Sprint(s) == "{ map[]}" {
			t.Errorf("%q names nothing", text)
		}
	})
}

package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/agent/config"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) (config.Config, error) {
	t.Helper()
	c, err := config.Load(file(t, text))
	if err != nil {
		return c, err
	}
	return c, c.Check()
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "# nothing\n")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	if !reflect.DeepEqual(c, want) || want.Listen != ":9707" || want.Tau != 3*time.Second {
		t.Errorf("an empty file: %+v, want %+v", c, want)
	}
}

func TestLoad(t *testing.T) {
	c, err := load(t, `
backend: 10.0.0.11
listen: 10.0.0.11:9707
tls: {ca: /a, cert: /b, key: /c}
agent_check: {listen: ":9708", weight_from: [cpu, memory]}
socket: /s
state_dir: /d
cgroup: /system.slice/web.service
tau: 5s
rate: custom.requests
weight_percent: 0
maxconn: 100
metrics:
  - name: queue
    command: [/usr/local/bin/queue, --length]
    interval: 5s
    timeout: 1s
  - name: requests
    prometheus: http://127.0.0.1:9113/metrics
    series: requests_total{code="200"}
    counter: true
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Backend != "10.0.0.11" || c.TLS.Key != "/c" || len(c.AgentCheck.From) != 2 || c.Tau != 5*time.Second || *c.Weight != 0 || *c.MaxConn != 100 {
		t.Errorf("read %+v", c)
	}
	m := c.Metrics[0]
	if len(m.Command) != 2 || m.Interval != 5*time.Second || m.Timeout != time.Second {
		t.Errorf("metric %+v", m)
	}
	if m = c.Metrics[1]; !m.Counter || m.Interval != time.Second || m.Timeout != 2*time.Second {
		t.Errorf("metric %+v", m)
	}
}

func TestRefused(t *testing.T) {
	metric := func(text string) string { return "metrics:\n  - {" + text + "}\n" }
	for text, want := range map[string]string{
		"backends: x\n":                          "line 1: unknown key backends",
		"tls: {ca: /a, crt: /b}\n":               "line 1: unknown key crt",
		"\ntau: soon\n":                          "line 2: cannot unmarshal",
		"tau: 5s\ntau: 6s\n":                     "already defined at line 1",
		"listen: [a\n":                           "line 1",
		"tau: 5s\n---\ntau: 6s\n":                "more than one document",
		"listen: ''\n":                           "both empty",
		"listen: 9707\n":                         `listen: "9707" is not HOST:PORT`,
		"listen: :97070\n":                       `listen: port of ":97070"`,
		"agent_check: {listen: ':+1'}\n":         `agent_check.listen: port of ":+1"`,
		"backend: 10.0.0\n":                      `backend: "10.0.0" is neither`,
		"backend: 10.0.0.1:80\n":                 `backend: "10.0.0.1:80" is neither`,
		"tau: 1ms\n":                             "tau: 1ms is not",
		"tau: 2m\n":                              "tau: 2m0s is not",
		"socket: ''\n":                           "must not be empty",
		"weight_percent: -1\n":                   "weight_percent is -1",
		"maxconn: -1\n":                          "maxconn is -1",
		"rate: custom.x\n":                       `no metric has the name "x"`,
		"rate: a b\n":                            `rate: "a b" is not a metric`,
		"agent_check: {weight_from: [load]}\n":   `"load" is not a ratio`,
		"agent_check: {weight_from: [custom.x]}": `"custom.x" is not a ratio`,
		metric("name: x"):                        "metrics[0]: needs a command or a Prometheus page",
		metric("name: '', command: [/a]"):        "metrics[0]: name",
		metric("name: 'a b', command: [/a]"):     "metrics[0]: name",
		metric("name: x, command: [a]"):          `command: "a" is not an absolute path`,
		metric("name: x, command: [/a], prometheus: http://a"):               "not both",
		metric("name: x, command: [/a], series: b"):                          "a command has none",
		metric("name: x, command: [/a], interval: 1ms"):                      "interval: 1ms",
		metric("name: x, command: [/a], interval: 2m"):                       "interval: 2m0s",
		metric("name: x, command: [/a], timeout: 2m"):                        "timeout: 2m0s",
		metric("name: x, prometheus: 'ftp://a', series: b"):                  "is not a URL",
		metric("name: x, prometheus: 'http://a'"):                            `series "" is not`,
		metric("name: x, prometheus: 'http://a', series: 'b c d'"):           "series:",
		metric("name: x, command: [/a]") + "  - {name: x, command: [/b]}\n":  `metrics[1].name: "x" is there twice`,
		"metrics: [" + strings.Repeat("{name: x, command: [/a]},", 65) + "]": "metrics: 65 are over 64",
		strings.Repeat("#", 2<<20):                                           "longer than",
	} {
		if c, err := load(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v (%+v), want an error with %q", text, err, c, want)
		}
	}
	if _, err := config.Load("/none/such"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("backend: 10.0.0.11\nmetrics: [{name: x, command: [/a]}]\n")
	f.Add("tau: !!float 5\nweight_percent: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(t, text)
		if err == nil && (c.Tau <= 0 || c.Socket == "" || c.Listen == "" && c.AgentCheck.Listen == "") {
			t.Errorf("%q became %+v", text, c)
		}
	})
}

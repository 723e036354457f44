package agent_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/agent"
	"weir/agent/config"
	"weir/agent/keys"
	"weir/agent/local"
	"weir/agent/report"
)

// backend is a host whose agent runs until the test ends.
type backend struct {
	t      *testing.T
	dir    string
	config config.Config
	stop   func()
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	dir := t.TempDir()
	if _, err := keys.Make(keys.Options{
		Dir: dir, Backends: []string{"127.0.0.1"}, Balancers: []string{"lb"}, Valid: time.Hour, AuthorityValid: time.Hour, Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Listen, c.AgentCheck.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.TLS = config.TLS{CA: dir + "/ca.crt", Cert: dir + "/agent-127.0.0.1.crt", Key: dir + "/agent-127.0.0.1.key"}
	c.Socket, c.StateDir = filepath.Join(dir, "agent.sock"), filepath.Join(dir, "state")
	return &backend{t: t, dir: dir, config: c}
}

func (b *backend) start() {
	b.t.Helper()
	if err := b.config.Check(); err != nil {
		b.t.Fatal(err)
	}
	a, err := agent.Start(b.t.Context(), agent.Options{Config: b.config, Version: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	b.stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				b.t.Error(err)
			}
		case <-time.After(30 * time.Second):
			b.t.Error("the agent does not end")
		}
		b.stop = func() {}
	}
	b.t.Cleanup(func() { b.stop() })
}

func (b *backend) status() local.Status {
	b.t.Helper()
	s, err := local.New(b.config.Socket).Status(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *backend) order(o local.Order) {
	b.t.Helper()
	if _, err := local.New(b.config.Socket).Order(b.t.Context(), o); err != nil {
		b.t.Fatal(err)
	}
}

func (b *backend) report() report.Report {
	b.t.Helper()
	text, err := os.ReadFile(b.dir + "/ca.crt")
	if err != nil {
		b.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(b.dir+"/lb.crt", b.dir+"/lb.key")
	if err != nil {
		b.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + b.status().Listen + report.Path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	r, err := report.Read(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *backend) check() report.Status {
	b.t.Helper()
	c, err := net.Dial("tcp", b.status().Check)
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	line, err := io.ReadAll(c)
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := report.ParseCheck(string(line))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// await asks until something is so.
func (b *backend) await(what string, so func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("not in 30 s: %s", what)
		}
	}
}

func TestReports(t *testing.T) {
	b := newBackend(t)
	b.config.Metrics = []config.Metric{{Name: "queue", Command: []string{"/bin/echo", "7"}}, {Name: "broken", Command: []string{"/bin/false"}}}
	b.config.Rate = "custom.queue"
	b.config.MaxConn = new(100)
	b.start()
	b.await("values of every kind", func() bool {
		r := b.report()
		_, cpu := r.Values["cpu"]
		_, memory := r.Values["memory"]
		return cpu && memory && r.Rate == 7 && strings.Contains(r.Missing["custom.broken"], "exit status 1")
	})
	first, second := b.report(), b.report()
	if first.Backend != "127.0.0.1" || first.Boot == "" || first.Boot != second.Boot || second.Seq != first.Seq+1 || first.Tau != 3*time.Second {
		t.Errorf("reports %+v and %+v", first, second)
	}
	if s := first.Status; s.Admin != report.Ready || s.Oper != report.Up || s.Weight != nil || *s.MaxConn != 100 {
		t.Errorf("status %+v", s)
	}
	b.stop()
	b.start()
	if again := b.report(); again.Boot == first.Boot || again.Seq != 1 {
		t.Errorf("after a restart %+v", again)
	}
}

// TestOrders follows the operator's orders to both kinds of balancers, and
// over a restart.
func TestOrders(t *testing.T) {
	b := newBackend(t)
	b.config.Weight = new(80)
	b.start()
	if s := b.check(); s.Admin != report.Ready || *s.Weight != 80 {
		t.Errorf("at first %+v", s)
	}
	b.order(local.Order{Admin: report.Drain, Reason: "an upgrade"})
	b.order(local.Order{Weight: new(50)})
	b.stop()
	b.start()
	if s := b.report().Status; s.Admin != report.Drain || *s.Weight != 50 || s.Reason != "an upgrade" || s.Takes() {
		t.Errorf("report after a restart %+v", s)
	}
	if s := b.check(); s.Admin != report.Drain || s.Weight != nil || s.Reason != "an upgrade" {
		t.Errorf("agent-check after a restart %+v", s)
	}
	b.order(local.Order{Admin: report.Ready, AutoWeight: true})
	if s := b.report().Status; s.Admin != report.Ready || *s.Weight != 80 || s.Reason != "" {
		t.Errorf("at last %+v", s)
	}
}

func TestOrdersRefused(t *testing.T) {
	b := newBackend(t)
	b.start()
	for _, c := range []struct {
		order local.Order
		want  string
	}{
		{local.Order{}, "asks for a state or a weight"},
		{local.Order{Admin: "sideways"}, "is not ready, drain or maint"},
		{local.Order{Weight: new(-1)}, "weight_percent is -1"},
		{local.Order{Weight: new(50), AutoWeight: true}, "set a weight and take it back"},
		{local.Order{Weight: new(50), Reason: "x"}, "a reason belongs to a state"},
		{local.Order{Admin: report.Drain, Reason: "a\nb"}, "do not print"},
	} {
		if s, err := local.New(b.config.Socket).Order(t.Context(), c.order); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %+v, %v; want an error with %q", c.order, s, err, c.want)
		}
	}
	post := func(body string) string {
		client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", b.config.Socket)
		}}}
		defer client.CloseIdleConnections()
		response, err := client.Post("http://agent/v1/state", "application/json", strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.Status + string(text)
	}
	for body, want := range map[string]string{
		`{"admin":"drain","more":1}`: "unknown field", `nonsense`: "not an order",
		`{"reason":"` + strings.Repeat("x", 1<<20) + `"}`: "too large",
	} {
		if got := post(body); !strings.Contains(got, want) || !strings.Contains(got, "400") {
			t.Errorf("%.40s: %.200s, want %q", body, got, want)
		}
	}
	if s := b.status(); s.State.Admin != report.Ready || s.State.Weight != nil {
		t.Errorf("after refused orders %+v", s.State)
	}
}

// TestOnlyAgentCheck is an agent for HAProxy alone, which needs no certificate.
func TestOnlyAgentCheck(t *testing.T) {
	b := newBackend(t)
	b.config.Listen, b.config.TLS = "", config.TLS{}
	b.start()
	b.await("a weight by load", func() bool { s := b.check(); return s.Weight != nil && *s.Weight >= 5 && *s.Weight <= 100 })
	if s := b.status(); s.Listen != "" || s.CheckSays == "" || s.Backend != "" {
		t.Errorf("status %+v", s)
	}
}

func TestStartRefused(t *testing.T) {
	running := newBackend(t)
	running.start()
	for name, c := range map[string]struct {
		change func(*backend)
		want   string
	}{
		"another's identity": {func(b *backend) { b.config.Backend = "10.0.0.11" }, "speak only for itself"},
		"no certificate":     {func(b *backend) { b.config.TLS.Cert = "/none/such" }, "/none/such"},
		"socket taken":       {func(b *backend) { b.config.Socket = running.config.Socket }, "another daemon serves it"},
		"address taken":      {func(b *backend) { b.config.Listen = running.status().Listen }, "address already in use"},
		"no such cgroup":     {func(b *backend) { b.config.Cgroup = "/none/such" }, "cgroup /none/such"},
		"state is nonsense": {func(b *backend) {
			os.MkdirAll(b.config.StateDir, 0o755)
			os.WriteFile(b.config.StateDir+"/agent.json", []byte("{"), 0o600)
		}, "agent.json"},
	} {
		b := newBackend(t)
		c.change(b)
		a, err := agent.Start(t.Context(), agent.Options{Config: b.config})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
		if err == nil {
			a.Close()
			continue
		}
		if b.config.Socket == running.config.Socket {
			continue
		}
		if _, err := os.Stat(b.config.Socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the socket stays: %v", name, err)
		}
	}
	running.status() // is not disturbed
}

func TestNoAgent(t *testing.T) {
	_, err := local.New(filepath.Join(t.TempDir(), "none")).Status(t.Context())
	if none, ok := errors.AsType[*local.NoAgentError](err); !ok || !strings.Contains(none.Error(), "no agent answers on") {
		t.Errorf("without an agent: %v", err)
	}
}

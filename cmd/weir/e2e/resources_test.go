package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/loader/api/client"
	"weir/loader/api/wire"
)

// following is a lab whose backends have real agents, each of a group of its
// own.
type following struct {
	*lab
	groups []*group
	agents []*exec.Cmd
}

// startFollowing runs agents and the daemon, whose pool has more keys of these.
func startFollowing(t *testing.T, weights, limits string) *following {
	t.Helper()
	f := &following{lab: newLab(t, plan{})}
	keys := runDir + "/keys"
	args := []string{"agent", "keys", "--dir", keys, "--balancer", "lb"}
	for _, s := range f.servers {
		args = append(args, "--backend", s.endpoint.Addr().String())
	}
	if out, err := exec.Command(weirPath, args...).CombinedOutput(); err != nil {
		t.Fatalf("weir agent keys: %v\n%s", err, out)
	}
	t.Cleanup(func() { _ = os.RemoveAll(keys) })
	for i := range f.servers {
		f.groups = append(f.groups, newGroup(t, fmt.Sprintf("weir-e2e-%d", i+1)))
		f.agents = append(f.agents, f.runAgent(t, keys, i))
	}
	f.config.weights = fmt.Sprintf("    agent: {ca: %[1]s/ca.crt, certificate: %[1]s/lb.crt, key: %[1]s/lb.key}\n%[2]s", keys, weights)
	f.config.limits = limits
	f.write(t, f.config)
	f.run(t)
	for i := range f.servers {
		f.awaitReport(t, i)
	}
	return f
}

func (f *following) runAgent(t *testing.T, keys string, i int) *exec.Cmd {
	t.Helper()
	addr := f.servers[i].endpoint.Addr().String()
	state := fmt.Sprintf("%s/agent-%d", runDir, i)
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(weirPath, "agent", "run", "--listen", addr+":9707", "--cgroup", "/"+f.groups[i].name, "--tau", "1s",
		"--ca", keys+"/ca.crt", "--cert", keys+"/agent-"+addr+".crt", "--key", keys+"/agent-"+addr+".key",
		"--socket", state+"/agent.sock", "--state-dir", state)
	out := &logBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := f.Backends[i].NS.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("agent %d:\n%s", i, out)
		}
	})
	return cmd
}

func (f *following) weight(t *testing.T, i int) wire.BackendWeight {
	t.Helper()
	p, err := client.New(socketPath).BackendWeight(t.Context(), poolName, f.servers[i].endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return p.Backends[0]
}

func (f *following) awaitReport(t *testing.T, i int) {
	t.Helper()
	eventually(t, 15*time.Second, "report of an agent", func() error {
		if a := f.weight(t, i).Agent; a == nil || a.Age == nil {
			return fmt.Errorf("agent %+v", a)
		}
		return nil
	})
}

// turns follows the share of a backend and counts how often it changes its
// direction.
type turns struct {
	f         *following
	backend   int
	last      float64
	direction int
	count     int
}

// look is to be called now and then; moves of less than a hundredth of all
// flows are none.
func (x *turns) look(t *testing.T) float64 {
	t.Helper()
	share := x.f.weight(t, x.backend).Share
	switch d := share - x.last; {
	case d > 0.01 && x.direction != 1:
		x.turn(1)
	case d < -0.01 && x.direction != -1:
		x.turn(-1)
	case d > -0.01 && d < 0.01:
		return share
	}
	x.last = share
	return share
}

func (x *turns) turn(direction int) {
	if x.direction != 0 {
		x.count++
	}
	x.direction = direction
}

// awaitShare looks until the share is right, and gives how long that took.
func (x *turns) awaitShare(t *testing.T, within time.Duration, what string, right func(share float64) bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		share := x.look(t)
		if right(share) {
			return time.Since(begin)
		}
		if time.Since(begin) > within {
			t.Fatalf("%s: share %.3f after %s; %s", what, share, within, weir(t, "explain", "backend", ref(x.f.servers[x.backend])))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A backend with trouble in its control group gives up flows within 10 s, and
// has them back within 30 s after, without swinging and without a request that
// fails.
func TestLoadMovesShares(t *testing.T) {
	for _, c := range []struct {
		name            string
		weights, limits string
		trouble         func(*group) func()
		why             string
		least           float64 // share that it comes to
	}{
		{"cpu by capacity", "    weights: resource\n", "", (*group).burn, "capacity", 0.15},
		{"max_cpu", "", ", max_cpu: 80%", (*group).burn, "cpu is", 0},
		{"max_memory", "", ", max_memory: 80%", (*group).fill, "memory is", 0},
		{"max_iops", "", ", max_iops: 50", (*group).churn, "iops is", 0},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			f := startFollowing(t, c.weights, c.limits)
			d := f.load(t, mix{oneShot: 2, held: 2})
			x := &turns{f: f, backend: 1, last: 1.0 / 3}
			stop := c.trouble(f.groups[1])
			took := x.awaitShare(t, 10*time.Second, "under load", func(s float64) bool { return s < 0.3 })
			all := took + x.awaitShare(t, 20*time.Second, "under load", func(s float64) bool { return s <= c.least })
			if text := weir(t, "explain", "backend", ref(f.servers[1])); !strings.Contains(text, c.why) {
				t.Errorf("explained as\n%s", text)
			}
			for begin := time.Now(); time.Since(begin) < either(40*time.Second, 5*time.Second); time.Sleep(500 * time.Millisecond) {
				x.look(t)
			}
			stop()
			back := x.awaitShare(t, 30*time.Second, "after it", func(s float64) bool { return s > 0.3 })
			d.finish(t, c.name)
			t.Logf("share falls after %s, is %.2f after %s, and is back %s after the load ended; %d turns",
				took.Round(100*time.Millisecond), c.least, all.Round(100*time.Millisecond), back.Round(100*time.Millisecond), x.count)
			if x.count > 2 {
				t.Errorf("the share turned %d times", x.count)
			}
		})
	}
}

// An agent that falls silent while its backend has less than its share: it has
// its configured weight again, slowly, and people hear of it.
func TestSilentAgent(t *testing.T) {
	f := startFollowing(t, "    weights: resource\n", "")
	d := f.load(t, mix{oneShot: 2})
	x := &turns{f: f, backend: 1, last: 1.0 / 3}
	f.groups[1].burn()
	x.awaitShare(t, 15*time.Second, "under load", func(s float64) bool { return s < 0.25 })
	stop := events(t)
	if err := f.agents[1].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	took := x.awaitShare(t, 45*time.Second, "silent", func(s float64) bool { return s > 0.3 })
	d.finish(t, "silent agent")
	silent := 0
	for _, e := range stop() {
		if e.Reason == "agent_silent" && e.Backend == f.servers[1].endpoint.String() {
			silent++
		}
	}
	warned := false
	for _, w := range status(t).Warnings {
		warned = warned || strings.Contains(w, "agent of backend "+ref(f.servers[1]))
	}
	t.Logf("configured share %s after the agent fell silent", took.Round(100*time.Millisecond))
	if silent != 1 || !warned || took < 3*time.Second {
		t.Errorf("%d events, warned %v, back after %s", silent, warned, took)
	}
}

// A backend takes itself out and in again by its own agent.
func TestAgentDrain(t *testing.T) {
	f := startFollowing(t, "", "")
	d := f.load(t, mix{oneShot: 2, held: 3})
	drain := func(verb string) {
		cmd := exec.Command(weirPath, "agent", verb, "--socket", runDir+"/agent-1/agent.sock")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("weir agent %s: %v\n%s", verb, err, out)
		}
	}
	x := &turns{f: f, backend: 1, last: 1.0 / 3}
	drain("drain")
	x.awaitShare(t, 5*time.Second, "drained", func(s float64) bool { return s == 0 })
	if text := weir(t, "explain", "backend", ref(f.servers[1])); !strings.Contains(text, "its agent says drain") {
		t.Errorf("explained as\n%s", text)
	}
	drain("ready")
	x.awaitShare(t, 5*time.Second, "ready", func(s float64) bool { return s > 0.3 })
	d.finish(t, "drain by the agent")
	if n := metric(t, "weir_agent_reports_total", nil); n < 3 {
		t.Errorf("%g reports", n)
	}
	labels := map[string]string{"backend": f.servers[1].endpoint.String(), "pool": poolName}
	if age := metric(t, "weir_agent_report_age_seconds", labels); age > 5 {
		t.Errorf("report is %g s old", age)
	}
	labels["factor"] = "health"
	if v := metric(t, "weir_backend_weight_factor", labels); v != 1 {
		t.Errorf("factor of health is %g", v)
	}
}

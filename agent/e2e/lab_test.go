package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/agent/dsr"
	"weir/loader/api/client"
	"weir/loader/lb"
	"weir/loader/netlab"
)

// lab is a network whose backends know nothing of the VIP but by
// `weir agent dsr`, and a balancer that runs `weir run`.
type lab struct {
	*netlab.Topology
	forward lb.Forward
	dir     string
	vip     lb.VIP
	served  []atomic.Int64 // by backend
	process []*exec.Cmd    // agents by backend
	output  []*bufio.Reader
}

const readyTimeout = 20 * time.Second

func newLab(t *testing.T, forward lb.Forward, vip, backends int) *lab {
	t.Helper()
	build := forward
	if forward == lb.DSR {
		build = lb.IPIP // backends that are not set up yet
	}
	topo, err := netlab.New(netlab.Options{
		Prefix: prefix, Backends: 2, Forward: build, Family: vip, BackendFamily: backends,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := topo.Close(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{Topology: topo, forward: forward, dir: t.TempDir(), vip: lb.VIP{Addr: topo.VIP, Port: 80, Proto: lb.TCP},
		served: make([]atomic.Int64, 2), process: make([]*exec.Cmd, 2), output: make([]*bufio.Reader, 2)}
	for i := range topo.Backends {
		l.serve(t, i)
	}
	return l
}

// serve answers on every address of a backend how many bytes a request had.
func (l *lab) serve(t *testing.T, i int) {
	t.Helper()
	listener, err := l.Backends[i].NS.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		l.served[i].Add(1)
		fmt.Fprint(w, n)
	})}
	go s.Serve(listener)
	t.Cleanup(func() { s.Close() })
}

// spawn starts weir in a namespace. It is killed at the end of the test.
func (l *lab) spawn(t *testing.T, ns *netlab.NS, cmd *exec.Cmd) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%s: %s\n%s", cmd, cmd.ProcessState, &stderr)
		}
	})
}

func (l *lab) agentArgs(more ...string) []string {
	args := []string{"agent", "dsr", "--vip", l.VIP.String(), "--interface", netlab.NIC, "--state-dir", l.dir, "-o", "json"}
	return append(args, more...)
}

// ready is what an agent writes first.
type ready struct {
	Ready      bool
	PID        int
	Interfaces []dsr.Attachment
}

// agent starts one on a backend and waits until it is ready.
func (l *lab) agent(t *testing.T, i int, more ...string) ready {
	t.Helper()
	cmd := exec.Command(weir, l.agentArgs(more...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.spawn(t, l.Backends[i].NS, cmd)
	l.process[i], l.output[i] = cmd, bufio.NewReader(stdout)
	var r ready
	l.readLine(t, i, &r)
	if !r.Ready || r.PID != cmd.Process.Pid {
		t.Fatalf("first line: %+v", r)
	}
	return r
}

func (l *lab) readLine(t *testing.T, i int, v any) {
	t.Helper()
	line, err := l.output[i].ReadBytes('\n')
	if err := errors.Join(err, json.Unmarshal(line, v)); err != nil {
		t.Fatalf("agent of backend %d wrote %q: %v", i, line, err)
	}
}

// decapsulated asks an agent how many packets it unpacked.
func (l *lab) decapsulated(t *testing.T, i int, reason string) uint64 {
	t.Helper()
	if err := l.process[i].Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	var all struct{ Counters []dsr.Counter }
	l.readLine(t, i, &all)
	for _, c := range all.Counters {
		if c.Verdict == "decap" && c.Reason == reason {
			return c.Packets
		}
	}
	t.Fatalf("no counter %s: %+v", reason, all)
	return 0
}

// end sends a signal to an agent and waits for it.
func (l *lab) end(t *testing.T, i int, s syscall.Signal) error {
	t.Helper()
	if err := l.process[i].Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	return l.process[i].Wait()
}

// balance runs the daemon until the end of the test and waits until both
// backends answer through the VIP.
func (l *lab) balance(t *testing.T) {
	t.Helper()
	path, socket := filepath.Join(l.dir, "weir.yaml"), filepath.Join(l.dir, "weir.sock")
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\npin_dir: %s\nsocket: %s\nstate_dir: %s\n", netlab.NIC, pins, socket, l.dir)
	fmt.Fprintf(&b, "pools:\n  - name: web\n    algorithm: rr\n    backends:\n")
	for _, backend := range l.Backends {
		fmt.Fprintf(&b, "      - {address: %q}\n", backend.Addr)
	}
	fmt.Fprintf(&b, "services:\n  - {name: web, vip: %q, forward: %s, pool: web}\n", l.vip, l.forward)
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(weir, "unload", "--pin-dir", pins, "--socket", socket).CombinedOutput(); err != nil {
			t.Errorf("unload: %v: %s", err, out)
		}
	})
	l.spawn(t, l.Balancer, exec.Command(weir, "run", "-c", path))
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	c := client.New(socket)
	for _, err := c.Status(ctx); err != nil; _, err = c.Status(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("the daemon is not ready: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	for l.served[0].Load() == 0 || l.served[1].Load() == 0 {
		if err := l.request(0, 0); err != nil && ctx.Err() != nil {
			t.Fatalf("the backends have served %d and %d: %v", l.served[0].Load(), l.served[1].Load(), err)
		}
	}
}

// request makes a connection of its own from one of the client's addresses and
// sends so many bytes through it.
func (l *lab) request(from, size int) error {
	source := net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.ClientAddrs[from%len(l.ClientAddrs)], 0))
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = l.Client.Do(func() error {
			c, err = (&net.Dialer{LocalAddr: source}).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}}
	hc := http.Client{Transport: transport, Timeout: 10 * time.Second}
	resp, err := hc.Post("http://"+netip.AddrPortFrom(l.VIP, 80).String()+"/", "text/plain", bytes.NewReader(make([]byte, size)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != fmt.Sprint(size) {
		err = fmt.Errorf("answer %s %q to %d bytes", resp.Status, body, size)
	}
	return err
}

func (l *lab) snapshots(t *testing.T) (all []string) {
	t.Helper()
	for _, b := range l.Backends {
		s, err := b.NS.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func (l *lab) unchanged(t *testing.T, before []string) {
	t.Helper()
	for i, now := range l.snapshots(t) {
		was, is := strings.Split(before[i], "\n"), strings.Split(now, "\n")
		for n := range max(len(was), len(is)) {
			if n >= len(was) || n >= len(is) || was[n] != is[n] {
				t.Fatalf("backend %d was not left as it was: %q", i, is[min(n, len(is)-1)])
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(l.dir, "dsr-*")); len(left) > 0 || err != nil {
		t.Errorf("state left: %v, %v", left, err)
	}
}

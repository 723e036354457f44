package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/loader/api/client"
	"weir/loader/api/wire"
	"weir/loader/netlab"
)

// How long the daemon may take to answer, and to end.
const (
	readyWithin = 20 * time.Second
	endWithin   = 10 * time.Second
)

// daemon is one process of `weir run`.
type daemon struct {
	cmd   *exec.Cmd
	log   *logBuffer
	ended chan struct{}
}

// logBuffer is what a process wrote, readable while it writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// spawn starts `weir run` in a namespace; nothing is awaited. The process does
// not outlive the test.
func spawn(t *testing.T, ns *netlab.NS, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(weirPath, append([]string{"run"}, args...)...), log: &logBuffer{}, ended: make(chan struct{})}
	d.cmd.Stderr = d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := ns.Start(d.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait() // ProcessState has it
	}()
	t.Cleanup(func() {
		d.end(t, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("daemon %d, %s:\n%s", d.cmd.Process.Pid, d.cmd.ProcessState, d.log)
		}
		if strings.Contains(d.log.String(), "DATA RACE") {
			t.Errorf("the daemon has a data race:\n%s", d.log)
		}
	})
	return d
}

func (d *daemon) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatalf("sending %s to the daemon: %v", s, err)
	}
}

// end ends the daemon, if it runs, and waits for that.
func (d *daemon) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	_ = d.cmd.Process.Signal(s) // it may have ended
	select {
	case <-d.ended:
	case <-time.After(endWithin):
		_ = d.cmd.Process.Kill()
		<-d.ended
		t.Errorf("the daemon did not end within %s of %s", endWithin, s)
	}
}

// awaitReady returns when the daemon serves.
func (d *daemon) awaitReady(t *testing.T, socket string) wire.Status {
	t.Helper()
	var status wire.Status
	c := client.New(socket)
	eventually(t, readyWithin, "daemon ready", func() (err error) {
		select {
		case <-d.ended:
			t.Fatalf("the daemon ended: %s\n%s", d.cmd.ProcessState, d.log)
		default:
		}
		status, err = c.Status(t.Context())
		return err
	})
	return status
}

// outcome is how a command ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// try runs a verb against the daemon.
func try(args ...string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, weirPath, append([]string{"--socket", socketPath}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return outcome{}, fmt.Errorf("running weir %v: %w", args, err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, nil
}

// weir runs a verb that must succeed, and returns what it printed.
func weir(t *testing.T, args ...string) string {
	t.Helper()
	o, err := try(args...)
	if err != nil || o.code != 0 {
		t.Fatalf("weir %s: exit code %d, %v: %s", strings.Join(args, " "), o.code, err, o.stderr)
	}
	return o.stdout
}

// weirJSON runs a verb with -o json.
func weirJSON[T any](t *testing.T, args ...string) (v T) {
	t.Helper()
	out := weir(t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("weir %v -o json: %v in\n%s", args, err, out)
	}
	return v
}

func status(t *testing.T) wire.Status {
	t.Helper()
	return weirJSON[wire.Status](t, "status")
}

func backends(t *testing.T) []wire.Backend {
	t.Helper()
	return weirJSON[[]wire.Backend](t, "backend", "list")
}

// sample is one value that `weir metrics -o json` prints.
type sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// metric is the value of a metric whose labels are at least those given.
func metric(t *testing.T, name string, labels map[string]string) float64 {
	t.Helper()
	for _, s := range weirJSON[[]sample](t, "metrics") {
		if s.Name == name && has(s.Labels, labels) {
			return s.Value
		}
	}
	t.Fatalf("no metric %s with %v", name, labels)
	return 0
}

func has(labels, want map[string]string) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return true
}

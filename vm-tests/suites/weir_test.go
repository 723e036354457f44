package suites

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/loader/api/client"
	answers "weir/loader/api/wire"
	"weir/vm-tests/guest"
)

// process is weir, until the test ends.
type process struct {
	cmd    *exec.Cmd
	stdout io.Reader
	stderr bytes.Buffer
	socket string // of `weir run`
}

// startWeir starts weir in the machine's own namespace.
func startWeir(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(guest.Weir, args...)}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdout, err = p.cmd.StdoutPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s\n%s", p.cmd, p.cmd.ProcessState, &p.stderr)
		}
	})
	return p
}

// awaitLine waits for the first line on standard output.
func (p *process) awaitLine(t *testing.T) {
	t.Helper()
	if line, err := bufio.NewReader(p.stdout).ReadString('\n'); err != nil {
		t.Fatalf("%s wrote %q: %v", p.cmd, line, err)
	}
}

const readyWithin = time.Minute

// startDaemon runs `weir run` on a configuration, with directories of the
// test's, and waits until it serves.
func startDaemon(t *testing.T, config string) *process {
	t.Helper()
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "weir.yaml"), filepath.Join(dir, "weir.sock")
	config += fmt.Sprintf("pin_dir: %s\nsocket: %s\nstate_dir: %s\n", pinDir, socket, dir)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startWeir(t, "run", "-c", path)
	p.socket = socket
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	for {
		_, err := client.New(socket).Status(ctx)
		if err == nil {
			return p
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the daemon is not ready: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *process) status(t *testing.T) answers.Status {
	t.Helper()
	s, err := client.New(p.socket).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

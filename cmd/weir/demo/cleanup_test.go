package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"weir/loader/netlab"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the demo needs root")
	}
}

func TestSecondDemoIsRefused(t *testing.T) {
	needRoot(t)
	first, err := takeLock()
	if err != nil {
		t.Skip("a demo is running on this machine: ", err)
	}
	if _, err := takeLock(); err == nil || !strings.Contains(err.Error(), "another weir demo is running") {
		t.Errorf("second lock: %v", err)
	}
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lockPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock file stays: %v", err)
	}
}

// TestMain lets a test start this program as a process that says it runs, and
// then only waits.
func TestMain(m *testing.M) {
	if os.Getenv("WEIR_TEST_WAIT") != "" {
		fmt.Println("running")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

// Only a process that runs with the demo's own configuration may be ended.
func TestOnlyTheDemosDaemonIsEnded(t *testing.T) {
	for _, c := range []struct {
		args []string
		ends bool
	}{
		{[]string{"weir", "run", "-c", configPath}, true},
		{[]string{"weir", "run", "-c", "/etc/weir.yaml"}, false},
		{[]string{"vi", configPath}, false},
		{[]string{"weir"}, false},
	} {
		cmd, stdin := startWaiting(t, c.args)
		if err := endDaemon(cmd.Process.Pid); err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
		stdin.Close() // ends it, if it still runs
		cmd.Wait()
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if ws.Signaled() != c.ends {
			t.Errorf("%q ended by a signal: %v, want %v", c.args, ws.Signaled(), c.ends)
		}
	}
}

// startWaiting starts a process with these arguments that runs until its input
// is closed. It returns once the process runs: Start returns in the middle of
// exec, when /proc may still show no arguments.
func startWaiting(t *testing.T, args []string) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.Command(self)
	cmd.Args, cmd.Env = args, append(os.Environ(), "WEIR_TEST_WAIT=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("%q does not run: %v", args, err)
	}
	return cmd, stdin
}

// A demo that is killed leaves its namespaces; the next one removes them.
func TestLeftoversAreRemoved(t *testing.T) {
	needRoot(t)
	held, err := takeLock()
	if err != nil {
		t.Skip("a demo is running on this machine: ", err)
	}
	defer held.release()
	if _, err := netlab.CreateNS(prefix + "-backend7"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(runDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := removeLeftovers(); err != nil {
		t.Error(err)
	}
	if left, err := netlab.Leftovers(prefix); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(runDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s stays: %v", runDir, err)
	}
}

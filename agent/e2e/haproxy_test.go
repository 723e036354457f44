package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// haproxyConfig has one server, which HAProxy asks by agent-check; the port of
// that is good enough for the health check.
const haproxyConfig = `
global
	stats socket %[1]s level admin
defaults
	mode tcp
	timeout connect 5s
	timeout client 5s
	timeout server 5s
backend web
	server one %[2]s:%[3]s weight 100 check inter 100ms agent-check agent-addr %[2]s agent-port %[3]s agent-inter 100ms
`

// TestHAProxy has Debian's HAProxy follow the agent's weights and states.
func TestHAProxy(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("needs Debian's haproxy: ", err)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent.sock")
	background(t, exec.Command(weir, "agent", "run", "--listen", "", "--agent-check", "127.0.0.1:0",
		"--socket", socket, "--state-dir", dir+"/state", "-c", writeFile(t, dir+"/agent.yaml", "agent_check: {weight_from: []}\nmaxconn: 30\n")))
	agent := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(weir, append(append([]string{"agent"}, args...), "--socket", socket)...).CombinedOutput(); err != nil {
			t.Fatalf("weir agent %v: %v\n%s", args, err, out)
		}
	}
	host, port, err := net.SplitHostPort(checkAddress(t, socket))
	if err != nil {
		t.Fatal(err)
	}
	stats := filepath.Join(dir, "stats")
	config := writeFile(t, dir+"/haproxy.cfg", fmt.Sprintf(haproxyConfig, stats, host, port))
	background(t, exec.Command(haproxy, "-db", "-f", config))

	follows := func(what string, want map[string]string) {
		t.Helper()
		awaitServer(t, stats, what, want)
	}
	follows("the agent as it starts", map[string]string{"status": "UP", "weight": "100", "slim": "30"})
	agent("weight", "50%")
	follows("half the weight", map[string]string{"status": "UP", "weight": "50"})
	agent("drain", "--reason", "kernel upgrade")
	follows("drain", map[string]string{"status": "DRAIN (agent)"})
	agent("maint")
	follows("maint", map[string]string{"status": "MAINT"})
	agent("ready")
	follows("ready", map[string]string{"status": "UP", "weight": "50"})
	agent("weight", "auto")
	follows("the weight of before", map[string]string{"status": "UP", "weight": "100"})
}

// TestAgentCheckFollowsLoad has the weight follow what the backend uses of its
// control group, whose small quota a process uses up.
func TestAgentCheckFollowsLoad(t *testing.T) {
	group := burnedGroup(t)
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent.sock")
	background(t, exec.Command(weir, "agent", "run", "--listen", "", "--agent-check", "127.0.0.1:0", "--tau", "500ms",
		"--socket", socket, "--state-dir", dir+"/state", "--cgroup", group.path))
	says := func() string {
		conn, err := net.Dial("tcp", checkAddress(t, socket))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		line, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(line))
	}
	await(t, "a quota used up is the least weight", func() (string, bool) { s := says(); return s, s == "up ready 5%" })
	group.rest()
	await(t, "a quota unused is the whole weight", func() (string, bool) {
		s := says()
		return s, s == "up ready 100%" || s == "up ready 95%"
	})
}

// await asks until something is so, and else shows what was.
func await(t testing.TB, what string, so func() (string, bool)) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got, ok := so()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s; last %s", what, got)
		}
	}
}

// background runs a process until the test ends.
func background(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		late.Stop()
		if t.Failed() {
			t.Logf("%v:\n%s", cmd.Args, out.String())
		}
	})
}

func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkAddress waits for the agent and asks it where it answers agent-checks.
func checkAddress(t testing.TB, socket string) string {
	t.Helper()
	var s struct{ Check string }
	await(t, "an agent", func() (string, bool) {
		out, err := exec.Command(weir, "agent", "status", "--socket", socket, "-o", "json").Output()
		return fmt.Sprint(err), err == nil && json.Unmarshal(out, &s) == nil && s.Check != ""
	})
	return s.Check
}

// awaitServer waits until HAProxy's statistics of its server have these values.
func awaitServer(t testing.TB, socket, what string, want map[string]string) {
	t.Helper()
	await(t, "HAProxy follows "+what, func() (string, bool) {
		got, err := server(socket)
		if err != nil {
			return err.Error(), false
		}
		for field, v := range want {
			if got[field] != v {
				return fmt.Sprintf("%s %q, want %q; agent %s %s", field, got[field], v, got["agent_status"], got["last_agt"]), false
			}
		}
		return "", true
	})
}

// server is what HAProxy knows of its server, by field of `show stat`.
func server(socket string) (map[string]string, error) {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "show stat web 4 -1\n"); err != nil { // 4: servers
		return nil, err
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimSpace(strings.TrimPrefix(string(text), "# ")))).ReadAll()
	if err != nil || len(rows) != 2 {
		return nil, fmt.Errorf("statistics %q: %w", text, err)
	}
	fields := map[string]string{}
	for i, name := range rows[0] {
		fields[name] = rows[1][i]
	}
	return fields, nil
}

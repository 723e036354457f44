package health

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/loader/lb"
)

func TestExec(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         Reason
		text         string
	}{
		{"well", "exit 0", "", ""},
		{"knows its backend", `test "$WEIR_POOL $WEIR_ADDRESS $WEIR_PORT" = "web 192.0.2.1 80"`, "", ""},
		{"fails", "echo starting; echo disk full >&2; exit 3", ReasonCommand, `exit status 3: "disk full"`},
		{"fails silently", "exit 1", ReasonCommand, "it said nothing"},
		{"is killed", "kill -9 $$", ReasonCommand, "signal: killed"},
		{"never ends", "while :; do :; done", ReasonTimeout, "no answer in time"},
		{"never ends, nor does its child", "sleep 1000 & sleep 1000", ReasonTimeout, "no answer in time"},
		{"floods", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", ReasonTimeout, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			h := lb.Health{Type: lb.HealthExec, Command: []string{"/bin/sh", "-c", c.script}}
			if c.want == ReasonTimeout {
				h.Timeout = probeTimeout
			}
			_, err := probe(t, h, addrPort(t, "192.0.2.1:80"))
			wantResult(t, err, c.want, c.text)
		})
	}
	_, err := probe(t, lb.Health{Type: lb.HealthExec, Command: []string{"/nonexistent/check"}}, addrPort(t, "192.0.2.1:80"))
	wantResult(t, err, ReasonLocal, "no such file")
}

// What a command started ends with it.
func TestExecLeavesNoProcess(t *testing.T) {
	leavesNothing(t)
	file := filepath.Join(t.TempDir(), "pid")
	h := lb.Health{Type: lb.HealthExec, Timeout: 2 * probeTimeout,
		Command: []string{"/bin/sh", "-c", "sleep 1000 & echo $! >" + file + "; wait"}}
	_, err := probe(t, h, addrPort(t, "192.0.2.1:80"))
	wantResult(t, err, ReasonTimeout, "")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("process %d lives on", pid)
		}
	}
}

// alive is false for a zombie: who must reap it is not ours to say.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

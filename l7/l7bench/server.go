package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// program is a server as it is started.
type program struct {
	name   string
	cpu    string
	args   []string
	plain  string // port
	secure string // port with TLS, "": none
	listen string // address
}

// server is a program that runs.
type server struct {
	program
	cmd   *exec.Cmd
	log   locked
	ended chan struct{}
	err   error // once it has ended
}

// locked is what a program said.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start waits until the server accepts connections.
func start(ctx context.Context, p program) (*server, error) {
	s := &server{program: p, ended: make(chan struct{})}
	s.cmd = exec.Command("taskset", append([]string{"-c", p.cpu}, p.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	go func() {
		defer close(s.ended)
		s.err = s.cmd.Wait()
	}()
	for late := time.After(20 * time.Second); ; {
		conn, err := net.Dial("tcp", net.JoinHostPort(p.listen, p.plain))
		if err == nil {
			return s, conn.Close()
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("%s ended: %w\n%s", p.name, s.err, s.log.String())
		case <-late:
			s.stop()
			return nil, fmt.Errorf("%s does not listen\n%s", p.name, s.log.String())
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond): // nothing tells of another's listener
		}
	}
}

func (s *server) port(secure bool) string {
	if secure {
		return s.secure
	}
	return s.plain
}

func (s *server) stop() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM) // if it is gone already, so much the better
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.ended
	}
}

// cpu is the CPU time of all threads of all processes of the server, by the
// scheduler's own account.
func (s *server) cpu() (sum time.Duration, err error) {
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, stat := range tasks {
		group, err := groupOf(stat)
		if err != nil || group != s.cmd.Process.Pid {
			continue // ended meanwhile, or another's
		}
		text, err := os.ReadFile(filepath.Join(filepath.Dir(stat), "schedstat"))
		if err != nil {
			continue
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", stat, err)
		}
		sum += time.Duration(ns)
	}
	if sum == 0 {
		return 0, fmt.Errorf("%s runs no more\n%s", s.name, s.log.String())
	}
	return sum, nil
}

// groupOf is the process group of a task (proc(5)).
func groupOf(stat string) (int, error) {
	text, err := os.ReadFile(stat)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 3 {
		return 0, fmt.Errorf("%s: too short", stat)
	}
	return strconv.Atoi(fields[2])
}

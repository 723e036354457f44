package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"weir/loader/api/wire"
	"weir/loader/netlab"
)

// How long the daemon may take, from its start to its first answer and from
// SIGTERM to its end.
const (
	readyTimeout = 20 * time.Second
	stopTimeout  = 5 * time.Second
)

// daemon is `weir run` as a child process in the balancer's namespace.
type daemon struct {
	cmd    *exec.Cmd
	log    string        // path
	ended  chan struct{} // closed after waitErr is set
	err    error
	client *http.Client
}

func startDaemon(ns *netlab.NS) (*daemon, error) {
	logPath := filepath.Join(runDir, "daemon.log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, fmt.Errorf("creating the daemon's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, "run", "-c", configPath)
	cmd.Args[0] = "weir"
	cmd.Stdout, cmd.Stderr = log, log
	// Its own process group, so that Ctrl-C does not reach it before the
	// load has stopped; and it shall not outlive a killed demo.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := ns.Start(cmd); err != nil {
		return nil, fmt.Errorf("starting the daemon: %w", err)
	}
	d := &daemon{cmd: cmd, log: logPath, ended: make(chan struct{}), client: socketClient()}
	go func() {
		defer close(d.ended)
		d.err = cmd.Wait()
	}()
	return d, nil
}

func socketClient() *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socketPath)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 2 * time.Second}
}

// xdpMode is how the program is attached, "none" if it is not.
func xdpMode(s wire.Status) string {
	if len(s.DataPlane.Attachments) == 0 {
		return "none"
	}
	return s.DataPlane.Attachments[0].Mode
}

func (d *daemon) status(ctx context.Context) (wire.Status, error) {
	var s wire.Status
	err := d.get(ctx, "/v1/status", &s)
	return s, err
}

func (d *daemon) backends(ctx context.Context) ([]wire.Backend, error) {
	var b wire.Backends
	err := d.get(ctx, "/v1/backends", &b)
	return b.Backends, err
}

func (d *daemon) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://weir"+path, nil)
	if err != nil {
		return fmt.Errorf("asking the daemon for %s: %w", path, err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the daemon for %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the daemon's %s: %w", path, err)
	}
	return nil
}

// waitReady returns the daemon's first status.
func (d *daemon) waitReady(ctx context.Context) (wire.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		s, err := d.status(ctx)
		if err == nil {
			return s, nil
		}
		select {
		case <-d.ended:
			return wire.Status{}, fmt.Errorf("the daemon ended before it was ready (%w): %s", d.err, d.lastWords())
		case <-ctx.Done():
			return wire.Status{}, fmt.Errorf("the daemon is not ready: %w; its log ends with: %s", err, d.lastWords())
		case <-poll.C:
		}
	}
}

// stop ends the daemon and waits for it. Having ended before is no error.
func (d *daemon) stop() error {
	defer d.client.CloseIdleConnections()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the daemon: %w", err)
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(stopTimeout):
	}
	err := d.cmd.Process.Kill()
	<-d.ended
	return errors.Join(fmt.Errorf("the daemon did not end within %s of SIGTERM and was killed: %s", stopTimeout, d.lastWords()), err)
}

// obituary says how the daemon ended; false while it runs.
func (d *daemon) obituary() (string, bool) {
	select {
	case <-d.ended:
	default:
		return "", false
	}
	words := fmt.Sprintf("the daemon has ended (%v)", d.cmd.ProcessState)
	if !d.killed() {
		words += ": " + d.lastWords()
	}
	return words, true
}

// killed tells whether somebody's SIGKILL or SIGTERM ended the daemon, as
// trying that is part of what a demo is for.
func (d *daemon) killed() bool {
	ws, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && (d.cmd.ProcessState.Success() || ws.Signaled() && (ws.Signal() == syscall.SIGKILL || ws.Signal() == syscall.SIGTERM))
}

// lastWords is the last line of the daemon's log.
func (d *daemon) lastWords() string {
	log, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	last := string(lines[len(lines)-1])
	if last == "" {
		return "it logged nothing"
	}
	return last
}

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/loader/lb"
)

// tail is a `weir tail -o json` that runs.
type tail struct {
	mu     sync.Mutex
	events []lb.Event
}

func startTail(t *testing.T, args ...string) *tail {
	t.Helper()
	cmd := exec.Command(weirPath, append([]string{"--socket", socketPath, "tail", "-o", "json"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &tail{}
	read := make(chan error, 1)
	go func() { read <- w.read(bufio.NewScanner(out)) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-read; err != nil {
			t.Error("weir tail -o json:", err)
		}
		_ = cmd.Wait()
	})
	return w
}

func (w *tail) read(lines *bufio.Scanner) error {
	for lines.Scan() {
		var e lb.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return err
		}
		w.mu.Lock()
		w.events = append(w.events, e)
		w.mu.Unlock()
	}
	return lines.Err()
}

// find returns the first event that fits.
func (w *tail) find(fits func(lb.Event) bool) (lb.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if fits(e) {
			return e, true
		}
	}
	return lb.Event{}, false
}

// await waits for an event.
func (w *tail) await(t *testing.T, what string, fits func(lb.Event) bool) lb.Event {
	t.Helper()
	var e lb.Event
	err := attempt(5*time.Second, yes(func() (found bool) {
		e, found = w.find(fits)
		return found
	}))
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Fatalf("tail does not show %s but %+v", what, w.events[max(0, len(w.events)-10):])
	}
	return e
}

// listening tries until events of the program arrive.
func (l *lab) listening(t *testing.T, w *tail) {
	t.Helper()
	eventually(t, 10*time.Second, "tail shows flows", func() error {
		if _, err := l.askOnce(t.Context()); err != nil {
			return err
		}
		return yes(func() bool {
			_, found := w.find(func(e lb.Event) bool { return e.Kind == "flow-new" })
			return found
		})()
	})
}

func TestTail(t *testing.T) {
	for _, p := range []plan{{}, {forward: lb.DSR, family: 6}} {
		t.Run(p.String(), func(t *testing.T) {
			l := start(t, p)
			w := startTail(t)
			l.listening(t, w)
			l.checkFlowEvents(t, w)
			if l.VIP.Is4() {
				l.checkDropEvents(t, w)
			}
			l.checkNoBackend(t, w)
		})
	}
}

// checkFlowEvents: one connection, told apart by its port, has both events.
func (l *lab) checkFlowEvents(t *testing.T, w *tail) {
	t.Helper()
	var src netip.AddrPort
	var who string
	err := l.Client.Do(func() error {
		c, err := dial(t.Context(), l.ClientAddrs[3], l.config.endpoint())
		if err != nil {
			return err
		}
		defer c.Close()
		src = netip.MustParseAddrPort(c.LocalAddr().String())
		who, err = c.ask()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"flow-new", "flow-closed"} {
		e := w.await(t, kind+" of "+src.String(), func(e lb.Event) bool { return e.Kind == kind && e.Src == src })
		if e.Backend != who || e.Dst != l.config.endpoint() || e.VIP != l.config.vip.String() || e.Service != service || e.Proto != "tcp" || e.Time.IsZero() {
			t.Errorf("%s shows %+v; want backend %s, VIP %s, service %s", kind, e, who, l.config.vip, service)
		}
	}
}

// checkDropEvents sends what must not reach a backend.
func (l *lab) checkDropEvents(t *testing.T, w *tail) {
	t.Helper()
	for i, c := range []struct {
		reason string
		change func(frame []byte)
	}{
		{"malformed", func(f []byte) { f[tcpAt+12] = 4 << 4 }},       // a TCP header of 16 bytes
		{"ttl", func(f []byte) { f[ipAt+8] = 1 }},                    // its last hop
		{"malformed", func(f []byte) { f[ipAt+2] = 0xff }},           // longer than the frame
		{"malformed", func(f []byte) { f[tcpAt+12] = 15 << 4 }},      // options beyond the end
		{"malformed", func(f []byte) { f[ipAt+3] = 20 + 20 - 1 }},    // cut inside the TCP header
		{"fragment", func(f []byte) { f[ipAt+6], f[ipAt+7] = 0, 9 }}, // a later fragment
	} {
		labels := map[string]string{"verdict": "drop", "reason": c.reason}
		before, reached := metric(t, "weir_packets_total", labels), l.accepted()
		src := netip.AddrPortFrom(l.ClientAddrs[4].Next(), uint16(1000+i)) // no host answers for it
		l.sendFrame(t, src, c.change)
		e := w.await(t, fmt.Sprintf("drop %s of case %d", c.reason, i), func(e lb.Event) bool {
			return e.Kind == "drop" && e.Reason == c.reason && e.Src.Addr() == src.Addr() && (e.Src.Port() == src.Port() || e.Src.Port() == 0)
		})
		if e.Dst.Addr() != l.VIP || e.Length != 54 {
			t.Errorf("case %d: %+v, want a drop of 54 bytes for %s", i, e, l.VIP)
		}
		if n := metric(t, "weir_packets_total", labels) - before; n != 1 {
			t.Errorf("case %d: %g packets were counted as dropped for %s, want 1", i, n, c.reason)
		}
		if l.accepted() != reached {
			t.Errorf("case %d reached a backend", i)
		}
		w.forget()
	}
}

// forget lets go of all events.
func (w *tail) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = nil
}

// checkNoBackend drains all: connections fail, tail says why, ready helps.
func (l *lab) checkNoBackend(t *testing.T, w *tail) {
	t.Helper()
	for _, s := range l.servers {
		weir(t, "backend", "drain", ref(s))
	}
	if s := status(t); !strings.Contains(strings.Join(s.Warnings, "\n"), "no backend") {
		t.Errorf("status does not warn of a service without backends: %q", s.Warnings)
	}
	filtered := startTail(t, "--reason", "no_backend", "--service", service)
	answered := make(chan error, 1)
	go func() { // its SYN is sent again until a backend is ready
		_, err := l.askOnce(t.Context())
		answered <- err
	}()
	for _, events := range []*tail{w, filtered} {
		e := events.await(t, "drop no_backend", func(e lb.Event) bool { return e.Kind == "drop" && e.Reason == "no_backend" })
		if e.Service != service || e.Src.Addr() != l.ClientAddrs[0] || e.Dst != l.config.endpoint() {
			t.Errorf("drop shows %+v", e)
		}
	}
	weir(t, "backend", "ready", ref(l.servers[0]))
	if err := <-answered; err != nil {
		t.Error("a connection that waited for a backend:", err)
	}
	w.await(t, "backend weight", func(e lb.Event) bool { return e.Kind == "backend" && e.Backend == l.servers[0].name() })
	if e, found := filtered.find(func(e lb.Event) bool { return e.Reason != "no_backend" && e.Kind != "lost" }); found {
		t.Errorf("tail --reason no_backend shows %+v", e)
	}
}

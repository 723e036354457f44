package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// startCapture runs `weir capture -o json` until the test ends; its packets come on
// the channel.
func startCapture(t *testing.T, args ...string) <-chan lb.Captured {
	t.Helper()
	cmd := exec.Command(weirPath, append([]string{"--socket", socketPath, "capture", "-o", "json"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	packets, ended := make(chan lb.Captured, 1024), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var p lb.Captured
			if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
				t.Errorf("weir capture -o json: %v in %q", err, lines.Text())
			}
			packets <- p
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-ended
		_ = cmd.Wait()
		if !strings.Contains(said.String(), " captured, ") {
			t.Errorf("weir capture ended with %q", said.String())
		}
	})
	return packets
}

// A capture shows what XDP saw and sent: requests to their backend, in nat its
// replies to the client.
func TestCapture(t *testing.T) {
	for _, p := range []plan{{}, {forward: lb.DSR}, {forward: lb.IPIP, family: 6}} {
		t.Run(p.String(), func(t *testing.T) {
			l := start(t, p)
			packets := startCapture(t, "--service", service)
			l.awaitCaptured(t, packets)
			l.checkRefusedCapture(t)
			who := l.askAndName(t)
			seen := map[string]bool{}
			deadline := time.After(10 * time.Second)
			for !seen["request"] || p.forward.Translates() && !seen["reply"] {
				select {
				case c := <-packets:
					if c.Backend.String() == who {
						l.checkCaptured(t, c, seen)
					}
				case <-deadline:
					t.Fatalf("of a request to %s only %v was captured", who, seen)
				}
			}
		})
	}
}

// awaitCaptured asks until the capture shows it, and lets go of what it shows.
func (l *lab) awaitCaptured(t *testing.T, packets <-chan lb.Captured) {
	t.Helper()
	eventually(t, 10*time.Second, "a packet is captured", func() error {
		if _, err := l.askOnce(t.Context()); err != nil {
			return err
		}
		return yes(func() bool { return len(packets) > 0 })()
	})
}

func (l *lab) checkRefusedCapture(t *testing.T) {
	t.Helper()
	o, err := try("capture", "-o", "json", "--count", "1")
	if err != nil || o.code != 1 || !strings.Contains(o.stderr, "a capture runs already") {
		t.Errorf("a second capture: exit code %d, %v: %s", o.code, err, o.stderr)
	}
}

func (l *lab) askAndName(t *testing.T) string {
	t.Helper()
	who, err := l.askOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return who
}

func (l *lab) checkCaptured(t *testing.T, c lb.Captured, seen map[string]bool) {
	t.Helper()
	if c.Service != service || c.VIP == nil || *c.VIP != l.config.vip || c.Reason != "" || c.Out == nil || c.Verdict != "tx" && c.Verdict != "redirect" {
		t.Errorf("captured %+v", c)
		return
	}
	vip := l.VIP.AsSlice()
	in, out := bytes.Contains(c.In.Data, vip), bytes.Contains(c.Out.Data, vip)
	kind := "request"
	if !in && out {
		kind = "reply"
	}
	if c.In.Interface != netlab.NIC || c.Out.Interface != netlab.NIC || int(c.In.Length) != len(c.In.Data) || int(c.Out.Length) != len(c.Out.Data) || bytes.Equal(c.In.Data, c.Out.Data) {
		t.Errorf("%s captured as %+v", kind, c)
	}
	seen[kind] = true
}

// A file of drops is read by tcpdump, where there is one.
func TestCaptureFile(t *testing.T) {
	l := start(t, plan{})
	file := filepath.Join(t.TempDir(), "drops.pcapng")
	done := make(chan outcome, 1)
	go func() {
		o, err := try("capture", "-w", file, "--reason", "ttl", "--count", "3", "--duration", "15s")
		if err != nil {
			t.Error(err)
		}
		done <- o
	}()
	src := netip.AddrPortFrom(l.ClientAddrs[4].Next(), 4321)
	var o outcome
	eventually(t, 15*time.Second, "three drops are captured", func() error {
		l.sendFrame(t, src, func(f []byte) { f[ipAt+8] = 1 })
		return yes(func() bool {
			select {
			case o = <-done:
				return true
			default:
				return false
			}
		})()
	})
	if o.code != 0 || o.stderr != "3 packets captured, 0 lost\n" {
		t.Fatalf("exit code %d: %q", o.code, o.stderr)
	}
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("no tcpdump")
	}
	out, err := exec.Command("tcpdump", "-n", "-r", file).CombinedOutput()
	if want := src.Addr().String() + ".4321 > " + l.VIP.String() + ".80: Flags [S]"; err != nil || strings.Count(string(out), want) != 3 {
		t.Errorf("%v: tcpdump says\n%s\nwant three times %s", err, out, want)
	}
}

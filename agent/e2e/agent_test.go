package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"weir/agent/dsr"
	"weir/loader/lb"
	"weir/loader/netlab"
)

// Requests and uploads of every family in tunnels of every family; afterwards
// the hosts are as before.
func TestAgentServesTunnels(t *testing.T) {
	for _, forward := range []lb.Forward{lb.IPIP, lb.GUE} {
		for _, vip := range []int{4, 6} {
			for _, backends := range []int{4, 6} {
				t.Run(fmt.Sprintf("%d-in-%d-%s", vip, backends, forward), func(t *testing.T) {
					l := newLab(t, forward, vip, backends)
					l.carries(t, forward.String())
				})
			}
		}
	}
}

func TestAgentServesDSR(t *testing.T) {
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprint(family), func(t *testing.T) {
			newLab(t, lb.DSR, family, 0).carries(t, "", "--no-tunnel")
		})
	}
}

// carries sets the backends up, drives requests through them and ends. reason
// is the counter that must have moved.
func (l *lab) carries(t *testing.T, reason string, args ...string) {
	before := l.snapshots(t)
	for i := range l.Backends {
		r := l.agent(t, i, args...)
		native := slices.Equal(r.Interfaces, []dsr.Attachment{{Interface: netlab.NIC, Mode: "native"}})
		if native != (reason != "") {
			t.Errorf("ready: %+v", r)
		}
	}
	l.balance(t)
	for i := range 200 {
		if err := l.request(i, 0); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	// The first full segments learn the path's MTU.
	for i := range 4 {
		if err := l.request(i, 1<<20); err != nil {
			t.Errorf("upload %d: %v", i, err)
		}
	}
	if a, b := l.served[0].Load(), l.served[1].Load(); a < 90 || b < 90 {
		t.Errorf("served %d and %d", a, b)
	}
	for i := range l.Backends {
		if reason != "" && l.decapsulated(t, i, reason) < 200 {
			t.Errorf("backend %d unpacked too few packets", i)
		}
		if err := l.end(t, i, []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[i]); err != nil {
			t.Errorf("agent %d: %v", i, err)
		}
	}
	l.unchanged(t, before)
}

// A killed agent leaves the host set up for the next, or for --undo.
func TestAgentKilled(t *testing.T) {
	l := newLab(t, lb.IPIP, 4, 4)
	before := l.snapshots(t)
	for i := range l.Backends {
		l.agent(t, i)
		_ = l.end(t, i, syscall.SIGKILL)
	}
	if now := l.snapshots(t); now[0] == before[0] {
		t.Fatal("nothing was left")
	}
	l.agent(t, 0)
	undo := exec.Command(weir, "agent", "dsr", "--undo", "--state-dir", l.dir)
	var out bytes.Buffer
	undo.Stdout, undo.Stderr = &out, &out
	if err := l.Backends[1].NS.Do(undo.Run); err != nil || !strings.Contains(out.String(), "took back VIP "+l.VIP.String()+" on lo") {
		t.Errorf("undo: %v: %s", err, &out)
	}
	if err := l.end(t, 0, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	l.unchanged(t, before)
}

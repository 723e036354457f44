package health

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"weir/loader/health/syn"
	"weir/loader/lb"
)

// TestScale says what ten thousand TCP checks at 1 s cost this process. The
// servers are a process of their own; on loopback, however, the kernel does
// most of their half of each handshake on our account.
func TestScale(t *testing.T) {
	if os.Getenv("WEIR_HEALTH_SERVER") == "1" {
		acceptForever(t)
	}
	if os.Getenv("WEIR_LONG") != "1" {
		t.Skip("takes 20 s: WEIR_LONG=1")
	}
	server := exec.Command(os.Args[0], "-test.run", "^TestScale$")
	server.Env = append(os.Environ(), "WEIR_HEALTH_SERVER=1")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	var port uint16
	if _, err := fmt.Fscanln(out, &port); err != nil {
		t.Fatal(err)
	}

	const targets = 10_000
	knocker := syn.NewProber()
	s := NewSet(Options{Seed: 1, SYN: knocker})
	var all []Target
	for i := range targets {
		ep := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), port)
		h := every(time.Second)
		h.Type = lb.HealthTCP
		all = append(all, Target{Key: Key{Pool: "scale", Endpoint: ep}, Address: ep, Health: h})
	}
	watch(t, s, all...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _ = knocker.Run(ctx) }()
	go func() { ended <- s.Run(ctx) }()
	time.Sleep(5 * time.Second)
	before := s.Counts()
	user, system := used()
	const during = 10 * time.Second
	time.Sleep(during)
	after := s.Counts()
	user2, system2 := used()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	checks := after.Checks - before.Checks
	t.Logf("%d checks in %s, %d changes, %d late, failures %v; %.1f %% of a core (%.1f user, %.1f system), %s a check; %d KiB of heap, %d KiB resident at most",
		checks, during, after.Changes, after.Late, after.Failures,
		100*(user2+system2-user-system).Seconds()/during.Seconds(), 100*(user2-user).Seconds()/during.Seconds(),
		100*(system2-system).Seconds()/during.Seconds(),
		((user2 + system2 - user - system) / time.Duration(max(checks, 1))).Round(100*time.Nanosecond),
		m.HeapAlloc>>10, peakKiB())
	if checks < targets*9 || after.Late > targets/100 || len(after.Failures) > 0 {
		t.Errorf("from %+v to %+v", before, after)
	}
}

// used is the processor time of this process.
func used() (user, system time.Duration) {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
}

func peakKiB() int64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Maxrss
}

// acceptForever is the process of the servers.
func acceptForever(t *testing.T) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	for {
		c, err := l.Accept()
		if err == nil {
			c.Close()
		}
	}
}

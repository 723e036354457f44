package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
	"weir/loader/testpeer"
)

// probeTimeout is that of probes in tests that shall time out.
const probeTimeout = 150 * time.Millisecond

// probe checks an address once.
func probe(t *testing.T, h lb.Health, to netip.AddrPort) (Report, error) {
	t.Helper()
	if h.Timeout == 0 {
		h.Timeout = 5 * time.Second
	}
	checker, err := Open(Target{Key: Key{Pool: "web", Endpoint: to}, Address: to, Health: h})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), h.Timeout)
	defer cancel()
	begin := time.Now()
	report, err := checker.Check(ctx)
	if took := time.Since(begin); took > h.Timeout+time.Second {
		t.Errorf("the probe took %s, its timeout is %s", took, h.Timeout)
	}
	return report, err
}

// wantResult holds a probe's error against a reason, none for success, and a
// part of its text.
func wantResult(t *testing.T, err error, reason Reason, text string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Errorf("failed: %v", err)
		}
		return
	}
	f := (*Failure)(nil)
	if !errors.As(err, &f) || f.Reason != reason || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%+v), want %s with %q", err, f, reason, text)
	}
}

// serve answers each connection, which is closed for it.
func serve(t *testing.T, answer func(net.Conn)) netip.AddrPort {
	t.Helper()
	return testpeer.ServeTCP(t, answer)
}

// serveUDP calls answer with each datagram and a way to send one back.
func serveUDP(t *testing.T, answer func(got []byte, reply func([]byte))) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			answer(b[:n], func(out []byte) { _, _ = c.WriteTo(out, from) })
		}
	}()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// hole swallows connections: its queue is full, so that nobody is accepted.
func hole(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = shrinkBacklog(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 50*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	return netip.MustParseAddrPort(l.Addr().String())
}

// nobody is an address where nobody listens.
func nobody(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// leavesNothing fails the test if goroutines or files are left at its end.
func leavesNothing(t *testing.T) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		late := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > goroutines || openFiles(t) > files {
			if time.Now().After(late) {
				stacks := make([]byte, 1<<16)
				t.Errorf("%d goroutines became %d, %d files %d\n%s", goroutines, runtime.NumGoroutine(), files, openFiles(t),
					stacks[:runtime.Stack(stacks, true)])
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// authority signs certificates of servers.
type authority struct{ *testpeer.Authority }

func newAuthority(t *testing.T) authority {
	t.Helper()
	return authority{testpeer.NewAuthority(t)}
}

// server is a server's configuration with a certificate for a name or address
// that ends at a time.
func (a authority) server(t *testing.T, name string, ends time.Time) *tls.Config {
	t.Helper()
	template := &x509.Certificate{
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	return &tls.Config{Certificates: []tls.Certificate{a.Issue(t, template)}}
}

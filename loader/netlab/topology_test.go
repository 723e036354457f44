package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weir/loader/lb"
)

// prefix is this test's own, so that tests of several packages can run at once.
func prefix(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	return fmt.Sprintf("weir-netlab%d", os.Getpid())
}

func build(t *testing.T, opts Options) *Topology {
	t.Helper()
	opts.Prefix = prefix(t)
	topo, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := topo.Close(); err != nil {
			t.Error(err)
		}
		if left, err := Leftovers(opts.Prefix); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return topo
}

func eachTopology(t *testing.T, f func(t *testing.T, opts Options)) {
	for _, forward := range []lb.Forward{lb.NAT, lb.DSR, lb.IPIP} {
		for _, family := range []int{4, 6} {
			t.Run(fmt.Sprintf("%s-%d", forward, family), func(t *testing.T) {
				f(t, Options{Backends: 2, Forward: forward, Family: family})
			})
		}
	}
}

// With a tunnel the balancer reaches backends by one family and they reach the
// clients by the other.
func TestMixedFamilies(t *testing.T) {
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprint(family), func(t *testing.T) {
			topo := build(t, Options{Backends: 2, Forward: lb.GUE, Family: family, BackendFamily: 10 - family})
			l, err := topo.Client.Listen("tcp", ":8080")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go echo(l)
			for _, b := range topo.Backends {
				if b.Addr.Is4() == (family == 4) {
					t.Errorf("backend %s", b.Addr)
				}
				tunnelled, err := b.NS.Listen("tcp", ":8081")
				if err != nil {
					t.Fatal(err)
				}
				defer tunnelled.Close()
				go echo(tunnelled)
				transfer(t, topo.Balancer, topo.plan.backendNet.Addr(), netip.AddrPortFrom(b.Addr, 8081))
				transfer(t, b.NS, netip.Addr{}, netip.AddrPortFrom(topo.ClientAddrs[0], 8080))
			}
		})
	}
}

// A megabyte from each client address to each backend shows addresses, routes,
// the switch and checksums without offload.
func TestClientReachesBackends(t *testing.T) {
	eachTopology(t, func(t *testing.T, opts Options) {
		topo := build(t, opts)
		for _, b := range topo.Backends {
			l, err := b.NS.Listen("tcp", ":8080")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go echo(l)
			for _, from := range topo.ClientAddrs {
				transfer(t, topo.Client, from, netip.AddrPortFrom(b.Addr, 8080))
			}
		}
	})
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

func transfer(t *testing.T, client *NS, from netip.Addr, to netip.AddrPort) {
	t.Helper()
	sent, got := bytes.Repeat([]byte("0123456789abcdef"), 1<<16), new(bytes.Buffer)
	err := client.Do(func() error {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		if from.IsValid() {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		conn, err := dialer.Dial("tcp", to.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		wrote := make(chan error, 1)
		go func() {
			_, err := conn.Write(sent)
			wrote <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
		}()
		_, err = io.Copy(got, conn)
		return errors.Join(err, <-wrote)
	})
	if err != nil || !bytes.Equal(got.Bytes(), sent) {
		t.Fatalf("%s to %s: %d of %d bytes intact, %v", from, to, got.Len(), len(sent), err)
	}
}

func TestBalancerReachedFromClientOverOneNIC(t *testing.T) {
	eachTopology(t, func(t *testing.T, opts Options) {
		topo := build(t, opts)
		l, err := topo.Balancer.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c, err := topo.Client.DialContext(ctx, "tcp", netip.AddrPortFrom(topo.BalancerAddr, 80).String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestMACsAreFixed(t *testing.T) {
	topo := build(t, Options{Backends: 2, Forward: lb.NAT, Family: 4})
	want := map[*NS]string{
		topo.Balancer:       "02:77:65:69:48:01",
		topo.Client:         "02:77:65:69:48:02",
		topo.Backends[0].NS: "02:77:65:69:48:0a",
		topo.Backends[1].NS: "02:77:65:69:48:0b",
	}
	for ns, mac := range want {
		err := ns.Do(func() error {
			link, err := netlink.LinkByName(NIC)
			if err == nil && link.Attrs().HardwareAddr.String() != mac {
				err = fmt.Errorf("MAC %s, want %s", link.Attrs().HardwareAddr, mac)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", ns.Name, err)
		}
	}
}

// A router that sends packets out where they came in tells hosts of shorter
// ways, and for IPv6 nothing turns that off. A backend that knows one answers
// past the balancer.
func TestNoHostTakesRedirects(t *testing.T) {
	eachTopology(t, func(t *testing.T, opts Options) {
		topo := build(t, opts)
		for _, ns := range []*NS{topo.Client, topo.Backends[0].NS, topo.Backends[1].NS} {
			for _, family := range []string{"ipv4", "ipv6"} {
				path := filepath.Join("/proc/sys/net", family, "conf", NIC, "accept_redirects")
				err := ns.Do(func() error {
					got, err := os.ReadFile(path)
					if err == nil && strings.TrimSpace(string(got)) != "0" {
						err = fmt.Errorf("%s is %s", path, got)
					}
					return err
				})
				if err != nil {
					t.Errorf("%s: %v", ns.Name, err)
				}
			}
		}
	})
}

func TestDSRBackendHidesItsVIP(t *testing.T) {
	topo := build(t, Options{Backends: 1, Forward: lb.DSR, Family: 4})
	err := topo.Backends[0].NS.Do(func() error {
		for name, want := range dsrSysctls() {
			got, err := os.ReadFile(filepath.Join("/proc/sys/net", name))
			if err != nil {
				return err
			}
			if strings.TrimSpace(string(got)) != want {
				return fmt.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStartRunsInsideWithFileSystemsOfTheCaller(t *testing.T) {
	topo := build(t, Options{Backends: 1, Forward: lb.NAT, Family: 4})
	cmd := exec.Command("sleep", "60")
	if err := topo.Balancer.Start(cmd); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	named, err := os.Stat(filepath.Join(NetnsDir, topo.Balancer.Name))
	if err != nil {
		t.Fatal(err)
	}
	inside, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil || !os.SameFile(named, inside) {
		t.Errorf("the command is in another namespace, %v", err)
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", cmd.Process.Pid))
	if err != nil || theirs != ours {
		t.Errorf("mount namespace %s, %v; want %s", theirs, err, ours)
	}
}

func TestCleanupAfterCrash(t *testing.T) {
	name := prefix(t)
	topo, err := New(Options{Prefix: name, Backends: 2, Forward: lb.NAT, Family: 4})
	if err != nil {
		t.Fatal(err)
	}
	// A crash closes the files and nothing else; one between creating a
	// name and mounting on it leaves an empty file.
	for _, ns := range append([]*NS{topo.Client, topo.Balancer, topo.Switch}, topo.Backends[0].NS, topo.Backends[1].NS) {
		ns.file.Close()
	}
	if err := os.WriteFile(filepath.Join(NetnsDir, name+"-half"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Prefix: name, Backends: 2, Forward: lb.NAT, Family: 4}); !errors.Is(err, os.ErrExist) {
		t.Errorf("building over leftovers: %v, want %v", err, os.ErrExist)
	}
	removed, err := Cleanup(name)
	if err != nil || len(removed) != 6 {
		t.Errorf("removed %v, %v; want 6 namespaces", removed, err)
	}
	if left, err := Leftovers(name); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOptionsRefused(t *testing.T) {
	good := Options{Prefix: "p", Backends: 1, Forward: lb.NAT, Family: 4}
	for name, change := range map[string]func(*Options){
		"no prefix":         func(o *Options) { o.Prefix = "" },
		"path in prefix":    func(o *Options) { o.Prefix = "../x" },
		"no backend":        func(o *Options) { o.Backends = 0 },
		"too many backends": func(o *Options) { o.Backends = MaxBackends + 1 },
		"l7":                func(o *Options) { o.Forward = lb.L7 },
		"family":            func(o *Options) { o.Family = 5 },
		"mixed families":    func(o *Options) { o.BackendFamily = 6 },
		"backends' family":  func(o *Options) { o.Forward, o.BackendFamily = lb.IPIP, 5 },
	} {
		opts := good
		change(&opts)
		if topo, err := New(opts); err == nil {
			t.Errorf("%s: accepted", name)
			topo.Close()
		}
	}
}

// Whatever is changed shows in a snapshot, and nothing else does.
func TestSnapshot(t *testing.T) {
	ns := newNS(t)
	snapshot := func() string {
		t.Helper()
		s, err := ns.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	last := snapshot()
	if again := snapshot(); again != last {
		t.Error("two snapshots of the same differ")
	}
	for name, change := range map[string]func() error{
		"setting":   func() error { return ns.Set(Sysctls{"ipv4/conf/all/arp_ignore": "1"}) },
		"interface": func() error { return ns.Bridge("br1", mac(hostSide, 9)) },
		"loopback":  ns.LoopbackUp,
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if now := snapshot(); now == last {
			t.Errorf("a changed %s does not show", name)
		} else {
			last = now
		}
	}
	if err := ns.AddAddr("lo", netip.MustParsePrefix("192.0.2.1/32")); err != nil {
		t.Fatal(err)
	}
	if snapshot() == last {
		t.Error("an added address does not show")
	}
}

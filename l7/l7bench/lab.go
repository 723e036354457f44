package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	proxyCPU = "0"
	loadCPU  = "1"

	proxyAddress  = "10.77.0.1"
	originAddress = "10.77.0.2"
)

// lab is the addresses and the servers.
type lab struct {
	dir     string
	origin  *server
	proxies []*server
}

func newLab(ctx context.Context) (_ *lab, err error) {
	l := &lab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	// A file system of memory: files are never waited for.
	if l.dir, err = os.MkdirTemp("", "weir-l7bench-"); err != nil {
		return l, err
	}
	if err := mounts(l.dir); err != nil {
		return l, err
	}
	if err := addresses(); err != nil {
		return l, err
	}
	if err := writeFiles(l.dir); err != nil {
		return l, err
	}
	if l.origin, err = start(ctx, origin(l.dir)); err != nil {
		return l, err
	}
	for _, p := range []program{weir(l.dir), nginx(l.dir), haproxy(l.dir)} {
		s, err := start(ctx, p)
		if err != nil {
			return l, err
		}
		l.proxies = append(l.proxies, s)
	}
	return l, nil
}

func (l *lab) close() error {
	for _, s := range append(l.proxies, l.origin) {
		if s != nil {
			s.stop()
		}
	}
	var errs []error
	for _, under := range []string{"bpf", ""} {
		if err := syscall.Unmount(filepath.Join(l.dir, under), syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", l.dir, err))
		}
	}
	return errors.Join(append(errs, os.Remove(l.dir))...)
}

// mounts makes the directory a file system in memory, with one for pins in it,
// that nobody else sees.
func mounts(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of our own: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512m,mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bpf"), 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("bpf", filepath.Join(dir, "bpf"), "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount bpf: %w", err)
	}
	// Processes are told apart by the numbers that this namespace gives.
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return nil
}

// addresses puts proxies and origin on loopback, and makes a link for the daemon to
// attach to.
func addresses() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	for _, a := range []string{proxyAddress, originAddress} {
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(a), Mask: net.CIDRMask(32, 32)}}); err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("veth pair: %w", err)
	}
	return netlink.LinkSetUp(pair)
}

// compare loads each proxy in turn, in several rounds.
func (l *lab) compare(ctx context.Context, c load, o options) (result, error) {
	costs := make([][]float64, len(l.proxies))
	for round := range o.rounds + 1 {
		each := o.each
		if round == 0 {
			each = time.Second // caches fill, connections open
		}
		for i, p := range l.proxies {
			if c.without && p.name == "haproxy" {
				continue
			}
			cost, err := p.cost(ctx, c, each)
			if err != nil {
				return result{}, err
			}
			if round > 0 {
				costs[i] = append(costs[i], cost)
			}
		}
	}
	r := result{Case: c.name, Weir: median(costs[0]), Nginx: median(costs[1]), bar: c.bar}
	if len(costs[2]) > 0 {
		r.HAProxy = median(costs[2])
	}
	r.Ratio = r.Weir / r.Nginx
	return r, nil
}

// cost is CPU time of a proxy per request, µs.
func (s *server) cost(ctx context.Context, c load, each time.Duration) (float64, error) {
	address := net.JoinHostPort(proxyAddress, s.port(c.tls))
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	requests, err := c.run(ctx, address, each)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := s.cpu()
	if err != nil {
		return 0, err
	}
	if requests == 0 {
		return 0, fmt.Errorf("%s answered nothing", s.name)
	}
	return float64((after - before).Nanoseconds()) / 1000 / float64(requests), nil
}

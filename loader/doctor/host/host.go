// Package host reads for the doctor what the machine says: netlink, ethtool,
// /proc, /sys, pins and the answers of other hosts. It works in the network
// namespace of its process.
package host

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/dataplane"
	"weir/loader/doctor"
	"weir/loader/lb"
)

// Host is this machine. It may be used concurrently.
type Host struct {
	log *slog.Logger
}

var _ doctor.Host = (*Host)(nil)

// New returns the machine; log gets what next hops report on the way.
func New(log *slog.Logger) *Host { return &Host{log: log} }

// Kernel is the running one.
func (h *Host) Kernel() doctor.Kernel {
	var u unix.Utsname
	_ = unix.Uname(&u) // fails for bad addresses only
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return doctor.Kernel{Release: string(bytes.TrimRight(u.Release[:], "\x00")), BTF: err == nil}
}

// CPUs counts the CPUs that are online.
func (h *Host) CPUs() (int, error) {
	b, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return 0, fmt.Errorf("count CPUs: %w", err)
	}
	return countList(strings.TrimSpace(string(b)))
}

// countList counts a list of numbers and ranges such as "0-3,6".
func countList(list string) (int, error) {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && ranged {
			last, err = strconv.Atoi(to)
		}
		if err != nil || last < first {
			return 0, fmt.Errorf("%q is not a list of numbers and ranges", list)
		}
		n += last - first + 1
	}
	return n, nil
}

// Sysctl reads a setting below /proc/sys.
func (h *Host) Sysctl(key string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys", key))
	if err != nil {
		return "", fmt.Errorf("read a sysctl: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// OnBPFFS reports whether a directory is on a bpf file system.
func (h *Host) OnBPFFS(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && uint32(s.Type) == unix.BPF_FS_MAGIC
}

// SameNetwork reports whether a process is in this network namespace. One that
// cannot be looked at counts as being here.
func (h *Host) SameNetwork(pid int) bool {
	its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return true
	}
	own, err := os.Stat("/proc/self/ns/net")
	return err != nil || os.SameFile(its, own)
}

// Addresses gives all addresses of this host with their interfaces.
func (h *Host) Addresses() (map[netip.Addr]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	all := map[netip.Addr]string{}
	for _, l := range links {
		prefixes, err := prefixesOf(l)
		if err != nil {
			return nil, err
		}
		for _, p := range prefixes {
			all[p.Addr()] = l.Attrs().Name
		}
	}
	return all, nil
}

func prefixesOf(l netlink.Link) ([]netip.Prefix, error) {
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
	}
	var all []netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		if ok {
			all = append(all, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return all, nil
}

// Pins looks at the pin directory of a configuration.
func (h *Host) Pins(c lb.Config) (doctor.Pins, error) {
	p, err := dataplane.Inspect(c)
	out := doctor.Pins{Found: p.Found, Held: p.Held, Refusal: p.Refusal, Limits: p.Limits, Links: map[string]doctor.Pinned{}}
	for name, l := range p.Links {
		out.Links[name] = doctor.Pinned{Interface: l.Interface, Program: l.Program}
	}
	return out, err
}

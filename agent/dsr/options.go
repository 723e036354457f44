// Package dsr sets a backend host up for services whose packets arrive as the
// client sent them (dsr, ipip, gue), and takes it all back: VIPs on the
// loopback interface, ARP that does not claim them, and the program that
// unpacks tunnels. All of it is about the network namespace of the thread that
// calls Start, Undo and Close.
package dsr

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"

	"weir/loader/lb"
)

// Where state is kept, and where GUE arrives, if nothing else is said.
const (
	DefaultStateDir = "/run/weir"
	DefaultGUEPort  = 6080 // IANA
)

// Options say what Start sets up.
type Options struct {
	VIPs       []netip.Addr
	Interfaces []string // on which packets from the balancer arrive
	NoTunnel   bool     // dsr alone: no program is attached
	GUEPort    uint16
	StateDir   string       // remembers what to take back, should the process be killed
	Log        *slog.Logger // notices; nil for none
}

// checked is o without duplicates, or why it makes no sense.
func (o Options) checked() (Options, error) {
	switch {
	case len(o.VIPs) == 0:
		return o, errors.New("no VIP is given: name each with --vip")
	case len(o.Interfaces) == 0:
		return o, errors.New("no interface is given: name the one that packets from the balancer arrive on with --interface")
	case !o.NoTunnel && o.GUEPort == 0:
		return o, errors.New("GUE port 0 is not 1 to 65535")
	}
	for _, vip := range o.VIPs {
		if err := lb.CheckAddr(vip); err != nil {
			return o, fmt.Errorf("VIP %s: %w", vip, err)
		}
	}
	o.VIPs = slices.Compact(slices.SortedFunc(slices.Values(o.VIPs), netip.Addr.Compare))
	o.Interfaces = slices.Compact(slices.Sorted(slices.Values(o.Interfaces)))
	if slices.Contains(o.Interfaces, loopback) {
		return o, fmt.Errorf("interface %s is where VIPs go: name the one that packets from the balancer arrive on", loopback)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("changing addresses and loading a program into the kernel needs root: run it with sudo, or as root")
	}
	return nil
}

// anyIPv4 tells whether ARP matters at all.
func anyIPv4(addrs []netip.Addr) bool { return slices.ContainsFunc(addrs, netip.Addr.Is4) }

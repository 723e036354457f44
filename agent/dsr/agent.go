package dsr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Agent is a host that is set up. Its methods may be called from any goroutine,
// Close only from a thread in the namespace of Start.
type Agent struct {
	opts     Options
	host     *host
	store    *store
	done     state    // what Close takes back
	begun    bool     // anything was changed
	program  *program // nil without tunnels
	attached []Attachment
	events   *nl.NetlinkSocket // addresses of the host that come and go
	close    func() error
}

// Attachment says how the program runs on an interface.
type Attachment struct {
	Interface string `json:"interface"`
	Mode      string `json:"mode"` // native or generic
}

// Start sets the host up, or leaves it as it was and says why. What a killed
// process left is taken over, or back if it is not asked for any more. After an
// error there is nothing to close.
func Start(o Options) (*Agent, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	if err := needRoot(); err != nil {
		return nil, err
	}
	a := &Agent{opts: o}
	a.close = sync.OnceValue(a.takeBack)
	if err := a.start(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Agent) start() (err error) {
	if a.store, err = openStore(a.opts.StateDir); err != nil {
		return err
	}
	if a.host, err = openHost(); err != nil {
		return err
	}
	links, err := a.links()
	if err != nil {
		return err
	}
	left, err := a.store.load()
	if err != nil {
		return err
	}
	plan, err := a.host.plan(a.opts, links, left)
	if err != nil {
		return err
	}
	if !a.opts.NoTunnel {
		if a.program, err = loadProgram(a.opts); err != nil {
			return err
		}
	}
	if err := a.change(left, plan); err != nil || a.program == nil {
		return err
	}
	return a.unpack(links)
}

// links finds the interfaces and checks that the program can go there.
func (a *Agent) links() ([]netlink.Link, error) {
	var all []netlink.Link
	for _, name := range a.opts.Interfaces {
		l, err := a.host.link(name)
		if err != nil {
			return nil, err
		}
		if err := checkFree(l); err != nil && !a.opts.NoTunnel {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// change takes back what is needed no more and does the rest. The state is
// saved before anything is done, so that a crash leaves nothing unknown.
func (a *Agent) change(left, plan state) error {
	a.begun, a.done = true, left
	if err := a.host.undo(left, plan); err != nil {
		return err
	}
	a.done = plan
	if err := a.store.save(plan); err != nil {
		return err
	}
	return a.host.apply(plan)
}

// unpack attaches the program.
func (a *Agent) unpack(links []netlink.Link) (err error) {
	// First, so that no change is missed.
	if a.events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR); err != nil {
		return fmt.Errorf("subscribing to address changes: %w", err)
	}
	if err := a.followAddresses(); err != nil {
		return err
	}
	for _, l := range links {
		name := l.Attrs().Name
		mode, why, err := a.program.attach(l)
		if err != nil {
			return err
		}
		if why != nil {
			a.opts.Log.Warn("native XDP is not possible: using generic mode, which is several times slower", "interface", name, "error", why)
		}
		a.attached = append(a.attached, Attachment{name, mode})
	}
	return nil
}

// followAddresses makes the program unpack what is for this host's addresses
// of now.
func (a *Agent) followAddresses() error {
	has, err := a.host.addresses()
	if err != nil {
		return err
	}
	want := make(map[netip.Addr]bool, len(has))
	for _, at := range has {
		if !at.addr.IsLoopback() && !at.addr.IsLinkLocalUnicast() && !slices.Contains(a.opts.VIPs, at.addr) {
			want[at.addr] = true
		}
	}
	return a.program.setTunnelAddresses(want)
}

// Run keeps up with the host's addresses until ctx ends, which is no error.
func (a *Agent) Run(ctx context.Context) error {
	if a.events == nil {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, a.events.Close)
	defer stop()
	for {
		_, _, err := a.events.Receive()
		if ctx.Err() != nil {
			return nil
		}
		// Only events are missing then; addresses are read whole.
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("receiving address changes: %w", err)
		}
		if err := a.followAddresses(); err != nil {
			return err
		}
	}
}

// Attachments says where the program runs; nothing with NoTunnel.
func (a *Agent) Attachments() []Attachment { return a.attached }

// Counters reads what the program counted; nothing with NoTunnel.
func (a *Agent) Counters() ([]Counter, error) {
	if a.program == nil {
		return nil, nil
	}
	return a.program.counters()
}

// Close takes everything back. What fails is kept in the state file for Undo.
func (a *Agent) Close() error { return a.close() }

func (a *Agent) takeBack() error {
	var errs []error
	if a.events != nil {
		a.events.Close()
	}
	if a.program != nil {
		errs = append(errs, a.program.unload())
	}
	if a.begun {
		errs = append(errs, a.forget())
	}
	if a.host != nil {
		a.host.close()
	}
	if a.store != nil {
		errs = append(errs, a.store.close())
	}
	return errors.Join(errs...)
}

func (a *Agent) forget() error {
	if err := a.host.undo(a.done, state{}); err != nil {
		return err
	}
	return a.store.clear()
}

// Undo takes back what a killed agent left in this namespace and tells what
// that was; nothing is no error.
func Undo(stateDir string) (undone []string, err error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	s, err := openStore(stateDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	left, err := s.load()
	if err != nil || left.empty() {
		return nil, err
	}
	h, err := openHost()
	if err != nil {
		return nil, err
	}
	defer h.close()
	if err := h.undo(left, state{}); err != nil {
		return nil, err
	}
	for _, vip := range left.VIPs {
		undone = append(undone, fmt.Sprintf("VIP %s on %s", vip, loopback))
	}
	for _, c := range left.Sysctls {
		undone = append(undone, fmt.Sprintf("net/%s = %s", c.Path, c.Set))
	}
	return undone, s.clear()
}

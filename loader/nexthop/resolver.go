// Package nexthop finds where frames for an address leave this host:
// interface, both MAC addresses and MTU, from the kernel's routes and
// neighbours. It follows their changes and keeps neighbours fresh that the
// kernel would forget, because traffic in XDP never touches them.
//
// It works in the network namespace of the thread that called New. A route
// over several paths counts as the one the kernel names for the address.
package nexthop

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"weir/loader/lb"
)

// Resolver answers where frames for an address leave. All methods may be
// called from any goroutine; Run is called once.
type Resolver struct {
	log     *slog.Logger
	kernel  *kernel
	changes chan struct{}

	// revalidate is how long a stale neighbour goes unquestioned.
	revalidate time.Duration

	resolving sync.Mutex // held by Resolve, taken before mu

	mu       sync.Mutex // guards what follows
	watching bool       // Run reads events, so what is known stays true
	loaded   bool       // links and neighbours are those of the kernel
	links    map[int]link
	neighs   neighTable
	routes   routeTable
	clients  window
}

// New opens the kernel's tables. Close releases them.
func New(log *slog.Logger) (*Resolver, error) {
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	return &Resolver{
		log:        log,
		kernel:     k,
		changes:    make(chan struct{}, 1),
		revalidate: 30 * time.Second,
		links:      map[int]link{},
		neighs:     neighTable{},
		routes:     routeTable{entries: map[netip.Addr]*routeEntry{}},
	}, nil
}

// Close releases the sockets once Run has returned. No other method may be
// called afterwards.
func (r *Resolver) Close() { r.kernel.close() }

// Changes gets a value, coalesced, whenever a later Resolve may answer
// differently.
func (r *Resolver) Changes() <-chan struct{} { return r.changes }

// Resolve returns the next hop of each address as far as it is known now; the
// zero NextHop stands for unknown, and Reason tells why. Neighbours that are
// missing are asked for. The addresses of the last call are the ones whose
// changes are announced. An error means that the kernel could not be read.
func (r *Resolver) Resolve(addrs []netip.Addr) (map[netip.Addr]lb.NextHop, error) {
	r.resolving.Lock()
	defer r.resolving.Unlock()
	outdated, err := r.begin(addrs)
	if err != nil {
		return nil, err
	}
	found, err := r.lookUp(outdated)
	answer := r.finish(outdated, found, addrs)
	if err != nil {
		return nil, err
	}
	r.askAgain(time.Now())
	return answer, nil
}

// begin watches the addresses and returns those whose route is unknown. An
// event that comes after it outdates a route again, so none is missed.
func (r *Resolver) begin(addrs []netip.Addr) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.watching {
		r.forget()
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	r.routes.watch(addrs)
	return r.routes.takeOutdated(), nil
}

// load reads links and neighbours unless they are known. Events wait in their
// socket meanwhile: applied to what was read, older ones do no lasting harm.
func (r *Resolver) load() error {
	if r.loaded {
		return nil
	}
	links, err := r.kernel.links()
	if err != nil {
		return err
	}
	neighs, err := r.kernel.neighbours()
	if err != nil {
		return err
	}
	r.links = links
	r.neighs.replace(neighs)
	r.loaded = true
	return nil
}

// forget makes the next Resolve read everything again.
func (r *Resolver) forget() {
	r.loaded = false
	r.routes.outdateAll()
}

// lookUp returns the routes of the addresses, up to the first that could not
// be read.
func (r *Resolver) lookUp(addrs []netip.Addr) (map[netip.Addr]route, error) {
	found := make(map[netip.Addr]route, len(addrs))
	for _, a := range addrs {
		rt, err := r.kernel.route(a)
		if err != nil {
			return found, fmt.Errorf("look up the route to %s: %w", a, err)
		}
		found[a] = rt
	}
	return found, nil
}

// finish stores the routes found and puts the answer together.
func (r *Resolver) finish(asked []netip.Addr, found map[netip.Addr]route, addrs []netip.Addr) map[netip.Addr]lb.NextHop {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.routes.store(asked, found)
	hops := r.routes.hops()
	maps.DeleteFunc(hops, func(h hop, _ struct{}) bool { return !r.links[h.iface].ethernet })
	r.neighs.use(hops)
	answer := make(map[netip.Addr]lb.NextHop, len(addrs))
	for _, a := range addrs {
		answer[a], _ = r.nextHop(r.routes.entries[a].route)
	}
	return answer
}

// nextHop joins route, link and neighbour, or says what is missing.
func (r *Resolver) nextHop(rt route) (lb.NextHop, string) {
	if rt.reason != "" {
		return lb.NextHop{}, rt.reason
	}
	out, ok := r.links[rt.hop.iface]
	if !ok {
		return lb.NextHop{}, fmt.Sprintf("interface %d is gone", rt.hop.iface)
	}
	if !out.ethernet {
		return lb.NextHop{}, fmt.Sprintf("interface %s has no Ethernet address", out.name)
	}
	if _, reason := r.tagsOf(rt.hop.iface); reason != "" {
		return lb.NextHop{}, reason
	}
	n := r.neighs[rt.hop]
	if n == nil || !n.known() {
		return lb.NextHop{}, n.problemWith(rt.hop.addr, out.name)
	}
	mtu := out.mtu
	if rt.mtu > 0 && rt.mtu < mtu {
		mtu = rt.mtu
	}
	return lb.NextHop{IfIndex: rt.hop.iface, SrcMAC: out.mac, DstMAC: n.mac, MTU: mtu}, ""
}

// Reason says why an address of the last Resolve has no next hop; it is empty
// if it has one.
func (r *Resolver) Reason(a netip.Addr) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.routes.entries[a]
	if !ok {
		return fmt.Sprintf("%s is not among the addresses resolved last", a)
	}
	_, reason := r.nextHop(e.route)
	return reason
}

// Probe asks the kernel to find the neighbour of a client that replies could
// not be sent to. More than one call a second for an address, and more than
// maxClients addresses a second, are ignored.
func (r *Resolver) Probe(client netip.Addr) {
	now := time.Now()
	r.mu.Lock()
	allowed := r.clients.allow(client, now)
	r.mu.Unlock()
	if !allowed {
		return
	}
	rt, err := r.kernel.route(client)
	if err == nil && rt.reason != "" {
		err = errors.New(rt.reason)
	}
	if err != nil {
		r.log.Debug("cannot probe client", "client", client, "error", err)
		return
	}
	r.mu.Lock()
	due := r.neighs.get(rt.hop).takeTurn(now, r.revalidate)
	r.mu.Unlock()
	if due {
		r.ask(rt.hop)
	}
}

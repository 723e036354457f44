package netlab

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Trouble is what a bad link does to the packets that are sent on it.
type Trouble struct {
	Loss    float32       // per cent, of all packets
	Delay   time.Duration // of each
	Reorder float32       // per cent, that overtake the delayed ones
}

// Impair makes what an interface sends suffer. It needs the module sch_netem;
// without it the error is ErrNoKernelSupport.
func (n *NS) Impair(iface string, t Trouble) error {
	err := n.Do(func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
		return netlink.QdiscAdd(netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{
			Latency: uint32(t.Delay.Microseconds()), Loss: t.Loss, ReorderProb: t.Reorder,
		}))
	})
	if errors.Is(err, unix.ENOENT) { // no such kind of queueing
		err = fmt.Errorf("%w: %w", ErrNoKernelSupport, err)
	}
	if err != nil {
		return fmt.Errorf("impairing %s/%s: %w", n.Name, iface, err)
	}
	return nil
}

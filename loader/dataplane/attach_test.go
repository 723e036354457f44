package dataplane

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"weir/loader/lb"
)

// wide is a veth pair whose frames are too long for native XDP (veth_xdp_set in
// drivers/net/veth.c).
func wide(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("links need root")
	}
	name := fmt.Sprintf("weir-w%d", os.Getpid()%100000)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, 9000
	link := netlink.NewVeth(attrs)
	link.PeerName = name + "p"
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(link); err != nil {
			t.Error(err)
		}
	})
	peer, err := netlink.LinkByName(link.PeerName)
	if err == nil {
		err = netlink.LinkSetMTU(peer, 9000)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// A driver that refuses native mode gets generic mode and one notice, if the
// configuration leaves the choice, and is refused otherwise.
func TestFallsBackToGeneric(t *testing.T) {
	c := testConfig(t)
	c.Interfaces = []string{wide(t)}
	var log bytes.Buffer
	d := openTest(t, Options{Config: c, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if at := d.Info().Attachments; len(at) != 1 || at[0].Mode != "generic" {
		t.Errorf("attached as %+v, want generic mode", at)
	}
	if n := strings.Count(log.String(), "native XDP was refused"); n != 1 || !strings.Contains(log.String(), c.Interfaces[0]) {
		t.Errorf("%d notices of it in the log, want 1:\n%s", n, &log)
	}
}

func TestNativeIsNotGeneric(t *testing.T) {
	c := testConfig(t)
	c.Interfaces, c.XDPMode = []string{wide(t)}, lb.XDPNative
	if d, err := Open(Options{Config: c}); err == nil || !strings.Contains(err.Error(), "refuses the program") {
		t.Errorf("got %v, want a refusal by the driver", err)
		if err == nil {
			d.Close()
		}
	}
}

package suites

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
	"weir/loader/netlab"
	"weir/vm-tests/guest"
)

// TestAcross…: client, balancer and backend are machines of their own, in a
// row. Each runs its test; the client's says when it is over.

// side is a network between two machines, by family: .1 is the balancer.
type side [2]netip.Prefix

var (
	nearSide = side{netip.MustParsePrefix("10.91.0.0/24"), netip.MustParsePrefix("fd91::/64")}
	farSide  = side{netip.MustParsePrefix("10.92.0.0/24"), netip.MustParsePrefix("fd92::/64")}
	farVIPs  = []netip.Addr{netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("2001:db8:100::10")}
)

// Last bytes of addresses.
const (
	balancerHost = 1
	snatHost     = 5
	otherHost    = 10 // client or backend
)

// host is an address of a side; family is 0 for IPv4, 1 for IPv6.
func (s side) host(family, number int) netip.Addr {
	b := s[family].Addr().AsSlice()
	b[len(b)-1] = byte(number)
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

const (
	firstPort   = 80   // of the first of acrossModes, and so on
	controlPort = 9000 // of balancer and backend
)

func acrossModes() []lb.Forward { return []lb.Forward{lb.NAT, lb.SNAT, lb.DSR, lb.IPIP, lb.GUE} }

// machine is this machine's own namespace, with a NIC up.
func machine(t *testing.T) *netlab.NS {
	t.Helper()
	path := netlab.NetnsDir + "/machine"
	if err := os.MkdirAll(netlab.NetnsDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/1/ns/net", path); err != nil {
		t.Fatal(err)
	}
	ns, err := netlab.OpenNS("machine")
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// plug gives a NIC addresses of a side and brings it up.
func plug(t *testing.T, ns *netlab.NS, number int, s side, hosts ...int) string {
	t.Helper()
	n := nic(t, number)
	setUp(t, n.Name)
	for family := range s {
		for _, host := range hosts {
			if err := ns.AddAddr(n.Name, netip.PrefixFrom(s.host(family, host), s[family].Bits())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n.Name
}

// routeBy sends everything to the balancer.
func routeBy(t *testing.T, ns *netlab.NS, s side) {
	t.Helper()
	for family, anywhere := range []string{"0.0.0.0/0", "::/0"} {
		if err := ns.AddRoute(netip.MustParsePrefix(anywhere), s.host(family, balancerHost)); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitEnd serves until the client says that it is over.
func awaitEnd(t *testing.T) {
	t.Helper()
	over := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /over", func(http.ResponseWriter, *http.Request) { close(over) })
	mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", controlPort))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: mux}
	go s.Serve(l)
	<-over
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAcrossBackend(t *testing.T) {
	ns := machine(t)
	name := plug(t, ns, guest.BackendNIC, farSide, otherHost)
	routeBy(t, ns, farSide)
	agent := startWeir(t, "agent", "dsr", "--interface", name, "--vip", farVIPs[0].String(), "--vip", farVIPs[1].String())
	agent.awaitLine(t)
	for i := range acrossModes() {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", firstPort+i))
		if err != nil {
			t.Fatal(err)
		}
		go http.Serve(l, http.HandlerFunc(giveBack))
	}
	awaitEnd(t)
}

// giveBack answers with what it gets.
func giveBack(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

func TestAcrossBalancer(t *testing.T) {
	ns := machine(t)
	if err := ns.Forwarding(); err != nil {
		t.Fatal(err)
	}
	near := plug(t, ns, guest.NearNIC, nearSide, balancerHost)
	far := plug(t, ns, guest.FarNIC, farSide, balancerHost, snatHost)
	daemon := startDaemon(t, acrossConfig(near, far))
	for _, a := range daemon.status(t).DataPlane.Attachments {
		if a.Mode != "native" {
			t.Errorf("attached as %+v, want native", a)
		}
	}
	awaitEnd(t)
	s := daemon.status(t)
	if len(s.DataPlane.Attachments) != 2 || s.Totals.Packets == 0 {
		t.Errorf("attached as %+v, forwarded %d packets", s.DataPlane.Attachments, s.Totals.Packets)
	}
	for _, r := range s.Reasons {
		if r.Verdict == "drop" && r.Packets > 0 && r.Reason != "too_big" {
			t.Errorf("dropped %d packets: %s", r.Packets, r.Reason)
		}
	}
	t.Logf("forwarded %+v, %d passed", s.Totals.Traffic, s.Totals.Passed)
}

func acrossConfig(near, far string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s, %s]\nxdp_mode: native\n", near, far)
	fmt.Fprintf(&b, "snat: {addresses: [%q, %q]}\npools:\n", farSide.host(0, snatHost), farSide.host(1, snatHost))
	for family := range farVIPs {
		fmt.Fprintf(&b, "  - {name: p%d, backends: [{address: %q}]}\n", family, farSide.host(family, otherHost))
	}
	b.WriteString("services:\n")
	for family, vip := range farVIPs {
		for i, forward := range acrossModes() {
			v := lb.VIP{Addr: vip, Port: uint16(firstPort + i), Proto: lb.TCP}
			fmt.Fprintf(&b, "  - {name: %s%d, vip: %q, forward: %s, pool: p%d}\n", forward, family, v, forward, family)
		}
	}
	return b.String()
}

// How long the other machines may take to boot.
const acrossPatience = 90 * time.Second

func TestAcrossClient(t *testing.T) {
	ns := machine(t)
	plug(t, ns, guest.ClientNIC, nearSide, otherHost)
	routeBy(t, ns, nearSide)
	others := []netip.Addr{farSide.host(0, otherHost), nearSide.host(0, balancerHost)}
	for _, other := range others {
		awaitPeer(t, other)
		t.Cleanup(func() {
			resp, err := http.Post(control(other)+"over", "text/plain", nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
	}
	for family, vip := range farVIPs {
		for i, forward := range acrossModes() {
			t.Run(fmt.Sprintf("%s-%d", forward, 4+2*family), func(t *testing.T) {
				carries(t, netip.AddrPortFrom(vip, uint16(firstPort+i)))
			})
		}
	}
}

func control(a netip.Addr) string {
	return "http://" + netip.AddrPortFrom(a, controlPort).String() + "/"
}

func awaitPeer(t *testing.T, a netip.Addr) {
	t.Helper()
	hc := http.Client{Timeout: 2 * time.Second}
	for late := time.Now().Add(acrossPatience); ; {
		resp, err := hc.Get(control(a))
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(late) {
			t.Fatal(err)
		}
	}
}

// carries makes requests, short and long, each on a connection of its own. None
// may fail.
func carries(t *testing.T, vip netip.AddrPort) {
	hc := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	const short, long = 100, 4
	began := time.Now()
	for i := range short + long {
		body := fmt.Sprintf("%d of %s", i, vip)
		if i >= short {
			body = strings.Repeat(body, (256<<10)/len(body))
		}
		resp, err := hc.Post("http://"+vip.String()+"/", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != body {
			t.Fatalf("request %d: %d bytes came back of %d, %v", i, len(got), len(body), err)
		}
	}
	t.Logf("%d requests in %s", short+long, time.Since(began).Round(time.Millisecond))
}

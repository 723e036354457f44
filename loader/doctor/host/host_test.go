package host

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"testing"

	"weir/loader/doctor"
)

func TestCountList(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-1,4": 3, "0-1,4-7": 6, "": -1, "a": -1, "3-1": -1, "0-": -1} {
		got, err := countList(list)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("countList(%q) = %d, %v; want %d", list, got, err, want)
		}
	}
}

func TestQuestionsAndAnswers(t *testing.T) {
	other := doctor.MAC{2, 0, 0, 0, 0, 9}
	reply := arpRequest(other, netip.MustParseAddr("10.0.0.1"))
	reply[21] = arpReply
	copy(reply[28:], []byte{192, 0, 2, 1})
	advert := ndSolicit(other, netip.MustParseAddr("2001:db8::1"))
	advert[etherHeader+ip6Length] = advertisement
	elsewhere := doctor.MAC{2, 0, 0, 0, 0, 7}
	option := append(append(append([]byte{}, advert...), optionTargetMAC, 1), elsewhere[:]...)
	far := append([]byte{}, advert...)
	far[etherHeader+7] = 64
	for _, c := range []struct {
		name   string
		answer func([]byte) (netip.Addr, doctor.MAC, bool)
		frame  []byte
		addr   string
		mac    doctor.MAC
	}{
		{"reply", arpAnswer, reply, "192.0.2.1", other},
		{"request", arpAnswer, arpRequest(other, netip.MustParseAddr("10.0.0.1")), "", doctor.MAC{}},
		{"short reply", arpAnswer, reply[:41], "", doctor.MAC{}},
		{"advertisement", ndAnswer, advert, "2001:db8::1", other},
		{"advertisement with an option", ndAnswer, option, "2001:db8::1", elsewhere},
		{"advertisement through a router", ndAnswer, far, "", doctor.MAC{}},
		{"solicitation", ndAnswer, ndSolicit(other, netip.MustParseAddr("2001:db8::1")), "", doctor.MAC{}},
		{"short advertisement", ndAnswer, advert[:77], "", doctor.MAC{}},
	} {
		addr, mac, ok := c.answer(c.frame)
		if ok != (c.addr != "") || ok && (addr.String() != c.addr || mac != c.mac) {
			t.Errorf("%s: %s is at %s (%v), want %s at %s", c.name, addr, mac, ok, c.addr, c.mac)
		}
	}
}

func TestThisHost(t *testing.T) {
	h := New(nil)
	if k := h.Kernel(); k.Release == "" || k.BTF != exists("/sys/kernel/btf/vmlinux") {
		t.Errorf("kernel %+v", k)
	}
	if n, err := h.CPUs(); err != nil || n < 1 {
		t.Errorf("%d CPUs, %v", n, err)
	}
	if _, err := h.Link("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an interface that is not there: %v", err)
	}
	l, err := h.Link("lo")
	if err != nil || l.Index != 1 || l.MTU == 0 || l.Queues.RX < 1 || l.MAC != (doctor.MAC{}) {
		t.Errorf("lo is %+v, %v", l, err)
	}
	if !h.SameNetwork(os.Getpid()) {
		t.Error("this process is in another network namespace than itself")
	}
	if value, err := h.Sysctl("net/ipv4/conf/lo/forwarding"); err != nil || value != "0" && value != "1" {
		t.Errorf("sysctl %q, %v", value, err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

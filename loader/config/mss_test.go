package config

import (
	"strings"
	"testing"

	"weir/loader/lb"
)

func mssOf(vip, forward, mss string) string {
	return "interfaces: [eth0]\npools: [{name: web, backends: [{address: 10.0.0.1}]}]\nservices: [{name: a, vip: \"" + vip + "\", forward: " + forward + ", pool: web, mss: " + mss + "}]\n"
}

func TestMSS(t *testing.T) {
	const tcp = "192.0.2.1:80/tcp"
	for text, want := range map[string]uint16{"auto": lb.MSSAuto, "536": 536, "1400": 1400, "65535": 65535} {
		c, err := Parse("f", []byte(mssOf(tcp, "nat", text)))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := c.Services[0].MSS; got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
	for _, c := range []struct{ vip, forward, mss, part string }{
		{tcp, "nat", "535", "services[0].mss: 535 is not in 536..65535"},
		{tcp, "nat", "65536", "services[0].mss: 65536 is not in 536..65535"},
		{tcp, "nat", "-1", "services[0].mss: -1 is not in 536..65535"},
		{tcp, "nat", "Auto", `services[0].mss: "Auto" is not a whole number or auto`},
		{tcp, "nat", "1400.5", `services[0].mss: "1400.5" is not a whole number or auto`},
		{tcp, "nat", "[1]", "services[0].mss: a list is not a whole number or auto"},
		{"192.0.2.1:53/udp", "dsr", "auto", "services[0].mss: must be left out: only TCP has segments"},
		{tcp, "l7", "auto", "services[0].mss: must be left out: with l7 this host ends connections itself"},
	} {
		_, err := Parse("f", []byte(mssOf(c.vip, c.forward, c.mss)))
		if err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s %s %s: got %v, want an error with %q", c.vip, c.forward, c.mss, err, c.part)
		}
	}
}

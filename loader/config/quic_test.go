package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/loader/config"
	"weir/loader/lb"
)

func quicFile(t *testing.T, quic, first, second string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "weir.yaml")
	text := "interfaces: [eth0]\npools:\n  - name: h3\n" + quic +
		"    backends:\n      - {address: 10.0.0.1" + first + "}\n      - {address: 10.0.0.2" + second + "}\n" +
		"services:\n  - {name: h3, vip: 192.0.2.1:443/udp, forward: dsr, pool: h3}\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestQUIC(t *testing.T) {
	c, err := config.Load(quicFile(t, "    quic: {config_ids: [0, 2], server_id_length: 2}\n", `, server_id: "0a01"`, `, server_id: "0a02"`))
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Pools[0]; p.QUIC != (lb.QUIC{0: 2, 2: 2}) || p.Backends[0].ServerID != "\x0a\x01" || p.Backends[1].ServerID != "\x0a\x02" {
		t.Errorf("read as %v, %q, %q", p.QUIC, p.Backends[0].ServerID, p.Backends[1].ServerID)
	}
}

func TestQUICFaults(t *testing.T) {
	const quic = "    quic: {config_ids: [0], server_id_length: 2}\n"
	for _, c := range []struct{ quic, first, second, want string }{
		{"", `, server_id: "0a01"`, "", "needs the pool's quic"},
		{quic, `, server_id: "0a01"`, "", "server_id"},
		{quic, `, server_id: "0a01"`, `, server_id: "0a01"`, "is already that of pools[0].backends[0]"},
		{quic, `, server_id: "0a01"`, `, server_id: "0a"`, "is not 2 bytes in hexadecimal"},
		{quic, `, server_id: "0a01"`, `, server_id: "0axx"`, "is not 2 bytes in hexadecimal"},
		{"    quic: {config_ids: [7], server_id_length: 2}\n", `, server_id: "0a01"`, `, server_id: "0a02"`, "7 is not in 0..6"},
		{"    quic: {server_id_length: 2}\n", `, server_id: "0a01"`, `, server_id: "0a02"`, "config_ids"},
		{"    quic: {config_ids: [0], server_id_length: 16}\n", `, server_id: "0a01"`, `, server_id: "0a02"`, "server_id_length"},
	} {
		if _, err := config.Load(quicFile(t, c.quic, c.first, c.second)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s%s: error is %v, want one with %q", c.quic, c.first, c.second, err, c.want)
		}
	}
}

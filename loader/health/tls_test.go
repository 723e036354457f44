package health

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/loader/lb"
)

var quiet = log.New(io.Discard, "", 0)

func addrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	soon, later := time.Now().Add(time.Hour), time.Now().Add(50*24*time.Hour)
	for _, c := range []struct {
		name       string
		server     *tls.Config
		serverName string
		verify     lb.TLSVerify
		want       Reason
		text       string
	}{
		{"its address", ca.server(t, "127.0.0.1", later), "", lb.VerifyFull, "", ""},
		{"a name", ca.server(t, "web.example", later), "web.example", lb.VerifyFull, "", ""},
		{"any name", ca.server(t, "other.example", later), "", lb.VerifyChain, "", ""},
		{"anything", other.server(t, "other.example", time.Now().Add(-time.Hour)), "", lb.VerifyNone, "", ""},
		{"ends soon", ca.server(t, "127.0.0.1", soon), "", lb.VerifyFull, "", ""},
		{"of another host", ca.server(t, "other.example", later), "web.example", lb.VerifyFull, ReasonTLS, "other.example"},
		{"without the address", ca.server(t, "web.example", later), "", lb.VerifyFull, ReasonTLS, "127.0.0.1"},
		{"of another authority", other.server(t, "127.0.0.1", later), "", lb.VerifyFull, ReasonTLS, "authority"},
		{"chain of another authority", other.server(t, "127.0.0.1", later), "", lb.VerifyChain, ReasonTLS, "authority"},
		{"ended", ca.server(t, "127.0.0.1", time.Now().Add(-time.Hour)), "", lb.VerifyFull, ReasonTLS, "expired"},
		{"chain ended", ca.server(t, "127.0.0.1", time.Now().Add(-time.Hour)), "", lb.VerifyChain, ReasonTLS, "expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			to := serve(t, func(conn net.Conn) { tls.Server(conn, c.server).Handshake() })
			h := lb.Health{Type: lb.HealthTLS, CA: ca.PEM, ServerName: c.serverName, Verify: c.verify}
			report, err := probe(t, h, to)
			wantResult(t, err, c.want, c.text)
			if err == nil && report.CertificateEnds.IsZero() {
				t.Error("nothing said about the certificate's end")
			}
		})
	}
}

func TestHostileTLS(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		want   Reason
	}{
		{"end", func(net.Conn) {}, ReasonReset},
		{"plain HTTP", text("HTTP/1.1 400 Bad Request\r\n\r\n"), ReasonTimeout},
		{"garbage", func(c net.Conn) { io.WriteString(c, "garbage garbage garbage") }, ReasonTLS},
		{"silence", func(c net.Conn) { io.Copy(io.Discard, c) }, ReasonTimeout},
		{"a handshake message without end", func(c net.Conn) {
			record := append([]byte{22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff}, make([]byte, 0x4000-4)...)
			for {
				if _, err := c.Write(record); err != nil {
					return
				}
			}
		}, ReasonTLS},
		{"alert", func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }, ReasonTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			_, err := probe(t, lb.Health{Type: lb.HealthTLS, Verify: lb.VerifyFull, Timeout: 2 * probeTimeout}, serve(t, c.answer))
			if got := reasonFor(err); err == nil || got != c.want && got != ReasonReset {
				t.Errorf("%s: %v, want %s", got, err, c.want)
			}
		})
	}
}

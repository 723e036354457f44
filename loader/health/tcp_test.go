package health

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/loader/lb"
)

func shrinkBacklog(fd int) error { return unix.Listen(fd, 0) }

func TestTCP(t *testing.T) {
	say := func(s string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, s) }
	}
	for _, c := range []struct {
		name         string
		answer       func(net.Conn)
		send, expect string
		want         Reason
		text         string
	}{
		{"accepted", func(net.Conn) {}, "", "", "", ""},
		{"banner", say("220 ready\r\n"), "", "220 ", "", ""},
		{"question and answer", func(c net.Conn) {
			b := make([]byte, 6)
			io.ReadFull(c, b)
			if string(b) == "PING\r\n" {
				io.WriteString(c, "+PO")
				time.Sleep(20 * time.Millisecond)
				io.WriteString(c, "NG\r\n")
			}
		}, "PING\r\n", "+PONG", "", ""},
		{"other banner", say("500 busy"), "", "220 ", ReasonReset, "ended early"},
		{"silence", func(c net.Conn) { io.Copy(io.Discard, c) }, "", "220 ", ReasonTimeout, `await "220 ": no answer in time`},
		{"no end", func(c net.Conn) {
			for {
				if _, err := c.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
					return
				}
			}
		}, "", "220 ", ReasonContent, "not in the first 65536 bytes"},
		{"drips", func(c net.Conn) {
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}, "", "220 ", ReasonTimeout, "no answer in time"},
		{"reset", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, "", "220 ", ReasonReset, "reset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			h := lb.Health{Type: lb.HealthTCP, Send: c.send, Expect: c.expect, Timeout: 5 * time.Second}
			if c.want == ReasonTimeout {
				h.Timeout = probeTimeout
			}
			_, err := probe(t, h, serve(t, c.answer))
			wantResult(t, err, c.want, c.text)
		})
	}
}

func TestTCPWithoutServer(t *testing.T) {
	leavesNothing(t)
	h := lb.Health{Type: lb.HealthTCP, Timeout: probeTimeout}
	_, err := probe(t, h, nobody(t))
	wantResult(t, err, ReasonRefused, "connect: connection refused")
	_, err = probe(t, h, hole(t))
	wantResult(t, err, ReasonTimeout, "connect: no answer in time")
}

// A probe resets its connection: no TIME_WAIT is left, and the server sees it
// end at once.
func TestTCPIsGoneAtOnce(t *testing.T) {
	ended := make(chan error, 1)
	to := serve(t, func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	_, err := probe(t, lb.Health{Type: lb.HealthTCP}, to)
	wantResult(t, err, "", "")
	if err := <-ended; err == nil {
		t.Error("the server read something")
	}
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	_, err = probe(t, lb.Health{Type: lb.HealthTCP}, l.Addr().(*net.TCPAddr).AddrPort())
	wantResult(t, err, "", "")
}

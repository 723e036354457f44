package e2e

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile is what peers do that are no balancers.
var hostile = []func(net.Conn){
	func(net.Conn) {}, // says nothing and stays
	func(c net.Conn) { io.WriteString(c, strings.Repeat("x", 1<<20)) },
	func(c net.Conn) { io.WriteString(c, "GET /v1/report HTTP/1.1\r\nHost: a\r\n\r\n") },
	func(c net.Conn) { // shakes hands without a certificate, and asks
		s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		io.WriteString(s, "GET /v1/report HTTP/1.1\r\nHost: a\r\n\r\n")
		io.Copy(io.Discard, io.LimitReader(s, 1<<10))
	},
	func(c net.Conn) { // begins a handshake that never goes on
		io.WriteString(c, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03")
	},
	func(c net.Conn) { c.Close() },
}

// TestHostilePeers open connections to both servers from several addresses, as
// fast as they can: a balancer is served all the while, and memory stays flat.
func TestHostilePeers(t *testing.T) {
	a := startAgent(t)
	balancer := a.balancer(t)
	if _, err := a.ask(balancer); err != nil {
		t.Fatal(err)
	}
	began := a.resident(t)
	end := time.Now().Add(3 * time.Second)
	var peers sync.WaitGroup
	for i := range 6 {
		peers.Go(func() {
			bother(end, byte(10+i), []string{a.status.Listen, a.status.Check}[i%2])
		})
	}
	asked := 0
	for ; time.Now().Before(end); asked++ {
		if _, err := a.ask(balancer); err != nil {
			t.Errorf("report %d: %v", asked, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	peers.Wait()
	s, err := a.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d reports while %d connections were refused; %.1f MiB, before %.1f", asked, s.Refused, a.resident(t), began)
	if now := a.resident(t); now > 64 {
		t.Errorf("%.1f MiB resident, before %.1f", now, began)
	}
	if s.Refused == 0 {
		t.Error("nobody was refused")
	}
}

// bother connects from 127.0.0.host until end, and keeps what it opened last.
func bother(end time.Time, host byte, address string) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}, Timeout: time.Second}
	var open []net.Conn
	for time.Now().Before(end) {
		c, err := from.Dial("tcp", address)
		if err != nil {
			continue
		}
		c.SetDeadline(end)
		go hostile[rand.IntN(len(hostile))](c)
		if open = append(open, c); len(open) > 40 {
			open[0].Close()
			open = open[1:]
		}
	}
	for _, c := range open {
		c.Close()
	}
}

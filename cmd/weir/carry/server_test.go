package carry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"

	"weir/loader/netlab"
)

// server gives back what it gets, by HTTP and UDP, and counts.
type server struct {
	name      string // of its namespace; answers bear it
	requests  atomic.Uint64
	datagrams atomic.Uint64
}

// Headers of answers.
const (
	whoHeader = "X-Server"
	sumHeader = "X-Sum" // SHA-256 of what the server got
)

func newServer(t *testing.T, ns *netlab.NS, addr netip.Addr) *server {
	t.Helper()
	s := &server{name: ns.Name}
	listener, err := ns.Listen("tcp", netip.AddrPortFrom(addr, httpPort).String())
	must(t, err)
	h := &http.Server{Handler: s}
	background(t, func() error { return h.Serve(listener) }, h.Close)
	conn, err := listenUDP(ns, netip.AddrPortFrom(addr, echoPort))
	must(t, err)
	background(t, func() error { return s.echo(conn) }, conn.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client's side of it tells more
	}
	s.requests.Add(1)
	w.Header().Set(whoHeader, s.name)
	w.Header().Set(sumHeader, sum(body))
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body)
}

// echo answers each datagram with itself and the server's name.
func (s *server) echo(conn *net.UDPConn) error {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		s.datagrams.Add(1)
		if _, err := conn.WriteToUDPAddrPort(append(buf[:n:n], s.name...), from); err != nil {
			return err
		}
	}
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func listenUDP(ns *netlab.NS, local netip.AddrPort) (conn *net.UDPConn, err error) {
	err = ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	})
	return conn, err
}

// background serves until the test ends, which waits for it.
func background(t *testing.T, serve, stop func() error) {
	done := make(chan error, 1)
	go func() { done <- serve() }()
	t.Cleanup(func() {
		err := stop()
		if served := <-done; !errors.Is(served, net.ErrClosed) && !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		if err != nil {
			t.Error("server:", err)
		}
	})
}

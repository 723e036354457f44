package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// server is the server of one backend. It counts what reaches it by itself,
// so that nothing has to be believed.
type server struct {
	endpoint netip.AddrPort
	accepted atomic.Uint64              // connections or, of UDP, datagrams
	last     atomic.Int64               // when the last came, in ns of the epoch
	peer     atomic.Pointer[netip.Addr] // whom it came from
	refuse   atomic.Bool                // answer that it cannot serve
	kill     func() error               // of one that serves HTTP
}

func (s *server) count(from netip.AddrPort) {
	peer := from.Addr().Unmap()
	s.peer.Store(&peer)
	s.last.Store(time.Now().UnixNano())
	s.accepted.Add(1)
}

func (s *server) lastCame() time.Time { return time.Unix(0, s.last.Load()) }

// name is what the server answers, so that clients see whom they reached.
func (s *server) name() string { return s.endpoint.String() }

func newServer(t *testing.T, h netlab.Host, c configuration) *server {
	t.Helper()
	s := &server{endpoint: netip.AddrPortFrom(h.Addr, backendPort(c))}
	local := s.endpoint
	if !c.forward.Translates() {
		local = c.endpoint()
	}
	if c.both || c.vip.Proto == lb.UDP {
		s.serveUDP(t, h.NS, local)
	}
	if c.both || c.vip.Proto == lb.TCP {
		s.serveHTTP(t, h.NS, local)
	}
	return s
}

// backendPort: unless addresses are rewritten, packets keep the client's
// destination port.
func backendPort(c configuration) uint16 {
	if c.forward.Translates() {
		return c.vip.Port + 8000
	}
	return c.vip.Port
}

func (s *server) serveHTTP(t *testing.T, ns *netlab.NS, local netip.AddrPort) {
	t.Helper()
	listener, err := ns.Listen("tcp", local.String())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		if s.refuse.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, s.name())
	})
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s.name(), " ", r.FormValue("n")) })
	mux.HandleFunc("GET /stream", s.stream)
	mux.HandleFunc("GET /upgrade", upgrade)
	mux.HandleFunc("POST /check", check)
	srv := &http.Server{Handler: mux, ConnState: func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.count(c.RemoteAddr().(*net.TCPAddr).AddrPort())
		}
	}}
	s.kill = srv.Close
	background(t, func() error { return srv.Serve(listener) }, srv.Close)
}

func (s *server) serveUDP(t *testing.T, ns *netlab.NS, local netip.AddrPort) {
	t.Helper()
	conn, err := listenUDP(ns, local)
	if err != nil {
		t.Fatal(err)
	}
	background(t, func() error { return s.echo(conn) }, conn.Close)
}

// echo answers each datagram with itself and the server's name.
func (s *server) echo(conn *net.UDPConn) error {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		s.count(from)
		if _, err := conn.WriteToUDPAddrPort(append(buf[:n:n], s.name()...), from); err != nil {
			return err
		}
	}
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

// upgrade switches to a protocol that sends back what it is sent, as a
// WebSocket might.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		return
	}
	_, _ = io.Copy(conn, rw) // until the client leaves
}

// streamTick is how often a stream sends a piece.
const streamTick = 20 * time.Millisecond

// stream sends the first bytes=N of the known noise at rate=M bytes a second.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	total, err1 := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
	rate, err2 := strconv.ParseInt(r.FormValue("rate"), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(total, 10))
	w.Header().Set("X-Backend", s.name())
	tick := time.NewTicker(streamTick)
	defer tick.Stop()
	piece := rate * int64(streamTick) / int64(time.Second)
	for data := noise(total); ; {
		_, err := io.CopyN(w, data, piece)
		if err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// check answers whether the body is noise.
func check(w http.ResponseWriter, r *http.Request) {
	if err := checkNoise(r.Body, r.ContentLength); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// noise is n bytes that are always the same and never repeat.
func noise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32s", "weir e2e")))), n)
}

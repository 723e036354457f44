package demo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// server is the HTTP server of one backend. It counts the connections it
// accepts from clients itself, so that nothing has to be believed.
type server struct {
	endpoint netip.AddrPort
	weight   lb.Weight
	clients  []netip.Addr // whose connections count; with snat the balancer's
	accepted atomic.Uint64
	// perRequest counts requests instead: the balancer keeps its connections.
	perRequest bool
	active     atomic.Int64
	http       *http.Server
	listener   net.Listener
}

// backendPort is where backends listen. Unless addresses are translated,
// packets keep the client's destination port.
func backendPort(f lb.Forward) uint16 {
	if f.KeepsPacket() {
		return vipPort
	}
	return 8080
}

func newServer(host netlab.Host, port uint16, weight lb.Weight, clients []netip.Addr) (*server, error) {
	s := &server{endpoint: netip.AddrPortFrom(host.Addr, port), weight: weight, clients: clients}
	inner, err := host.NS.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return nil, fmt.Errorf("starting the server of backend %s: %w", s.endpoint, err)
	}
	s.listener = &countingListener{Listener: inner, server: s}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: time.Minute}
	return s, nil
}

// serve answers until close.
func (s *server) serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving backend %s: %w", s.endpoint, err)
	}
	return nil
}

func (s *server) close() error { return errors.Join(s.http.Close(), ignoreClosed(s.listener.Close())) }

// body is what the backend answers on /; it names the backend.
func (s *server) body() string { return "backend " + s.endpoint.String() + "\n" }

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	body := []byte(s.body())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		if s.perRequest {
			s.accepted.Add(1)
		}
		w.Write(body)
	})
	mux.HandleFunc("GET /stream", s.stream)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "{\"address\":%q,\"connections\":%d,\"active\":%d}\n", s.endpoint, s.accepted.Load(), s.active.Load())
	})
	return mux
}

// Limits and defaults of /stream, in bytes and bytes per second.
const (
	streamBytes = 20 << 20
	streamRate  = 1 << 20
	streamMax   = 1 << 40
	streamTick  = 100 * time.Millisecond
)

// stream sends bytes=N at rate=M bytes per second. Each 16 bytes are a line
// with their own offset, so that a gap, a repetition or a cut can be seen.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	total, err1 := sizeParam(r, "bytes", streamBytes)
	rate, err2 := sizeParam(r, "rate", streamRate)
	if err := errors.Join(err1, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(total, 10))
	w.Header().Set("X-Backend", s.endpoint.String())
	tick := time.NewTicker(streamTick)
	defer tick.Stop()
	chunk := max(1, rate*int64(streamTick)/int64(time.Second))
	for sent := int64(0); sent < total; {
		n := min(chunk, total-sent)
		if err := writePattern(w, sent, n); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		sent += n
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// patternLine is the length of one line of a stream, in bytes.
const patternLine = 16

// writePattern writes n bytes of the stream's pattern from an offset on.
func writePattern(w io.Writer, offset, n int64) error {
	first := offset / patternLine
	last := (offset + n + patternLine - 1) / patternLine
	buf := make([]byte, 0, (last-first)*patternLine)
	for line := first; line < last; line++ {
		buf = fmt.Appendf(buf, "%0*d\n", patternLine-1, line*patternLine)
	}
	from := offset - first*patternLine
	_, err := w.Write(buf[from : from+n])
	return err
}

func sizeParam(r *http.Request, name string, otherwise int64) (int64, error) {
	typed := r.URL.Query().Get(name)
	if typed == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(typed, 10, 64)
	if err != nil || n < 1 || n > streamMax {
		return 0, fmt.Errorf("%s=%q is not 1 to %d", name, typed, int64(streamMax))
	}
	return n, nil
}

// countingListener counts the clients' connections on their way in and out.
type countingListener struct {
	net.Listener
	server *server
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || !l.server.counts(c.RemoteAddr()) {
		return c, err
	}
	if !l.server.perRequest {
		l.server.accepted.Add(1)
	}
	l.server.active.Add(1)
	return &countedConn{Conn: c, left: sync.OnceFunc(func() { l.server.active.Add(-1) })}, nil
}

// counts leaves out the balancer, which may check a backend's health.
func (s *server) counts(remote net.Addr) bool {
	tcp, ok := remote.(*net.TCPAddr)
	return ok && (s.perRequest || slices.Contains(s.clients, tcp.AddrPort().Addr().Unmap()))
}

type countedConn struct {
	net.Conn
	left func()
}

func (c *countedConn) Close() error {
	c.left()
	return c.Conn.Close()
}

// CloseWrite lets net/http close in the right order.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

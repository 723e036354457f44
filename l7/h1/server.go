// Package h1 is HTTP/1.1 and 1.0 on the wire: a strict parser (RFC 9112), the
// server's end of a connection and the client's. Heads are read into the
// connection's buffer and stay there while the exchange lasts; a message that
// fits a buffer is one read and one write.
package h1

import (
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// Options are the settings of a Server. Zero values but Handler's mean what the
// comments give as default.
type Options struct {
	Handler exchange.Handler // must be given
	Head    int              // bytes that the head of a request may have; 32 KiB
	Fields  int              // fields that it may have; 128
	Idle    time.Duration    // until the next request begins; 75 s
	Header  time.Duration    // from there until its head is whole; 15 s
	Body    time.Duration    // for each piece of a body to come; 30 s
	// BodyRate is the bytes per second that a body must come with at least,
	// counted from its beginning, after Body; 100. Negative: any.
	BodyRate int
	Write    time.Duration // for each piece of an answer to be taken; 60 s
	Tunnel   time.Duration // for which a tunnel may be silent both ways; 1 h
	// Requests is how many one connection may carry; 0: any.
	Requests int
	// Connect lets CONNECT through to the handler. Otherwise it is answered
	// with 405.
	Connect bool
	// Refused is told what was wrong with a request that was answered here,
	// nil: nobody is.
	Refused func(client *exchange.Client, status int, err error)
	// Panicked is told of a panic of the handler, which costs only the
	// connection; nil: nobody is.
	Panicked func(value any, stack []byte)
}

func (o *Options) setDefaults() {
	def(&o.Head, 32<<10)
	def(&o.Fields, 128)
	def(&o.Idle, 75*time.Second)
	def(&o.Header, 15*time.Second)
	def(&o.Body, 30*time.Second)
	def(&o.BodyRate, 100)
	def(&o.Write, 60*time.Second)
	def(&o.Tunnel, time.Hour)
	if o.Refused == nil {
		o.Refused = func(*exchange.Client, int, error) {}
	}
	if o.Panicked == nil {
		o.Panicked = func(any, []byte) {}
	}
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Server is the server's end of connections.
type Server struct {
	options  Options
	work     sync.Pool // *work
	heads    sync.Pool // *[]byte to write answers into, apart as most of a request's time has none
	draining atomic.Bool

	mu    sync.Mutex
	conns map[*session]struct{}
}

// NewServer makes a Server.
func NewServer(o Options) *Server {
	o.setDefaults()
	s := &Server{options: o, conns: map[*session]struct{}{}}
	s.work.New = func() any { return newWork() }
	s.heads.New = func() any { b := make([]byte, 0, 2*smallBuffer); return &b }
	return s
}

// Serve answers the requests of one connection, and closes it when it is over.
// It may be called any number of times at once.
func (s *Server) Serve(c net.Conn, client *exchange.Client) {
	ss := newSession(s, stream.New(c), client)
	if !s.add(ss) {
		_ = c.Close()
		return
	}
	defer s.remove(ss)
	defer func() {
		if v := recover(); v != nil {
			s.options.Panicked(v, debug.Stack())
		}
		ss.close()
	}()
	ss.run()
}

func (s *Server) add(ss *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.conns[ss] = struct{}{}
	return true
}

func (s *Server) remove(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, ss)
}

// Drain lets requests under way end and closes connections that have none; the
// others follow after their answer. New connections are closed. Tunnels go on.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	for ss := range s.conns {
		if !ss.busy.Load() {
			ss.conn.InterruptReads()
		}
	}
}

// Abort ends all connections at once, tunnels included.
func (s *Server) Abort() {
	s.Drain()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ss := range s.conns {
		ss.conn.Interrupt()
	}
}

// Open is how many connections there are.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"weir/agent/report"
)

const (
	checkTimeout = 2 * time.Second
	maxSent      = 4 << 10 // bytes of agent-send that are read, and ignored
	acceptPause  = 100 * time.Millisecond
)

// Checks is the TCP server of HAProxy's agent-check.
type Checks struct {
	status   func() report.Status
	listener net.Listener
	refused  atomic.Uint64
}

// NewChecks listens. status may be called concurrently.
func NewChecks(address string, status func() report.Status) (*Checks, error) {
	l, err := listen(address)
	if err != nil {
		return nil, fmt.Errorf("agent-check server: %w", err)
	}
	c := &Checks{status: status}
	c.listener = newBounded(l, &c.refused)
	return c, nil
}

// Addr is where checks are answered.
func (c *Checks) Addr() net.Addr { return c.listener.Addr() }

// Refused counts connections over the bounds.
func (c *Checks) Refused() uint64 { return c.refused.Load() }

// Close ends a server that is never run.
func (c *Checks) Close() error { return c.listener.Close() }

// Run answers until ctx ends.
func (c *Checks) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.listener.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := c.listener.Accept()
		switch {
		case err == nil:
			conns.Go(func() { c.answer(conn) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("agent-check server: %w", err)
		default: // out of file descriptors, or the peer was faster
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}

// answer says the status and hears the peer out: closing with something unread
// would reset the connection, which may take the answer back.
func (c *Checks) answer(conn net.Conn) {
	defer conn.Close()
	line, err := report.FormatCheck(c.status())
	if err != nil || conn.SetDeadline(time.Now().Add(checkTimeout)) != nil {
		return
	}
	if _, err := io.WriteString(conn, line); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, maxSent)
}

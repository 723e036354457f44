package health

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
)

// maxDatagram is how much of an answer is looked at.
const maxDatagram = 4096

// udp finds out whether a datagram is answered.
type udp struct {
	to           netip.AddrPort
	send, expect []byte
}

func newUDP(t Target) udp {
	return udp{t.Address, []byte(t.Health.Send), []byte(t.Health.Expect)}
}

func (c udp) Check(ctx context.Context) (Report, error) {
	got, err := exchange(ctx, c.to, c.send)
	if err != nil {
		return Report{}, err
	}
	if !bytes.Contains(got, c.expect) {
		return Report{}, failedf(ReasonContent, "answer", "%s is not in %s", excerpt(c.expect), excerpt(got))
	}
	return Report{}, nil
}

// exchange sends a datagram and gives the first that comes back. The kernel
// sees to it that it comes from where the other went.
func exchange(ctx context.Context, to netip.AddrPort, send []byte) ([]byte, error) {
	conn, err := dial(ctx, "udp", to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(send); err != nil {
		return nil, failed("send", err, ReasonUnreachable)
	}
	return receive(conn)
}

// receive gives the next datagram, which may be empty.
func receive(conn *conn) ([]byte, error) {
	buffer := make([]byte, maxDatagram)
	n, err := conn.Read(buffer)
	if errors.Is(err, io.EOF) { // how a file tells of a datagram of no bytes
		return nil, nil
	}
	if err != nil {
		return nil, failed("await an answer", err, ReasonUnreachable)
	}
	return buffer[:n], nil
}

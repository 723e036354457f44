package health

import (
	"bytes"
	"context"
	"net/netip"
)

// maxAnswer is how much of an answer is looked at for the expected bytes.
const maxAnswer = 64 << 10

// tcp finds out whether a connection is accepted and, if it expects something,
// whether that is answered.
type tcp struct {
	to           netip.AddrPort
	send, expect []byte
}

func newTCP(t Target) tcp {
	return tcp{t.Address, []byte(t.Health.Send), []byte(t.Health.Expect)}
}

func (c tcp) Check(ctx context.Context) (Report, error) {
	if len(c.send) == 0 && len(c.expect) == 0 {
		return Report{}, reach(ctx, c.to)
	}
	conn, err := dial(ctx, "tcp", c.to)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close()
	if _, err := conn.Write(c.send); err != nil {
		return Report{}, failed("send", err, ReasonReset)
	}
	return Report{}, c.await(conn)
}

func (c tcp) await(conn *conn) error {
	if len(c.expect) == 0 {
		return nil
	}
	var got []byte
	chunk := make([]byte, 4096)
	for len(got) < maxAnswer {
		n, err := conn.Read(chunk)
		got = append(got, chunk[:n]...)
		if bytes.Contains(got, c.expect) {
			return nil
		}
		if err != nil {
			return failed("await "+excerpt(c.expect), err, ReasonReset)
		}
	}
	return failedf(ReasonContent, "await "+excerpt(c.expect), "not in the first %d bytes", maxAnswer)
}

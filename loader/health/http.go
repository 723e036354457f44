package health

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"

	"weir/loader/lb"
)

// userAgent tells operators of backends who asks.
const userAgent = "weir-health"

// maxInterim is how many answers of 1xx may come before the final one.
const maxInterim = 5

// httpCheck makes one HTTP/1.1 request on a connection of its own.
type httpCheck struct {
	to      netip.AddrPort
	tls     *tls.Config // nil: plain
	request []byte
	method  string
	good    answer
}

func newHTTP(t Target) (Checker, error) {
	c := httpCheck{to: t.Address, method: t.Health.Method, request: request(t)}
	var err error
	if t.Health.Type == lb.HealthHTTPS {
		if c.tls, err = tlsConfig(t, "http/1.1"); err != nil {
			return nil, err
		}
	}
	c.good, err = newAnswer(t.Health)
	return c, err
}

// request is the whole request. What the configuration gives was checked to
// have no line breaks.
func request(t Target) []byte {
	var b bytes.Buffer
	b.WriteString(t.Health.Method + " " + t.Health.Path + " HTTP/1.1\r\nHost: " + host(t) +
		"\r\nUser-Agent: " + userAgent + "\r\nAccept: */*\r\nConnection: close\r\n\r\n")
	return b.Bytes()
}

// host is what the Host header says: the address and, unless it is the
// scheme's own, the port, where the configuration says nothing.
func host(t Target) string {
	if t.Health.Host != "" {
		return t.Health.Host
	}
	usual := uint16(80)
	if t.Health.Type.TLS() {
		usual = 443
	}
	if t.Address.Port() != usual {
		return t.Address.String()
	}
	if t.Address.Addr().Is6() {
		return "[" + t.Address.Addr().String() + "]"
	}
	return t.Address.Addr().String()
}

func (c httpCheck) Check(ctx context.Context) (Report, error) {
	conn, err := dial(ctx, "tcp", c.to)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close()
	if c.tls == nil {
		return Report{}, c.ask(conn)
	}
	secure, report, err := handshake(ctx, conn, c.tls)
	if err != nil {
		return report, err
	}
	return report, c.ask(secure)
}

func (c httpCheck) ask(conn net.Conn) error {
	if _, err := conn.Write(c.request); err != nil {
		return failed("send the request", err, ReasonReset)
	}
	return c.read(conn)
}

// read judges what comes as the answer.
func (c httpCheck) read(from io.Reader) error {
	// Bodies may be longer than maxBody as sent: with chunks.
	limited := &io.LimitedReader{R: from, N: maxHeaders}
	b := bufio.NewReader(limited)
	for range maxInterim + 1 {
		r, err := http.ReadResponse(b, &http.Request{Method: c.method}) //nolint:bodyclose // closing the connection ends it
		if err != nil && limited.N == 0 {
			return failedf(ReasonMalformed, "read the answer", "its head is longer than %d bytes", maxHeaders)
		}
		if err != nil {
			return failed("read the answer", err, ReasonMalformed)
		}
		if r.StatusCode >= 200 || r.StatusCode == http.StatusSwitchingProtocols {
			limited.N = 2 * maxBody
			return c.good.judge(r)
		}
	}
	return failedf(ReasonMalformed, "read the answer", "more than %d answers of 1xx", maxInterim)
}

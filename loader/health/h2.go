package health

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
)

// h2 makes single requests over HTTP/2, each on a connection of its own.
type h2 struct {
	to     netip.AddrPort
	scheme string
	tls    *tls.Config // nil: plain, by prior knowledge
}

func newH2(t Target) (h2, error) {
	if !t.Health.Type.TLS() {
		return h2{to: t.Address, scheme: "http"}, nil
	}
	config, err := tlsConfig(t, "h2")
	return h2{t.Address, "https", config}, err
}

// do sends a request and hands its answer to judge.
func (c h2) do(r *http.Request, judge func(*http.Response) error) (Report, error) {
	ctx := r.Context()
	raw, err := dial(ctx, "tcp", c.to)
	if err != nil {
		return Report{}, err
	}
	defer raw.Close()
	conn, report, err := c.secure(ctx, raw)
	if err != nil {
		return report, err
	}
	client, err := c.transport(conn).NewClientConn(ctx, c.scheme, c.to.String())
	if err != nil {
		return report, failed("open HTTP/2", raw.orEnd(err), ReasonMalformed)
	}
	defer client.Close()
	answer, err := client.RoundTrip(r)
	if err != nil {
		return report, failed("request over HTTP/2", raw.orEnd(err), ReasonMalformed)
	}
	defer answer.Body.Close()
	return report, judge(answer)
}

// secure makes a connection one of TLS, where the check is of that kind.
func (c h2) secure(ctx context.Context, raw *conn) (net.Conn, Report, error) {
	if c.tls == nil {
		return raw, Report{}, nil
	}
	conn, report, err := handshake(ctx, raw, c.tls)
	if err == nil && conn.ConnectionState().NegotiatedProtocol != "h2" {
		err = failedf(ReasonMalformed, "TLS handshake", "the backend does not speak HTTP/2 (ALPN)")
	}
	if err != nil {
		return nil, report, err
	}
	raw.heard.Store(false) // what counts from here on is HTTP
	return conn, report, nil
}

// transport speaks HTTP/2 on a connection that is there already.
func (c h2) transport(conn net.Conn) *http.Transport {
	given := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	t := &http.Transport{
		DialContext: given, DialTLSContext: given, DisableCompression: true,
		MaxResponseHeaderBytes: maxHeaders, Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP2(c.tls != nil)
	t.Protocols.SetUnencryptedHTTP2(c.tls == nil)
	return t
}

// h2Check is httpCheck over HTTP/2.
type h2Check struct {
	h2
	request *http.Request
	good    answer
}

func newH2Check(t Target) (Checker, error) {
	conn, err := newH2(t)
	if err != nil {
		return nil, err
	}
	good, err := newAnswer(t.Health)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(t.Health.Method, conn.scheme+"://"+t.Address.String()+t.Health.Path, nil)
	if err != nil {
		return nil, err
	}
	request.Host = host(t)
	request.Header.Set("User-Agent", userAgent)
	return h2Check{conn, request, good}, nil
}

func (c h2Check) Check(ctx context.Context) (Report, error) {
	return c.do(c.request.Clone(ctx), c.good.judge)
}

package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"weir/l7/exchange"
	"weir/l7/proxyproto"
	"weir/l7/stream"
)

// TLS makes an Options.Secure of a configuration, which config gives anew for
// each connection.
func TLS(config func() *tls.Config) func(context.Context, net.Conn) (net.Conn, *tls.ConnectionState, error) {
	return func(ctx context.Context, c net.Conn) (net.Conn, *tls.ConnectionState, error) {
		secured := tls.Server(c, config())
		err := secured.HandshakeContext(ctx)
		if err == nil {
			state := secured.ConnectionState()
			return secured, &state, nil
		}
		var not tls.RecordHeaderError
		if errors.As(err, &not) && not.Conn != nil && letters(not.RecordHeader[:]) {
			say(stream.New(c), plainAnswer)
			return nil, nil, ErrPlain
		}
		return nil, nil, fmt.Errorf("TLS handshake: %w", err)
	}
}

const plainText = "This port speaks HTTPS: ask for https:// instead.\n"

var plainAnswer = fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
	len(plainText), plainText)

// letters reports whether b looks like the beginning of a request line: a
// method is in capitals, and a record of TLS begins with 20 to 23.
func letters(b []byte) bool {
	return b[0] >= 'A' && b[0] <= 'Z' && b[1] >= 'A' && b[1] <= 'Z'
}

// readProxy reads the PROXY header, and no byte after it.
func readProxy(ctx context.Context, c *stream.Conn, client *exchange.Client) error {
	deadline, _ := ctx.Deadline()
	c.ReadBy(deadline)
	var h proxyproto.Header
	err := c.ReadPrefix(proxyproto.MaxLen, func(b []byte) (n int, err error) {
		h, n, err = proxyproto.Parse(b)
		if errors.Is(err, proxyproto.ErrIncomplete) {
			return 0, nil
		}
		return n, err
	})
	if err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	c.ReadBy(time.Time{})
	if h.Source.IsValid() {
		client.Remote, client.Local = h.Source, h.Destination
	}
	return nil
}

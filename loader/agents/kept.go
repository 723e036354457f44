package agents

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"weir/agent/report"
)

const (
	maxHeader = 16 << 10            // bytes
	maxBody   = 8 * report.MaxBytes // bytes on the wire, with what chunks add
	// An agent that is asked seldom need not be connected meanwhile.
	idleTime = 90 * time.Second
)

// kept is a connection that serves one question after the other. net/http's
// client has two goroutines for each and several hand-overs for each question,
// which with a thousand agents are most of what asking costs.
type kept struct {
	conn   *tls.Conn
	bound  *bounded
	reader *bufio.Reader
	used   time.Time // when the last answer came, or it was made
	asked  bool      // an answer came
	ended  bool      // the agent ended it, or it broke, before an answer began
}

func connect(ctx context.Context, address string, config *tls.Config) (*kept, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	b := &bounded{from: conn}
	return &kept{conn: conn, bound: b, reader: bufio.NewReaderSize(b, 2<<10), used: time.Now()}, nil
}

// fresh reports whether the agent can be expected to have it still.
func (k *kept) fresh() bool { return time.Since(k.used) < idleTime }

// ask sends a question and reads the answer; again says that the connection is
// good for another.
func (k *kept) ask(ctx context.Context, request []byte) (r report.Report, again bool, err error) {
	deadline, _ := ctx.Deadline() // without, none
	if err := k.conn.SetDeadline(deadline); err != nil {
		return r, false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() { again = stop() && again }()
	k.bound.left = maxHeader
	_, err = k.conn.Write(request)
	if err == nil {
		_, err = k.reader.Peek(1)
	}
	if err != nil {
		k.ended = k.asked && !errors.Is(err, os.ErrDeadlineExceeded)
		return r, false, err
	}
	resp, err := k.head()
	if err != nil {
		return r, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return r, false, &failure{ReasonStatus, fmt.Errorf("HTTP status %d", resp.StatusCode)}
	}
	k.bound.left = maxBody
	if r, err = report.Read(resp.Body); err != nil {
		return report.Report{}, false, err
	}
	k.used, k.asked = time.Now(), true
	return r, !resp.Close && k.reader.Buffered() == 0, nil
}

// maxInterim is how many interim answers (RFC 9110, 15.2) may come before one.
const maxInterim = 5

func (k *kept) head() (*http.Response, error) {
	for range maxInterim {
		resp, err := http.ReadResponse(k.reader, nil) // nil: to a GET
		if err != nil || resp.StatusCode >= http.StatusOK {
			return resp, err
		}
	}
	return nil, &failure{report.Malformed, fmt.Errorf("more than %d interim answers", maxInterim)}
}

// bounded reads so many bytes, and fails at the next.
type bounded struct {
	from io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &failure{report.Malformed, errors.New("the answer has no end")}
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

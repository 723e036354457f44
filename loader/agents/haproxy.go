package agents

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"

	"weir/agent/report"
)

// line asks an agent that answers to a connection with one line, as HAProxy's
// agent-check does. What a line does not say holds as it was said before.
type line struct {
	address netip.AddrPort
	boot    string // reports are counted from here on
	said    report.Status
	seq     uint64
}

func newLine(address netip.AddrPort) *line {
	return &line{address: address, boot: strconv.FormatUint(rand.Uint64(), 36)}
}

func (l *line) ask(ctx context.Context) (report.Report, error) {
	text, err := l.read(ctx)
	if err != nil {
		return report.Report{}, err
	}
	s, err := report.ParseCheck(text)
	if err != nil {
		return report.Report{}, err
	}
	l.said = after(l.said, s)
	l.seq++
	return report.Report{Boot: l.boot, Seq: l.seq, Status: l.said}, nil
}

// after is what holds once a line has been said. As in HAProxy, up and down
// leave drain and maint alone, and a weight stays.
func after(before, s report.Status) report.Status {
	if s.Admin == "" {
		s.Admin = before.Admin
	}
	if s.Oper == "" {
		s.Oper = before.Oper
	}
	if s.Weight == nil {
		s.Weight = before.Weight
	}
	if s.MaxConn == nil {
		s.MaxConn = before.MaxConn
	}
	return s
}

func (l *line) close() {}

// read takes the line up to its end, or that of the connection.
func (l *line) read(ctx context.Context) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.address.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	var text []byte
	chunk := make([]byte, 256)
	for {
		n, err := conn.Read(chunk)
		text = append(text, chunk[:n]...)
		switch end := bytes.IndexAny(text, "\r\n"); {
		case end >= 0:
			return string(text[:end]), nil
		case len(text) > report.MaxCheckBytes:
			return string(text), nil // ParseCheck refuses it
		case errors.Is(err, io.EOF) && len(text) > 0:
			return string(text), nil
		case err != nil:
			return "", err
		}
	}
}

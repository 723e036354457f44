package nethttp

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"

	"weir/l7/exchange"
)

var errNoTunnel = errors.New("protocols cannot be switched here")

// send writes the response. An error says that it is not whole.
func (t *turn) send(r *http.Request) error {
	a := &t.x.Response
	if a.Tunnel != nil {
		return t.relay(r)
	}
	to := t.w.Header()
	copyHeader(to, &a.Header)
	noGuess(to)
	if a.Length >= 0 && a.Status != http.StatusNoContent {
		to["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
	}
	t.begun = true
	t.w.WriteHeader(a.Status)
	if a.Body == nil || r.Method == http.MethodHead {
		return nil
	}
	return t.sendBody(a)
}

// noGuess keeps net/http from guessing a type that the origin did not give.
func noGuess(h http.Header) {
	if _, given := h["Content-Type"]; !given {
		h["Content-Type"] = nil
	}
}

// copyHeader leaves out what is a connection's own (RFC 9113, 8.2.2).
func copyHeader(to http.Header, from *exchange.Header) {
	fields := from.Fields()
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection,
			exchange.TransferEncoding, exchange.Upgrade, exchange.ContentLength:
			continue
		}
		name := f.ID.String()
		if f.ID == exchange.Other {
			name = textproto.CanonicalMIMEHeaderKey(string(f.Text))
		}
		to[name] = append(to[name], string(f.Value))
	}
}

const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// sendBody passes a body on. What has no known length is passed on as it
// comes: somebody may wait for each part of it.
func (t *turn) sendBody(a *exchange.Response) error {
	if b, ok := a.Body.(*exchange.Bytes); ok {
		n, err := b.WriteTo(t.w)
		t.x.Sent += n
		return err
	}
	if err := t.copyBody(a.Body, a.Length == exchange.Unknown); err != nil {
		return err
	}
	if b, ok := a.Body.(exchange.Trailered); ok {
		t.sendTrailer(b.Trailer())
	}
	return nil
}

func (t *turn) copyBody(from io.Reader, flush bool) error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	control := http.NewResponseController(t.w)
	if flush {
		if err := control.Flush(); err != nil {
			return err
		}
	}
	for {
		n, err := from.Read(buffer[:])
		if n > 0 {
			sent, err := t.w.Write(buffer[:n])
			t.x.Sent += int64(sent)
			if err != nil {
				return err
			}
			if flush {
				if err := control.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *turn) sendTrailer(h *exchange.Header) {
	if h == nil {
		return
	}
	to := t.w.Header()
	for _, f := range h.Fields() {
		name := http.TrailerPrefix + textproto.CanonicalMIMEHeaderKey(string(f.Text))
		to[name] = append(to[name], string(f.Value))
	}
}

// relay connects the two ends of a tunnel until one of them is done.
func (t *turn) relay(r *http.Request) error {
	tunnel := t.x.Response.Tunnel
	defer tunnel.Close()
	if t.x.Response.Status == http.StatusSwitchingProtocols {
		return errNoTunnel
	}
	t.begun = true
	t.w.WriteHeader(t.x.Response.Status)
	go func() {
		if _, err := io.Copy(tunnel, r.Body); err != nil {
			tunnel.Close()
			return
		}
		if half, ok := tunnel.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	return t.copyBody(tunnel, true)
}

package h2

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"weir/l7/exchange"
)

// names are the known fields as HTTP/2 writes them.
var names = func() (all [exchange.Names]string) {
	for n := range exchange.Names {
		all[n] = string(lowered([]byte(n.String())))
	}
	return all
}()

// text looks at bytes as a string for the encoder, which keeps nothing of it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (s *stream) encodeStatus(status int) {
	s.c.out.encode(":status", strconv.Itoa(status))
}

// encode cannot fail: it writes to memory.
func (o *output) encode(name, value string) {
	_ = o.encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
}

// encodeFields leaves out what is a connection's own (RFC 9113, 8.2.2).
func (s *stream) encodeFields(h *exchange.Header) {
	o := &s.c.out
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection,
			exchange.TransferEncoding, exchange.Upgrade, exchange.ContentLength:
			continue
		case exchange.Other:
			s.lower = lowered(append(s.lower[:0], f.Text...))
			o.encode(text(s.lower), text(f.Value))
		default:
			o.encode(names[f.ID], text(f.Value))
		}
	}
}

func (s *stream) encodeHeader(a *exchange.Response) {
	s.encodeStatus(a.Status)
	s.encodeFields(&a.Header)
	if !a.Header.Has(exchange.Date) { // RFC 9110, 6.6.1
		s.c.out.encode("date", s.c.end.date(time.Now()))
	}
	if a.Length >= 0 && a.Status >= 200 && a.Status != http.StatusNoContent {
		var digits [20]byte
		s.c.out.encode("content-length", text(strconv.AppendInt(digits[:0], a.Length, 10)))
	}
}

// inform sends an interim response.
func (s *stream) inform(status int, h *exchange.Header) error {
	if status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
		return http.ErrNotSupported
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil || s.informed {
		return errors.Join(http.ErrNotSupported, s.err)
	}
	s.encodeStatus(status)
	s.encodeFields(h)
	c.out.headers(s.id, c.frameSize, false)
	c.flushLocked()
	return nil
}

func bodiless(x *exchange.Exchange) bool {
	a := &x.Response
	return a.Body == nil || string(x.Request.Method) == http.MethodHead ||
		a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
}

// respond sends the response. What it leaves open, finish resets.
func (s *stream) respond() {
	a := &s.x.Response
	if a.Tunnel != nil {
		s.relay(a.Tunnel)
		return
	}
	whole, small := a.Body.(exchange.Whole)
	c := s.c
	c.mu.Lock()
	c.awaitRoom()
	err := s.err
	if err == nil {
		s.encodeHeader(a)
		none := bodiless(&s.x)
		c.out.headers(s.id, c.frameSize, none)
		s.informed = true
		switch {
		case none:
			s.sent()
		case small:
			err = s.send(whole.Rest(), true)
		default:
			c.mu.Unlock()
			err = s.sendBody(a)
			c.mu.Lock()
		}
	}
	c.flushLocked()
	c.mu.Unlock()
	s.x.Cut = err
}

// send sends a part of the body, as the windows allow. The connection's mutex is held, and
// let go while it waits.
func (s *stream) send(data []byte, end bool) error {
	c := s.c
	for {
		c.awaitRoom()
		if s.err != nil {
			return s.err
		}
		n := max(0, min(int64(len(data)), int64(c.frameSize), s.window, c.window))
		if n > 0 || len(data) == 0 {
			s.stalled = time.Time{}
			s.window -= n
			c.window -= n
			last := int(n) == len(data)
			c.out.data(s.id, data[:n], end && last)
			s.x.Sent += n
			if data = data[n:]; !last {
				continue
			}
			if end {
				s.sent()
			}
			return nil
		}
		if s.stalled.IsZero() {
			s.stalled = time.Now()
		}
		if len(c.out.buf) > 0 && !c.out.writing && !c.out.broken {
			c.flushLocked() // and look again: it lets go of the mutex
			continue
		}
		s.cond.Wait()
	}
}

var (
	errShort = errors.New("the body ended before its length")
	errLong  = errors.New("the body goes on behind its length")
)

// sendBody passes a body on as it comes.
func (s *stream) sendBody(a *exchange.Response) error {
	if s.chunk == nil {
		s.chunk = make([]byte, chunkSize)
	}
	for left := a.Length; ; {
		n, err := a.Body.Read(s.chunk)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return err
		}
		if left >= 0 {
			left -= int64(n)
			if err := checkLength(left, ended); err != nil {
				return err
			}
		}
		end := left == 0 || ended && !hasTrailer(a.Body)
		if n == 0 && !end && !ended {
			continue
		}
		if err := s.sendChunk(s.chunk[:n], end, n < len(s.chunk)); err != nil || end {
			return err
		}
		if ended {
			return s.sendTrailer(a.Body.(exchange.Trailered).Trailer())
		}
	}
}

// checkLength holds a body to what its response said: left are the bytes to come.
func checkLength(left int64, ended bool) error {
	switch {
	case left < 0:
		return errLong
	case ended && left > 0:
		return errShort
	}
	return nil
}

// sendChunk flushes where more may be long in coming.
func (s *stream) sendChunk(data []byte, end, dry bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(data) > 0 || end {
		if err := s.send(data, end); err != nil {
			return err
		}
	}
	if dry || len(c.out.buf) > outKept {
		c.flushLocked()
	}
	return nil
}

func hasTrailer(b exchange.Body) bool {
	t, ok := b.(exchange.Trailered)
	return ok && t.Trailer() != nil
}

func (s *stream) sendTrailer(h *exchange.Header) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.encodeFields(h)
	c.out.headers(s.id, c.frameSize, true)
	s.sent()
	c.flushLocked()
	return nil
}

var errNoSwitch = errors.New("protocols cannot be switched in HTTP/2")

// relay connects the two ends of a tunnel (RFC 9113, 8.5).
func (s *stream) relay(tunnel io.ReadWriteCloser) {
	defer tunnel.Close()
	a := &s.x.Response
	if a.Status == http.StatusSwitchingProtocols {
		s.x.Cut = errNoSwitch
		return
	}
	a.Length, a.Body = exchange.Unknown, tunnel
	if s.body != nil {
		go func() {
			_, err := io.Copy(tunnel, s.body)
			half, ok := tunnel.(interface{ CloseWrite() error })
			if err != nil || !ok || half.CloseWrite() != nil {
				tunnel.Close()
			}
		}()
	}
	a.Tunnel = nil
	s.respond()
}

// dated is the Date of one second.
type dated struct {
	second int64
	text   string
}

// date is the time as fields have it, made once in a second.
func (e *End) date(now time.Time) string {
	d := e.dates.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		e.dates.Store(d)
	}
	return d.text
}

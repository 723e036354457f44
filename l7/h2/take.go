package h2

import (
	"fmt"
	"math"

	"golang.org/x/net/http2"
)

func connError(code http2.ErrCode) error { return http2.ConnectionError(code) }

func streamError(id uint32, code http2.ErrCode) error {
	return http2.StreamError{StreamID: id, Code: code}
}

// take does what a frame says. An error is the client's.
func (c *conn) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.takeHeaders(f)
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f)
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.RSTStreamFrame:
		return c.takeReset(f)
	case *http2.PingFrame:
		return c.takePing(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return streamError(f.StreamID, http2.ErrCodeProtocol)
		}
		return c.borne()
	case *http2.GoAwayFrame:
		c.mu.Lock()
		c.leaving = true
		c.mu.Unlock()
		return nil
	case *http2.PushPromiseFrame:
		return connError(http2.ErrCodeProtocol)
	}
	return c.borne() // of a kind that we do not know (RFC 9113, 5.5)
}

// borne counts a frame that costs the client little.
func (c *conn) borne() error {
	if c.abuse.bears(1) {
		return nil
	}
	return connError(http2.ErrCodeEnhanceYourCalm)
}

func (c *conn) takePing(f *http2.PingFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	c.out.ping(true, f.Data)
	c.mu.Unlock()
	return c.borne()
}

func (c *conn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f.ForeachSetting(c.set); err != nil {
		return err
	}
	c.out.settingsAck()
	return c.borne()
}

// set takes over one setting, in the order of the frame (RFC 9113, 6.5.3).
func (c *conn) set(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingInitialWindowSize:
		more := int64(s.Val) - c.streamWin
		c.streamWin = int64(s.Val)
		for _, st := range c.streams {
			if st.window += more; st.window > maxWindow {
				return connError(http2.ErrCodeFlowControl)
			}
			st.cond.Broadcast()
		}
	case http2.SettingMaxFrameSize:
		c.frameSize = min(int(s.Val), maxFrame) // larger ones gain nothing
	case http2.SettingHeaderTableSize:
		// Our encoder has no table: whatever the client allows is enough.
	}
	return nil
}

func (c *conn) takeWindow(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > maxWindow {
			return connError(http2.ErrCodeFlowControl)
		}
		for _, s := range c.streams {
			s.cond.Broadcast()
		}
		return nil
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return c.idle(f.StreamID)
	}
	if s.window += int64(f.Increment); s.window > maxWindow {
		return streamError(s.id, http2.ErrCodeFlowControl)
	}
	s.cond.Broadcast()
	return nil
}

// idle is an error if a stream has not been opened yet (RFC 9113, 5.1).
func (c *conn) idle(id uint32) error {
	if id > c.last || id%2 == 0 {
		return connError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *conn) takeReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.idle(f.StreamID); err != nil {
		return err
	}
	c.given.remove(f.StreamID)
	if s := c.streams[f.StreamID]; s != nil {
		c.drop(s, fmt.Errorf("the client gave the request up: %s", f.ErrCode))
	}
	return c.borne()
}

func (c *conn) takeData(f *http2.DataFrame) error {
	length := int64(f.Length)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credit -= length; c.credit < 0 {
		return connError(http2.ErrCodeFlowControl)
	}
	s := c.streams[f.StreamID]
	if s == nil || s.remoteEnd {
		c.giveBack(length)
		return c.closedFor(f.StreamID, s)
	}
	if s.credit -= length; s.credit < 0 {
		c.giveBack(length)
		return streamError(s.id, http2.ErrCodeFlowControl)
	}
	data := f.Data()
	s.got += int64(len(data))
	if s.length >= 0 && (s.got > s.length || f.StreamEnded() && s.got < s.length) {
		return streamError(s.id, http2.ErrCodeProtocol) // (RFC 9113, 8.1.1)
	}
	s.remoteEnd = f.StreamEnded()
	if s.lingers {
		c.throwAway(s, length)
		return nil
	}
	s.read(length - int64(len(data))) // padding
	s.in = append(s.in, data...)
	s.cond.Broadcast()
	if len(data) == 0 && !s.remoteEnd {
		return c.borne()
	}
	return nil
}

// throwAway takes data that nobody wants, up to half a window.
func (c *conn) throwAway(s *stream, length int64) {
	c.giveBack(length)
	switch {
	case s.remoteEnd:
		c.drop(s, errWhole)
	case s.credit < int64(c.end.options.StreamWindow)/2:
		c.giveUp(s, http2.ErrCodeNo) // (RFC 9113, 8.1)
	}
}

// closedFor is the error of a frame on a stream whose client has ended it.
func (c *conn) closedFor(id uint32, s *stream) error {
	switch {
	case s != nil:
		return streamError(id, http2.ErrCodeStreamClosed)
	case c.given.has(id): // it does not know yet
		return nil
	case id > c.last || id%2 == 0:
		return connError(http2.ErrCodeProtocol)
	}
	return connError(http2.ErrCodeStreamClosed)
}

// giveBack lets the client send as many bytes again.
func (c *conn) giveBack(n int64) {
	if c.unread += n; c.unread < c.mayWait()/2 {
		return
	}
	c.out.windowUpdate(0, uint32(min(c.unread, math.MaxInt32)))
	c.credit += c.unread
	c.unread = 0
}

func (c *conn) takeHeaders(f *http2.MetaHeadersFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := f.StreamID
	if id%2 == 0 {
		return connError(http2.ErrCodeProtocol)
	}
	if s := c.streams[id]; s != nil {
		return s.takeTrailer(f)
	}
	if id <= c.last {
		return c.closedFor(id, nil)
	}
	if c.leaving {
		return nil // it is told by GOAWAY that this was not taken
	}
	c.last = id
	if f.HasPriority() && f.Priority.StreamDep == id {
		return streamError(id, http2.ErrCodeProtocol)
	}
	if most := int(c.end.options.MaxStreams); c.handlers >= most || len(c.streams) >= 2*most {
		return streamError(id, http2.ErrCodeRefusedStream)
	}
	return c.begin(f)
}

// reset ends a stream for something that its client did.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.rst(id, code)
	c.given.add(id)
	if id%2 == 1 {
		c.last = max(c.last, id) // of what was refused before it became a stream
	}
	if s := c.streams[id]; s != nil {
		c.drop(s, fmt.Errorf("the client broke the protocol: %s", code))
	}
}

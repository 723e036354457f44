package h2

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	frameHeader = 9         // bytes (RFC 9113, 4.1)
	outMost     = 256 << 10 // bytes that wait to be written before handlers are held up
	outKept     = 64 << 10  // bytes of memory that stay with a connection
)

// output collects frames. Whoever flushes writes what everybody has collected
// meanwhile, so that many small answers leave in one write. All of it is under
// the connection's mutex, but for the write itself.
type output struct {
	buf     []byte
	spare   []byte
	writing bool
	by      time.Time // deadline of writes; who writes has it
	broken  bool
	room    sync.Cond // buf became shorter, or broken
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func (o *output) begin(mu *sync.Mutex) {
	o.room.L = mu
	o.encoder = hpack.NewEncoder(&o.block)
	// Without a table nothing of a value is kept, and none is found again by
	// whom it does not concern (RFC 7541, 7.1).
	o.encoder.SetMaxDynamicTableSizeLimit(0)
}

func (o *output) wake() { o.room.Broadcast() }

// flush writes until nothing is left. It is called without the mutex.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked()
}

func (c *conn) flushLocked() {
	o := &c.out
	if o.writing {
		return // whoever writes comes back for it
	}
	o.writing = true
	c.letOthersSpeak()
	for len(o.buf) > 0 && !o.broken {
		full := o.buf
		o.buf = o.spare[:0]
		o.spare = nil
		c.mu.Unlock()
		err := c.write(full)
		c.mu.Lock()
		if cap(full) <= outKept {
			o.spare = full
		}
		if err != nil {
			o.broken = true
			c.nc.Close() // the reading side ends, and all streams
		}
		o.wake()
	}
	o.writing = false
}

// letOthersSpeak lets handlers that are ready add their answers to the write that
// is to come: each would make a write of its own otherwise, as one that only
// writes does not give the processor up. It lets go of the mutex.
func (c *conn) letOthersSpeak() {
	if c.handlers == 0 || len(c.out.buf) == 0 || len(c.out.buf) > outKept {
		return
	}
	c.mu.Unlock()
	runtime.Gosched()
	c.mu.Lock()
}

// write has the time of WriteTimeout, and up to a quarter more: to set a deadline
// costs as much as a small answer, and so is not done for each.
func (c *conn) write(b []byte) error {
	within := c.end.options.WriteTimeout
	now := time.Now()
	if left := c.out.by.Sub(now); left < within {
		c.out.by = now.Add(within + within/4)
		if err := c.nc.SetWriteDeadline(c.out.by); err != nil {
			return err
		}
	}
	_, err := c.nc.Write(b)
	return err
}

// awaitRoom holds up who has more to send than the client takes. It may let go
// of the mutex.
func (c *conn) awaitRoom() {
	for len(c.out.buf) > outMost && !c.out.broken {
		if !c.out.writing {
			c.flushLocked()
			continue
		}
		c.out.room.Wait()
	}
}

func (o *output) frame(kind http2.FrameType, flags http2.Flags, id uint32, length int) {
	o.buf = append(o.buf, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	o.buf = binary.BigEndian.AppendUint32(o.buf, id)
}

func (o *output) settings(all ...http2.Setting) {
	o.frame(http2.FrameSettings, 0, 0, 6*len(all))
	for _, s := range all {
		o.buf = binary.BigEndian.AppendUint16(o.buf, uint16(s.ID))
		o.buf = binary.BigEndian.AppendUint32(o.buf, s.Val)
	}
}

func (o *output) settingsAck() { o.frame(http2.FrameSettings, http2.FlagSettingsAck, 0, 0) }

func (o *output) ping(ack bool, data [8]byte) {
	var flags http2.Flags
	if ack {
		flags = http2.FlagPingAck
	}
	o.frame(http2.FramePing, flags, 0, len(data))
	o.buf = append(o.buf, data[:]...)
}

func (o *output) windowUpdate(id, more uint32) {
	o.frame(http2.FrameWindowUpdate, 0, id, 4)
	o.buf = binary.BigEndian.AppendUint32(o.buf, more)
}

func (o *output) rst(id uint32, code http2.ErrCode) {
	o.frame(http2.FrameRSTStream, 0, id, 4)
	o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(code))
}

func (o *output) goAway(last uint32, code http2.ErrCode) {
	o.frame(http2.FrameGoAway, 0, 0, 8)
	o.buf = binary.BigEndian.AppendUint32(o.buf, last)
	o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(code))
}

func (o *output) data(id uint32, data []byte, end bool) {
	var flags http2.Flags
	if end {
		flags = http2.FlagDataEndStream
	}
	o.frame(http2.FrameData, flags, id, len(data))
	o.buf = append(o.buf, data...)
}

// headers sends what is in block, in frames that the client takes.
func (o *output) headers(id uint32, frameSize int, end bool) {
	rest := o.block.Bytes()
	kind := http2.FrameHeaders
	var flags http2.Flags
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		part := rest[:min(len(rest), frameSize)]
		rest = rest[len(part):]
		if len(rest) == 0 {
			flags |= http2.FlagHeadersEndHeaders
		}
		o.frame(kind, flags, id, len(part))
		o.buf = append(o.buf, part...)
		if len(rest) == 0 {
			break
		}
		kind, flags = http2.FrameContinuation, 0
	}
	o.block.Reset()
}

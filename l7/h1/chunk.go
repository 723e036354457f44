package h1

import (
	"bytes"
	"errors"
	"math/bits"

	"weir/l7/exchange"
)

// Bounds of what surrounds the data of a chunked body, bytes.
const (
	chunkLine  = 256      // a size with its extensions
	extensions = 16 << 10 // of all chunks of a body
	trailers   = 8 << 10
)

// chunks follows the framing of a chunked body (RFC 9112, 7.1).
type chunks struct {
	left    int64 // of the data of this chunk
	state   chunkState
	extra   int // bytes of extensions so far
	trailer exchange.Header
}

type chunkState uint8

const (
	atSize chunkState = iota
	inData
	afterData
	inTrailer
	ended
)

// advance reads framing at the beginning of b until data follows or the body has
// ended. It is to be called again with more if neither is so. n is how much it
// took.
func (c *chunks) advance(b []byte) (n int, err error) {
	for {
		var took int
		switch c.state {
		case inData:
			if c.left > 0 {
				return n, nil
			}
			c.state = afterData
			continue
		case afterData:
			took, err = c.afterData(b[n:])
		case atSize:
			took, err = c.size(b[n:])
		case inTrailer:
			took, err = c.readTrailer(b[n:])
		case ended:
			return n, nil
		}
		n += took
		if err != nil || took == 0 {
			return n, err
		}
	}
}

func (c *chunks) afterData(b []byte) (int, error) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, refuse("a chunk that is longer than its size")
	}
	if len(b) < len("\r\n") {
		return 0, nil
	}
	c.state = atSize
	return len("\r\n"), nil
}

func (c *chunks) size(b []byte) (int, error) {
	text, n, err := line(b[:min(len(b), chunkLine)])
	if errors.Is(err, errIncomplete) && len(b) < chunkLine {
		return 0, nil
	}
	if err != nil {
		return 0, refuse("a chunk's size without an end: %q", short(b))
	}
	digits, extension := text, []byte(nil)
	if i := bytes.IndexByte(text, ';'); i >= 0 {
		digits, extension = text[:i], text[i:]
	}
	c.extra += len(extension)
	if !visible(extension) || c.extra > extensions {
		return 0, refuse("a chunk's extension %q", short(extension))
	}
	if c.left, err = parseHex(digits); err != nil {
		return 0, err
	}
	c.state = inData
	if c.left == 0 {
		c.state = inTrailer
	}
	return n, nil
}

func parseHex(digits []byte) (n int64, err error) {
	if len(digits) == 0 || len(digits) > maxDigits {
		return 0, refuse("a chunk's size %q", short(digits))
	}
	for _, d := range digits {
		v := d - '0'
		if v > 9 {
			v = lower(d) - 'a' + 10
			if v < 10 || v > 15 {
				return 0, refuse("a chunk's size %q", short(digits))
			}
		}
		n = n<<4 | int64(v)
	}
	return n, nil
}

func (c *chunks) readTrailer(b []byte) (int, error) {
	c.trailer.Reset()
	var m message
	n, err := parseFields(b[:min(len(b), trailers)], &c.trailer, &m, trailers)
	if errors.Is(err, errIncomplete) && len(b) < trailers {
		return 0, nil
	}
	if errors.Is(err, errIncomplete) {
		err = refuse("a trailer that is too long")
	}
	if err != nil {
		return 0, err
	}
	c.trailer.DelFunc(func(f *exchange.Field) bool { return notInTrailer(f.ID) })
	c.state = ended
	return n, nil
}

// notInTrailer tells the fields that must not count when they come after the
// body (RFC 9110, 6.5.1): routing, authentication, what describes the body.
// parseFields has taken away those of framing and connection.
func notInTrailer(id exchange.Name) bool {
	const names = 1<<exchange.Authorization | 1<<exchange.ProxyAuthorization | 1<<exchange.Cookie |
		1<<exchange.SetCookie | 1<<exchange.CacheControl | 1<<exchange.ContentEncoding |
		1<<exchange.ContentRange | 1<<exchange.ContentType | 1<<exchange.Trailer | 1<<exchange.Range |
		1<<exchange.Upgrade | 1<<exchange.Location | 1<<exchange.Vary | 1<<exchange.Forwarded |
		1<<exchange.XForwardedFor | 1<<exchange.XForwardedHost | 1<<exchange.XForwardedProto
	return id != exchange.Other && names>>id&1 != 0
}

// appendChunkSize writes a size line that begins at most chunkRoom bytes before
// its data.
func appendChunkSize(b []byte, n int) []byte {
	const digits = "0123456789abcdef"
	for i := (bits.Len(uint(n))+3)/4 - 1; i >= 0; i-- {
		b = append(b, digits[n>>(4*i)&15])
	}
	return append(b, "\r\n"...)
}

// chunkRoom holds the size line of a chunk up to largeBuffer.
const chunkRoom = len("10000\r\n")

// Package trace takes part in traces: W3C Trace Context on the way in and out,
// OTLP over HTTP to a collector. It speaks OTLP's JSON itself: the SDK would
// bring gRPC and thirty modules along, and make garbage for each request.
package trace

import (
	"encoding/hex"
	"math/rand/v2"
)

// Context is a traceparent (W3C Trace Context, 3.2).
type Context struct {
	Trace   [16]byte
	Span    [8]byte
	Sampled bool
}

const (
	contextLength = 55 // of version 00
	flagSampled   = 1
)

// Parse reads a traceparent. Of later versions what this one knows is read, as
// the standard wants it.
func Parse(b []byte) (c Context, ok bool) {
	if len(b) < contextLength || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return c, false
	}
	if len(b) > contextLength && (string(b[:2]) == "00" || b[contextLength] != '-') {
		return c, false
	}
	var version, flags [1]byte
	for _, part := range []struct{ to, from []byte }{
		{version[:], b[:2]}, {c.Trace[:], b[3:35]}, {c.Span[:], b[36:52]}, {flags[:], b[53:55]},
	} {
		if !lowerHex(part.from) {
			return Context{}, false
		}
		_, _ = hex.Decode(part.to, part.from) // they are digits
	}
	c.Sampled = flags[0]&flagSampled != 0
	return c, version[0] != 0xff && c.Trace != [16]byte{} && c.Span != [8]byte{}
}

func lowerHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Append writes a traceparent, which has 55 bytes.
func (c Context) Append(b []byte) []byte {
	b = append(b, "00-"...)
	b = append(hex.AppendEncode(b, c.Trace[:]), '-')
	b = append(hex.AppendEncode(b, c.Span[:]), '-')
	if c.Sampled {
		return append(b, "01"...)
	}
	return append(b, "00"...)
}

func fill(b []byte) {
	for len(b) > 0 {
		n := rand.Uint64() | 1 // ids of zeros are none
		for i := range min(len(b), 8) {
			b[i] = byte(n >> (8 * i))
		}
		b = b[min(len(b), 8):]
	}
}

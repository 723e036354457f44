package h2

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// abuse counts what costs us more than the client: resets, pings, settings,
// empty frames. Each answered request allows for some. It belongs to the
// reading side, but for earned.
type abuse struct {
	since  time.Time
	used   int
	earned atomic.Int64 // requests that were answered since the last look
}

const (
	abuseWindow = 10 * time.Second
	abuseMost   = 2000 // in a window
	abuseEarned = 4    // by each answered request
)

// bears reports whether n more of these are borne.
func (a *abuse) bears(n int) bool {
	if a.used += n; a.used <= abuseMost {
		return true
	}
	a.used = max(0, a.used-abuseEarned*int(a.earned.Swap(0)))
	if a.used <= abuseMost {
		return true
	}
	now := time.Now()
	if now.Sub(a.since) < abuseWindow {
		return false
	}
	a.since, a.used = now, n
	return true
}

// heads counts the frames that a header comes in: CONTINUATION has no end of its
// own, and empty ones are under every other limit.
type heads struct {
	io.Reader
	count int
}

const mostParts = 64

var errManyParts = errors.New("a header in too many frames")

// Read implements io.Reader. The framer reads each frame's header by itself.
func (h *heads) Read(p []byte) (int, error) {
	if len(p) == frameHeader {
		if h.count++; h.count > mostParts {
			return 0, errManyParts
		}
	}
	return h.Reader.Read(p)
}

// recent remembers the last streams that we reset.
type recent struct {
	ids  [256]uint32
	next int
}

func (r *recent) add(id uint32) {
	r.ids[r.next%len(r.ids)] = id
	r.next++
}

func (r *recent) remove(id uint32) {
	for i, known := range r.ids {
		if known == id {
			r.ids[i] = 0
		}
	}
}

func (r *recent) has(id uint32) bool {
	for _, known := range r.ids {
		if known == id {
			return true
		}
	}
	return false
}

package control

import "time"

// backoff doubles from first to last.
type backoff struct {
	first, last time.Duration
	wait        time.Duration
}

func (b *backoff) next() time.Duration {
	b.wait = min(max(b.first, 2*b.wait), b.last)
	return b.wait
}

func (b *backoff) reset() { b.wait = 0 }

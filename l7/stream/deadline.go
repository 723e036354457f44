package stream

import "time"

// deadline is one that is renewed for each message and hardly ever met. To set
// one moves a timer of the runtime, which costs more than all other book-keeping
// of a request; so it is set a quarter late and kept as long as it is no less
// than what is asked for.
type deadline struct {
	at     time.Time
	within time.Duration // as it was asked for
}

// renew reports whether the deadline has to be set anew, to d.at.
func (d *deadline) renew(now time.Time, within time.Duration) bool {
	d.within = within
	if within == 0 {
		set := !d.at.IsZero()
		d.at = time.Time{}
		return set
	}
	left := d.at.Sub(now)
	if !d.at.IsZero() && left >= within && left <= within+within/4 {
		return false
	}
	d.at = now.Add(within + within/4)
	return true
}

// ReadWithin lets reads that wait for longer than within, and at most a quarter
// more, fail with os.ErrDeadlineExceeded. 0 lets them wait for ever.
func (c *Conn) ReadWithin(now time.Time, within time.Duration) {
	if c.readBy.renew(now, within) {
		_ = c.SetReadDeadline(c.readBy.at) // on a closed connection the read fails anyway
		c.stayStopped()
	}
}

// WriteWithin is ReadWithin for writes.
func (c *Conn) WriteWithin(now time.Time, within time.Duration) {
	if c.writeBy.renew(now, within) {
		_ = c.SetWriteDeadline(c.writeBy.at)
		c.stayStopped()
	}
}

// WriteOn renews the deadline of WriteWithin: for what is written in steps that
// each have its time.
func (c *Conn) WriteOn() { c.WriteWithin(time.Now(), c.writeBy.within) }

// ReadBy sets the deadline of reads exactly.
func (c *Conn) ReadBy(at time.Time) {
	c.readBy.at = at
	_ = c.SetReadDeadline(at)
	c.stayStopped()
}

// stayStopped repeats an Interrupt that a new deadline may have undone.
func (c *Conn) stayStopped() {
	if what := c.stopped.Load(); what != 0 {
		c.stop(what)
	}
}

package stream

import (
	"io"
	"time"
)

// spliceStep is after how many bytes the deadlines are renewed: a peer that
// takes less in their time is too slow.
const spliceStep = 64 << 10

// Splice moves n bytes from one socket to another inside the kernel. Both must
// be TCP. until is asked for the deadline of each 64 KiB that come; those that
// go have the time of WriteWithin. Fewer than n without an error is the end of
// from.
func Splice(to, from *Conn, n int64, until func() time.Time) (moved int64, err error) {
	source := &io.LimitedReader{R: from.tcp}
	for moved < n {
		now, end := time.Now(), until()
		from.ReadWithin(now, end.Sub(now))
		to.WriteOn()
		source.N = min(n-moved, spliceStep)
		step, err := to.tcp.ReadFrom(source)
		moved += step
		if err != nil || step == 0 {
			to.forsake(err)
			return moved, err
		}
	}
	return moved, nil
}

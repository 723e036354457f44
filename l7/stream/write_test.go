package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachStepOfAWriteHasItsTime(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration // of the reader after each step
		want  error
	}{
		{"slow, but not too slow", 8 * time.Second, nil},
		{"too slow", 15 * time.Second, os.ErrDeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				conn := New(ours)
				var reads sync.WaitGroup
				reads.Go(func() {
					for {
						if _, err := io.CopyN(io.Discard, theirs, spliceStep); err != nil {
							return
						}
						time.Sleep(c.pause)
					}
				})
				conn.WriteWithin(time.Now(), 10*time.Second)
				n, err := conn.Write(make([]byte, 10*spliceStep))
				if !errors.Is(err, c.want) || c.want == nil && n != 10*spliceStep {
					t.Errorf("wrote %d, %v", n, err)
				}
				_, _ = ours.Close(), theirs.Close()
				reads.Wait()
			})
		})
	}
}

package serve

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// dial connects from 127.0.0.host to a listener, whose connection it returns
// if there is one.
func dial(t *testing.T, b *bounded, accepted <-chan net.Conn, refused *atomic.Uint64, host byte) net.Conn {
	t.Helper()
	before := refused.Load()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}, Timeout: 20 * time.Second}
	c, err := from.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for late := time.Now().Add(20 * time.Second); time.Now().Before(late); time.Sleep(100 * time.Microsecond) {
		select {
		case conn := <-accepted:
			return conn
		default:
		}
		if refused.Load() > before {
			return nil
		}
	}
	t.Fatal("neither accepted nor refused")
	return nil
}

func TestBounds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Uint64
	b := newBounded(l, &refused)
	defer b.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	var first net.Conn
	for i := range maxConnsPerIP {
		c := dial(t, b, accepted, &refused, 1)
		if c == nil {
			t.Fatalf("connection %d of an address is refused", i+1)
		}
		first = c
	}
	if dial(t, b, accepted, &refused, 1) != nil {
		t.Error("an address has more than its share")
	}
	first.Close()
	first.Close() // counts once
	if dial(t, b, accepted, &refused, 1) == nil {
		t.Error("a share that was given back is not to be had")
	}
	if dial(t, b, accepted, &refused, 1) != nil {
		t.Error("closing twice made room for two")
	}
	for i := maxConnsPerIP; i < maxConns; i++ {
		if dial(t, b, accepted, &refused, byte(2+i/maxConnsPerIP)) == nil {
			t.Fatalf("connection %d is refused", i+1)
		}
	}
	if dial(t, b, accepted, &refused, 200) != nil {
		t.Error("there are more connections than the most")
	}
	if len(b.perIP) != maxConns/maxConnsPerIP || b.all != maxConns {
		t.Errorf("%d connections of %d addresses", b.all, len(b.perIP))
	}
}

package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// pipe is the two ends of a TCP connection.
func pipe(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	_ = far.SetDeadline(time.Now().Add(10 * time.Second))
	return New(near), far.(*net.TCPConn)
}

func TestAsk(t *testing.T) {
	near, far := pipe(t)
	go func() {
		for range 3 {
			b := make([]byte, 4)
			_, _ = io.ReadFull(far, b)
			_, _ = io.WriteString(far, "re: "+string(b))
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(far, 50<<20))
		_, _ = io.WriteString(far, "all")
		_ = far.Close()
	}()
	p := make([]byte, 100)
	for range 3 {
		if sent, n, err := near.Ask([]byte("ping"), p); sent != 4 || string(p[:n]) != "re: ping" || err != nil {
			t.Fatalf("%d, %q, %v", sent, p[:n], err)
		}
	}
	// More than a socket takes at once.
	if sent, n, err := near.Ask(make([]byte, 50<<20), p); sent != 50<<20 || string(p[:n]) != "all" || err != nil {
		t.Fatalf("%d, %q, %v", sent, p[:n], err)
	}
	if _, n, err := near.Ask([]byte("ping"), p); n != 0 || err == nil {
		t.Fatalf("of a closed connection: %q, %v", p[:n], err)
	}
}

func TestAskTimesOut(t *testing.T) {
	near, far := pipe(t)
	near.ReadWithin(time.Now(), 20*time.Millisecond)
	p := make([]byte, 100)
	if sent, n, err := near.Ask([]byte("ping"), p); sent != 4 || n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d, %d, %v", sent, n, err)
	}
	_, _ = io.WriteString(far, "late")
	near.ReadWithin(time.Now(), time.Minute)
	if n, err := near.Read(p); string(p[:n]) != "late" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
}

// lender counts.
type lender struct {
	buf            []byte
	lent, returned int
}

func (l *lender) Lend() []byte { l.lent++; return l.buf }
func (l *lender) Return()      { l.returned++ }

func TestReadServe(t *testing.T) {
	near, far := pipe(t)
	l := &lender{buf: make([]byte, 16)}
	var served []string
	turn := make(chan struct{}, 1)
	go func() {
		for _, text := range []string{"one", "two", "three"} {
			_, _ = io.WriteString(far, text)
			<-turn
		}
		_, _ = io.WriteString(far, strings.Repeat("x", 16)) // there may be more: serve is not asked
	}()
	n, err := near.ReadServe(l, func(n int) bool {
		served = append(served, string(l.buf[:n]))
		l.Return()
		turn <- struct{}{}
		return true
	})
	if got := strings.Join(served, " "); n != 16 || err != nil || got != "one two three" {
		t.Errorf("served %s, then %d, %v", got, n, err)
	}
	if l.lent-l.returned != 1 {
		t.Errorf("lent %d, returned %d", l.lent, l.returned)
	}
	_ = far.Close()
	if n, err := near.ReadLent(l); n != 0 || err != io.EOF || l.lent-l.returned != 1 {
		t.Errorf("at the end %d, %v; lent %d, returned %d", n, err, l.lent, l.returned)
	}
}

func TestInterrupt(t *testing.T) {
	near, far := pipe(t)
	failed := make(chan error)
	go func() {
		_, err := near.Read(make([]byte, 1))
		failed <- err
	}()
	near.InterruptReads()
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read under way: %v", err)
	}
	near.ReadWithin(time.Now(), time.Minute) // must not undo it
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !near.Interrupted() {
		t.Errorf("the next read: %v", err)
	}
	if _, err := near.Write([]byte("a")); err != nil {
		t.Errorf("a write: %v", err)
	}
	near.Resume()
	_, _ = io.WriteString(far, "b")
	if _, err := near.Read(make([]byte, 1)); err != nil || near.Interrupted() {
		t.Errorf("a read after Resume: %v", err)
	}
	near.Interrupt()
	if _, err := near.Write([]byte("a")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write after Interrupt: %v", err)
	}
}

// TestDeadline: it is never early, at most a quarter late, and seldom set.
func TestDeadline(t *testing.T) {
	var d deadline
	now, sets := time.Now(), 0
	const within = time.Minute
	for range 10_000 {
		if d.renew(now, within) {
			sets++
		}
		if left := d.at.Sub(now); left < within || left > within+within/4 {
			t.Fatalf("left are %v", left)
		}
		now = now.Add(100 * time.Millisecond)
	}
	if sets > 70 {
		t.Errorf("set %d times in 1000 s", sets)
	}
	if !d.renew(now, time.Second) || !d.renew(now, time.Hour) || !d.renew(now, 0) || d.renew(now, 0) {
		t.Error("another time is not taken")
	}
}

func TestAliveAndEnded(t *testing.T) {
	near, far := pipe(t)
	if !near.Alive() || near.Ended() {
		t.Error("a connection that is open")
	}
	_, _ = io.WriteString(far, "a")
	if near.Alive() || near.Ended() {
		t.Error("a peer that said something unasked")
	}
	_ = far.CloseWrite()
	for !near.Ended() {
		time.Sleep(time.Millisecond)
	}
	_, _ = near.Read(make([]byte, 1))
	if near.Alive() {
		t.Error("a connection that has ended")
	}
}

func TestReadPrefix(t *testing.T) {
	near, far := pipe(t)
	line := func(b []byte) (int, error) { return strings.IndexByte(string(b), '\n') + 1, nil }
	go func() {
		for _, c := range "first\nsecond\nthird" {
			_, _ = io.WriteString(far, string(c))
		}
		_, _ = io.WriteString(far, strings.Repeat("x", 100))
	}()
	for _, want := range []int{6, 7} {
		n := 0
		err := near.ReadPrefix(50, func(b []byte) (int, error) {
			n, _ = line(b)
			return n, nil
		})
		if n != want || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if err := near.ReadPrefix(50, line); err == nil || !strings.Contains(err.Error(), "50 bytes") {
		t.Errorf("without an end: %v", err)
	}
	broken := errors.New("broken")
	if err := near.ReadPrefix(50, func([]byte) (int, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("refused: %v", err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(near, b); string(b) != "third" {
		t.Errorf("left is %q, %v", b, err)
	}
}

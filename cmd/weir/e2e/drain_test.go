package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"
	"time"

	"weir/loader/lb"
)

func TestDrain(t *testing.T) {
	for _, p := range []plan{{forward: lb.NAT, family: 4}, {forward: lb.DSR, family: 6, algorithm: "wrr"}} {
		t.Run(p.String(), func(t *testing.T) { testDrain(t, p) })
	}
}

// The transfer takes 2.5 s and so outlasts the second after which new
// connections have to stay away.
const (
	transferRate  = 2 << 20
	transferBytes = 5 << 20
)

func testDrain(t *testing.T, p plan) {
	l := start(t, p)
	x := l.servers[1]
	transfer := l.transferFrom(t, x)
	d := l.load(t, mix{oneShot: 2, keepAlive: 2})
	eventually(t, 5*time.Second, "connections to every backend", yes(func() bool {
		return l.servers[0].accepted.Load() > 0 && x.accepted.Load() > 1 && l.servers[2].accepted.Load() > 0
	}))

	weir(t, "backend", "drain", ref(x))
	drained := time.Now()
	before := l.accepted()
	if err := <-transfer; err != nil {
		t.Error("the transfer through the drained backend:", err)
	}
	outlasted := time.Since(drained)
	others := l.accepted() - before
	t.Logf("%d connections in the %s after the drain, the last to the drained backend came %s after it",
		others, outlasted.Round(time.Millisecond), x.lastCame().Sub(drained).Round(time.Microsecond))
	if outlasted < 1500*time.Millisecond || others < 100 {
		t.Errorf("the test shows nothing: %d connections in %s", others, outlasted)
	}
	if late := x.lastCame().Sub(drained); late > time.Second {
		t.Errorf("a new connection reached the drained backend %s after the drain", late)
	}

	count := x.accepted.Load()
	weir(t, "backend", "ready", ref(x))
	eventually(t, time.Second, "new connections after ready", yes(func() bool { return x.accepted.Load() > count }))
	d.finish(t, "drain and ready")
}

// transferFrom starts a transfer through a backend. The channel gets its
// outcome.
func (l *lab) transferFrom(t *testing.T, s *server) <-chan error {
	t.Helper()
	for range 200 {
		if body := l.openStream(t, s); body != nil {
			outcome := make(chan error, 1)
			go func() { outcome <- checkNoise(body, transferBytes) }()
			return outcome
		}
	}
	t.Fatalf("no connection of 200 reached %s", s.name())
	return nil
}

// openStream is nil if another backend answers.
func (l *lab) openStream(t *testing.T, s *server) io.ReadCloser {
	t.Helper()
	var c *connection
	err := l.Client.Do(func() (err error) {
		c, err = dial(context.Background(), l.ClientAddrs[0], l.config.endpoint())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.get(fmt.Sprintf("/stream?bytes=%d&rate=%d", transferBytes, transferRate))
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	if resp.Header.Get("X-Backend") != s.name() {
		c.Close()
		return nil
	}
	return struct {
		io.Reader
		io.Closer
	}{resp.Body, c}
}

// checkNoise reads a stream to its end and compares it.
func checkNoise(body io.ReadCloser, total int64) error {
	defer body.Close()
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, body)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if _, err := io.Copy(want, noise(total)); err != nil {
		return err
	}
	if a, b := got.Sum(nil), want.Sum(nil); string(a) != string(b) {
		return fmt.Errorf("%d bytes with sum %s, want %d with %s", n, hex.EncodeToString(a), total, hex.EncodeToString(b))
	}
	return nil
}

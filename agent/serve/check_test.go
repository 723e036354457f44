package serve_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/agent/report"
	"weir/agent/serve"
)

func checks(t *testing.T, status func() report.Status) *serve.Checks {
	t.Helper()
	c, err := serve.NewChecks("127.0.0.1:0", status)
	if err != nil {
		t.Fatal(err)
	}
	run(t, c.Run)
	return c
}

func half() report.Status {
	return report.Status{Oper: report.Up, Admin: report.Ready, Weight: new(50)}
}

func TestCheck(t *testing.T) {
	c := checks(t, half)
	var all sync.WaitGroup
	for _, send := range []string{"", "state\n", strings.Repeat("x", 100_000)} {
		all.Go(func() {
			conn, err := net.Dial("tcp", c.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(conn, send)
			line := make([]byte, len("up ready 50%\n"))
			if _, err := io.ReadFull(conn, line); err != nil || string(line) != "up ready 50%\n" {
				t.Errorf("after %.10q: %q, %v", send, line, err)
			}
		})
	}
	all.Wait()
}

// TestSilentCheckers never close: each is given up, and no more than a share
// is taken from one address.
func TestSilentCheckers(t *testing.T) {
	c := checks(t, half)
	for n := 0; c.Refused() == 0; n++ {
		if n == 1000 {
			t.Fatal("one address may have 1,000 connections")
		}
		conn, err := net.Dial("tcp", c.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if line, err := io.ReadAll(conn); err == nil && len(line) > 0 && string(line) != "up ready 50%\n" {
			t.Fatalf("answered %q", line)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for { // until the silent ones are given up
		conn, err := net.Dial("tcp", c.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(deadline)
		text, _ := io.ReadAll(conn)
		conn.Close()
		if len(text) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("silent checkers are not given up")
		}
	}
}

// TestUnspeakableStatus says nothing rather than nonsense.
func TestUnspeakableStatus(t *testing.T) {
	c := checks(t, func() report.Status { return report.Status{} })
	conn, err := net.Dial("tcp", c.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if text, _ := io.ReadAll(conn); len(text) != 0 {
		t.Errorf("answered %q", text)
	}
}

func TestAddressTaken(t *testing.T) {
	c := checks(t, half)
	if _, err := serve.NewChecks(c.Addr().String(), half); err == nil || !strings.Contains(err.Error(), c.Addr().String()) {
		t.Errorf("an address that is taken: %v", err)
	}
}
